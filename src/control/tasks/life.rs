//! The life of one task on this node: what the host reports becomes what is shown.
//!
//! A client may act on RUNNING, on an exit code and on STOPPED, so these are written at once; what comes before RUNNING
//! waits a moment for what follows, and a task whose image is compiled already goes from PENDING to RUNNING in one write.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time;

use crate::control::tasks::care::Care;
use crate::control::tasks::{key_of, succeeded};
use crate::control::{Phase, Shared};
use crate::model::exit::StartFailure;
use crate::model::task::{NetworkBinding, StopCode};
use crate::model::{Task, TaskDefinition, Timestamp, Usage};
use crate::plan::task;
use crate::plan::task::life::{Effect, Fact, apply};
use crate::runtime::{Binding, GuestKind, Report};

/// How long an intermediate fact may wait to be written together with the next: not noticed by a person, and longer than
/// the start of a task whose image is compiled.
const GROUP_WAIT: Duration = Duration::from_millis(20);
/// Facts in one write: some for each of ten containers.
const FACTS_MAX: usize = 64;

/// A fact, and when it was heard of.
pub type Observed = (Fact, Timestamp);

/// Records what the host reports about a task until its end, and takes care of its containers where they need it.
pub async fn live(
    shared: Arc<Shared>,
    task: Task,
    definition: Arc<TaskDefinition>,
    mut reports: mpsc::Receiver<Report>,
    mut care: Option<Care>,
) {
    let mut phase = shared.phase.subscribe();
    let closed = async move {
        // The sender lives as long as `shared`, which this future holds.
        let _ = phase.wait_for(|phase| *phase == Phase::Closed).await;
    };
    tokio::pin!(closed);
    let mut facts: Vec<Observed> = Vec::new();
    loop {
        if facts.is_empty() {
            // Both keep what they have in `facts` when the other is first.
            let mut cared = Vec::new();
            tokio::select! {
                () = gather(&shared, &mut reports, &mut facts) => {}
                () = wait(&mut care, &mut cared) => {}
                () = &mut closed => return,
            }
            facts.append(&mut cared);
        }
        if let Some(care) = &mut care {
            care.observe(&mut facts);
        }
        let ended = facts.iter().any(|(fact, _)| *fact == Fact::Ended);
        let effect = match facts.is_empty() {
            true => Effect::default(),
            false => record(&shared, &task, &definition, &facts).await,
        };
        facts.clear();
        if ended {
            break;
        }
        if effect.stop_rest && !shared.running.ask_stop(task.id) {
            shared.host.stop(task.id);
        }
        if let Some(care) = &mut care {
            if effect.stop_rest {
                care.stop();
            }
            care.act(&mut facts);
        }
    }
    release(&shared, &task);
}

/// Until the containers want something; never, where nobody takes care of them.
async fn wait(care: &mut Option<Care>, facts: &mut Vec<Observed>) {
    match care {
        Some(care) => care.wait(facts).await,
        None => std::future::pending().await,
    }
}

/// Ends a task that could not be handed to the host.
pub async fn fail(shared: Arc<Shared>, task: Task, failure: StartFailure) {
    let now = shared.now();
    let ended = shared.store.transact(|view| {
        if let Some(found) = view.get::<Task>(&key_of(&task)).filter(|found| !found.is_stopped()) {
            let mut found = Task::clone(&found);
            task::end(&mut found, StopCode::TaskFailedToStart, failure.text(), now);
            found.version += 1;
            view.put(found);
        }
        Ok(())
    });
    succeeded("record that a task could not start", ended.await);
    release(&shared, &task);
}

/// Nothing of the task is on this node any more, and it is shown as STOPPED.
fn release(shared: &Shared, task: &Task) {
    shared.logs.end(task.id);
    shared.host.forget(task.id);
    shared.task_roles.end(task.id);
    shared.running.remove(task.id);
}

/// Adds the next facts that are to be written together. Ends with `Ended`, also where the host breaks off without it.
async fn gather(shared: &Shared, reports: &mut mpsc::Receiver<Report>, facts: &mut Vec<Observed>) {
    while facts.len() < FACTS_MAX {
        let waits = facts.is_empty();
        let urgent = facts.iter().any(|(fact, _)| is_urgent(fact));
        let report = if waits {
            reports.recv().await
        } else if urgent {
            match reports.try_recv() {
                Ok(report) => Some(report),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => None,
            }
        } else {
            match time::timeout(GROUP_WAIT, reports.recv()).await {
                Ok(report) => report,
                Err(_) => break,
            }
        };
        let fact = report.map_or(Fact::Ended, fact);
        let ended = fact == Fact::Ended;
        facts.push((fact, shared.now()));
        if ended {
            break;
        }
    }
}

fn is_urgent(fact: &Fact) -> bool {
    match fact {
        Fact::PullStarted | Fact::Resolved { .. } | Fact::PullStopped => false,
        Fact::ContainerStarted { .. } | Fact::ContainerStopped { .. } | Fact::Ended => true,
        // Not of the host.
        Fact::Restarting { .. } | Fact::GivenUp { .. } | Fact::Health { .. } => true,
    }
}

fn fact(report: Report) -> Fact {
    match report {
        Report::PullStarted => Fact::PullStarted,
        Report::Resolved { container, digest, kind } => {
            Fact::Resolved { container, digest, is_handler: kind == GuestKind::Handler }
        }
        Report::PullStopped => Fact::PullStopped,
        Report::ContainerStarted { container, runtime_id, bindings } => {
            Fact::ContainerStarted { container, runtime_id, bindings: bindings.iter().map(binding).collect() }
        }
        Report::ContainerStopped { container, exit } => Fact::ContainerStopped { container, exit },
        Report::Ended => Fact::Ended,
    }
}

fn binding(binding: &Binding) -> NetworkBinding {
    NetworkBinding {
        count: binding.count,
        bind_ip: binding.host.ip().to_string(),
        container_port: binding.container_port,
        host_port: binding.host.port(),
        protocol: String::from(binding.protocol.as_str()),
    }
}

/// Writes facts, in order, in one transaction.
async fn record(shared: &Shared, task: &Task, definition: &TaskDefinition, facts: &[Observed]) -> Effect {
    let key = key_of(task);
    let used = shared.host.usage(task.id);
    let written = shared.store.transact(|view| {
        let mut effect = Effect::default();
        let Some(before) = view.get::<Task>(&key) else { return Ok(effect) };
        let mut found = Task::clone(&before);
        for (fact, at) in facts {
            let of_this = apply(&mut found, definition, fact, *at);
            effect.durable |= of_this.durable;
            effect.stop_rest |= of_this.stop_rest;
            if *fact == Fact::Ended {
                // The ledger: durable with the end, because nobody can be asked afterwards.
                found.usage = found.usage.or(used.map(Usage::ended));
            }
        }
        if found != *before {
            found.version += 1;
            view.put(found);
        }
        Ok(effect)
    });
    // Where the store refuses, a guest that lost an essential container is stopped all the same.
    succeeded("record what became of a task", written.await).unwrap_or(Effect { durable: false, stop_rest: true })
}
