//! How long a service waits before it starts its next tasks, because its last ones never ran.
//!
//! Failures come in rounds: of ten tasks that are started together and fail together only the first raises the back-off.
//! What tells the rounds apart is on record: a task that was created before the last back-off ended belongs to the round
//! that caused it. So nothing is counted twice, however often the same facts are planned, and no pass needs a memory.

use std::time::Duration;

use crate::model::service::Throttle;
use crate::model::task::StopCode;
use crate::model::{HealthStatus, Task, TaskStatus, Timestamp};
use crate::plan::service::{Action, Observed, events};
use crate::plan::{Plan, task};

/// Rounds after which the next start follows at once: one failure is an accident.
const FREE_ROUNDS: u32 = 2;
/// The first wait; each one after it is twice as long.
const BACK_OFF_FIRST: Duration = Duration::from_secs(10);
/// ECS documents 15 minutes as its longest wait.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(15 * 60);
/// Doublings after which the longest wait is reached, whatever the count says.
const DOUBLINGS_MAX: u32 = 7;

/// A start that came to nothing. A task that somebody stopped did not fail.
fn never_ran(task: &Task) -> bool {
    task.last_status == TaskStatus::Stopped
        && task.started_at.is_none()
        && matches!(task.stop_code, Some(StopCode::TaskFailedToStart | StopCode::EssentialContainerExited))
        && !task::was_recovered(task)
}

/// Brings the back-off up to date with what became of the last tasks, and returns it.
pub(super) fn plan_throttle(plan: &mut Plan<Action>, observed: &Observed<'_>) -> Throttle {
    let service = observed.service;
    let before = service.throttle;
    let Some(primary) = service.primary() else { return before };
    let round_began = before.not_before.unwrap_or(Timestamp(i64::MIN)).max(service.created_at);
    let mut any_failure = false;
    // Of this round: when the newest success was created; when the newest failure was, and when the last one ended.
    let mut success: Option<Timestamp> = None;
    let mut failure: Option<(Timestamp, Timestamp)> = None;
    for task in observed.tasks.iter().filter(|task| task.definition == primary.definition) {
        let failed = never_ran(task);
        any_failure |= failed;
        if task.created_at < round_began {
            continue;
        }
        if task.started_at.is_some() {
            success = success.max(Some(task.created_at));
        }
        if failed {
            let this = (task.created_at, task.stopped_at.unwrap_or(task.created_at));
            failure = Some(failure.map_or(this, |(created, ended)| (created.max(this.0), ended.max(this.1))));
        }
    }
    let after = match (failure, success) {
        // A new definition is tried afresh.
        _ if !any_failure => Throttle::default(),
        // What was started last runs, or ran: the row is over.
        (None, Some(_)) => Throttle::default(),
        (Some((failed, _)), Some(succeeded)) if failed < succeeded => Throttle::default(),
        (None, None) => before,
        (Some((created, ended)), _) => {
            let failures = before.failures.saturating_add(1);
            // Strictly after the failed ones were created, so that they are never taken for the next round.
            let not_before = (ended + delay(failures)).max(created + Duration::from_millis(1));
            Throttle { failures, not_before: Some(not_before) }
        }
    };
    if after != before {
        plan.actions.push(Action::SetThrottle(after));
        if after.failures == FREE_ROUNDS + 1 {
            plan.actions.push(events::record(service, events::unable_to_start_consistently()));
        }
    }
    after
}

/// How long to wait after this many failed rounds in a row.
fn delay(failures: u32) -> Duration {
    match failures.checked_sub(FREE_ROUNDS + 1) {
        None => Duration::ZERO,
        Some(doublings) => (BACK_OFF_FIRST * 2_u32.pow(doublings.min(DOUBLINGS_MAX))).min(BACK_OFF_MAX),
    }
}

/// Counts the failures of the primary deployment since its last success, as `failedTasks` shows them. What has left the
/// record is still counted until a task succeeds.
pub(super) fn plan_failed_tasks(plan: &mut Plan<Action>, observed: &Observed<'_>) {
    let Some(primary) = observed.service.primary() else { return };
    let of_primary = || {
        observed
            .tasks
            .iter()
            .filter(|task| task.service.as_ref().is_some_and(|membership| membership.deployment == primary.id))
    };
    let failed = |task: &Task| never_ran(task) || failed_checks(task);
    let is_well = |task: &Task| matches!(task.health_status, None | Some(HealthStatus::Healthy));
    let succeeded = |task: &Task| task.started_at.is_some() && !failed_checks(task) && is_well(task);
    let last_success = of_primary().filter(|task| succeeded(task)).map(|task| task.created_at).max();
    let since =
        of_primary().filter(|task| failed(task) && last_success.is_none_or(|last| last < task.created_at)).count();
    let since = u32::try_from(since).unwrap_or(u32::MAX);
    let failed_tasks = if last_success.is_some() { since } else { since.max(primary.failed_tasks) };
    if failed_tasks != primary.failed_tasks {
        plan.actions.push(Action::SetFailedTasks { deployment: primary.id.clone(), failed_tasks });
    }
}

fn failed_checks(task: &Task) -> bool {
    let failures = [events::FAILED_ELB_CHECKS, events::FAILED_CONTAINER_CHECKS];
    task.stopped_reason.as_deref().is_some_and(|reason| failures.iter().any(|failure| reason.starts_with(failure)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_up_to_fifteen_minutes() {
        let seconds: Vec<u64> = (1..=11).map(|failures| delay(failures).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        assert_eq!(delay(u32::MAX), BACK_OFF_MAX);
    }
}
