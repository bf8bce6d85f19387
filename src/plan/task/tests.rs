//! Scenes of single tasks: what is on record, what this node knows, what follows.

use super::*;
use crate::model::task::{Container, LaunchType};
use crate::model::{BootId, NodeId};

const HERE: Placement = Placement { node: NodeId(1), boot: BootId(1) };
const NOW: Timestamp = Timestamp(100_000_000);

pub(crate) fn task(id: u128) -> Task {
    Task {
        scope: crate::model::Scope {
            account: "123456789012".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
        },
        cluster: "default".parse().unwrap(),
        id: TaskId(id),
        definition: "web:1".parse().unwrap(),
        launch_type: LaunchType::Fargate,
        capacity_provider: None,
        platform_version: None,
        group: String::from("family:web"),
        started_by: None,
        service: None,
        tags: vec![],
        overrides: serde_json::Map::new(),
        cpu: None,
        memory: None,
        enable_execute_command: false,
        desired_status: DesiredStatus::Running,
        last_status: TaskStatus::Provisioning,
        requested_node: None,
        placement: None,
        interface: None,
        address: None,
        volumes: Vec::new(),
        containers: ["web", "side"].map(container).to_vec(),
        health_status: None,
        version: 1,
        created_at: Timestamp(0),
        connected_at: None,
        pull_started_at: None,
        pull_stopped_at: None,
        started_at: None,
        stopping_at: None,
        execution_stopped_at: None,
        stopped_at: None,
        stop_code: None,
        stopped_reason: None,
        usage: None,
        protection: None,
    }
}

fn container(name: &str) -> Container {
    Container {
        id: String::new(),
        name: String::from(name),
        image: String::from("nginx"),
        image_digest: None,
        runtime_id: None,
        last_status: ContainerStatus::Pending,
        exit_code: None,
        reason: None,
        health_status: None,
        restart_count: 0,
        network_bindings: vec![],
        is_handler: None,
        started_at: None,
        finished_at: None,
    }
}

/// `placed` is none, `here` or `before` (by another boot).
fn check(placed: &str, wanted: bool, status: TaskStatus, here: (bool, bool, usize), expected: Next) {
    let mut task = task(1);
    task.placement = match placed {
        "here" => Some(HERE),
        "before" => Some(Placement { boot: BootId(0), ..HERE }),
        "elsewhere" => Some(Placement { node: NodeId(9), ..HERE }),
        _ => None,
    };
    task.desired_status = if wanted { DesiredStatus::Running } else { DesiredStatus::Stopped };
    task.last_status = status;
    let (on_host, stop_asked, targets) = here;
    let next = next(&task, Here { placement: HERE, on_host, stop_asked, targets });
    assert_eq!(next, expected, "{placed}, wanted {wanted}, {status:?}, {here:?}");
}

#[test]
fn a_task_is_placed_once_and_stops_after_its_targets() {
    use TaskStatus::*;
    let nowhere = (false, false, 0);
    check("none", true, Provisioning, nowhere, Next::Place);
    check("none", false, Provisioning, nowhere, Next::EndUnplaced);
    check("none", false, Stopped, nowhere, Next::Nothing);
    check("before", true, Running, nowhere, Next::Recover);
    check("before", false, Stopping, nowhere, Next::Recover);
    check("before", false, Stopped, nowhere, Next::Nothing);
    check("elsewhere", true, Pending, nowhere, Next::Nothing);
    check("here", true, Pending, nowhere, Next::Lost);
    check("here", true, Running, (true, false, 1), Next::Nothing);
    check("here", false, Running, (true, false, 1), Next::ShowDeactivating);
    check("here", false, Deactivating, (true, false, 1), Next::Nothing);
    check("here", false, Deactivating, (true, false, 0), Next::ShowStopping);
    check("here", false, Running, (true, false, 0), Next::ShowStopping);
    check("here", false, Stopping, (true, false, 0), Next::Stop);
    check("here", false, Stopping, (true, true, 0), Next::Nothing);
}

#[test]
fn recovery_keeps_what_was_shown() {
    let mut running = task(1);
    running.placement = Some(HERE);
    running.started_at = Some(Timestamp(5));
    running.containers[0].last_status = ContainerStatus::Stopped;
    running.containers[0].exit_code = Some(3);
    recover(&mut running, NOW);
    assert_eq!(running.stop_code, Some(StopCode::TerminationNotice));
    assert_eq!(running.stopped_reason.as_deref(), Some("The server stopped unexpectedly while the task was running"));
    assert_eq!((running.containers[0].exit_code, running.containers[0].reason.as_deref()), (Some(3), None));
    assert_eq!(running.containers[1].exit_code, None);
    assert!(running.containers[1].reason.as_deref().unwrap().contains("stopped unexpectedly"));
    assert!(was_recovered(&running) && running.is_stopped() && running.stopped_at == Some(NOW));

    let mut stopped_by_user = task(2);
    stopped_by_user.placement = Some(HERE);
    stopped_by_user.stop_code = Some(StopCode::UserInitiated);
    stopped_by_user.stopped_reason = Some(String::from("Task stopped by user"));
    recover(&mut stopped_by_user, NOW);
    assert_eq!(stopped_by_user.stop_code, Some(StopCode::UserInitiated));
}

#[test]
fn ended_tasks_are_forgotten_by_age_and_by_number() {
    let stopped = |id: usize, at: Timestamp| {
        let mut task = task(id as u128);
        task.last_status = TaskStatus::Stopped;
        task.stopped_at = Some(at);
        task
    };
    let old = Timestamp(NOW.0 - i64::try_from(STOPPED_KEPT.as_millis()).unwrap());
    let mut tasks = vec![task(0), stopped(1, old), stopped(2, Timestamp(old.0 + 1))];
    let plan = plan_forgotten(tasks.iter(), NOW);
    assert_eq!(plan.actions, [TaskId(1)]);
    assert_eq!(plan.wake_at, Some(Timestamp(NOW.0 + 1)));
    tasks.extend((3..3 + STOPPED_MAX).map(|id| stopped(id, NOW)));
    assert_eq!(plan_forgotten(tasks.iter(), NOW).actions, [TaskId(1), TaskId(2)]);
}
