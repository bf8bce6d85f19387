//! Watches what the tasks of this node use of its memory, and ends the one that must go. What decides is
//! `plan::pressure`; whether starts wait is asked there too, by the tasks' loop.
//!
//! The look at the node is one counter while tasks hold little, so it is taken often; only a node over its budget is
//! asked about every task. What ends is on record before the host is told, as with every other stop.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{self, MissedTickBehavior};

use crate::control::tasks::{key_of, succeeded};
use crate::control::{Phase, Shared};
use crate::model::{Service, Task, TaskDefinition, Timestamp};
use crate::plan::pressure::{self, End, Holder, NodeMemory, Wait, plan_pressure};
use crate::store::{Key, Snapshot};

/// How often the node is looked at. A guest touches a gigabyte in about half a second, so what is used goes over the budget
/// by a fifth of one at most, of which the default leaves as much free.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// When a task was last ended for memory.
#[derive(Default)]
pub struct LastEnd(Mutex<Option<Timestamp>>);

/// Why starts wait, if they do.
pub fn starts_wait(shared: &Shared) -> Option<Wait> {
    pressure::starts_wait(memory(shared), *shared.last_memory_end.0.lock(), shared.now())
}

fn memory(shared: &Shared) -> NodeMemory {
    let found = shared.host.memory_use();
    NodeMemory { budget_bytes: found.budget_bytes, held_bytes: found.held_bytes, resident_bytes: found.resident_bytes }
}

/// Looks until the server closes.
pub async fn watch(shared: Arc<Shared>) {
    let mut looks = time::interval(LOOK_PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if shared.phase() == Phase::Closed {
            return;
        }
        let memory = memory(&shared);
        if memory.used_bytes() > memory.budget_bytes {
            relieve(&shared, memory).await;
        }
    }
}

/// Ends what must go.
async fn relieve(shared: &Shared, memory: NodeMemory) {
    let now = shared.store.snapshot();
    let tasks: Vec<Arc<Task>> = now.live_tasks();
    let holders: Vec<Holder> = tasks.iter().filter_map(|task| holder(shared, &now, task)).collect();
    for end in plan_pressure(memory, &holders).actions {
        let Some(task) = tasks.iter().find(|task| task.id == end.task) else { continue };
        if record(shared, task, &end).await {
            tracing::warn!(task = %task.id, reason = end.reason, "ended a task");
            *shared.last_memory_end.0.lock() = Some(shared.now());
            shared.running.ask_stop(task.id);
            shared.host.kill(task.id);
        }
    }
}

/// What a task holds here; nothing where the host does not have it.
fn holder(shared: &Shared, now: &Snapshot, task: &Task) -> Option<Holder> {
    let held_bytes = shared.host.usage(task.id)?.memory_bytes;
    let definition = now.get::<TaskDefinition>(&Key::task_definition(&task.scope, &task.definition));
    let (_, stop_asked) = shared.running.state(task.id);
    Some(Holder {
        task: task.id,
        held_bytes,
        reserved_bytes: pressure::reserved_bytes(task, definition.as_deref()),
        created_at: task.created_at,
        is_ending: stop_asked,
    })
}

/// True where the task was not ending already. Its service says what happened, too.
async fn record(shared: &Shared, task: &Task, end: &End) -> bool {
    let key = key_of(task);
    let written = shared.store.transact(|view| {
        let Some(found) = view.get::<Task>(&key) else { return Ok(false) };
        let mut ended = Task::clone(&found);
        if !pressure::end(&mut ended, end, shared.now()) {
            return Ok(false);
        }
        if let Some(service) = service_of(&ended).and_then(|key| view.get::<Service>(&key)) {
            let mut service = Service::clone(&service);
            let message = format!(
                "(service {}) has stopped 1 running tasks: (task {}). Reason: {}.",
                service.name, ended.id, end.reason
            );
            service.record_event(shared.ids.uuid(), shared.now(), message);
            view.put(service);
        }
        ended.version += 1;
        view.put(ended);
        Ok(true)
    });
    succeeded("end a task for memory", written.await).unwrap_or(false)
}

/// Shows that tasks wait for memory, and lets their services say so.
pub async fn show_waiting(shared: &Shared, batch: &[Key], wait: &Wait) -> bool {
    let message = pressure::waits_message(wait);
    let written = shared.store.transact(|view| {
        for key in batch {
            let Some(found) = view.get::<Task>(key) else { continue };
            let mut waiting = Task::clone(&found);
            if waiting.placement.is_some() || !pressure::show_waiting(&mut waiting) {
                continue;
            }
            if let Some(service) = service_of(&waiting).and_then(|key| view.get::<Service>(&key)) {
                let mut changed = Service::clone(&service);
                let message = format!("(service {}) {message}", service.name);
                changed.record_event(shared.ids.uuid(), shared.now(), message);
                if changed != *service {
                    view.put(changed);
                }
            }
            waiting.version += 1;
            view.put(waiting);
        }
        Ok(())
    });
    succeeded("show that tasks wait for memory", written.await).is_some()
}

fn service_of(task: &Task) -> Option<Key> {
    task.service.as_ref().map(|membership| Key::service(&task.scope, &task.cluster, &membership.service))
}
