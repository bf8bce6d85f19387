//! How what a host reports changes what is shown of a task.
//!
//! Each fact is one transition. It says which of its changes must be durable before anyone sees them (the end of a
//! container and of the task: a client may have acted on them) and whether the rest of the task is to be stopped.

use std::net::Ipv4Addr;

use crate::model::task::{ContainerStatus, NetworkBinding, StopCode};
use crate::model::task_definition::NetworkMode;
use crate::model::{DesiredStatus, Exit, HealthStatus, Task, TaskDefinition, TaskStatus, Timestamp};
use crate::plan::pressure;
use crate::plan::task::end;

/// What happened to a task on its host.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    PullStarted,
    Resolved {
        container: String,
        digest: String,
        is_handler: bool,
    },
    PullStopped,
    ContainerStarted {
        container: String,
        runtime_id: String,
        bindings: Vec<NetworkBinding>,
    },
    ContainerStopped {
        container: String,
        exit: Exit,
    },
    /// It ended, and its restart policy starts it again: so many times by now.
    Restarting {
        container: String,
        restarts: u32,
    },
    /// It never starts, because what it waits for cannot come any more.
    GivenUp {
        container: String,
        reason: String,
    },
    /// What its checks say of it now.
    Health {
        container: String,
        status: HealthStatus,
    },
    /// Nothing of it is left on the host.
    Ended,
}

/// What follows from a fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The change may not wait to be written together with later ones.
    pub durable: bool,
    /// The task is over because of this: its other containers are to be stopped.
    pub stop_rest: bool,
}

/// `Essential container in task exited`, as ECS writes it.
pub const ESSENTIAL_EXITED: &str = "Essential container in task exited";

/// Applies a fact that was observed at `at`.
pub fn apply(task: &mut Task, definition: &TaskDefinition, fact: &Fact, at: Timestamp) -> Effect {
    if task.is_stopped() {
        // What was shown as ended stays as it was shown.
        return Effect::default();
    }
    match fact {
        Fact::PullStarted => {
            task.pull_started_at.get_or_insert(at);
            Effect::default()
        }
        Fact::PullStopped => {
            task.pull_stopped_at.get_or_insert(at);
            Effect::default()
        }
        Fact::Resolved { container, digest, is_handler } => {
            if let Some(shown) = task.containers.iter_mut().find(|shown| shown.name == *container) {
                shown.image_digest = Some(digest.clone());
                shown.is_handler = Some(*is_handler);
            }
            Effect::default()
        }
        Fact::ContainerStarted { container, runtime_id, bindings } => {
            if let Some(shown) = task.containers.iter_mut().find(|shown| shown.name == *container) {
                shown.runtime_id = Some(runtime_id.clone());
                shown.started_at = Some(at);
                shown.finished_at = None;
                shown.network_bindings = match task.address {
                    // A program opens its ports by itself, where its mappings say.
                    Some(address) if bindings.is_empty() => mapped(definition, container, address),
                    _ => bindings.clone(),
                };
                if shown.last_status == ContainerStatus::Pending {
                    shown.last_status = ContainerStatus::Running;
                }
            }
            show_progress(task, at);
            Effect::default()
        }
        Fact::Restarting { container, restarts } => {
            if let Some(shown) = task.containers.iter_mut().find(|shown| shown.name == *container) {
                shown.restart_count = *restarts;
                shown.health_status = shown.health_status.map(|_| HealthStatus::Unknown);
            }
            show_health(task, definition);
            Effect { durable: true, stop_rest: false }
        }
        Fact::Health { container, status } => {
            if let Some(shown) = task.containers.iter_mut().find(|shown| shown.name == *container) {
                shown.health_status = Some(*status);
            }
            show_health(task, definition);
            Effect::default()
        }
        Fact::GivenUp { container, reason } => given_up(task, definition, container, reason, at),
        Fact::ContainerStopped { container, exit } => container_stopped(task, definition, container, exit, at),
        Fact::Ended => {
            ended(task, at);
            Effect { durable: true, stop_rest: false }
        }
    }
}

/// The bindings that ECS shows outside of `awsvpc`, where the interface says them.
fn mapped(definition: &TaskDefinition, container: &str, address: Ipv4Addr) -> Vec<NetworkBinding> {
    if matches!(definition.document.network_mode(), NetworkMode::Awsvpc | NetworkMode::None) {
        return Vec::new();
    }
    let mappings = definition.container(container).into_iter().flat_map(|container| &container.port_mappings);
    let ports = mappings.filter_map(|mapping| Some((mapping.container_port?, mapping.protocol.clone())));
    ports
        .map(|(port, protocol)| NetworkBinding {
            count: 1,
            bind_ip: address.to_string(),
            container_port: port,
            host_port: port,
            protocol,
        })
        .collect()
}

