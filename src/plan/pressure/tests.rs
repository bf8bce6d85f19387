//! Scenes of nodes under pressure.

use proptest::prelude::*;

use super::*;
use crate::model::task_definition::DefinitionStatus;
use crate::plan::task::tests::task;

const NOW: Timestamp = Timestamp(1_000_000);

fn memory(budget_mib: u64, used_mib: u64) -> NodeMemory {
    NodeMemory { budget_bytes: budget_mib * MIB, held_bytes: used_mib * MIB, resident_bytes: used_mib * MIB }
}

/// Task `id`, which was made `id` seconds after the first.
fn holder(id: u128, held_mib: u64, reserved_mib: u64) -> Holder {
    Holder {
        task: TaskId(id),
        held_bytes: held_mib * MIB,
        reserved_bytes: reserved_mib * MIB,
        created_at: Timestamp(i64::try_from(id).unwrap() * 1000),
        is_ending: false,
    }
}

fn ended(memory: NodeMemory, holders: &[Holder]) -> Vec<u128> {
    plan_pressure(memory, holders).actions.iter().map(|end| end.task.0).collect()
}

#[test]
fn the_task_furthest_over_its_reservation_ends_and_no_more_than_is_needed() {
    let holders = [holder(1, 300, 400), holder(2, 200, 50), holder(3, 100, 0)];
    assert_eq!(ended(memory(600, 600), &holders), [0; 0]);
    assert_eq!(ended(memory(599, 600), &holders), [2]);
    assert_eq!(ended(memory(350, 600), &holders), [2, 3]);
    // Below its reservation, but there is nobody else.
    assert_eq!(ended(memory(10, 600), &holders), [2, 3, 1]);
}

#[test]
fn of_equals_the_youngest_ends() {
    assert_eq!(ended(memory(250, 300), &[holder(1, 100, 0), holder(3, 100, 0), holder(2, 100, 0)]), [3]);
}

#[test]
fn who_is_leaving_counts_as_gone() {
    let mut leaving = holder(1, 300, 0);
    leaving.is_ending = true;
    assert_eq!(ended(memory(400, 600), &[leaving, holder(2, 300, 0)]), [0; 0]);
    assert_eq!(ended(memory(200, 600), &[leaving, holder(2, 300, 0)]), [2]);
}

#[test]
fn what_was_asked_for_and_never_touched_is_no_pressure() {
    let idle = NodeMemory { budget_bytes: 100 * MIB, held_bytes: 10_000 * MIB, resident_bytes: 80 * MIB };
    assert_eq!(ended(idle, &[holder(1, 10_000, 0)]), [0; 0]);
    assert_eq!(starts_wait(idle, None, NOW), None);
    // And what others of the process use is not held against tasks that hold nothing.
    let others = NodeMemory { held_bytes: 10 * MIB, resident_bytes: 900 * MIB, ..idle };
    assert_eq!(ended(others, &[holder(1, 10, 0)]), [0; 0]);
    assert_eq!(plan_pressure(NodeMemory::default(), &[holder(1, 10, 0)]).actions, []);
}

#[test]
fn starts_wait_before_anything_ends_and_for_a_while_after() {
    assert_eq!(starts_wait(memory(1000, 800), None, NOW), None);
    let wait = starts_wait(memory(1000, 910), None, NOW).unwrap();
    assert_eq!(wait.until, NOW + LOOK_AGAIN);
    assert!(waits_message(&wait).contains("more than 90 % of 1000 MiB"));
    let wait = starts_wait(memory(1000, 10), Some(NOW), NOW + Duration::from_secs(1)).unwrap();
    assert_eq!(wait.until, NOW + PAUSE_AFTER_END);
    assert_eq!(starts_wait(memory(1000, 10), Some(NOW), NOW + PAUSE_AFTER_END), None);
    assert_eq!(starts_wait(NodeMemory::default(), None, NOW), None);
}

#[test]
fn the_reason_is_on_record_and_an_earlier_one_stays() {
    let plan = plan_pressure(memory(256, 300), &[holder(7, 300, 64)]);
    let mut found = task(7);
    assert!(end(&mut found, &plan.actions[0], NOW));
    assert!(was_ended(&found) && found.desired_status == DesiredStatus::Stopped);
    assert_eq!(found.stop_code, Some(StopCode::TerminationNotice));
    assert_eq!(
        found.stopped_reason.as_deref(),
        Some(
            "OutOfMemoryError: The node is short of memory (300 MiB of 256 MiB are in use), and this task was furthest \
             over its reservation (300 MiB held, 64 MiB reserved)"
        )
    );
    let mut stopped = task(7);
    stopped.desired_status = DesiredStatus::Stopped;
    stopped.stopped_reason = Some(String::from("Task stopped by user"));
    assert!(!end(&mut stopped, &plan.actions[0], NOW) && !was_ended(&stopped));
}

#[test]
fn a_reservation_is_what_is_written_as_one() {
    let definition = |containers: serde_json::Value| TaskDefinition {
        scope: task(1).scope,
        id: task(1).definition,
        status: DefinitionStatus::Active,
        registered_at: Timestamp(0),
        deregistered_at: None,
        registered_by: String::new(),
        tags: vec![],
        document: serde_json::from_value(serde_json::json!({ "containerDefinitions": containers })).unwrap(),
    };
    let reserved = |launch_type, memory: Option<&str>, containers| {
        let task = Task { launch_type, memory: memory.map(String::from), ..task(1) };
        reserved_bytes(&task, Some(&definition(containers))) / MIB
    };
    let both = || {
        serde_json::json!([{"name": "a", "image": "i", "memory": 500, "memoryReservation": 100},
                                     {"name": "b", "image": "i", "memory": 50}])
    };
    assert_eq!(reserved(LaunchType::Ec2, Some("1024"), both()), 150);
    assert_eq!(reserved(LaunchType::Fargate, Some("1024"), both()), 100);
    let none = || serde_json::json!([{"name": "a", "image": "i"}]);
    assert_eq!(reserved(LaunchType::External, Some("1024"), none()), 1024);
    assert_eq!(reserved(LaunchType::Fargate, Some("1024"), none()), 0);
}

proptest! {
    #[test]
    fn after_the_plan_the_rest_fit_or_nobody_is_left(
        budget in 1u64..1000,
        holds in prop::collection::vec((0u64..300, 0u64..300, any::<bool>()), 0..20),
    ) {
        let holders: Vec<Holder> = holds.iter().zip(1..).map(|((held, reserved, ending), id)| {
            Holder { is_ending: *ending, ..holder(id, *held, *reserved) }
        }).collect();
        let used: u64 = holds.iter().map(|(held, ..)| held).sum();
        let plan = plan_pressure(memory(budget, used), &holders);
        let goes = |holder: &Holder| holder.is_ending || plan.actions.iter().any(|end| end.task == holder.task);
        let left: u64 = holders.iter().filter(|holder| !goes(holder)).map(|holder| holder.held_bytes / MIB).sum();
        prop_assert!(left <= budget, "{left} of {budget}");
        // Without the last one that ends it would not have been enough.
        if let Some(last) = plan.actions.last() {
            let last = holders.iter().find(|holder| holder.task == last.task).unwrap();
            prop_assert!(left + last.held_bytes / MIB > budget);
        }
    }
}
