//! The life of one task.

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::runtime::guest::handler::Handler;
use crate::runtime::spec::{Report, TaskSpec, Usage};

/// A task that was started. Dropping it does not stop the task.
#[derive(Clone)]
pub struct RunningTask {}

impl RunningTask {
    /// Asks politely: handlers finish what they have, programs see the end of their standard input; what still runs
    /// after its `stop_timeout` is cut off.
    pub fn stop(&self) {}

    /// Cuts everything off.
    pub fn kill(&self) {}

    /// The handler of this container, once it started and until it stopped.
    pub fn handler(&self, container: &str) -> Option<Handler> {
        let _ = container;
        None
    }

    pub fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// See [`crate::runtime::Runtime::run`].
pub fn start(control: Handle, spec: TaskSpec) -> (RunningTask, mpsc::Receiver<Report>) {
    let (reports, receiver) = mpsc::channel(1);
    control.spawn(async move {
        drop(spec);
        // The receiver is gone where nobody wants to know.
        let _ = reports.send(Report::Ended).await;
    });
    (RunningTask {}, receiver)
}
