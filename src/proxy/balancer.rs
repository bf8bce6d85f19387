//! A load balancer: its settings, and what is counted of it from one snapshot to the next.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::LoadBalancer;
use crate::model::load_balancer::LoadBalancerKind;
use crate::proxy::access_log::{LogKind, LogPlace};
use crate::proxy::seal::Seal;
use crate::proxy::settings::BalancerSettings;
use crate::proxy::stats::{Codes, Latency, LogBudget, OwnCodes};

/// A load balancer within one snapshot.
pub struct Balancer {
    pub record: Arc<LoadBalancer>,
    pub settings: BalancerSettings,
    /// For the cookies of sticky clients.
    pub seal: Seal,
    /// Where its access log goes, if it has one.
    pub access_log: Option<Arc<LogPlace>>,
    pub connection_log: Option<Arc<LogPlace>>,
    pub counts: Arc<BalancerCounts>,
    /// How often its errors may be logged.
    pub errors: Arc<LogBudget>,
}

/// Named after CloudWatch's metrics in the text of `stats`.
#[derive(Default)]
pub struct BalancerCounts {
    /// Requests that came; those in flight are the difference to `ended`.
    pub begun: AtomicU64,
    pub ended: AtomicU64,
    /// Requests for which a target was chosen.
    pub chosen: AtomicU64,
    pub target_codes: Codes,
    pub elb_codes: OwnCodes,
    pub response_time: Latency,
    /// Both ways, heads included.
    pub processed_bytes: AtomicU64,
    pub rule_evaluations: AtomicU64,
    pub redirects: AtomicU64,
    pub fixed_responses: AtomicU64,
    pub grpc: AtomicU64,
    /// Requests that are not as RFC 9112 wants them.
    pub non_compliant: AtomicU64,
    pub target_connection_errors: AtomicU64,
    pub target_tls_errors: AtomicU64,
    pub client_tls_errors: AtomicU64,
    /// Connections, and flows of network load balancers; those open are the difference to `connections_ended`.
    pub connections: AtomicU64,
    pub connections_ended: AtomicU64,
    pub connections_rejected: AtomicU64,
    /// Of network load balancers: who reset a connection.
    pub client_resets: AtomicU64,
    pub target_resets: AtomicU64,
    pub elb_resets: AtomicU64,
}

impl Balancer {
    /// `before` is what it was in the snapshot before.
    pub fn next(record: &Arc<LoadBalancer>, before: Option<&Arc<Balancer>>) -> Arc<Balancer> {
        match before {
            Some(before) if Arc::ptr_eq(&before.record, record) => Arc::clone(before),
            before => Arc::new(Balancer {
                record: Arc::clone(record),
                settings: BalancerSettings::of(record),
                seal: Seal::of(record),
                access_log: place(record, LogKind::Access),
                connection_log: place(record, LogKind::Connection),
                counts: before.map(|before| Arc::clone(&before.counts)).unwrap_or_default(),
                errors: before.map(|before| Arc::clone(&before.errors)).unwrap_or_default(),
            }),
        }
    }
}

/// A client's connection, or a flow, counted as long as it lasts.
#[derive(Debug)]
pub struct OpenConnection {
    counts: Arc<BalancerCounts>,
}

impl Balancer {
    pub fn connected(&self) -> OpenConnection {
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        OpenConnection { counts: Arc::clone(&self.counts) }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counts.connections_ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for BalancerCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancerCounts").finish_non_exhaustive()
    }
}

fn place(record: &LoadBalancer, kind: LogKind) -> Option<Arc<LogPlace>> {
    // Those of network load balancers are not written.
    if record.kind != LoadBalancerKind::Application {
        return None;
    }
    match LogPlace::of(record, kind) {
        Ok(place) => place.map(Arc::new),
        Err(error) => {
            tracing::warn!(load_balancer = record.name, %error, "a log of this load balancer is not written");
            None
        }
    }
}
