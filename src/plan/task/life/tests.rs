//! Lives of tasks, told by what their host reports.

use super::*;
use crate::model::exit::{StartFailure, Trap, TrapKind};
use crate::plan::task::tests::task;

fn definition() -> TaskDefinition {
    let document = serde_json::json!({"containerDefinitions": [
        {"name": "web", "image": "nginx"}, {"name": "side", "image": "nginx", "essential": false},
    ]});
    TaskDefinition {
        scope: task(1).scope,
        id: "web:1".parse().unwrap(),
        status: crate::model::task_definition::DefinitionStatus::Active,
        registered_at: Timestamp(0),
        deregistered_at: None,
        registered_by: String::new(),
        tags: vec![],
        document: serde_json::from_value(document).unwrap(),
    }
}

fn started(container: &str) -> Fact {
    Fact::ContainerStarted { container: String::from(container), runtime_id: String::from("id"), bindings: vec![] }
}

fn stopped(container: &str, exit: Exit) -> Fact {
    Fact::ContainerStopped { container: String::from(container), exit }
}

fn live(facts: &[Fact]) -> (Task, Vec<Effect>) {
    let mut task = task(1);
    task.placement =
        Some(crate::model::task::Placement { node: crate::model::NodeId(1), boot: crate::model::BootId(1) });
    let definition = definition();
    let effects = facts.iter().zip(1..).map(|(fact, at)| apply(&mut task, &definition, fact, Timestamp(at))).collect();
    (task, effects)
}

#[test]
fn a_task_runs_when_all_its_containers_were_started() {
    let (task, _) = live(&[Fact::PullStarted, Fact::PullStopped, started("web")]);
    assert_eq!(task.last_status, TaskStatus::Activating);
    let (task, _) = live(&[Fact::PullStarted, Fact::PullStopped, started("web"), started("side")]);
    assert_eq!((task.last_status, task.started_at), (TaskStatus::Running, Some(Timestamp(4))));
    assert_eq!((task.pull_started_at, task.pull_stopped_at), (Some(Timestamp(1)), Some(Timestamp(2))));
}

#[test]
fn a_container_that_is_not_essential_ends_alone() {
    let (task, effects) = live(&[started("side"), stopped("side", Exit::Returned { code: 2 }), started("web")]);
    assert_eq!((task.last_status, task.desired_status), (TaskStatus::Running, DesiredStatus::Running));
    assert_eq!(task.container("side").unwrap().exit_code, Some(2));
    assert_eq!(effects[1], Effect { durable: true, stop_rest: false });
}

#[test]
fn an_essential_container_takes_its_task_with_it() {
    let trap = Exit::Trapped(Trap { kind: TrapKind::Unreachable, message: String::from("wasm trap") });
    let (task, effects) =
        live(&[started("web"), started("side"), stopped("web", trap), stopped("side", Exit::Stopped), Fact::Ended]);
    assert!(effects[2].stop_rest && effects[4].durable);
    assert_eq!(task.stop_code, Some(StopCode::EssentialContainerExited));
    assert_eq!(task.stopped_reason.as_deref(), Some(ESSENTIAL_EXITED));
    assert_eq!(task.container("web").unwrap().exit_code, Some(134));
    assert_eq!((task.stopping_at, task.stopped_at), (Some(Timestamp(3)), Some(Timestamp(5))));
    assert_eq!(task.last_status, TaskStatus::Stopped);
}

#[test]
fn a_task_that_cannot_start_says_why() {
    let failure = StartFailure::CannotPull(String::from("nginx is a Linux image"));
    let (task, _) = live(&[stopped("web", Exit::CouldNotStart(failure)), stopped("side", Exit::Stopped), Fact::Ended]);
    assert_eq!(task.stop_code, Some(StopCode::TaskFailedToStart));
    assert_eq!(task.stopped_reason.as_deref(), Some("CannotPullContainerError: nginx is a Linux image"));
    assert_eq!((task.started_at, task.container("web").unwrap().exit_code), (None, None));
}

#[test]
fn whoever_stopped_it_gave_the_reason_and_stopped_stays_stopped() {
    let mut task = task(1);
    task.desired_status = DesiredStatus::Stopped;
    task.stop_code = Some(StopCode::UserInitiated);
    task.stopped_reason = Some(String::from("Task stopped by user"));
    let definition = definition();
    apply(&mut task, &definition, &stopped("web", Exit::Killed), Timestamp(1));
    apply(&mut task, &definition, &Fact::Ended, Timestamp(2));
    assert_eq!(task.stop_code, Some(StopCode::UserInitiated));
    let shown = task.clone();
    assert_eq!(apply(&mut task, &definition, &started("web"), Timestamp(3)), Effect::default());
    assert_eq!(task, shown);
}

#[test]
fn a_container_that_is_given_up_says_why_and_takes_its_task_with_it() {
    let reason = "dependency graph: failed to resolve";
    let given_up = |container: &str| Fact::GivenUp { container: String::from(container), reason: String::from(reason) };
    let (task, effects) = live(&[started("side"), given_up("web")]);
    assert!(effects[1].stop_rest);
    let text = format!("CannotStartContainerError: {reason}");
    assert_eq!((task.stop_code, task.stopped_reason.as_ref()), (Some(StopCode::TaskFailedToStart), Some(&text)));
    let web = task.container("web").unwrap();
    assert_eq!((web.exit_code, web.reason.as_ref()), (Some(143), Some(&text)));
    let (task, effects) = live(&[started("web"), given_up("side")]);
    assert!(!effects[1].stop_rest);
    assert_eq!(task.last_status, TaskStatus::Running);
}

#[test]
fn the_health_of_a_task_is_that_of_its_essential_containers() {
    let health = |container: &str, status| Fact::Health { container: String::from(container), status };
    let (task, _) = live(&[health("side", HealthStatus::Unhealthy)]);
    assert_eq!(
        (task.health_status, task.container("side").unwrap().health_status),
        (None, Some(HealthStatus::Unhealthy))
    );
    let (task, _) = live(&[health("web", HealthStatus::Healthy)]);
    assert_eq!(task.health_status, Some(HealthStatus::Healthy));
    let restarting = Fact::Restarting { container: String::from("web"), restarts: 2 };
    let (task, effects) = live(&[started("web"), health("web", HealthStatus::Healthy), restarting]);
    assert_eq!((task.health_status, task.container("web").unwrap().restart_count), (Some(HealthStatus::Unknown), 2));
    assert_eq!((task.container("web").unwrap().last_status, effects[2].stop_rest), (ContainerStatus::Running, false));
}
