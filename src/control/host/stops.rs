//! Which containers were asked to stop: what a long poll of `$ECS_AGENT_URI/coracle/stop` waits for.
//!
//! Every order to stop passes through the host, wherever the task runs, so it is noted there, and the runtime needs to know
//! nothing of who waits.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::model::TaskId;

/// As many as there are running tasks: `forget` takes out what ended.
#[derive(Default)]
pub struct Stops(Mutex<HashMap<TaskId, Task>>);

struct Task {
    all: CancellationToken,
    /// Of each container's present life.
    containers: HashMap<String, CancellationToken>,
}

impl Stops {
    pub fn begin<'a>(&self, task: TaskId, containers: impl Iterator<Item = &'a str>) {
        let all = CancellationToken::new();
        let containers = containers.map(|name| (name.to_owned(), all.child_token())).collect();
        self.0.lock().insert(task, Task { all, containers });
    }

    /// A container begins a life of its own, unless the whole task is asked to stop.
    pub fn started(&self, task: TaskId, container: &str) {
        if let Some(Task { all, containers }) = self.0.lock().get_mut(&task)
            && let Some(stop) = containers.get_mut(container)
        {
            *stop = all.child_token();
        }
    }

    pub fn stopped(&self, task: TaskId, container: &str) {
        if let Some(stop) = self.0.lock().get(&task).and_then(|task| task.containers.get(container)) {
            stop.cancel();
        }
    }

    pub fn all_stopped(&self, task: TaskId) {
        if let Some(task) = self.0.lock().get(&task) {
            task.all.cancel();
        }
    }

    /// Whoever still waits is told: there is nothing left to wait for.
    pub fn forget(&self, task: TaskId) {
        if let Some(task) = self.0.lock().remove(&task) {
            task.all.cancel();
        }
    }

    pub fn stopping(&self, task: TaskId, container: &str) -> Option<CancellationToken> {
        self.0.lock().get(&task)?.containers.get(container).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_told_when_it_or_its_task_stops() {
        let (stops, task) = (Stops::default(), TaskId(1));
        stops.begin(task, ["app", "sidecar"].into_iter());
        let told = |container| stops.stopping(task, container).is_none_or(|stop| stop.is_cancelled());
        stops.stopped(task, "app");
        assert!(told("app") && !told("sidecar") && told("nobody"));
        stops.started(task, "app");
        assert!(!told("app"), "it lives again");
        let waiting = stops.stopping(task, "app").unwrap();
        stops.all_stopped(task);
        assert!(waiting.is_cancelled() && told("sidecar"));
        stops.started(task, "app");
        assert!(told("app"), "nothing starts in a task that stops");
        stops.forget(task);
        assert!(told("app"));
    }
}
