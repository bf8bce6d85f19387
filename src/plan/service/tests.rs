//! Scenes: one letter for each task, oldest first. H healthy, s starting, X unhealthy past its grace, g unhealthy within
//! it, L leaving, D ended before it ran, E ended after it ran; O, o and Z are healthy, starting and failed of the old
//! revision, l is leaving of it. P is healthy and protected, Q too, of the old revision.

pub(crate) mod scene;

use proptest::prelude::*;

use super::*;
use crate::model::TaskStatus;
use crate::model::service::ServiceEvent;
use crate::plan::Held;
use scene::{NOW, PROTECTED_UNTIL, Scene, drawn, task};

/// With both deployments on record; without `remove old`, which nearly every scene would end with.
fn check(desired: u32, tasks: &str, expected: &str) {
    check_with(desired, tasks, 100, 200, expected);
}

fn check_with(desired: u32, tasks: &str, minimum: u32, maximum: u32, expected: &str) {
    let mut scene = Scene::new(desired, tasks);
    scene.service.minimum_healthy_percent = minimum;
    scene.service.maximum_percent = maximum;
    if !tasks.contains(['O', 'o', 'Z', 'l']) {
        scene.service.deployments.truncate(1);
    }
    assert_eq!(drawn(&scene.plan()), expected, "{desired} wanted, {tasks}");
}

#[test]
fn keeps_the_count() {
    check(0, "", "completed");
    check(3, "", "start 3");
    check(3, "HsL", "start 1");
    check(2, "HHE", "completed");
    check(3, "sss", "");
}

#[test]
fn replaces_a_failed_task_before_it_stops_it() {
    check(3, "HHX", "start 1, held: 1 stops: not replaced yet");
    check(3, "HHXs", "held: 1 stops: not replaced yet");
    check(3, "HHXH", "stop 2 (unhealthy)");
    check(3, "HHg", "held: 1 stops: grace period");
}

#[test]
fn a_task_serves_only_while_its_containers_say_that_they_are_healthy() {
    use crate::model::HealthStatus::{Healthy, Unhealthy, Unknown};
    let plan = |status, grace: u32| {
        let mut scene = Scene::new(2, "HH");
        scene.service.deployments.truncate(1);
        scene.service.health_check_grace_period_seconds = grace;
        scene.change(TaskId(1), |task| task.health_status = Some(status));
        scene.plan()
    };
    assert_eq!(drawn(&plan(Healthy, 0)), "completed");
    assert_eq!(drawn(&plan(Unknown, 0)), "", "it is starting");
    assert_eq!(drawn(&plan(Unhealthy, 0)), "start 1, held: 1 stops: not replaced yet");
    assert_eq!(drawn(&plan(Unhealthy, 1_000_000)), "held: 1 stops: grace period");

    let mut scene = Scene::new(1, "HH");
    scene.change(TaskId(0), |task| task.health_status = Some(Unhealthy));
    let plan = scene.plan();
    let event = "(service web) (task 00000000000000000000000000000000) failed container health checks.";
    assert!(plan.actions.contains(&Action::Record { message: String::from(event) }), "{plan:?}");
    let reason = plan.actions.iter().find_map(|action| match action {
        Action::Stop { reason, .. } => Some(reason.as_str()),
        _ => None,
    });
    assert_eq!(reason, Some("Task failed container health checks"));
}

#[test]
fn stops_a_failed_task_first_where_the_maximum_leaves_no_room() {
    check_with(3, "HHX", 100, 100, "stop 2 (unhealthy), start 1");
    check_with(3, "HXX", 50, 100, "stop 1 (unhealthy), stop 2 (unhealthy), start 2");
}

#[test]
fn what_is_protected_is_not_scaled_in() {
    let until = PROTECTED_UNTIL;
    check(1, "PH", "stop 1 (scaling)");
    check(1, "PPH", &format!("stop 2 (scaling), held: 1 stops: protected until {until}"));
    check(0, "Ps", &format!("stop 1 (scaling), held: 1 stops: protected until {until}"));
    let plan = Scene::new(0, "P").plan();
    assert_eq!(plan.wake_at, Some(until));
}

