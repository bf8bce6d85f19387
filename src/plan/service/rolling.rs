//! Which tasks stop and how many start, within the healthy minimum and the running maximum.
//!
//! Room decides the order. While the maximum leaves room, replacements start first and what they replace stays until they
//! are healthy; only where it does not does something stop first, and then no more than the minimum allows. Tasks that
//! are not healthy never count towards the minimum, so they are always the first to go.

use std::cmp::Reverse;
use std::time::Duration;

use crate::model::service::Throttle;
use crate::model::task::StopCode;
use crate::model::{Service, Task, TaskId, Timestamp};
use crate::plan::service::standing::{Failure, Sorted, Standing};
use crate::plan::service::{Action, Observed, PASS_STARTS_MAX, PASS_STOPS_MAX, Room, events};
use crate::plan::{Held, Plan};

/// In each such period a service may start twice its count, so that a deployment is never slowed down, and a few more.
const PACE_PERIOD: Duration = Duration::from_secs(1);
/// Crashes of a small service that are made good at once, in each period.
const PACE_SPARE: usize = 10;

/// Among so many of the newest events one that says the same is not repeated.
const EVENTS_LOOKED_AT: usize = 20;

/// What this pass stops.
#[derive(Debug, Default)]
pub(super) struct Stops {
    pub tasks: Vec<TaskId>,
    /// How many of them were members of the primary deployment that served, and that did not yet.
    serving: usize,
    starting: usize,
}

/// Why a task is stopped.
enum Why<'a> {
    Scaling,
    Unhealthy(&'a Standing<'a>),
}

/// Decides what goes: failed tasks that are replaced or in the way, outdated ones as healthy ones take their place, and
/// what is too much.
pub(super) fn plan_stops(plan: &mut Plan<Action>, observed: &Observed<'_>, sorted: &Sorted<'_>) -> Stops {
    let mut stops = Stops::default();
    stop_surplus(plan, observed, sorted, &mut stops);
    stop_failed(plan, observed, sorted, &mut stops);
    stop_outdated(plan, observed, sorted, &mut stops);
    if sorted.in_grace > 0 {
        plan.held.push(Held::GracePeriod { tasks: sorted.in_grace });
    }
    if !stops.tasks.is_empty() {
        plan.actions.push(events::record(observed.service, events::stopped(&stops.tasks)));
    }
    stops
}

/// Scaling down: of the primary deployment's tasks, those that do not run yet go first, then the newest.
fn stop_surplus(plan: &mut Plan<Action>, observed: &Observed<'_>, sorted: &Sorted<'_>, stops: &mut Stops) {
    let current = &sorted.current;
    let surplus = (current.serving.len() + current.starting.len()).saturating_sub(sorted.wanted);
    if surplus == 0 {
        return;
    }
    let mut starting = current.starting.clone();
    let mut serving = current.serving.clone();
    let newest_first = |task: &&Task| (Reverse(task.created_at), Reverse(task.id));
    starting.sort_by_key(|task| (task.last_status, newest_first(task)));
    serving.sort_by_key(newest_first);
    let surplus = spare_protected(
        plan,
        observed,
        sorted,
        surplus,
        &mut [&mut starting, &mut serving],
        &events::unable_to_scale_in,
    );
    let starting_stops = surplus.min(starting.len());
    for task in starting.into_iter().take(starting_stops) {
        stops.starting += usize::from(stop(plan, observed, stops, task, Why::Scaling));
    }
    for task in serving.into_iter().take(surplus - starting_stops) {
        stops.serving += usize::from(stop(plan, observed, stops, task, Why::Scaling));
    }
}

