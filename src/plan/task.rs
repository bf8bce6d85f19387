//! What to do next with one task of this node, and which of the ended ones to forget.
//!
//! A task starts at most once. That rests on two facts that are on record before anything is done: a task without a
//! placement was never started by anyone, and a task whose placement names another boot cannot be running any more,
//! because the run of the server that started it is over. So the decision needs no memory of its own.

pub mod containers;
pub mod life;
pub mod reserve;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::model::task::{ContainerStatus, Placement, StopCode};
use crate::model::{DesiredStatus, Task, TaskId, TaskStatus, Timestamp};
use crate::plan::Plan;

/// ECS shows a stopped task for at least an hour.
pub const STOPPED_KEPT: Duration = Duration::from_secs(60 * 60);
/// Ended tasks that are kept at most, an hour or not: a service that fails ten times a second would else fill the disk.
/// As many as `telemetry` keeps logs of.
pub const STOPPED_MAX: usize = 10_000;

/// What is known of a task on this node besides its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Here {
    pub placement: Placement,
    /// The host has it: it was handed over in this boot and has not reported its end.
    pub on_host: bool,
    /// The host was already told to stop it.
    pub stop_asked: bool,
    /// Targets of it that are still registered or draining.
    pub targets: usize,
}

/// What to do with a task now. Exactly one thing: the change it makes leads to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, or nothing of this node's.
    Nothing,
    /// Give it a place here; once that is durable, start it.
    Place,
    /// It was told to stop before it had a place: it ends at once.
    EndUnplaced,
    /// It was placed by a run of the server that is over.
    Recover,
    /// Show that it is on its way out; its targets are leaving first.
    ShowDeactivating,
    /// Show that it is stopping.
    ShowStopping,
    /// Tell the host to stop it.
    Stop,
    /// This boot placed it, but the host does not have it: it could not be handed over.
    Lost,
}

/// Arms are in order of precedence; the first match wins.
pub fn next(task: &Task, here: Here) -> Next {
    let wanted = task.desired_status == DesiredStatus::Running;
    let Some(placement) = task.placement else {
        return match (task.last_status, wanted, task.requested_node) {
            (TaskStatus::Stopped, _, _) => Next::Nothing,
            (_, true, Some(node)) if node != here.placement.node => Next::Nothing,
            (_, true, _) => Next::Place,
            (_, false, _) => Next::EndUnplaced,
        };
    };
    match task.last_status {
        _ if placement.node != here.placement.node => Next::Nothing,
        TaskStatus::Stopped => Next::Nothing,
        _ if placement.boot != here.placement.boot => Next::Recover,
        _ if !here.on_host => Next::Lost,
        _ if wanted => Next::Nothing,
        TaskStatus::Stopping | TaskStatus::Deprovisioning if here.stop_asked => Next::Nothing,
        TaskStatus::Stopping | TaskStatus::Deprovisioning => Next::Stop,
        TaskStatus::Deactivating if here.targets > 0 => Next::Nothing,
        _ if here.targets > 0 => Next::ShowDeactivating,
        _ => Next::ShowStopping,
    }
}

/// How the reason of a task begins that was recovered.
const RECOVERED: &str = "The server stopped unexpectedly";

/// Ends a task that another boot placed. What was already shown of it stays: codes, reasons, times.
pub fn recover(task: &mut Task, now: Timestamp) {
    let reason = match task.started_at {
        Some(_) => format!("{RECOVERED} while the task was running"),
        None => format!("{RECOVERED} while the task was placed and not yet running"),
    };
    let code = match task.started_at {
        Some(_) => StopCode::TerminationNotice,
        None => StopCode::TaskFailedToStart,
    };
    end(task, code, reason, now);
}

/// That a task ended because its server did says nothing about the task itself.
pub fn was_recovered(task: &Task) -> bool {
    task.stopped_reason.as_deref().is_some_and(|reason| reason.starts_with(RECOVERED))
}

/// Ends a task that never had a place.
pub fn end_unplaced(task: &mut Task, now: Timestamp) {
    end(task, StopCode::UserInitiated, String::from("Task stopped before it was placed"), now);
}

/// Makes a task STOPPED. A code and a reason that it already has came from whoever stopped it, and stay.
pub fn end(task: &mut Task, code: StopCode, reason: String, now: Timestamp) {
    for container in &mut task.containers {
        if container.last_status != ContainerStatus::Stopped {
            container.last_status = ContainerStatus::Stopped;
            if container.exit_code.is_none() && container.reason.is_none() && task.placement.is_some() {
                container.reason = Some(reason.clone());
            }
        }
    }
    task.desired_status = DesiredStatus::Stopped;
    task.last_status = TaskStatus::Stopped;
    task.stopping_at.get_or_insert(now);
    if task.started_at.is_some() {
        task.execution_stopped_at.get_or_insert(now);
    }
    task.stopped_at.get_or_insert(now);
    task.stop_code.get_or_insert(code);
    task.stopped_reason.get_or_insert(reason);
}

/// Which ended tasks to forget: those past their time, and the oldest of too many.
pub fn plan_forgotten<'a>(tasks: impl Iterator<Item = &'a Task>, now: Timestamp) -> Plan<TaskId> {
    let mut plan = Plan::default();
    // The newest STOPPED_MAX are kept in a heap, its oldest on top, so that the pass is one walk.
    let mut kept: BinaryHeap<Reverse<(Timestamp, TaskId)>> = BinaryHeap::new();
    for task in tasks.filter(|task| task.is_stopped()) {
        let stopped_at = task.stopped_at.unwrap_or(task.created_at);
        if stopped_at + STOPPED_KEPT <= now {
            plan.actions.push(task.id);
            continue;
        }
        kept.push(Reverse((stopped_at, task.id)));
        if kept.len() > STOPPED_MAX
            && let Some(Reverse((_, oldest))) = kept.pop()
        {
            plan.actions.push(oldest);
        }
    }
    if let Some(Reverse((oldest, _))) = kept.peek() {
        plan.wake_at(*oldest + STOPPED_KEPT);
    }
    plan
}

#[cfg(test)]
pub(crate) mod tests;
