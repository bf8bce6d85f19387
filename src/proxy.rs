//! The load balancer's data path: listeners and target groups of ELBv2 as an immutable snapshot, and what a request does
//! with it.
//!
//! - A request takes one snapshot and no lock of the control plane, which `publish`es what is wanted, completely, whenever
//!   something changed.
//! - What the proxy itself learns (health, requests in flight, whose turn it is, pooled connections) is kept by key from
//!   one publication to the next, and only reported; the proxy never reads a store.
//! - A target on this node that is a handler is called in process, through [`LocalTarget`].
//! - Nothing is dropped by a deployment: a draining target keeps what it has; a request that meets a target which was just
//!   stopped, before the guest saw a byte of it, goes to another.

mod access_log;
mod action;
mod arrival;
mod answer;
mod balancer;
mod body;
mod client;
mod connect;
mod cookie;
mod datagram;
mod desync;
mod exchange;
mod forward;
mod group;
mod headers;
mod health;
mod hold;
mod metrics;
mod observers;
mod publish;
mod routes;
pub mod rules;
mod seal;
mod settings;
mod spec;
mod stats;
mod sticky;
mod stream;
mod target;
#[cfg(any(test, fuzzing))]
pub mod testing;
mod tls;
mod trace;
mod upgrade;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

use crate::model::{Arn, TargetAnomaly, TargetHealth};
use crate::proxy::observers::Observers;
use crate::proxy::publish::Registry;
use crate::proxy::routes::Routes;
use crate::proxy::tls::Tls;

pub use arrival::Arrival;
pub use body::{empty, full};
pub use client::{Client, TlsSession};
pub use observers::ObserverConfig;
pub use routes::{Entrance, is_balancer_host, split_port};
pub use spec::{Endpoint, ListenerSpec, LoadBalancerSpec, RoutesSpec, TargetGroupSpec, TargetSpec, Unusable};
pub use stats::{BalancerStats, CodeStats, GroupStats, LatencyStats, OwnCodeStats, TargetStats};
pub use stream::{Carried, Socket};
pub use target::{Body, BoxError, LocalTarget, TargetError, TargetKey};
#[cfg(test)]
pub use tls::client as tls_for_tests;
pub use tls::{Certificates, HandshakeError};

/// Reports that may wait for the control plane. A pass of it takes them all, so this many in one pass is far more than
/// usual; when it is full, the health loop waits, and only checks are late.
const REPORTS_WAITING_MAX: usize = 1024;

/// What the proxy learned about a target.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthReport {
    pub target: TargetKey,
    pub change: HealthChange,
}

#[derive(Clone, Debug, PartialEq)]
pub enum HealthChange {
    /// What `DescribeTargetHealth` shows from now on.
    Health(TargetHealth),
    /// It fails more often than the others of its group, or no longer does.
    Anomaly(TargetAnomaly),
    /// A draining target has no request in flight, and will get none.
    Drained,
}

/// A listener's own port, as `front` should open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedListener {
    pub arn: Arn,
    pub port: u16,
    pub transport: Transport,
    pub load_balancer: String,
}

/// Which sockets a listener needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
    /// Both, at one port.
    TcpUdp,
}

impl Transport {
    fn of(protocol: &str) -> Transport {
        match protocol {
            "UDP" => Transport::Udp,
            "TCP_UDP" => Transport::TcpUdp,
            _ => Transport::Tcp,
        }
    }
}

/// The load balancers of one node.
pub struct Proxy {
    shared: Arc<Shared>,
    reports: Mutex<Option<mpsc::Receiver<HealthReport>>>,
    health: AbortHandle,
    files: AbortHandle,
}

/// What the data path, the publisher and the health loop have in common.
struct Shared {
    routes: ArcSwap<Routes>,
    registry: Mutex<Registry>,
    observers: Arc<Observers>,
    /// Wakes the health loop: targets changed, or a draining one has become idle. It carries no data.
    changed: Arc<Notify>,
    wanted: watch::Sender<Vec<WantedListener>>,
    bound: watch::Sender<BTreeMap<Arn, SocketAddr>>,
    /// Groups at which requests wait.
    held: Arc<hold::Wanted>,
    tls: Arc<Tls>,
}

