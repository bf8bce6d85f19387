//! A task that runs, here or in a process of its own: whoever holds it need not know.

use tokio::runtime::Handle;

use crate::model::Usage;
use crate::runtime::guest::handler::Handler;
use crate::runtime::task::LocalTask;
use crate::runtime::worker::parent::IsolatedTask;
use crate::runtime::worker::protocol::ToWorker;

/// A task that was started. A cheap handle; dropping it does not stop the task.
#[derive(Clone)]
pub struct RunningTask {
    place: Place,
}

#[derive(Clone)]
enum Place {
    Here(LocalTask),
    Apart(IsolatedTask),
}

impl From<LocalTask> for RunningTask {
    fn from(task: LocalTask) -> RunningTask {
        RunningTask { place: Place::Here(task) }
    }
}

impl From<IsolatedTask> for RunningTask {
    fn from(task: IsolatedTask) -> RunningTask {
        RunningTask { place: Place::Apart(task) }
    }
}

impl RunningTask {
    /// Asks politely: handlers finish what they have, programs see the end of their standard input; what still runs
    /// after its `stop_timeout` is cut off.
    pub fn stop(&self) {
        match &self.place {
            Place::Here(task) => task.stop(),
            Place::Apart(task) => task.order(ToWorker::Stop),
        }
    }

    /// Starts a container that waits, or one that has stopped. To be called again only after that one's
    /// `ContainerStopped` was received; what runs or is about to goes on. After `stop`, `kill` or `finish` nothing starts.
    pub fn start_container(&self, container: &str) {
        match &self.place {
            Place::Here(task) => task.start_container(container),
            Place::Apart(task) => task.order(ToWorker::StartContainer(container.to_owned())),
        }
    }

    /// Asks one container politely, as [`RunningTask::stop`] asks all; the task goes on.
    pub fn stop_container(&self, container: &str) {
        match &self.place {
            Place::Here(task) => task.stop_container(container),
            Place::Apart(task) => task.order(ToWorker::StopContainer(container.to_owned())),
        }
    }

    /// No start comes any more: a held task ends as soon as nothing of it runs.
    pub fn finish(&self) {
        match &self.place {
            Place::Here(task) => task.finish(),
            Place::Apart(task) => task.order(ToWorker::Finish),
        }
    }

    /// Cuts everything off.
    pub fn kill(&self) {
        match &self.place {
            Place::Here(task) => task.kill(),
            Place::Apart(task) => task.order(ToWorker::Kill),
        }
    }

    /// What its files took of the disk when they were last looked at, where it runs here.
    pub fn storage_bytes(&self) -> Option<u64> {
        match &self.place {
            Place::Here(task) => Some(task.storage_bytes()),
            Place::Apart(_) => None,
        }
    }

    /// The handler of this container, once it started and until it stopped.
    pub fn handler(&self, container: &str) -> Option<Handler> {
        match &self.place {
            Place::Here(task) => task.handler(container),
            Place::Apart(task) => task.handler(container).map(Handler::from),
        }
    }

    /// Calls an exported function of a container that runs: see [`crate::runtime::guest::export`].
    pub async fn call_export(&self, container: &str, name: &str) -> Result<(), String> {
        match &self.place {
            Place::Here(task) => task.call_export(container, name).await,
            Place::Apart(task) => task.call_export(container, name).await,
        }
    }

    /// Where its guests run, if they do so in this process.
    pub fn guest_threads(&self) -> Option<Handle> {
        match &self.place {
            Place::Here(task) => task.guest_threads(),
            Place::Apart(_) => None,
        }
    }

    /// What it has used until now.
    pub fn usage(&self) -> Usage {
        match &self.place {
            Place::Here(task) => task.usage(),
            Place::Apart(task) => task.usage(),
        }
    }

    /// What one of its containers has used, over all its starts.
    pub fn container_usage(&self, container: &str) -> Option<Usage> {
        match &self.place {
            Place::Here(task) => task.container_usage(container),
            Place::Apart(task) => task.container_usage(container),
        }
    }
}