/// RUNNING once every container was started, also where one that is not essential has ended again.
fn show_progress(task: &mut Task, at: Timestamp) {
    if task.last_status >= TaskStatus::Running {
        return;
    }
    if task.containers.iter().all(|container| container.last_status != ContainerStatus::Pending) {
        task.last_status = TaskStatus::Running;
        task.started_at.get_or_insert(at);
    } else {
        task.last_status = TaskStatus::Activating;
    }
}

fn show_health(task: &mut Task, definition: &TaskDefinition) {
    let essential = |name: &str| definition.container(name).is_none_or(|defined| defined.essential);
    let checked = task.containers.iter().filter(|container| essential(&container.name));
    task.health_status = HealthStatus::of_task(checked.filter_map(|container| container.health_status));
}

/// The exit code that ECS's agent shows of a container that it gave up: that of one that was told to stop.
const GIVEN_UP_CODE: i32 = 143;

fn given_up(task: &mut Task, definition: &TaskDefinition, container: &str, reason: &str, at: Timestamp) -> Effect {
    let Some(shown) = task.containers.iter_mut().find(|shown| shown.name == container) else {
        return Effect::default();
    };
    if shown.last_status == ContainerStatus::Stopped {
        return Effect::default();
    }
    let reason = format!("CannotStartContainerError: {reason}");
    shown.last_status = ContainerStatus::Stopped;
    shown.exit_code = Some(GIVEN_UP_CODE);
    shown.reason = Some(reason.clone());
    if !definition.container(container).is_none_or(|defined| defined.essential) {
        show_progress(task, at);
        return Effect { durable: true, stop_rest: false };
    }
    over(task, StopCode::TaskFailedToStart, reason, at)
}

fn container_stopped(
    task: &mut Task,
    definition: &TaskDefinition,
    container: &str,
    exit: &Exit,
    at: Timestamp,
) -> Effect {
    // Its node needed the memory: what was cut off by that says so.
    let for_memory = *exit == Exit::Killed && pressure::was_ended(task);
    let Some(shown) = task.containers.iter_mut().find(|shown| shown.name == container) else {
        return Effect::default();
    };
    if shown.last_status == ContainerStatus::Stopped {
        return Effect::default();
    }
    let end = if for_memory { Exit::OutOfMemory.container_end() } else { exit.container_end() };
    shown.last_status = ContainerStatus::Stopped;
    shown.exit_code = end.exit_code;
    shown.reason = end.reason.clone();
    shown.finished_at = shown.started_at.map(|_| at);

    let essential = definition.container(container).is_none_or(|defined| defined.essential);
    if !essential {
        show_progress(task, at);
        return Effect { durable: true, stop_rest: false };
    }
    let (code, reason) = match exit {
        Exit::CouldNotStart(failure) => (StopCode::TaskFailedToStart, failure.text()),
        _ => (StopCode::EssentialContainerExited, String::from(ESSENTIAL_EXITED)),
    };
    over(task, code, reason, at)
}

/// An essential container is gone. Whoever stopped the task before gave the reason.
fn over(task: &mut Task, code: StopCode, reason: String, at: Timestamp) -> Effect {
    task.execution_stopped_at.get_or_insert(at);
    if task.stop_code.is_none() {
        task.stop_code = Some(code);
        task.stopped_reason.get_or_insert(reason);
    }
    task.desired_status = DesiredStatus::Stopped;
    show_stopping(task, at);
    Effect { durable: true, stop_rest: true }
}

/// The task's targets leave first.
pub fn show_deactivating(task: &mut Task, at: Timestamp) {
    task.last_status = task.last_status.max(TaskStatus::Deactivating);
    task.stopping_at.get_or_insert(at);
}

pub fn show_stopping(task: &mut Task, at: Timestamp) {
    task.last_status = task.last_status.max(TaskStatus::Stopping);
    task.stopping_at.get_or_insert(at);
}

fn ended(task: &mut Task, at: Timestamp) {
    task.execution_stopped_at.get_or_insert(at);
    // Each container's end was reported before; where a host failed to, the task still ends whole.
    end(task, StopCode::EssentialContainerExited, String::from(ESSENTIAL_EXITED), at);
}

#[cfg(test)]
mod tests;