#[test]
fn a_deployment_waits_for_what_is_protected() {
    let held = format!("held: 1 stops: protected until {PROTECTED_UNTIL}");
    check(2, "QO", "start 2, held: 1 stops: healthy minimum");
    check(2, "QOHH", &format!("stop 1 (scaling), {held}"));
    check(2, "QHH", &held);
    // It counts among the tasks that there may be at most.
    check_with(1, "Q", 0, 100, &format!("{held}, held: 1 starts: running maximum"));
    check_with(2, "QO", 50, 100, "stop 1 (scaling), start 1, held: 1 starts: running maximum");
}

#[test]
fn protection_is_said_once_and_ends_by_itself() {
    let mut scene = Scene::new(0, "P");
    scene.service.deployments.truncate(1);
    let said = |plan: &Plan<Action>| {
        plan.actions
            .iter()
            .any(|action| matches!(action, Action::Record { message } if message.ends_with("protection)")))
    };
    let plan = scene.plan();
    assert!(said(&plan));
    scene.execute(&plan);
    assert!(scene.plan().is_empty());
    let mut task = Task::clone(&scene.tasks[0]);
    task.protection = Some(crate::model::Protection { expires_at: NOW });
    scene.tasks[0] = Arc::new(task);
    assert_eq!(drawn(&scene.plan()), "stop 0 (scaling)");
}

#[test]
fn what_is_protected_ends_with_its_service_and_with_its_health() {
    let mut scene = Scene::new(0, "P");
    scene.service.deployments.truncate(1);
    scene.service.status = ServiceStatus::Draining;
    assert_eq!(drawn(&scene.plan()), "stop 0 (scaling)");
    let mut scene = Scene::new(1, "XH");
    let mut task = Task::clone(&scene.tasks[0]);
    task.protection = Some(crate::model::Protection { expires_at: PROTECTED_UNTIL });
    scene.tasks[0] = Arc::new(task);
    scene.service.deployments.truncate(1);
    assert_eq!(drawn(&scene.plan()), "stop 0 (unhealthy)");
}

#[test]
fn scales_down_what_does_not_run_yet_and_then_the_newest() {
    check(1, "HHs", "stop 2 (scaling), stop 1 (scaling)");
    check(2, "Hss", "stop 2 (scaling)");
    check(0, "HX", "stop 0 (scaling), stop 1 (unhealthy)");
}

#[test]
fn rolls_old_tasks_without_dipping_below_the_minimum() {
    check(2, "OO", "start 2, held: 2 stops: healthy minimum");
    check(2, "OOsH", "stop 0 (scaling), held: 1 stops: healthy minimum");
    check(2, "OOHH", "stop 0 (scaling), stop 1 (scaling)");
    check(2, "lHH", "");
    check(2, "oOs", "stop 0 (scaling), start 1, held: 1 stops: healthy minimum");
    check(2, "ZOs", "stop 0 (unhealthy), start 1, held: 1 stops: healthy minimum");
}

#[test]
fn makes_room_below_the_count_where_the_minimum_allows_it() {
    check_with(
        4,
        "OOOO",
        50,
        100,
        "stop 0 (scaling), stop 1 (scaling), start 2, held: 2 stops: healthy minimum, held: 2 starts: running maximum",
    );
    check_with(2, "OO", 0, 100, "stop 0 (scaling), stop 1 (scaling), start 2");
    check_with(3, "OOO", 100, 150, "start 1, held: 3 stops: healthy minimum, held: 2 starts: running maximum");
    check_with(2, "OO", 100, 100, "held: 2 stops: healthy minimum, held: 2 starts: running maximum");
}

#[test]
fn a_deployment_that_can_never_move_says_so() {
    let mut scene = Scene::new(2, "OO");
    scene.service.maximum_percent = 100;
    let plan = scene.plan();
    scene.execute(&plan);
    assert!(scene.service.events[0].message.contains("because of the service deployment configuration"));
    assert!(scene.plan().is_empty());
}

