//! A node short of memory, with paused time.

use super::world::{World, pass};
use crate::model::task::StopCode;
use crate::model::{DesiredStatus, TaskId, TaskStatus};

const MIB: u64 = 1 << 20;

fn hold(world: &World, task: TaskId, mib: u64) {
    world.host.held.lock().insert(task, mib * MIB);
}

#[tokio::test(start_paused = true)]
async fn the_largest_of_equals_ends_and_new_ones_wait_until_there_is_room() {
    let world = World::new().await;
    *world.host.budget_bytes.lock() = 1000 * MIB;
    let tasks = [world.run_task(1), world.run_task(1), world.run_task(1)];
    pass(1000).await;
    for (task, mib) in tasks.into_iter().zip([300, 400, 250]) {
        assert_eq!(world.task(task).last_status, TaskStatus::Running);
        hold(&world, task, mib);
    }

    // 950 of 1000: nothing ends, and nothing starts.
    let late = world.run_task(1);
    pass(2000).await;
    assert!(tasks.iter().all(|task| world.task(*task).last_status == TaskStatus::Running));
    assert_eq!((world.task(late).last_status, world.task(late).placement), (TaskStatus::Pending, None));

    hold(&world, tasks[2], 350);
    pass(1000).await;
    let ended = world.task(tasks[1]);
    assert_eq!((ended.last_status, ended.stop_code), (TaskStatus::Stopped, Some(StopCode::TerminationNotice)));
    let reason = ended.stopped_reason.unwrap();
    assert!(reason.contains("short of memory") && reason.contains("400 MiB held"), "{reason}");
    let container = &ended.containers[0];
    assert_eq!(container.exit_code, Some(137));
    assert_eq!(container.reason.as_deref(), Some("OutOfMemoryError: Container killed due to memory usage"));
    assert_eq!(world.task(tasks[2]).last_status, TaskStatus::Running);

    // Not at once: what was ended comes back as fast as it can.
    assert_eq!(world.task(late).last_status, TaskStatus::Pending);
    pass(6000).await;
    assert_eq!(world.task(late).last_status, TaskStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn a_service_says_why_its_tasks_wait_and_one_that_waits_can_be_stopped() {
    let world = World::new().await;
    *world.host.budget_bytes.lock() = 100 * MIB;
    let greedy = world.run_task(1);
    pass(1000).await;
    hold(&world, greedy, 95);
    world.create_service("web", 2, 1);
    let waiting = world.run_task(1);
    pass(2000).await;
    let events = world.events("web");
    assert_eq!(events.iter().filter(|event| event.contains("the node is short of memory")).count(), 1, "{events:?}");

    world.stop_task(waiting);
    pass(1000).await;
    assert_eq!(world.task(waiting).last_status, TaskStatus::Stopped);
    assert_eq!(world.witness.starts.lock().get(&waiting), None);

    hold(&world, greedy, 10);
    pass(2000).await;
    let running = world.running().iter().filter(|task| task.service.is_some()).count();
    assert_eq!((running, world.service("web").desired_count), (2, 2));
    assert_eq!(world.task(greedy).desired_status, DesiredStatus::Running);
}
