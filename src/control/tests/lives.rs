//! Containers of one task that need each other: order, health, restarts, the reversed order at the stop.

use serde_json::{Value, json};

use super::scripted::Command;
use super::world::{World, pass};
use crate::model::task::{ContainerStatus, StopCode};
use crate::model::{Exit, HealthStatus, Task, TaskId, TaskStatus};

fn container(name: &str, members: Value) -> Value {
    let mut container = json!({"name": name, "image": "web"});
    container.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    container
}

fn on(name: &str, condition: &str) -> Value {
    json!({"dependsOn": [{"containerName": name, "condition": condition}]})
}

async fn run(world: &World, containers: &[Value]) -> TaskId {
    let definition = world.define(20, Value::Array(containers.to_vec()));
    let id = world.run_defined(&definition);
    pass(100).await;
    id
}

fn exits(world: &World, task: TaskId, container: &str, code: u8) {
    world.host.command(task, Command::ExitOf(String::from(container), Exit::Returned { code }));
}

fn statuses(task: &Task) -> Vec<ContainerStatus> {
    task.containers.iter().map(|container| container.last_status).collect()
}

#[tokio::test(start_paused = true)]
async fn a_container_starts_after_what_it_depends_on() {
    use ContainerStatus::{Pending, Running, Stopped};
    let world = World::new().await;
    let id =
        run(&world, &[container("init", json!({"essential": false})), container("web", on("init", "SUCCESS"))]).await;
    assert_eq!(statuses(&world.task(id)), [Running, Pending]);
    assert_eq!(world.task(id).last_status, TaskStatus::Activating);
    exits(&world, id, "init", 0);
    pass(50).await;
    let task = world.task(id);
    assert_eq!((statuses(&task), task.last_status), (vec![Stopped, Running], TaskStatus::Running));
    world.stop_task(id);
    pass(1_000).await;
    let task = world.task(id);
    assert_eq!((task.last_status, task.containers[1].exit_code), (TaskStatus::Stopped, Some(0)));
    assert!(!world.host.has(id));
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_fails_ends_the_task_and_says_so() {
    let world = World::new().await;
    let id = run(
        &world,
        &[
            container("init", json!({"essential": false})),
            container("web", on("init", "SUCCESS")),
            container("side", json!({})),
        ],
    )
    .await;
    exits(&world, id, "init", 3);
    pass(1_000).await;
    let task = world.task(id);
    assert_eq!((task.last_status, task.stop_code), (TaskStatus::Stopped, Some(StopCode::TaskFailedToStart)));
    let reason = task.stopped_reason.unwrap();
    assert!(reason.starts_with("CannotStartContainerError: dependency graph: "), "{reason}");
    assert!(reason.ends_with("as dependency did not exit successfully."), "{reason}");
    assert_eq!(task.containers[0].exit_code, Some(3));
    assert_eq!((task.containers[1].exit_code, task.containers[1].reason.as_ref()), (Some(143), Some(&reason)));
    assert_eq!(*world.host.container_stops.lock(), ["side"], "what never ran is not stopped");
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_takes_too_long_ends_the_task_in_time() {
    let world = World::new().await;
    let init = container("init", json!({"essential": false, "startTimeout": 5}));
    let id = run(&world, &[init, container("web", on("init", "COMPLETE"))]).await;
    pass(4_800).await;
    assert_eq!(world.task(id).last_status, TaskStatus::Activating);
    pass(1_000).await;
    let task = world.task(id);
    assert_eq!(task.last_status, TaskStatus::Stopped);
    assert!(task.stopped_reason.unwrap().ends_with("has timed out."));
}

#[tokio::test(start_paused = true)]
async fn a_container_is_restarted_within_its_task() {
    let world = World::new().await;
    let policy = json!({"restartPolicy": {"enabled": true, "restartAttemptPeriod": 60, "ignoredExitCodes": [9]}});
    let id = run(&world, &[container("web", policy)]).await;
    for restarts in 1..=30 {
        pass(61_000).await;
        exits(&world, id, "web", 1);
        pass(100).await;
        let task = world.task(id);
        assert_eq!((task.last_status, task.containers[0].restart_count), (TaskStatus::Running, restarts));
        assert_eq!(task.containers[0].exit_code, None);
    }
    pass(61_000).await;
    exits(&world, id, "web", 9);
    pass(500).await;
    let task = world.task(id);
    assert_eq!((task.last_status, task.stop_code), (TaskStatus::Stopped, Some(StopCode::EssentialContainerExited)));
    assert_eq!((task.containers[0].exit_code, task.containers[0].restart_count), (Some(9), 30));
}

#[tokio::test(start_paused = true)]
async fn a_stop_reverses_the_order() {
    let world = World::new().await;
    let id = run(
        &world,
        &[container("db", json!({})), container("web", on("db", "START")), container("proxy", on("web", "START"))],
    )
    .await;
    assert_eq!(world.task(id).last_status, TaskStatus::Running);
    world.stop_task(id);
    pass(1_000).await;
    assert_eq!(*world.host.container_stops.lock(), ["proxy", "web", "db"]);
    let task = world.task(id);
    assert_eq!((task.last_status, task.stop_code), (TaskStatus::Stopped, Some(StopCode::UserInitiated)));
}

#[tokio::test(start_paused = true)]
async fn health_is_shown_and_waited_for() {
    let world = World::new().await;
    let check = json!({"healthCheck": {"command": ["CMD-SHELL", "curl -f localhost"], "interval": 5, "retries": 2}});
    let id = run(&world, &[container("db", check), container("web", on("db", "HEALTHY"))]).await;
    let health = || {
        let task = world.task(id);
        (task.health_status, task.containers[0].health_status)
    };
    use HealthStatus::{Healthy, Unhealthy, Unknown};
    assert_eq!(health(), (Some(Unknown), Some(Unknown)));
    assert_eq!(world.task(id).containers[1].last_status, ContainerStatus::Pending);
    pass(5_100).await;
    assert_eq!(health(), (Some(Healthy), Some(Healthy)));
    assert_eq!(world.task(id).last_status, TaskStatus::Running);
    world.host.sick.lock().insert((id, String::from("db")));
    pass(5_100).await;
    assert_eq!(health(), (Some(Healthy), Some(Healthy)), "one failure is not enough");
    pass(5_100).await;
    assert_eq!(health(), (Some(Unhealthy), Some(Unhealthy)));
    let version = world.task(id).version;
    pass(60_000).await;
    let task = world.task(id);
    assert_eq!((task.last_status, task.version), (TaskStatus::Running, version), "nobody replaces it");
}

#[tokio::test(start_paused = true)]
async fn a_service_replaces_a_task_that_finds_itself_unhealthy() {
    let world = World::new().await;
    let check = json!({"healthCheck": {"command": ["CMD", "true"], "interval": 5, "retries": 1},
        "portMappings": [{"containerPort": 80}]});
    world.define(4, json!([container("web", check)]));
    world.create_service("web", 1, 4);
    pass(1_000).await;
    let first = world.running()[0].id;
    let completed =
        || world.service("web").deployments[0].rollout_state == crate::model::service::RolloutState::Completed;
    assert!(!completed(), "it runs, and is not known to be healthy");
    pass(6_000).await;
    assert!(completed());
    world.host.sick.lock().insert((first, String::from("web")));
    pass(20_000).await;
    let task = world.task(first);
    assert_eq!(task.stopped_reason.as_deref(), Some("Task failed container health checks"));
    assert_eq!(task.stop_code, Some(StopCode::ServiceSchedulerInitiated));
    let event = format!("(service web) (task {first}) failed container health checks.");
    assert!(world.events("web").contains(&event), "{:?}", world.events("web"));
    assert_eq!(world.running().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_stopped_while_its_images_are_pulled_ends() {
    let world = World::new().await;
    let definition = world.define(20, json!([container("db", json!({})), container("web", on("db", "START"))]));
    let id = world.run_defined(&definition);
    pass(10).await;
    world.stop_task(id);
    pass(1_000).await;
    assert_eq!(world.task(id).last_status, TaskStatus::Stopped);
    assert!(!world.host.has(id));
}

/// Random tasks on a host whose guests end when they like: every task ends once it is told to, whatever came before.
#[tokio::test(start_paused = true)]
async fn whatever_containers_do_their_task_ends() {
    for seed in 1..=40u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = move |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let world = World::new().await;
        let conditions = ["START", "COMPLETE", "SUCCESS", "HEALTHY"];
        let mut containers = vec![];
        for number in 0..1 + below(4) {
            let mut members = json!({"essential": number == 0 || below(2) == 0,
                "healthCheck": {"command": ["CMD", "true"], "interval": 5, "retries": 1}});
            let members_of = members.as_object_mut().unwrap();
            if number > 0 && below(3) > 0 {
                let on =
                    json!([{"containerName": below(number).to_string(), "condition": conditions[below(4) as usize]}]);
                members_of.insert(String::from("dependsOn"), on);
            }
            if below(2) == 0 {
                let policy = json!({"enabled": true, "restartAttemptPeriod": 60});
                members_of.insert(String::from("restartPolicy"), policy);
            }
            containers.push(container(&number.to_string(), members));
        }
        let id = run(&world, &containers).await;
        for _ in 0..below(20) {
            pass(below(40_000)).await;
            exits(&world, id, &below(4).to_string(), below(3) as u8);
        }
        world.stop_task(id);
        pass(30_000).await;
        let task = world.task(id);
        assert_eq!(task.last_status, TaskStatus::Stopped, "seed {seed}: {task:#?}");
        assert!(!world.host.has(id), "seed {seed}");
        assert_eq!(world.witness.starts.lock().get(&id), Some(&1));
    }
}
