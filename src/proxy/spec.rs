//! What is wanted of the proxy: the input of `publish`, always complete.
//!
//! The control plane says everything each time, never a difference: so a lost or repeated publication costs nothing, and
//! the proxy finds by key what it already knows (health, requests in flight, the rotation, pooled connections). Records
//! come as the store shares them: the same pointer is the same record, so what was compiled of it is used again, and a
//! publication in which one of a thousand rules changed compiles one rule.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::model::{Listener, LoadBalancer, Rule, TargetGroup, TaskId};
use crate::proxy::target::LocalTarget;

/// All load balancers and all target groups.
#[derive(Clone, Debug, Default)]
pub struct RoutesSpec {
    pub load_balancers: Vec<LoadBalancerSpec>,
    pub target_groups: Vec<TargetGroupSpec>,
}

#[derive(Clone, Debug)]
pub struct LoadBalancerSpec {
    pub record: Arc<LoadBalancer>,
    pub listeners: Vec<ListenerSpec>,
}

#[derive(Clone, Debug)]
pub struct ListenerSpec {
    pub record: Arc<Listener>,
    /// Those beside its default, in any order.
    pub rules: Vec<Arc<Rule>>,
}

#[derive(Clone, Debug)]
pub struct TargetGroupSpec {
    pub record: Arc<TargetGroup>,
    pub targets: Vec<TargetSpec>,
    /// A request that finds no target is worth waiting for: a service will start its first task for it.
    pub scales_from_zero: bool,
}

/// One registered target. Within its group it is known by address, port and task: the same three are the same target,
/// whose health and requests in flight are kept even when its endpoint is another object.
#[derive(Clone, Debug)]
pub struct TargetSpec {
    pub address: Ipv4Addr,
    pub port: u16,
    /// The task behind it: a new task at an old address is a new target, with a health of its own.
    pub task: Option<TaskId>,
    pub endpoint: Endpoint,
    /// Where the health check's port is not the traffic port.
    pub check: Option<Endpoint>,
    /// It gets no new requests, and is reported as drained once it has none in flight.
    pub draining: bool,
    /// Why it can get no requests, and no checks either, however its checks would go.
    pub unusable: Option<Unusable>,
}

/// A target that is registered, and cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// What was behind it has stopped.
    Stopped,
    /// It is a load balancer's own address: requests would go round in a circle.
    ReservedAddress,
}

/// How a target is reached.
#[derive(Clone)]
pub enum Endpoint {
    /// A handler on this node, called in process.
    Local(Arc<dyn LocalTarget>),
    /// The real socket, after the network's table; of a group of UDP, the one for datagrams.
    Tcp(SocketAddr),
    /// Nothing listens there yet: requests fail as on a refused connection.
    NotListening,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Local(_) => f.write_str("Local"),
            Endpoint::Tcp(address) => write!(f, "Tcp({address})"),
            Endpoint::NotListening => f.write_str("NotListening"),
        }
    }
}
