//! The loops: observe the store, plan, execute.
//!
//! One loop for each concern: the tasks of this node, the services, the targets. Each is woken by the store's revision,
//! which says that something changed and never what; a pass compares two snapshots and plans only what differs, and a
//! sweep from time to time plans everything. The decisions are in `plan`; here is what they are carried out with. What a
//! loop writes is what wakes the next one, so no loop ever calls another.
//!
//! ```text
//!  Service ──services──> Task (wanted) ──tasks──> placement, durable ──> host
//!     ^                                              Task (facts) <── reports
//!     └──── Target (health) <──targets──────────────────┘  └──routes──> proxy
//! ```

pub mod host;
mod ids;
mod pressure;
mod recover;
mod services;
mod shutdown;
pub mod spec;
mod targets;
mod tasks;
#[cfg(test)]
mod tests;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::identity::{SealingKey, TaskRoles};
use crate::model::task::Placement;
use crate::model::{BootId, NodeId, Settings, Timestamp};
use crate::network::{RuleError, Table};
use crate::store::{CommitError, Store};
use crate::telemetry::logs::Logs;

pub use host::{Ask, Balancer, Host, LogsSink, RuntimeHost};
pub use ids::Ids;
pub use shutdown::DrainProgress;
pub use spec::network::Reach;

/// Tells the time. Real in the server, the paused clock of tokio in tests.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the loops work with.
pub struct Config {
    pub store: Store,
    pub host: Arc<dyn Host>,
    pub balancer: Arc<dyn Balancer>,
    pub network: Table,
    pub logs: Logs,
    pub node: NodeId,
    pub boot: BootId,
    pub clock: Clock,
    pub ids: Ids,
    /// Callers may name any file as an image: true while the server listens on loopback without access keys.
    pub any_file_image: bool,
    /// What the operator opens to tasks.
    pub settings: Arc<Settings>,
    /// The credentials of tasks, which the API accepts.
    pub task_roles: TaskRoles,
    /// Opens the secrets that tasks are given.
    pub sealing: Arc<SealingKey>,
}

/// What the loops share.
struct Shared {
    store: Store,
    host: Arc<dyn Host>,
    balancer: Arc<dyn Balancer>,
    network: Table,
    logs: Logs,
    placement: Placement,
    clock: Clock,
    ids: Ids,
    any_file_image: bool,
    settings: Arc<Settings>,
    task_roles: TaskRoles,
    /// What of them is about the network.
    reach: Reach,
    sealing: Arc<SealingKey>,
    phase: watch::Sender<Phase>,
    running: tasks::RunningTasks,
    last_memory_end: pressure::LastEnd,
}

impl Shared {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }
}

/// Whether new work is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// The server shuts down: nothing is placed or replaced any more, what runs is stopped.
    Draining,
    /// The loops end.
    Closed,
}

/// The loops could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot record what became of the tasks of the last run")]
    Recover(#[source] CommitError),
    #[error("the configuration says what cannot be: {0}")]
    Settings(#[from] RuleError),
}

/// The running loops. Dropping it ends them, as a crash would; `drain` ends them in order.
pub struct Control {
    shared: Arc<Shared>,
    loops: JoinSet<()>,
    /// Tasks that an earlier run of the server had placed, and that were ended before anything else.
    pub recovered: usize,
}

/// Repairs what the last run of the server left, then starts the loops. When this returns, everything that a client may
/// be told about tasks is true again.
pub async fn start(config: Config) -> Result<Control, StartError> {
    let placement = Placement { node: config.node, boot: config.boot };
    let reach = Reach::compile(&config.settings)?;
    let shared = Arc::new(Shared {
        store: config.store,
        host: config.host,
        balancer: config.balancer,
        network: config.network,
        logs: config.logs,
        placement,
        clock: config.clock,
        ids: config.ids,
        any_file_image: config.any_file_image,
        settings: config.settings,
        task_roles: config.task_roles,
        reach,
        sealing: config.sealing,
        phase: watch::Sender::new(Phase::Running),
        running: tasks::RunningTasks::default(),
        last_memory_end: pressure::LastEnd::default(),
    });
    let recovered = recover::recover(&shared).await.map_err(StartError::Recover)?;
    let mut loops = JoinSet::new();
    loops.spawn(turn::run(Arc::clone(&shared), tasks::Tasks::new(Arc::clone(&shared))));
    loops.spawn(turn::run(Arc::clone(&shared), tasks::Forget::new(Arc::clone(&shared))));
    loops.spawn(turn::run(Arc::clone(&shared), services::Services::new(Arc::clone(&shared))));
    loops.spawn(turn::run(Arc::clone(&shared), targets::Targets::new(Arc::clone(&shared))));
    loops.spawn(turn::run(Arc::clone(&shared), targets::Routes::new(Arc::clone(&shared))));
    loops.spawn(turn::run(Arc::clone(&shared), targets::OfClients::new(Arc::clone(&shared))));
    loops.spawn(targets::record_reports(Arc::clone(&shared)));
    loops.spawn(services::from_zero::watch(Arc::clone(&shared)));
    loops.spawn(pressure::watch(Arc::clone(&shared)));
    Ok(Control { shared, loops, recovered })
}

impl Control {
    /// Stops all tasks politely, with their targets drained first, and the loops after them. What is still there after
    /// `timeout` is cut off. Services keep their desired counts, and nothing is left for the next start to repair.
    pub async fn drain(&mut self, timeout: Duration, progress: impl Fn(DrainProgress)) {
        shutdown::drain(&self.shared, timeout, progress).await;
        self.loops.shutdown().await;
    }

    /// Tasks that the host has now.
    pub fn running(&self) -> usize {
        self.shared.running.len()
    }

    /// What a task of this node has used until now.
    pub fn usage(&self, task: crate::model::TaskId) -> Option<crate::model::Usage> {
        self.shared.host.usage(task)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.shared.phase.send_replace(Phase::Closed);
    }
}
