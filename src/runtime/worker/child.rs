//! The worker's own process: `coracle task-worker SOCKET`.
//!
//! It connects, is told what to run, opens what that needs, gives up the rest, and runs the task. From then on it is
//! assumed to be hostile: everything that it needs later must be open by then.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::model::TaskId;
use crate::network::{Policy, Table};
use crate::runtime::endpoint::{self, TaskEndpoint};
use crate::runtime::files::{OnlyTask, TaskFiles};
use crate::runtime::guest::http::{HandlerError, RequestBody, ResponseBody};
use crate::runtime::spec::{ContainerSpec, LogSink, Report, Stream, TaskSpec};
use crate::runtime::worker::http::{self, Requests};
use crate::runtime::worker::lockdown::{self, Limits};
use crate::runtime::worker::parent::{WorkerConfig, exported};
use crate::runtime::worker::protocol::{self, FromWorker, Purpose, ToWorker, USED_PERIOD, Used};
use crate::runtime::worker::table::Asking;
use crate::runtime::{CompileIn, Node, RunningTask, Runtime, RuntimeConfig};

/// Reports and lines on their way to the server. What a guest prints while the server is that far behind is lost, and
/// counted.
const MESSAGES_MAX: usize = 16_384;
/// Instances of one task at once: a worker's pool is reserved for this many.
const INSTANCES_MAX: u32 = 256;
/// What the worker itself may allocate while its task runs: wasmtime's and the runtime's own, and the buffers of requests.
const OWN_DATA_BYTES: u64 = 1 << 30;
/// Sockets of one task (1,024), its files (1,024), and what the runtime has open.
const OPEN_FILES: u64 = 4096;

/// Everything that a worker is told about its task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    id: TaskId,
    ip: Ipv4Addr,
    policy: Policy,
    dns_servers: Vec<SocketAddr>,
    cpu_units: u32,
    cpu_capped: bool,
    fuel: Option<u64>,
    memory_bytes: Option<u64>,
    held: bool,
    files: TaskFiles,
    containers: Vec<ContainerSpec>,
    data_dir: PathBuf,
    aliases: BTreeMap<String, PathBuf>,
    image_dir: Option<PathBuf>,
    cores: u32,
    memory_node_bytes: u64,
    user: Option<u32>,
}

impl Order {
    pub(super) fn of(spec: TaskSpec, node: &Node, config: &WorkerConfig) -> Order {
        // One of 65,536: two tasks of the same user are rare, and still apart in everything but signals.
        let user = config.first_user.map(|first| first + u32::from(spec.id.0 as u16));
        Order {
            id: spec.id,
            ip: spec.address.ip(),
            policy: spec.address.policy().clone(),
            dns_servers: node.config.dns_servers.clone(),
            cpu_units: spec.cpu_units,
            cpu_capped: spec.cpu_capped,
            fuel: spec.fuel,
            memory_bytes: spec.memory_bytes,
            held: spec.held,
            files: spec.files,
            containers: spec.containers,
            data_dir: node.config.data_dir.clone(),
            aliases: node.config.aliases.clone(),
            image_dir: node.config.image_dir.clone(),
            cores: node.config.cores,
            memory_node_bytes: node.config.memory_bytes,
            user,
        }
    }
}

/// The worker's whole life, to be called by `main` before anything else is set up.
pub fn child_main(socket: &Path) -> ExitCode {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        let _ = writeln!(io::stderr(), "{what}: {error}");
        ExitCode::FAILURE
    };
    if let Err(error) = lockdown::die_with_parent() {
        return failed("the worker cannot be tied to its server", &error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed("the worker cannot start threads", &error),
    };
    let done = runtime.block_on(work(socket));
    match done {
        // Guests that still spin need not be waited for: the process ends.
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed("the worker failed", &error),
    }
}

async fn connect(socket: &Path, purpose: Purpose) -> io::Result<UnixStream> {
    use tokio::io::AsyncWriteExt;
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_u8(purpose.byte()).await?;
    Ok(stream)
}

async fn work(socket: &Path) -> io::Result<()> {
    let control = connect(socket, Purpose::Control).await?;
    let handlers = connect(socket, Purpose::Handlers).await?;
    let endpoint = connect(socket, Purpose::Endpoint).await?;
    let table = connect(socket, Purpose::Table).await?;
    let (mut from, mut to) = control.into_split();
    let Some(ToWorker::Run(order)) = protocol::read::<ToWorker<Order>>(&mut from).await? else {
        return Err(io::Error::other("the server gave no order"));
    };
    let (messages, mut queue) = mpsc::channel::<FromWorker>(MESSAGES_MAX);
    let writer = tokio::spawn(async move {
        while let Some(message) = queue.recv().await {
            if protocol::write(&mut to, &message).await.is_err() {
                break;
            }
        }
    });
    let logs = Arc::new(Lines { to: messages.clone(), lost: AtomicU64::new(0) });
    let (requests, drive) = Requests::over(endpoint).await.map_err(io::Error::other)?;
    tokio::spawn(drive);
    let names: Vec<String> = order.containers.iter().map(|container| container.name.clone()).collect();
    let started = start(order, logs, Arc::new(Endpoint(requests)), table).await;
    let (task, mut reports) = match started {
        Ok(started) => started,
        Err(text) => {
            let _ = messages.send(FromWorker::Failed(text)).await;
            drop(messages);
            let _ = writer.await;
            return Ok(());
        }
    };
    let _ = messages.send(FromWorker::Ready).await;
    tokio::spawn(http::answer(handlers, handlers_of(task.clone())));
    let orders = task.clone();
    tokio::spawn(async move {
        while let Ok(Some(order)) = protocol::read::<ToWorker<Order>>(&mut from).await {
            obey(&orders, order);
        }
        // The server is gone, and with it everybody who wants this task.
        orders.kill();
    });
    let mut used_period = tokio::time::interval(USED_PERIOD);
    used_period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Used::default();
    loop {
        tokio::select! {
            report = reports.recv() => {
                let Some(report) = report else { break };
                let has_ended = report == Report::Ended;
                tell_used(&task, &names, &mut last, &messages).await;
                let _ = messages.send(FromWorker::Report(report)).await;
                if has_ended {
                    break;
                }
            }
            _ = used_period.tick() => tell_used(&task, &names, &mut last, &messages).await,
        }
    }
    // Only the queue's own senders are left in what has ended; what is in it is still written.
    messages.send(FromWorker::Report(Report::Ended)).await.map_err(io::Error::other)?;
    messages.reserve_many(MESSAGES_MAX).await.map(drop).map_err(io::Error::other)
}

