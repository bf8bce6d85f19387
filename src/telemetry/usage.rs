//! What a task has used until now: read by the agent for its stats, and by the ledger.
//!
//! A trait, because the numbers are the runtime's, and whoever shows them knows no runtime.

use std::time::Duration;

use crate::model::TaskId;

/// What a task, or one of its containers, has used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time that was charged to it.
    pub cpu: Duration,
    /// Time in which it had work and its cap kept it from running.
    pub throttled: Duration,
    /// What its instances hold now.
    pub memory_bytes: u64,
    pub memory_peak_bytes: u64,
    /// Live instances of its components.
    pub instances: u64,
    /// Requests that its handlers were given.
    pub requests: u64,
    /// Instructions, where they are counted.
    pub fuel: u64,
    /// Memory held, times how long.
    pub gb_seconds: f64,
}

/// Tells what tasks of this node have used.
pub trait UsageSource: Send + Sync + 'static {
    /// `None` where the node does not run it (any more).
    fn usage(&self, task: TaskId) -> Option<Usage>;

    fn container_usage(&self, task: TaskId, container: &str) -> Option<Usage>;
}