impl Proxy {
    /// One whose certificates are all made on the spot, and kept nowhere.
    pub fn new(control: &tokio::runtime::Handle) -> Arc<Proxy> {
        Proxy::observed(control, &ObserverConfig::default())
    }

    /// The same, and it tells of its requests where `observers` says.
    pub fn observed(control: &tokio::runtime::Handle, observers: &ObserverConfig) -> Arc<Proxy> {
        Proxy::configured(control, observers, Certificates::new(BTreeMap::new(), None))
    }

    /// One that tells of its requests where `observers` says, and whose listeners' certificates come from `certificates`.
    pub fn configured(
        control: &tokio::runtime::Handle,
        observers: &ObserverConfig,
        certificates: Certificates,
    ) -> Arc<Proxy> {
        let tls = Arc::new(Tls::new(certificates));
        let files = control.spawn(Tls::watch_files(Arc::downgrade(&tls))).abort_handle();
        let (report, reports) = mpsc::channel(REPORTS_WAITING_MAX);
        let shared = Arc::new(Shared {
            routes: ArcSwap::from_pointee(Routes::default()),
            registry: Mutex::new(Registry::default()),
            observers: Arc::new(Observers::start(observers, control)),
            changed: Arc::new(Notify::new()),
            wanted: watch::Sender::new(Vec::new()),
            bound: watch::Sender::new(BTreeMap::new()),
            held: Arc::new(hold::Wanted::default()),
            tls,
        });
        let health = control.spawn(health::watch(Arc::clone(&shared), report)).abort_handle();
        Arc::new(Proxy { shared, reports: Mutex::new(Some(reports)), health, files })
    }

    /// Makes `spec`, which is complete, what requests see from now on.
    pub fn publish(&self, spec: &RoutesSpec) {
        self.shared.publish(spec);
    }

    /// What was counted so far, per target group and target.
    pub fn stats(&self) -> Vec<GroupStats> {
        self.shared.group_stats()
    }

    /// What was counted so far, per load balancer.
    pub fn balancer_stats(&self) -> Vec<BalancerStats> {
        self.shared.balancer_stats()
    }

    /// Lines of access logs that were not written.
    pub fn log_lines_lost(&self) -> u64 {
        self.shared.observers.logs.as_ref().map_or(0, |logs| logs.lost())
    }

    /// Spans that were not sent.
    pub fn spans_lost(&self) -> u64 {
        self.shared.observers.tracer.as_ref().map_or(0, |tracer| tracer.lost())
    }

    /// Writes and sends what is known of requests and still waits. For when no request comes any more.
    pub async fn close_observers(&self) {
        Arc::clone(&self.shared.observers).close().await;
    }

    /// What changed at targets, in order. They have one reader: the loop of targets in `control`.
    pub fn health_reports(&self) -> mpsc::Receiver<HealthReport> {
        self.reports.lock().take().expect("the reports have one reader, which takes them once")
    }

    /// The groups at which requests wait for a first target, and how many. It changes when the first comes and when the
    /// last goes.
    pub fn wanted_groups(&self) -> watch::Receiver<BTreeMap<Arn, usize>> {
        self.shared.held.subscribe()
    }

    /// The listeners whose own port should be open.
    pub fn listeners(&self) -> watch::Receiver<Vec<WantedListener>> {
        self.shared.wanted.subscribe()
    }

    /// `front` says where a listener is really reached; `None` when it is closed.
    pub fn set_bound(&self, listener: &Arn, address: Option<SocketAddr>) {
        self.shared.bound.send_modify(|bound| match address {
            Some(address) => {
                bound.insert(listener.clone(), address);
            }
            None => {
                bound.remove(listener);
            }
        });
    }

    /// Where listeners are really reached at a port of their own.
    pub fn bound(&self) -> watch::Receiver<BTreeMap<Arn, SocketAddr>> {
        self.shared.bound.subscribe()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.health.abort();
        self.files.abort();
    }
}

#[cfg(test)]
mod tests;
