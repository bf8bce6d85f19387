//! Relays between one task's worker and the rest of the server, until the worker is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::model::exit::{Trap, TrapKind};
use crate::model::{Exit, StartFailure, TaskId};
use crate::network::remote::Answers;
use crate::runtime::Node;
use crate::runtime::guest::http::HandlerError;
use crate::runtime::spec::{GuestKind, Report, TaskSpec};
use crate::runtime::worker::child::Order;
use crate::runtime::worker::http::{self, Requests};
use crate::runtime::worker::parent::process::Process;
use crate::runtime::worker::parent::{Shared, WorkerConfig};
use crate::runtime::worker::protocol::{self, FromWorker, ToWorker};
use crate::runtime::worker::table;

/// Messages of a worker that wait to be relayed.
const MESSAGES_MAX: usize = 256;
/// Beyond the longest `stopTimeout` of its containers, a worker that was told to stop has this long to end.
const END_GRACE: Duration = Duration::from_secs(5);

pub struct Relay {
    node: Arc<Node>,
    config: Arc<WorkerConfig>,
    shared: Arc<Shared>,
    reports: mpsc::Sender<Report>,
}

/// What was reported of a container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    NeverStarted,
    Started,
    Stopped,
}

/// What a task's containers are known to be.
struct Containers {
    known: HashMap<String, (Known, Option<GuestKind>)>,
}

impl Relay {
    pub fn new(
        node: Arc<Node>,
        config: Arc<WorkerConfig>,
        shared: Arc<Shared>,
        reports: mpsc::Sender<Report>,
    ) -> Relay {
        Relay { node, config, shared, reports }
    }

    pub async fn live(self, spec: TaskSpec, orders: mpsc::Receiver<ToWorker<Order>>) {
        let id = spec.id;
        let names = spec.containers.iter().map(|container| (container.name.clone(), (Known::NeverStarted, None)));
        let mut containers = Containers { known: names.collect() };
        self.send(Report::PullStarted).await;
        let pulled = self.pull(&spec, &mut containers).await;
        self.send(Report::PullStopped).await;
        let ended = match pulled {
            Ok(()) => self.work(spec, orders, &mut containers).await,
            Err(failure) => Err(failure),
        };
        self.shared.handlers.lock().clear();
        self.shared.connection.lock().take();
        for report in containers.unreported(ended) {
            self.send(report).await;
        }
        // The worker may not: its user cannot write where all tasks are.
        self.node.files.throw_away(id);
        self.send(Report::Ended).await;
    }

    /// The receiver holds all that a task reports; who does not want to know has dropped it.
    async fn send(&self, report: Report) {
        let _ = self.reports.send(report).await;
    }

    /// Images are compiled here, so that no worker needs a compiler; the worker finds the artifact.
    async fn pull(&self, spec: &TaskSpec, containers: &mut Containers) -> Result<(), StartFailure> {
        let pulls = spec.containers.iter().map(|container| async {
            let image = self.node.images.pull(&container.image, container.may_name_any_file).await?;
            let (digest, kind) = (image.digest.clone(), image.kind());
            self.send(Report::Resolved { container: container.name.clone(), digest, kind }).await;
            Ok::<_, StartFailure>((container.name.clone(), kind))
        });
        for pulled in join_all(pulls).await {
            let (name, kind) = pulled?;
            containers.known.insert(name, (Known::NeverStarted, Some(kind)));
        }
        Ok(())
    }

