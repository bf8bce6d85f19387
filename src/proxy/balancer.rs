//! A load balancer: its settings, and what is counted of it from one snapshot to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::model::LoadBalancer;
use crate::proxy::seal::Seal;
use crate::proxy::settings::BalancerSettings;

/// A load balancer within one snapshot.
pub struct Balancer {
    pub record: Arc<LoadBalancer>,
    pub settings: BalancerSettings,
    /// For the cookies of sticky clients.
    pub seal: Seal,
    pub counts: Arc<BalancerCounts>,
}

#[derive(Default)]
pub struct BalancerCounts {
    pub requests: AtomicU64,
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
                counts: before.map(|before| Arc::clone(&before.counts)).unwrap_or_default(),
            }),
        }
    }
}

impl BalancerCounts {
    /// A request has ended; `status` is what its client was told, if it still was there.
    pub fn ended(&self, _status: Option<StatusCode>, _elapsed: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}