#[test]
fn a_deleted_service_ends_when_its_last_task_is_gone() {
    let mut scene = Scene::new(2, "HOs");
    scene.service.status = ServiceStatus::Draining;
    assert_eq!(drawn(&scene.plan()), "stop 2 (scaling), stop 0 (scaling), stop 1 (scaling)");
    let plan = scene.plan();
    scene.execute(&plan);
    assert!(scene.plan().is_empty());
    scene.settle();
    assert_eq!(drawn(&scene.plan()), "inactive");
}

#[test]
fn events_have_the_texts_of_ecs() {
    let mut scene = Scene::new(1, "O");
    for _ in 0..4 {
        let plan = scene.plan();
        scene.execute(&plan);
        scene.settle();
    }
    let texts: Vec<&str> = scene.service.events.iter().rev().map(|event| event.message.as_str()).collect();
    let (new, old) = (TaskId(1), TaskId(0));
    assert_eq!(
        texts,
        [
            format!("(service web) has started 1 tasks: (task {new})."),
            format!("(service web) has stopped 1 running tasks: (task {old})."),
            String::from("(service web) (deployment new) deployment completed."),
            String::from("(service web) has reached a steady state."),
        ]
    );
    assert_eq!(scene.service.deployments.len(), 1);
    assert_eq!(scene.tasks[0].stopped_reason.as_deref(), Some("Scaling activity initiated by (deployment new)"));
}

#[test]
fn a_steady_service_says_so_once_after_each_change() {
    let mut scene = Scene::new(1, "H");
    let steady = || ServiceEvent {
        id: String::new(),
        at: NOW,
        message: String::from("(service web) has reached a steady state."),
    };
    scene.service.deployments.truncate(1);
    scene.service.deployments[0].rollout_state = RolloutState::Completed;
    scene.service.events = vec![steady()];
    assert!(scene.plan().is_empty());
    scene.service.events.insert(0, ServiceEvent { message: String::from("(service web) has started"), ..steady() });
    assert_eq!(scene.plan().actions, [Action::Record { message: steady().message }]);
}

#[test]
fn only_repeated_failures_to_start_wait() {
    let mut scene = Scene::new(2, "DD");
    scene.service.deployments.truncate(1);
    let mut waits = vec![];
    for _ in 0..4 {
        let plan = scene.plan();
        scene.execute(&plan);
        waits.push(scene.service.throttle.not_before.unwrap().0 - NOW.0);
        // Planning the same facts again counts nothing twice.
        let throttle = scene.service.throttle;
        let again = scene.plan();
        assert_eq!((scene.service.throttle, again.is_empty()), (throttle, true));
        // The next round was started when the back-off was over, and fails too.
        let next = scene.next_id;
        for id in [next, next + 1] {
            let mut failed = task(id, "new");
            failed.created_at = scene.service.throttle.not_before.unwrap().max(NOW);
            failed.last_status = TaskStatus::Stopped;
            failed.stopped_at = Some(NOW);
            failed.stop_code = Some(StopCode::TaskFailedToStart);
            scene.tasks.retain(|task| task.is_stopped());
            scene.tasks.push(Arc::new(failed));
        }
        scene.next_id += 2;
    }
    assert_eq!(waits[2..], [10_000, 20_000]);
    assert!(scene.service.events.iter().any(|event| event.message.contains("unable to consistently start")));
    // A new definition is tried at once.
    scene.service.deployments[0].definition.revision = 3;
    assert_eq!(drawn(&scene.plan()), "start 2");
}

#[test]
fn one_replica_that_cannot_start_waits_beside_those_that_run() {
    let mut scene = Scene::new(2, "H");
    scene.service.deployments.truncate(1);
    for round in 1..=3 {
        let mut failed = task(scene.next_id, "new");
        failed.created_at = scene.service.throttle.not_before.unwrap_or(Timestamp(5));
        failed.last_status = TaskStatus::Stopped;
        failed.stopped_at = Some(NOW);
        failed.stop_code = Some(StopCode::TaskFailedToStart);
        scene.tasks.push(Arc::new(failed));
        scene.next_id += 1;
        let plan = scene.plan();
        scene.execute(&plan);
        assert_eq!(scene.service.throttle.failures, round);
        scene.tasks.retain(|task| task.created_at < NOW);
    }
    assert_eq!(drawn(&scene.plan()).split(':').nth(1), Some(" 1 starts"));
}