/// Takes what is protected out of the `candidates`, and says how many of the `wanted` stops are left. Where protection
/// prevents one, that is held until the first protection ends, and the service says so.
fn spare_protected(
    plan: &mut Plan<Action>,
    observed: &Observed<'_>,
    sorted: &Sorted<'_>,
    wanted: usize,
    candidates: &mut [&mut Vec<&Task>],
    event: &dyn Fn(&Service, &str, usize) -> String,
) -> usize {
    let protected = |task: &&&Task| sorted.is_protected(task);
    let spared: Vec<&Task> = candidates.iter().flat_map(|tasks| tasks.iter().filter(protected).copied()).collect();
    for tasks in candidates.iter_mut() {
        tasks.retain(|task| !sorted.is_protected(task));
    }
    let possible = wanted.min(candidates.iter().map(|tasks| tasks.len()).sum());
    let until = spared.iter().filter_map(|task| sorted.protected.get(&task.id)).min();
    if let (Some(until), Some(first)) = (until, spared.first())
        && possible < wanted
    {
        plan.held.push(Held::Protected { stops: wanted - possible, until: *until });
        plan.wake_at(*until);
        let deployment = first.service.as_ref().map_or("", |membership| membership.deployment.as_str());
        let message = event(observed.service, deployment, spared.len());
        // Said once: several causes may alternate, and a pass that says something wakes the next.
        if !observed.service.events.iter().take(EVENTS_LOOKED_AT).any(|recent| recent.message == message) {
            plan.actions.push(Action::Record { message });
        }
    }
    possible
}

/// An unhealthy task goes once a healthy one stands in for it, or at once where there is no room to start that one.
fn stop_failed(plan: &mut Plan<Action>, observed: &Observed<'_>, sorted: &Sorted<'_>, stops: &mut Stops) {
    let failed = &sorted.current.failed;
    if failed.is_empty() {
        return;
    }
    let not_replaced = sorted.wanted.saturating_sub(sorted.serving() - stops.serving);
    let in_the_way = missing(sorted, stops).saturating_sub(free(sorted, stops));
    let stop_count = failed.len().saturating_sub(not_replaced).max(in_the_way).min(failed.len());
    for (task, standing) in failed.iter().take(stop_count) {
        stop(plan, observed, stops, task, Why::Unhealthy(standing));
    }
    if stop_count < failed.len() {
        plan.held.push(Held::NotReplacedYet { tasks: failed.len() - stop_count });
    }
}

/// Tasks of earlier deployments: those that serve nobody at once, the others as the minimum allows, oldest first.
fn stop_outdated(plan: &mut Plan<Action>, observed: &Observed<'_>, sorted: &Sorted<'_>, stops: &mut Stops) {
    let outdated = &sorted.outdated;
    for (task, standing) in &outdated.failed {
        stop(plan, observed, stops, task, Why::Unhealthy(standing));
    }
    let mut starting = outdated.starting.clone();
    let starting_stops = starting.len();
    spare_protected(plan, observed, sorted, starting_stops, &mut [&mut starting], &events::unable_to_replace);
    for task in starting {
        stop(plan, observed, stops, task, Why::Scaling);
    }
    let serving_current = sorted.current.serving.len() - stops.serving;
    let healthy = serving_current + outdated.serving.len();
    // With room under the maximum the old ones stay until the new ones are healthy; without it, they make room.
    let no_longer_needed = healthy.saturating_sub(sorted.wanted);
    let in_the_way = missing(sorted, stops).saturating_sub(free(sorted, stops));
    let wanted_stops = no_longer_needed.max(in_the_way).min(outdated.serving.len());
    let allowed_stops = wanted_stops.min(healthy.saturating_sub(sorted.minimum));
    let mut oldest_first = outdated.serving.clone();
    oldest_first.sort_by_key(|task| (task.created_at, task.id));
    let stop_count =
        spare_protected(plan, observed, sorted, allowed_stops, &mut [&mut oldest_first], &events::unable_to_replace);
    // What protection keeps, the minimum does not.
    let kept = oldest_first.len() - stop_count;
    for task in oldest_first.into_iter().take(stop_count) {
        stop(plan, observed, stops, task, Why::Scaling);
    }
    if kept > 0 {
        plan.held.push(Held::HealthyMinimum { stops: kept });
    }
}

