//! The lives of a task's containers, one after the other: begun as ordered, until none can begin any more.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::{Exit, TaskId};
use crate::runtime::files::TaskDisk;
use crate::runtime::guest::export::Callable;
use crate::runtime::image::load::Image;
use crate::runtime::sockets::TaskNetwork;
use crate::runtime::spec::ContainerSpec;
use crate::runtime::task::orders::Halt;
use crate::runtime::task::{Life, reports_to_come_max, stopped_before};

/// The containers of a task whose images are there: started as ordered, until all have stopped and none can start again.
pub(super) struct Lives<'a> {
    pub life: &'a Life,
    pub id: TaskId,
    pub network: TaskNetwork,
    pub disk: TaskDisk,
    pub containers: &'a [ContainerSpec],
    pub images: &'a [Arc<Image>],
    /// It goes on while nothing runs, because more may be ordered.
    pub is_held: bool,
}

impl Lives<'_> {
    pub async fn run(self) {
        let shared = &self.life.shared;
        let mut running = FuturesUnordered::new();
        let mut lived = vec![false; self.containers.len()];
        loop {
            for (number, lived) in lived.iter_mut().enumerate() {
                if self.is_over() || (*lived && !self.is_heard()) {
                    continue;
                }
                if shared.orders.take_refused(number) {
                    *lived = true;
                    self.stopped(number, Exit::CouldNotStart(stopped_before()));
                } else if let Some(halt) = shared.orders.begin(number, &shared.stop, &shared.kill) {
                    *lived = true;
                    running.push(self.live(number, halt));
                }
            }
            if running.is_empty() && (self.is_over() || !self.is_held) {
                break;
            }
            tokio::select! {
                biased;
                Some((number, exit)) = running.next() => self.stopped(number, exit),
                () = shared.orders.changed() => {}
                () = self.heard(&lived) => {}
                () = self.life.cancelled(), if running.is_empty() => {}
            }
        }
        for (container, lived) in self.containers.iter().zip(lived) {
            if !lived {
                self.life.reports.stopped(&container.name, Exit::CouldNotStart(stopped_before()));
            }
        }
    }

    async fn live(&self, number: usize, halt: Halt) -> (usize, Exit) {
        let parts = (self.containers.get(number), self.images.get(number), self.disk.container(number));
        let (Some(container), Some(image), Some(files)) = parts else {
            return (number, Exit::CouldNotStart(stopped_before()));
        };
        let sandbox = self.life.sandbox(self.id, container, &self.network, files);
        if self.is_held {
            let callable = Callable {
                sandbox: Arc::clone(&sandbox),
                image: Arc::clone(image),
                engine: self.life.node.engines.get(image.engine).clone(),
                cpu: self.life.meters(&container.name).cpu.clone(),
                cut: CancellationToken::new(),
                open: TaskTracker::new(),
            };
            self.life.shared.callables.lock().insert(container.name.clone(), callable);
        }
        let exit = self.life.container(number, container, Arc::clone(image), sandbox, halt).await;
        let callable = self.life.shared.callables.lock().remove(&container.name);
        if let Some(callable) = callable {
            callable.close().await;
        }
        match self.disk.exceeded() {
            Some(reason) if !exit.never_ran() => (number, Exit::OutOfDisk(reason)),
            _ => (number, exit),
        }
    }

    fn stopped(&self, number: usize, exit: Exit) {
        let shared = &self.life.shared;
        if let Some(container) = self.containers.get(number) {
            shared.handlers.lock().remove(&container.name);
            shared.orders.ended(number);
            self.life.reports.stopped(&container.name, exit);
        }
    }

    /// Nothing may start any more.
    fn is_over(&self) -> bool {
        let shared = &self.life.shared;
        shared.orders.is_finished() || shared.stop.is_cancelled() || shared.kill.is_cancelled()
    }

    /// What was reported has been received, as far as another life needs the room.
    fn is_heard(&self) -> bool {
        self.life.reports.0.capacity() >= reports_to_come_max(self.containers.len())
    }

    /// Until a container that is wanted again may live again. Whoever ordered it has received its end, so this is soon.
    async fn heard(&self, lived: &[bool]) {
        let waits = |number: usize| lived.get(number) == Some(&true) && self.life.shared.orders.is_wanted(number);
        if !self.is_over() && !self.is_heard() && (0..lived.len()).any(waits) {
            let _ = self.life.reports.0.reserve_many(reports_to_come_max(self.containers.len())).await;
        } else {
            std::future::pending().await
        }
    }
}
