//! Lives of services and tasks, and a random one from a printed seed.

use std::collections::HashMap;
use std::time::Duration;

use super::scripted::Command;
use super::world::{World, pass};
use crate::model::service::RolloutState;
use crate::model::task::StopCode;
use crate::model::{Exit, ServiceStatus, Target, TargetState, Task, TaskId, TaskStatus};
use crate::proxy::TargetKey;
use crate::store::Prefix;

/// Long enough for everything that is under way to arrive.
const SETTLE_MS: u64 = 20_000;

#[tokio::test(start_paused = true)]
async fn a_service_reaches_its_count_and_says_so() {
    let world = World::new().await;
    world.create_service("web", 2, 1);
    pass(1_000).await;
    let running = world.running();
    assert_eq!(running.len(), 2);
    let service = world.service("web");
    assert_eq!(service.deployments[0].rollout_state, RolloutState::Completed);
    let events = world.events("web");
    assert!(events[0].starts_with("(service web) has started 2 tasks: (task "), "{events:?}");
    assert!(events[1].starts_with("(service web) registered 2 targets in (target-group arn:"), "{events:?}");
    assert!(events[2].ends_with("deployment completed."), "{events:?}");
    assert_eq!(events[3], "(service web) has reached a steady state.");
    assert_eq!(events.len(), 4);
    let task = &running[0];
    assert_eq!(task.group, "service:web");
    assert_eq!(task.interface.as_ref().unwrap().subnet_id, "subnet-1");
    assert!(task.pull_started_at.is_some() && task.pull_stopped_at.is_some() && task.connected_at.is_some());
    assert!(task.tags.iter().any(|tag| tag.key == "aws:ecs:serviceName"));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_ends_is_replaced_and_its_target_is_gone() {
    let world = World::new().await;
    world.create_service("web", 2, 1);
    pass(1_000).await;
    let victim = world.running()[0].id;
    world.host.command(victim, Command::Exit(Exit::OutOfMemory));
    pass(500).await;
    assert_eq!(world.running().len(), 2);
    let ended = world.task(victim);
    assert_eq!(ended.stop_code, Some(StopCode::EssentialContainerExited));
    assert_eq!(ended.containers[0].exit_code, Some(137));
    let targets = world.store.snapshot().list::<Target>(&Prefix::all_targets());
    assert_eq!(targets.len(), 2);
    assert!(targets.iter().all(|target| target.health.state == TargetState::Healthy));
}

#[tokio::test(start_paused = true)]
async fn a_task_is_told_to_stop_only_when_its_target_has_drained() {
    let world = World::new().await;
    world.create_service("web", 1, 1);
    pass(1_000).await;
    let old = world.running()[0].id;
    world.stop_task(old);
    pass(50).await;
    assert_eq!(world.task(old).last_status, TaskStatus::Deactivating);
    assert!(world.host.stops.lock().is_empty(), "nothing is in flight any more only after 100 ms");
    pass(100).await;
    assert_eq!(*world.host.stops.lock(), [old]);
    pass(1_000).await;
    let stopped = world.task(old);
    assert_eq!(stopped.stopped_reason.as_deref(), Some("Task stopped by user"));
    assert_eq!(stopped.containers[0].exit_code, Some(0));
    assert_eq!(world.running().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_rolls_and_the_old_one_goes() {
    let world = World::new().await;
    world.create_service("web", 3, 1);
    pass(1_000).await;
    world.deploy("web", 2);
    for _ in 0..200 {
        pass(10).await;
        let healthy = world.store.snapshot().list::<Target>(&Prefix::all_targets());
        let healthy = healthy.iter().filter(|target| target.health.state == TargetState::Healthy).count();
        assert!(healthy >= 3, "the healthy minimum holds at every moment");
    }
    let service = world.service("web");
    assert_eq!(service.deployments.len(), 1);
    assert_eq!(service.deployments[0].rollout_state, RolloutState::Completed);
    assert!(world.running().iter().all(|task| task.definition.revision == 2));
    assert_eq!(world.running().len(), 3);
    let old = world.tasks().into_iter().find(|task| task.definition.revision == 1).unwrap();
    assert_eq!(old.stop_code, Some(StopCode::ServiceSchedulerInitiated));
}

#[tokio::test(start_paused = true)]
async fn a_large_service_comes_and_goes_within_the_limits_of_transactions() {
    let world = World::new().await;
    world.create_service("web", 300, 1);
    pass(3_000).await;
    assert_eq!(world.running().len(), 300);
    assert_eq!(world.store.snapshot().list::<Target>(&Prefix::all_targets()).len(), 300);
    world.change_service("web", |service| service.desired_count = 1);
    pass(3_000).await;
    assert_eq!(world.running().len(), 1);
    assert_eq!(world.store.snapshot().list::<Target>(&Prefix::all_targets()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_task_is_replaced_first_and_then_stopped() {
    let world = World::new().await;
    world.create_service("web", 2, 1);
    pass(1_000).await;
    let targets = world.store.snapshot().list::<Target>(&Prefix::all_targets());
    let target = targets[0].clone();
    let sick = target.task.as_ref().unwrap().task;
    let group = super::world::target_group().arn();
    let key = TargetKey { group, address: target.address, port: target.port, task: Some(sick) };
    world.balancer.report(key, TargetState::Unhealthy).await;
    pass(20).await;
    assert!(world.host.stops.lock().is_empty() && world.tasks().len() == 3, "the replacement comes first");
    pass(2_000).await;
    let stopped = world.task(sick);
    let reason = stopped.stopped_reason.unwrap();
    assert!(reason.starts_with("Task failed ELB health checks in (target-group arn:"), "{reason}");
    assert_eq!(world.running().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_start_backs_off() {
    let world = World::new().await;
    world.create_service("web", 1, 9);
    pass(9_000).await;
    let soon = world.tasks().len();
    assert_eq!(soon, 3, "the first failures are replaced at once, then it waits");
    assert_eq!(world.tasks()[0].stop_code, Some(StopCode::TaskFailedToStart));
    assert_eq!(world.tasks()[0].stopped_reason.as_deref(), Some("CannotPullContainerError: there is no such image"));
    assert!(world.events("web").iter().any(|event| event.contains("is unable to consistently start tasks")));
    pass(10_000).await;
    assert_eq!(world.tasks().len(), 4);
    assert_eq!(world.service("web").deployments[0].failed_tasks, 4);
    world.deploy("web", 1);
    pass(1_000).await;
    assert_eq!(world.running().len(), 1, "a new definition is tried at once");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_service_ends_inactive() {
    let world = World::new().await;
    world.create_service("web", 2, 1);
    pass(1_000).await;
    world.change_service("web", |service| {
        service.desired_count = 0;
        service.status = ServiceStatus::Draining;
    });
    pass(2_000).await;
    assert_eq!(world.service("web").status, ServiceStatus::Inactive);
    assert!(world.running().is_empty());
    assert!(world.store.snapshot().list::<Target>(&Prefix::all_targets()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crash_ends_what_was_placed_and_runs_what_was_not() {
    let mut world = World::new().await;
    world.create_service("web", 2, 1);
    let ended = world.run_task(1);
    pass(1_000).await;
    world.host.command(ended, Command::Exit(Exit::Returned { code: 3 }));
    pass(200).await;
    let before: Vec<TaskId> = world.running().iter().map(|task| task.id).collect();
    // Asked for, answered, and the server dies before any loop saw it.
    let unplaced = world.run_task(1);
    world.crash().await;
    assert_eq!(world.control.as_ref().unwrap().recovered, 2);
    for id in &before {
        let task = world.task(*id);
        assert_eq!(task.last_status, TaskStatus::Stopped, "already at the first answer");
        assert!(task.stopped_reason.unwrap().contains("stopped unexpectedly"));
    }
    pass(1_000).await;
    assert_eq!(world.task(ended).containers[0].exit_code, Some(3));
    assert_eq!(world.task(unplaced).last_status, TaskStatus::Running);
    assert_eq!(world.running().len(), 3);
    assert!(world.witness.starts.lock().values().all(|starts| *starts == 1));
    assert_eq!(world.service("web").throttle.failures, 0, "the server's end is no failure of the service");
}

#[tokio::test(start_paused = true)]
async fn an_orderly_end_leaves_nothing_to_repair() {
    let mut world = World::new().await;
    world.create_service("web", 2, 1);
    world.run_task(1);
    pass(1_000).await;
    let mut control = world.control.take().unwrap();
    let least = parking_lot::Mutex::new(usize::MAX);
    control.drain(Duration::from_secs(30), |progress| *least.lock() = progress.tasks).await;
    assert_eq!(*least.lock(), 0);
    for task in world.tasks() {
        assert_eq!((task.last_status, task.containers[0].exit_code), (TaskStatus::Stopped, Some(0)));
        assert_eq!(task.stopped_reason.as_deref(), Some("The server was shut down"));
    }
    assert_eq!(world.service("web").desired_count, 2);
    world.crash().await;
    assert_eq!(world.control.as_ref().unwrap().recovered, 0);
    pass(1_000).await;
    assert_eq!(world.running().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_stopped_before_it_has_a_place_never_runs() {
    let mut world = World::new().await;
    drop(world.control.take());
    pass(10).await;
    let id = world.run_task(1);
    world.stop_task(id);
    world.boot().await;
    pass(1_000).await;
    assert_eq!(world.task(id).last_status, TaskStatus::Stopped);
    assert!(!world.witness.starts.lock().contains_key(&id) && !world.host.has(id));
}

/// A small generator, so that a printed seed is all that a repetition needs.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What was shown of tasks that had ended.
#[derive(Default)]
struct Shown(HashMap<TaskId, Task>);

impl Shown {
    fn check(&mut self, world: &World) {
        for task in world.tasks() {
            if let Some(shown) = self.0.get(&task.id) {
                assert_eq!(*shown, *task, "what was shown as STOPPED stays as it was shown");
            } else if task.is_stopped() {
                self.0.insert(task.id, Task::clone(&task));
            }
        }
        for (task, starts) in world.witness.starts.lock().iter() {
            assert_eq!(*starts, 1, "task {task} was started more than once");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_the_services_return_to_their_counts() {
    let seed = std::env::var("SIMULATION_SEED").ok().and_then(|text| text.parse().ok());
    for seed in seed.map_or_else(|| (1..=12).collect::<Vec<u64>>(), |seed| vec![seed]) {
        println!("SIMULATION_SEED={seed}");
        simulate(seed).await;
    }
}

async fn simulate(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new().await;
    let mut shown = Shown::default();
    world.create_service("a", 3, 1);
    world.create_service("b", 1, 1);
    for _ in 0..60 {
        step(&mut world, &mut random).await;
        shown.check(&world);
        pass(random.below(300)).await;
    }
    pass(SETTLE_MS).await;
    shown.check(&world);
    for name in ["a", "b"] {
        let service = world.service(name);
        let running = world.running();
        let mut own = running.iter().filter(|task| task.group == format!("service:{name}"));
        assert_eq!(own.clone().count() as u32, service.desired_count, "{:#?}", service.events);
        assert!(own.all(|task| task.definition == service.deployments[0].definition));
        assert_eq!(service.deployments.len(), 1);
        assert_eq!(service.deployments[0].rollout_state, RolloutState::Completed);
    }
    assert_nothing_is_left_to_plan(&world);
}

/// The incremental passes have arrived where a sweep would.
fn assert_nothing_is_left_to_plan(world: &World) {
    let now = world.store.snapshot();
    let shared = &world.control.as_ref().unwrap().shared;
    for name in ["a", "b"] {
        let service = world.service(name);
        assert_eq!(crate::control::services::plan_of(shared, &now, &service, world.now()).actions, []);
        assert_eq!(crate::control::targets::plan_of(&now, &service, world.now()).actions, []);
    }
}

async fn step(world: &mut World, random: &mut Random) {
    let name = if random.below(2) == 0 { "a" } else { "b" };
    let tasks = world.tasks();
    let any = tasks.get(random.below(tasks.len().max(1) as u64) as usize).map(|task| task.id);
    match (random.below(12), any) {
        (0 | 1, _) => world.change_service(name, |service| service.desired_count = random.below(5) as u32),
        (2, _) => world.deploy(name, 1 + random.below(3) as u32),
        (3 | 4, _) => {
            world.run_task(1 + random.below(3) as u32);
        }
        (5 | 6, Some(task)) => world.stop_task(task),
        (7..=9, Some(task)) => {
            world.host.command(task, Command::Exit(Exit::Returned { code: random.below(256) as u8 }));
        }
        (10, _) => world.crash().await,
        _ => {}
    }
}
