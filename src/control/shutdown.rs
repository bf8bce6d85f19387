//! The orderly end: every task is told to stop as if a client had asked, its targets drain first, and what became of it
//! is recorded, so that the next start finds nothing to repair.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{self, Instant};

use crate::control::tasks::succeeded;
use crate::control::{Phase, Shared};
use crate::model::task::StopCode;
use crate::model::{DesiredStatus, Task};
use crate::plan::task;
use crate::store::Key;

/// Tasks in one transaction.
const BATCH: usize = 50;
/// What is cut off reports its end within this time, or is recorded as ended without.
const KILL_WAIT: Duration = Duration::from_secs(5);
/// Tasks that were being placed while the shutdown began appear within this time.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Why the tasks end.
const REASON: &str = "The server was shut down";

/// How far the shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainProgress {
    /// Tasks that have not ended yet.
    pub tasks: usize,
    /// They are being cut off.
    pub killing: bool,
}

/// Stops all tasks of this boot; cuts off what is left after `timeout`.
pub async fn drain(shared: &Shared, timeout: Duration, progress: impl Fn(DrainProgress)) {
    shared.phase.send_replace(Phase::Draining);
    let deadline = Instant::now() + timeout;
    if !wait(shared, deadline, false, &progress).await {
        for task in shared.running.all() {
            shared.host.kill(task);
        }
        wait(shared, Instant::now() + KILL_WAIT, true, &progress).await;
    }
    record_ended(shared).await;
    shared.phase.send_replace(Phase::Closed);
}

/// Until nothing runs any more; false where that is not so at the deadline.
async fn wait(shared: &Shared, deadline: Instant, killing: bool, progress: &impl Fn(DrainProgress)) -> bool {
    let mut count = shared.running.watch();
    loop {
        stop_all(shared).await;
        let tasks = live(shared).len().max(shared.running.len());
        progress(DrainProgress { tasks, killing });
        if tasks == 0 {
            return true;
        }
        if deadline <= Instant::now() {
            return false;
        }
        let next_look = deadline.min(Instant::now() + LOOK_AGAIN);
        // Woken by an end, or by the time to look for tasks that were being placed.
        let _ = time::timeout_at(next_look, count.changed()).await;
    }
}

/// Tasks that this boot placed and that have not ended.
fn live(shared: &Shared) -> Vec<Key> {
    let tasks = shared.store.snapshot().live_tasks_of_node(shared.placement.node);
    let own = tasks.iter().filter(|task| task.placement == Some(shared.placement));
    own.map(|task| Key::task(&task.scope, &task.cluster, task.id)).collect()
}

async fn stop_all(shared: &Shared) {
    let wanted = |task: &Task| task.desired_status == DesiredStatus::Running;
    let snapshot = shared.store.snapshot();
    let keys: Vec<Key> =
        live(shared).into_iter().filter(|key| snapshot.get::<Task>(key).is_none_or(|task| wanted(&task))).collect();
    change(shared, &keys, |task| {
        if task.desired_status == DesiredStatus::Running {
            task.desired_status = DesiredStatus::Stopped;
            task.stop_code.get_or_insert(StopCode::TerminationNotice);
            task.stopped_reason.get_or_insert_with(|| String::from(REASON));
        }
    })
    .await;
}

/// What could not even be cut off in time ends with the process: its record must not say otherwise.
async fn record_ended(shared: &Shared) {
    let now = shared.now();
    change(shared, &live(shared), |task| task::end(task, StopCode::TerminationNotice, String::from(REASON), now)).await;
}

async fn change(shared: &Shared, keys: &[Key], change: impl Fn(&mut Task)) {
    for batch in keys.chunks(BATCH) {
        let changed = shared.store.transact(|view| -> Result<(), Infallible> {
            for key in batch {
                let Some(found) = view.get::<Task>(key).filter(|task| !task.is_stopped()) else { continue };
                let mut task = Task::clone(&found);
                change(&mut task);
                if task != *found {
                    task.version += 1;
                    view.put(task);
                }
            }
            Ok(())
        });
        if succeeded("stop the tasks", changed.await).is_none() {
            return;
        }
    }
}