async fn tell_used(task: &RunningTask, names: &[String], last: &mut Used, messages: &mpsc::Sender<FromWorker>) {
    let of = |name: &String| Some((name.clone(), task.container_usage(name)?));
    let used = Used { task: task.usage(), containers: names.iter().filter_map(of).collect() };
    if used != *last {
        last.clone_from(&used);
        let _ = messages.send(FromWorker::Used(used)).await;
    }
}

fn obey(task: &RunningTask, order: ToWorker<Order>) {
    match order {
        ToWorker::StartContainer(name) => task.start_container(&name),
        ToWorker::StopContainer(name) => task.stop_container(&name),
        ToWorker::Stop => task.stop(),
        ToWorker::Kill => task.kill(),
        ToWorker::Finish => task.finish(),
        ToWorker::Run(_) => {}
    }
}

/// Opens what the task needs, gives up the rest, and starts it. The text of a failure is for a person.
async fn start(
    order: Order,
    logs: Arc<Lines>,
    endpoint: Arc<Endpoint>,
    table: UnixStream,
) -> Result<(RunningTask, mpsc::Receiver<Report>), String> {
    let text = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let asking = Asking::over(table).map_err(|error| text("the table of addresses", &error))?;
    let network = Table::remote(Arc::new(asking));
    let address = network.adopt(order.ip, order.id, order.policy);
    let config = RuntimeConfig {
        data_dir: order.data_dir,
        cores: order.cores,
        memory_bytes: order.memory_node_bytes,
        aliases: order.aliases,
        image_dir: order.image_dir,
        instances_max: Some(INSTANCES_MAX),
        compile: CompileIn::Process,
        dns_servers: order.dns_servers,
        isolate: None,
        only_task: Some(OnlyTask { id: order.id, user: order.user, files: order.files.clone() }),
    };
    let runtime = Runtime::start(config, logs, endpoint, network).map_err(|error| text("the runtime", &error))?;
    for container in &order.containers {
        runtime.inspect(&container.image, container.may_name_any_file).await.map_err(|failure| failure.text())?;
    }
    let guests = order.memory_bytes.unwrap_or(order.memory_node_bytes);
    let limits =
        Limits { more_data_bytes: guests.saturating_add(OWN_DATA_BYTES), open_files: OPEN_FILES, user: order.user };
    lockdown::lock_down(&limits).map_err(|error| text("the lockdown", &error))?;
    Ok(runtime.run(TaskSpec {
        id: order.id,
        address,
        cpu_units: order.cpu_units,
        cpu_capped: order.cpu_capped,
        fuel: order.fuel,
        memory_bytes: order.memory_bytes,
        held: order.held,
        files: order.files,
        containers: order.containers,
    }))
}

fn handlers_of(task: RunningTask) -> http::Answer {
    Arc::new(move |container, request| {
        let task = task.clone();
        Box::pin(async move {
            let container = container.unwrap_or_default();
            if let Some((container, function)) = exported(&container) {
                let called = task.call_export(container, function).await;
                let nothing = Empty::new().map_err(|never| match never {}).boxed_unsync();
                return called.map(|()| Response::new(nothing)).map_err(HandlerError::Failed);
            }
            match task.handler(&container) {
                Some(handler) => handler.call(request).await,
                None => Err(HandlerError::NotRunning),
            }
        })
    })
}

/// Sends lines to the server's log. Never waits: this is a guest's own thread.
struct Lines {
    to: mpsc::Sender<FromWorker>,
    lost: AtomicU64,
}

impl LogSink for Lines {
    fn write(&self, _: TaskId, container: &str, stream: Stream, line: &str) {
        let message = |line: String| FromWorker::Line { container: container.to_owned(), stream, line };
        if self.to.try_send(message(line.to_owned())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 && self.to.try_send(message(format!("[{lost} lines were lost]"))).is_err() {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }
}

/// The task endpoint, as it answers in the server.
struct Endpoint(Requests);

impl TaskEndpoint for Endpoint {
    fn call(&self, _: TaskId, request: Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> {
        let requests = self.0.clone();
        Box::pin(async move {
            match requests.send(None, request).await {
                Ok(response) => response,
                Err(_) => endpoint::answer(StatusCode::SERVICE_UNAVAILABLE, "the server does not answer\n"),
            }
        })
    }
}
