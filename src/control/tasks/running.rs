//! The tasks that the host has, and which of them it was told to stop.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::model::TaskId;

/// Bounded by what the node can hold: a task is in it from its placement to its end.
pub struct RunningTasks {
    tasks: Mutex<HashMap<TaskId, Running>>,
    count: watch::Sender<usize>,
}

struct Running {
    stop_asked: bool,
    /// Tells the task's own future, where that stops the containers in order.
    in_order: Option<Arc<Notify>>,
}

impl Default for RunningTasks {
    fn default() -> RunningTasks {
        RunningTasks { tasks: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl RunningTasks {
    pub fn insert(&self, task: TaskId, in_order: Option<Arc<Notify>>) {
        let mut tasks = self.tasks.lock();
        tasks.insert(task, Running { stop_asked: false, in_order });
        self.count.send_replace(tasks.len());
    }

    pub fn remove(&self, task: TaskId) {
        let mut tasks = self.tasks.lock();
        tasks.remove(&task);
        self.count.send_replace(tasks.len());
    }

    /// Notes that the task is told to stop. True where its own future has now heard of it, and stops it; otherwise the host
    /// is to be told.
    pub fn ask_stop(&self, task: TaskId) -> bool {
        let mut tasks = self.tasks.lock();
        let Some(running) = tasks.get_mut(&task) else { return false };
        running.stop_asked = true;
        if let Some(in_order) = &running.in_order {
            in_order.notify_one();
        }
        running.in_order.is_some()
    }

    /// Whether the host has it, and whether it was told to stop.
    pub fn state(&self, task: TaskId) -> (bool, bool) {
        let tasks = self.tasks.lock();
        let stop_asked = tasks.get(&task).map(|running| running.stop_asked);
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