#[test]
fn a_program_that_returns_at_once_is_not_restarted_without_end() {
    let mut scene = Scene::new(1, "");
    scene.service.deployments.truncate(1);
    scene.service.load_balancers.clear();
    let mut starts = 0;
    for _ in 0..100 {
        let plan = scene.plan();
        starts += plan.actions.iter().filter(|action| matches!(action, Action::Start { .. })).count();
        scene.execute(&plan);
        for task in &mut scene.tasks {
            let task = Arc::make_mut(task);
            task.last_status = TaskStatus::Stopped;
            task.started_at = Some(NOW);
            task.stop_code = Some(StopCode::EssentialContainerExited);
        }
    }
    assert_eq!(starts, 12);
    assert_eq!(scene.plan().wake_at, Some(Timestamp(NOW.0 + 1000)));
}

#[test]
fn a_service_without_room_says_what_lacks() {
    let mut scene = Scene::new(3, "H");
    scene.service.deployments.truncate(1);
    scene.room = Room::Tasks { count: 1, lacking: "memory" };
    assert_eq!(drawn(&scene.plan()), "start 1, held: 1 starts: no room, memory");
    let plan = scene.plan();
    assert!(format!("{plan:?}").contains("has insufficient memory available"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn passes_converge_within_the_bounds(
        desired in 0_u32..6,
        tasks in "[HsXgLDEOoZl]{0,12}",
        minimum in prop::sample::select(vec![0_u32, 34, 50, 100]),
        maximum in prop::sample::select(vec![100_u32, 125, 150, 200]),
    ) {
        let mut scene = Scene::new(desired, &tasks);
        scene.service.minimum_healthy_percent = minimum;
        scene.service.maximum_percent = maximum;
        let mut passes = 0;
        loop {
            let before = standing::Sorted::new(&observed(&scene), NOW).serving();
            let live_before = standing::Sorted::new(&observed(&scene), NOW).live();
            let plan = scene.plan();
            let mut after = scene.clone();
            after.execute(&plan);
            let sorted = standing::Sorted::new(&observed(&after), NOW);
            // No pass takes the healthy tasks below the minimum, nor the live ones over the maximum.
            prop_assert!(sorted.serving() >= before.min(sorted.minimum), "{}", drawn(&plan));
            prop_assert!(sorted.live() <= live_before.max(sorted.maximum), "{}", drawn(&plan));
            let mut settled = after;
            let unchanged = settled.clone();
            settled.settle();
            let in_grace = plan.held.iter().any(|held| matches!(held, Held::GracePeriod { .. }));
            if plan.is_empty() && settled.tasks == unchanged.tasks && !in_grace {
                break;
            }
            // A task within its grace period becomes healthy in this world.
            for health in settled.health.values_mut() {
                if matches!(health, TaskHealth::Unhealthy { .. }) && passes > 3 {
                    *health = TaskHealth::Healthy;
                }
            }
            scene = settled;
            passes += 1;
            prop_assert!(passes < 40, "does not converge: {}", drawn(&scene.plan()));
        }
        // A deployment whose minimum is its maximum cannot move; every other one arrives.
        let sorted = standing::Sorted::new(&observed(&scene), NOW);
        if sorted.minimum < sorted.maximum || sorted.outdated.count() == 0 {
            prop_assert_eq!(sorted.current.serving.len(), sorted.wanted);
            prop_assert_eq!(sorted.live(), sorted.wanted);
        }
    }
}

fn observed(scene: &Scene) -> Observed<'_> {
    Observed {
        service: &scene.service,
        tasks: &scene.tasks,
        health: &scene.health,
        room: scene.room,
        closest_instance: "node",
    }
}