    /// Runs the worker to its end. An error is why the task could not start, or broke off.
    async fn work(
        &self,
        spec: TaskSpec,
        mut orders: mpsc::Receiver<ToWorker<Order>>,
        containers: &mut Containers,
    ) -> Result<(), StartFailure> {
        let failed = |error: &dyn std::fmt::Display| {
            StartFailure::ResourceInitialization(format!("the worker process of the task cannot run: {error}"))
        };
        let task = spec.id;
        let Process { mut child, control, handlers, endpoint, table } =
            Process::start(&self.config, task).await.map_err(|error| failed(&error))?;
        let (requests, drive) = Requests::over(handlers).await.map_err(|error| failed(&error))?;
        let handlers = tokio::spawn(drive);
        *self.shared.connection.lock() = Some(requests.clone());
        let endpoint = tokio::spawn(http::answer(endpoint, self.endpoint(task)));
        // They hold the address, and what the task publishes, until the worker is gone.
        let table = tokio::spawn(table::answer(table, Answers::new(spec.address.clone())));
        let longest = spec.containers.iter().map(|container| container.stop_timeout).max().unwrap_or_default();
        let (mut from, mut to) = control.into_split();
        let order = Order::of(spec, &self.node, &self.config);
        protocol::write(&mut to, &ToWorker::Run(order)).await.map_err(|error| failed(&error))?;

        let (sender, mut messages) = mpsc::channel(MESSAGES_MAX);
        let reader = tokio::spawn(async move { read_all(&mut from, sender).await });
        let mut deadline = None;
        let mut failure = None;
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    None => break,
                    Some(FromWorker::Failed(text)) => failure = Some(failed(&text)),
                    Some(message) => self.relay(task, message, containers, &requests).await,
                },
                Some(order) = orders.recv() => {
                    if matches!(order, ToWorker::Stop | ToWorker::Kill) {
                        deadline.get_or_insert_with(|| tokio::time::Instant::now() + longest + END_GRACE);
                    }
                    if protocol::write(&mut to, &order).await.is_err() {
                        break;
                    }
                }
                () = until(deadline) => break,
            }
        }
        // Whatever it still does, it is over.
        let _ = child.start_kill();
        let status = child.wait().await;
        for task in [handlers, endpoint, table, reader] {
            task.abort();
        }
        match (failure, status) {
            (Some(failure), _) => Err(failure),
            (None, Ok(status)) => Err(failed(&format_args!("it ended ({status})"))),
            (None, Err(error)) => Err(failed(&error)),
        }
    }

    fn endpoint(&self, task: TaskId) -> http::Answer {
        let endpoint = Arc::clone(self.node.gateway.task_endpoint());
        Arc::new(move |_, request| {
            let answer = endpoint.call(task, request);
            Box::pin(async move { Ok::<_, HandlerError>(answer.await) })
        })
    }

    async fn relay(&self, task: TaskId, message: FromWorker, containers: &mut Containers, requests: &Requests) {
        match message {
            FromWorker::Line { container, stream, line } => {
                if containers.known.contains_key(&container) {
                    self.node.logs.write(task, &container, stream, &line);
                }
            }
            FromWorker::Used(used) => {
                self.shared.memory.lock().set(used.task.memory_bytes);
                *self.shared.used.lock() = used;
            }
            FromWorker::Report(report) => {
                if let Some(report) = containers.heard(report) {
                    self.show(&report, containers, requests);
                    self.send(report).await;
                }
            }
            FromWorker::Ready | FromWorker::Failed(_) => {}
        }
    }

    fn show(&self, report: &Report, containers: &Containers, requests: &Requests) {
        let mut handlers = self.shared.handlers.lock();
        match report {
            Report::ContainerStarted { container, .. } if containers.is_handler(container) => {
                handlers.insert(container.clone(), requests.clone());
            }
            Report::ContainerStopped { container, .. } => {
                handlers.remove(container);
            }
            _ => {}
        }
    }
}

async fn read_all(from: &mut (impl AsyncRead + Unpin), to: mpsc::Sender<FromWorker>) {
    while let Ok(Some(message)) = protocol::read(from).await {
        if to.send(message).await.is_err() {
            return;
        }
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Containers {
    fn is_handler(&self, container: &str) -> bool {
        matches!(self.known.get(container), Some((_, Some(GuestKind::Handler))))
    }

    /// The report, where the worker may say it now. The pull was ours, and the end is when its process has ended.
    fn heard(&mut self, report: Report) -> Option<Report> {
        let (container, next) = match &report {
            Report::ContainerStarted { container, .. } => (container, Known::Started),
            Report::ContainerStopped { container, .. } => (container, Known::Stopped),
            Report::PullStarted | Report::Resolved { .. } | Report::PullStopped | Report::Ended => return None,
        };
        let (known, _) = self.known.get_mut(container)?;
        let is_next = match next {
            Known::Started => *known != Known::Started,
            Known::Stopped | Known::NeverStarted => *known != Known::Stopped,
        };
        is_next.then(|| {
            *known = next;
            report
        })
    }

    /// What is still to be said of containers when the worker is gone.
    fn unreported(&mut self, ended: Result<(), StartFailure>) -> Vec<Report> {
        let failure = ended.err().unwrap_or_else(|| StartFailure::CannotCreate(String::from("the task has ended")));
        let broke_off = Trap { kind: TrapKind::Other, message: failure.text() };
        let mut reports = Vec::new();
        for (name, (known, _)) in &mut self.known {
            let exit = match known {
                Known::Stopped => continue,
                Known::Started => Exit::Trapped(broke_off.clone()),
                Known::NeverStarted => Exit::CouldNotStart(failure.clone()),
            };
            *known = Known::Stopped;
            reports.push(Report::ContainerStopped { container: name.clone(), exit });
        }
        reports
    }
}
