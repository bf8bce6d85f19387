//! What a node does when the memory that its tasks really use comes near its budget: starts wait, and then the task
//! furthest over its reservation ends.
//!
//! FARGATE tasks reserve nothing by their size, which is a cap, so a node may promise more than it has. What it promises is
//! not what is used: an idle guest has grown to a megabyte and occupies some pages of it. So pressure is judged by what is
//! resident, and who is to end by what each one asked for. A task that is on its way out counts as gone, or one pass would
//! end several where one is enough.

use std::fmt;
use std::time::Duration;

use crate::model::task::{LaunchType, StopCode};
use crate::model::{DesiredStatus, Task, TaskDefinition, TaskId, Timestamp, size};
use crate::plan::Plan;
use crate::plan::task::reserve::reserved_mib;

/// Starts wait from this part of the budget on: what was just started has not grown yet, and needs room to.
const STARTS_WAIT_PERCENT: u64 = 90;
/// After a task was ended no other starts for so long: what ended is replaced at once, and would bring the pressure back
/// before it has shown to be over.
pub const PAUSE_AFTER_END: Duration = Duration::from_secs(5);
/// How soon a start that waits is looked at again, where nothing that is on record changes.
pub const LOOK_AGAIN: Duration = Duration::from_millis(500);

const MIB: u64 = 1 << 20;

/// The memory of a node, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeMemory {
    /// What tasks may use together. Zero where it is not known: then there is no pressure.
    pub budget_bytes: u64,
    /// What all tasks asked for and were given.
    pub held_bytes: u64,
    /// What this process has in memory of its own.
    pub resident_bytes: u64,
}

impl NodeMemory {
    /// What tasks really use: neither more than they asked for, nor more than there is.
    pub fn used_bytes(&self) -> u64 {
        self.held_bytes.min(self.resident_bytes)
    }

    fn is_scarce(&self) -> bool {
        let (used, budget) = (u128::from(self.used_bytes()), u128::from(self.budget_bytes));
        budget > 0 && used * 100 >= budget * u128::from(STARTS_WAIT_PERCENT)
    }
}

impl fmt::Display for NodeMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB of {} MiB are in use", self.used_bytes() / MIB, self.budget_bytes / MIB)
    }
}

/// Why starts wait, and until when at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub until: Timestamp,
    pub memory: NodeMemory,
}

/// Whether tasks may be started now. `last_end` is when a task was last ended for memory.
pub fn starts_wait(memory: NodeMemory, last_end: Option<Timestamp>, now: Timestamp) -> Option<Wait> {
    let paused = last_end.map(|ended| ended + PAUSE_AFTER_END).filter(|until| *until > now);
    match paused {
        Some(until) => Some(Wait { until, memory }),
        None => memory.is_scarce().then(|| Wait { until: now + LOOK_AGAIN, memory }),
    }
}

/// What a service says whose task waits.
pub fn waits_message(wait: &Wait) -> String {
    format!(
        "was unable to place a task because the node is short of memory: its tasks use more than {STARTS_WAIT_PERCENT} % of \
         {} MiB. The task starts when memory is free.",
        wait.memory.budget_bytes / MIB
    )
}

/// A task that starts when memory is free is shown as PENDING. True where that is news.
pub fn show_waiting(task: &mut Task) -> bool {
    use crate::model::TaskStatus::{Pending, Provisioning};
    let is_new = task.last_status == Provisioning && task.desired_status == DesiredStatus::Running;
    if is_new {
        task.last_status = Pending;
    }
    is_new
}

/// One task of the node, as this decision sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub task: TaskId,
    pub held_bytes: u64,
    pub reserved_bytes: u64,
    pub created_at: Timestamp,
    /// It was told to stop, by whomever.
    pub is_ending: bool,
}

/// A task that ends, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub task: TaskId,
    pub reason: String,
}

/// Which tasks end, so that the rest fit.
pub fn plan_pressure(memory: NodeMemory, holders: &[Holder]) -> Plan<End> {
    let mut plan = Plan::default();
    let leaving: u64 = holders.iter().filter(|holder| holder.is_ending).map(|holder| holder.held_bytes).sum();
    let mut used_bytes = memory.used_bytes().saturating_sub(leaving);
    // Who holds nothing would be ended for nothing.
    let mut staying: Vec<&Holder> = holders.iter().filter(|it| !it.is_ending && it.held_bytes > 0).collect();
    staying.sort_by_key(|holder| (over(holder), holder.created_at, holder.task));
    while memory.budget_bytes > 0 && used_bytes > memory.budget_bytes {
        let Some(furthest) = staying.pop() else { break };
        used_bytes = used_bytes.saturating_sub(furthest.held_bytes);
        plan.actions.push(End { task: furthest.task, reason: reason(memory, furthest) });
    }
    plan
}

/// How far a task is over its reservation; negative where it is below.
fn over(holder: &Holder) -> i128 {
    i128::from(holder.held_bytes) - i128::from(holder.reserved_bytes)
}

/// How the reason of a task begins that was ended for memory.
const REASON: &str = "OutOfMemoryError: The node is short of memory";

fn reason(memory: NodeMemory, holder: &Holder) -> String {
    format!(
        "{REASON} ({memory}), and this task was furthest over its reservation ({} MiB held, {} MiB reserved)",
        holder.held_bytes / MIB,
        holder.reserved_bytes / MIB
    )
}

/// Whether a task was ended because its node was short of memory.
pub fn was_ended(task: &Task) -> bool {
    task.stopped_reason.as_deref().is_some_and(|reason| reason.starts_with(REASON))
}

/// Records that a task is to end. ECS says TerminationNotice where it is the machine that takes a task away. False where
/// the task was ending already.
pub fn end(task: &mut Task, end: &End, now: Timestamp) -> bool {
    if task.desired_status == DesiredStatus::Stopped || task.is_stopped() {
        return false;
    }
    task.desired_status = DesiredStatus::Stopped;
    task.stop_code.get_or_insert(StopCode::TerminationNotice);
    task.stopped_reason.get_or_insert_with(|| end.reason.clone());
    task.stopping_at.get_or_insert(now);
    true
}

/// What a task may be sure to keep: `memoryReservation` of its containers, else their `memory`, else its own. A size of
/// FARGATE is a cap and reserves nothing, so there only what is written as a reservation counts.
pub fn reserved_bytes(task: &Task, definition: Option<&TaskDefinition>) -> u64 {
    let containers = definition.map_or(&[][..], |definition| &definition.document.container_definitions);
    let is_cap = task.launch_type == LaunchType::Fargate;
    let of_containers: u64 = containers.iter().filter_map(|container| reserved_mib(task, container, !is_cap)).sum();
    let own = task.memory.as_deref().and_then(size::memory_mib).filter(|_| !is_cap && of_containers == 0);
    own.map_or(of_containers, u64::from).saturating_mul(MIB)
}

#[cfg(test)]
mod tests;
