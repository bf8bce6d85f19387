//! Who knows what tasks use: the ledger's source. The host of running tasks answers; of ended ones the record keeps it
//! (`Task::usage`).

pub use crate::model::Usage;

use crate::model::TaskId;

/// What running tasks have used until now.
pub trait UsageSource: Send + Sync + 'static {
    /// All containers of the task, those that have ended included. `None` where the task is not on this node.
    fn usage(&self, task: TaskId) -> Option<Usage>;
    /// One container of the task.
    fn container_usage(&self, task: TaskId, container: &str) -> Option<Usage>;

    /// What the task holds of its scratch disk, where that is counted.
    fn storage_bytes(&self, _: TaskId) -> Option<u64> {
        None
    }
}

/// Knows of no task: for what runs without a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoUsage;

impl UsageSource for NoUsage {
    fn usage(&self, _: TaskId) -> Option<Usage> {
        None
    }

    fn container_usage(&self, _: TaskId, _: &str) -> Option<Usage> {
        None
    }
}