/// Starts what is missing, as far as the maximum, the room on the nodes and the back-off allow.
pub(super) fn plan_starts(
    plan: &mut Plan<Action>,
    observed: &Observed<'_>,
    sorted: &Sorted<'_>,
    stops: &Stops,
    throttle: Throttle,
    now: Timestamp,
    ids: &mut dyn Iterator<Item = TaskId>,
) -> Vec<TaskId> {
    let Some(primary) = observed.service.primary() else { return Vec::new() };
    let mut starts = missing(sorted, stops);
    if let Some(until) = throttle.not_before.filter(|until| starts > 0 && now < *until) {
        plan.held.push(Held::BackOff { starts, until });
        plan.wake_at(until);
        return Vec::new();
    }
    let free = free(sorted, stops);
    if starts > free {
        plan.held.push(Held::RunningMaximum { starts: starts - free });
        if free == 0 && stops.tasks.is_empty() && sorted.outdated.count() > 0 && is_stuck(sorted) {
            record_once(plan, observed, events::stuck_by_configuration());
        }
        starts = free;
    }
    if let Room::Tasks { count, lacking } = observed.room
        && starts > count
    {
        plan.held.push(Held::NoRoom { starts: starts - count, lacking });
        record_once(plan, observed, events::unable_to_place(observed.closest_instance, lacking));
        starts = count;
    }
    let (allowed, next) = pace(observed, sorted, now);
    if starts > allowed {
        plan.held.push(Held::TooFast { starts: starts - allowed, until: next });
        plan.wake_at(next);
        starts = allowed;
    }
    if starts > PASS_STARTS_MAX {
        plan.held.push(Held::PassFull { starts: starts - PASS_STARTS_MAX });
        starts = PASS_STARTS_MAX;
        plan.wake_at(now);
    }
    let started: Vec<TaskId> = ids.take(starts).collect();
    for task in &started {
        let (deployment, definition) = (primary.id.clone(), primary.definition.clone());
        plan.actions.push(Action::Start { task: *task, deployment, definition });
    }
    if !started.is_empty() {
        plan.actions.push(events::record(observed.service, events::started(&started)));
    }
    started
}

/// How many tasks may be started now, and when more may be. ECS is paced by how long its starts take; here a program that
/// runs and returns at once would else be replaced hundreds of times a second.
fn pace(observed: &Observed<'_>, sorted: &Sorted<'_>, now: Timestamp) -> (usize, Timestamp) {
    let recent = observed.tasks.iter().map(|task| task.created_at).filter(|created| now < *created + PACE_PERIOD);
    let (mut count, mut oldest) = (0, now);
    for created in recent {
        count += 1;
        oldest = oldest.min(created);
    }
    ((2 * sorted.wanted + PACE_SPARE).saturating_sub(count), oldest + PACE_PERIOD)
}

/// Nothing that is still on its way could ever open this deployment.
fn is_stuck(sorted: &Sorted<'_>) -> bool {
    sorted.minimum >= sorted.maximum && sorted.current.starting.is_empty() && sorted.leaving == 0
}

/// Tasks that the primary deployment lacks. One that failed is to be replaced, so it is not there.
fn missing(sorted: &Sorted<'_>, stops: &Stops) -> usize {
    let current = sorted.current.serving.len() + sorted.current.starting.len() - stops.serving - stops.starting;
    sorted.wanted.saturating_sub(current)
}

/// Tasks that may be started before the maximum is reached.
fn free(sorted: &Sorted<'_>, stops: &Stops) -> usize {
    sorted.maximum.saturating_sub(sorted.live() - stops.tasks.len())
}

/// Stops a task, unless the pass is full: then what this pass changes wakes the next one.
fn stop(plan: &mut Plan<Action>, observed: &Observed<'_>, stops: &mut Stops, task: &Task, why: Why<'_>) -> bool {
    if stops.tasks.len() == PASS_STOPS_MAX {
        return false;
    }
    let reason = match why {
        Why::Unhealthy(Standing::Failed(Failure::Containers)) => {
            let text = events::failed_container_checks(task.id);
            plan.actions.push(events::record(observed.service, text));
            String::from(events::FAILED_CONTAINER_CHECKS)
        }
        Why::Unhealthy(Standing::Failed(Failure::LoadBalancer { target_group_arn, port, reason })) => {
            let text = events::unhealthy(task.id, *port, target_group_arn, reason);
            plan.actions.push(events::record(observed.service, text));
            events::unhealthy_reason(target_group_arn)
        }
        Why::Unhealthy(_) | Why::Scaling => {
            events::scaling_reason(observed.service.primary().map_or("", |deployment| deployment.id.as_str()))
        }
    };
    plan.actions.push(Action::Stop { task: task.id, code: StopCode::ServiceSchedulerInitiated, reason });
    stops.tasks.push(task.id);
    true
}

/// Says what does not change from pass to pass only once among the newest events.
fn record_once(plan: &mut Plan<Action>, observed: &Observed<'_>, text: String) {
    let message = events::message(observed.service, &text);
    if observed.service.events.first().is_none_or(|newest| newest.message != message) {
        plan.actions.push(Action::Record { message });
    }
}
