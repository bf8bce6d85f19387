//! What is wanted of the proxy: the input of `publish`, always complete.
//!
//! The control plane says everything each time, never a difference: so a lost or repeated publication costs nothing, and
//! the proxy finds by key what it already knows (health, requests in flight, the rotation, pooled connections).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::model::load_balancer::{Action, HealthCheck};
use crate::model::{Arn, Listener, LoadBalancer, Region, TargetGroup, TaskId};
use crate::proxy::target::LocalTarget;

/// The longest that a connection may stay without a byte, as `idle_timeout.timeout_seconds` of a load balancer has it
/// by default.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// All load balancers and all target groups.
#[derive(Clone, Debug, Default)]
pub struct RoutesSpec {
    pub load_balancers: Vec<LoadBalancerSpec>,
    pub target_groups: Vec<TargetGroupSpec>,
}

#[derive(Clone, Debug)]
pub struct LoadBalancerSpec {
    pub name: String,
    pub region: Region,
    /// `idle_timeout.timeout_seconds`.
    pub idle_timeout: Duration,
    /// `routing.http.xff_header_processing.mode`.
    pub forwarded_for: ForwardedFor,
    pub listeners: Vec<ListenerSpec>,
}

/// What becomes of `X-Forwarded-For`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedFor {
    Append,
    Preserve,
    Remove,
}

impl LoadBalancerSpec {
    /// `listeners` are those of this load balancer.
    pub fn new(record: &LoadBalancer, listeners: Vec<ListenerSpec>) -> LoadBalancerSpec {
        let attribute = |name: &str| record.attributes.get(name).map(String::as_str);
        let idle_seconds = attribute("idle_timeout.timeout_seconds").and_then(|text| text.parse().ok());
        LoadBalancerSpec {
            name: record.name.clone(),
            region: record.scope.region.clone(),
            idle_timeout: idle_seconds.map_or(IDLE_TIMEOUT, Duration::from_secs),
            forwarded_for: match attribute("routing.http.xff_header_processing.mode") {
                Some("preserve") => ForwardedFor::Preserve,
                Some("remove") => ForwardedFor::Remove,
                _ => ForwardedFor::Append,
            },
            listeners,
        }
    }
}

#[derive(Clone, Debug)]
pub struct ListenerSpec {
    pub arn: Arn,
    pub port: u16,
    /// `HTTP`; the proxy opens no other yet.
    pub protocol: String,
    pub actions: Vec<Action>,
}

impl From<&Listener> for ListenerSpec {
    fn from(record: &Listener) -> ListenerSpec {
        ListenerSpec {
            arn: record.arn(),
            port: record.port,
            protocol: record.protocol.clone(),
            actions: record.default_actions.clone(),
        }
    }
}

/// How a request's target is chosen: `load_balancing.algorithm.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    RoundRobin,
    LeastOutstandingRequests,
    WeightedRandom,
}

/// What the targets of a group speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolVersion {
    Http1,
    Http2,
    Grpc,
}

#[derive(Clone, Debug)]
pub struct TargetGroupSpec {
    pub arn: Arn,
    pub algorithm: Algorithm,
    pub protocol_version: ProtocolVersion,
    pub health_check: HealthCheck,
    pub targets: Vec<TargetSpec>,
}

impl TargetGroupSpec {
    pub fn new(record: &TargetGroup, targets: Vec<TargetSpec>) -> TargetGroupSpec {
        TargetGroupSpec {
            arn: record.arn(),
            algorithm: algorithm(&record.attributes),
            protocol_version: match record.protocol_version.as_str() {
                "HTTP2" => ProtocolVersion::Http2,
                "GRPC" => ProtocolVersion::Grpc,
                _ => ProtocolVersion::Http1,
            },
            health_check: record.health_check.clone(),
            targets,
        }
    }
}

fn algorithm(attributes: &BTreeMap<String, String>) -> Algorithm {
    match attributes.get("load_balancing.algorithm.type").map(String::as_str) {
        Some("least_outstanding_requests") => Algorithm::LeastOutstandingRequests,
        Some("weighted_random") => Algorithm::WeightedRandom,
        _ => Algorithm::RoundRobin,
    }
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
}

/// How a target is reached.
#[derive(Clone)]
pub enum Endpoint {
    /// A handler on this node, called in process.
    Local(Arc<dyn LocalTarget>),
    /// The real socket, after the network's table.
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
