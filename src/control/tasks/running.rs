//! The tasks that the host has, and which of them it was told to stop.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::TaskId;

/// Bounded by what the node can hold: a task is in it from its placement to its end.
pub struct RunningTasks {
    /// The value says whether the host was told to stop it.
    tasks: Mutex<HashMap<TaskId, bool>>,
    count: watch::Sender<usize>,
}

impl Default for RunningTasks {
    fn default() -> RunningTasks {
        RunningTasks { tasks: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl RunningTasks {
    pub fn insert(&self, task: TaskId) {
        let mut tasks = self.tasks.lock();
        tasks.insert(task, false);
        self.count.send_replace(tasks.len());
    }

    pub fn remove(&self, task: TaskId) {
        let mut tasks = self.tasks.lock();
        tasks.remove(&task);
        self.count.send_replace(tasks.len());
    }

    pub fn set_stop_asked(&self, task: TaskId) {
        if let Some(stop_asked) = self.tasks.lock().get_mut(&task) {
            *stop_asked = true;
        }
    }

    /// Whether the host has it, and whether the host was told to stop it.
    pub fn state(&self, task: TaskId) -> (bool, bool) {
        let tasks = self.tasks.lock();
        let stop_asked = tasks.get(&task).copied();
        (stop_asked.is_some(), stop_asked.unwrap_or(false))
    }

    pub fn all(&self) -> Vec<TaskId> {
        self.tasks.lock().keys().copied().collect()
    }

    pub fn len(&self) -> usize {
        self.tasks.lock().len()
    }

    /// How many there are, whenever that changes.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }
}
