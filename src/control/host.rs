//! What the loops need of the node: run and stop tasks, and balance load. Traits, because the whole control plane runs in
//! tests with a scripted host; here are the real ones, bridges to `runtime` and `proxy`, which know nothing of each other.

mod probe;
mod stops;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::control::Clock;
use crate::control::host::probe::Prober;
use crate::control::host::stops::Stops;
use crate::model::{Arn, TaskId};
use crate::network::Table;
use crate::proxy::{Body, HealthReport, LocalTarget, Proxy, RoutesSpec, TargetError};
use crate::runtime::{Handler, HandlerError, LogSink, MemoryUse, Report, RunningTask, Runtime, Stream, TaskSpec};
use crate::telemetry::logs::{self, Logs};
use crate::telemetry::usage::{Usage, UsageSource};

pub use probe::Ask;

/// Runs tasks. It decides nothing; what happens it reports, in the order that `runtime::Report` tells.
pub trait Host: Send + Sync + 'static {
    fn start(&self, spec: TaskSpec) -> mpsc::Receiver<Report>;
    /// Politely: what a task has, it may finish within its `stopTimeout`.
    fn stop(&self, task: TaskId);
    /// One container that waits, or that has stopped.
    fn start_container(&self, task: TaskId, container: &str);
    /// One container, politely.
    fn stop_container(&self, task: TaskId, container: &str);
    /// No container is started any more: the task is over when nothing of it runs.
    fn finish(&self, task: TaskId);
    /// Asks a container how it is: whether the command of its health check would pass, and why not. Dropping the future ends
    /// the question.
    fn probe(&self, ask: Ask) -> BoxFuture<'static, Result<(), String>>;
    /// At once.
    fn kill(&self, task: TaskId);
    /// Everything of it was reported: it may be forgotten.
    fn forget(&self, task: TaskId);
    /// A container that is a handler, to be called in process while it runs.
    fn local_target(&self, task: TaskId, container: &str) -> Option<Arc<dyn LocalTarget>>;
    fn usage(&self, task: TaskId) -> Option<Usage>;
    /// What all tasks hold of the node's memory. Cheap: asked several times a second.
    fn memory_use(&self) -> MemoryUse;
}

/// Balances load between targets.
pub trait Balancer: Send + Sync + 'static {
    /// The complete wanted state.
    fn publish(&self, routes: &RoutesSpec);
    /// What changes at targets. Taken once.
    fn health_reports(&self) -> mpsc::Receiver<HealthReport>;
    /// The groups at which requests wait for a first target, and how many.
    fn wanted_groups(&self) -> watch::Receiver<BTreeMap<Arn, usize>>;
    /// Whether a listener is reached at this address: a target there would be the load balancer itself.
    fn is_own(&self, address: SocketAddr) -> bool;
}

impl Balancer for Proxy {
    fn publish(&self, routes: &RoutesSpec) {
        Proxy::publish(self, routes);
    }

    fn health_reports(&self) -> mpsc::Receiver<HealthReport> {
        Proxy::health_reports(self)
    }

    fn wanted_groups(&self) -> watch::Receiver<BTreeMap<Arn, usize>> {
        Proxy::wanted_groups(self)
    }

    fn is_own(&self, address: SocketAddr) -> bool {
        let bound = self.bound();
        let bound = bound.borrow();
        bound
            .values()
            .any(|own| own.port() == address.port() && (own.ip() == address.ip() || own.ip().is_unspecified()))
    }
}

/// The real host.
pub struct RuntimeHost {
    runtime: Runtime,
    /// As many as there are running tasks: `forget` takes out what ended.
    tasks: Mutex<HashMap<TaskId, RunningTask>>,
    stops: Stops,
    /// Where the ports of tasks really are.
    table: Table,
}

impl RuntimeHost {
    pub fn new(runtime: Runtime, table: Table) -> RuntimeHost {
        RuntimeHost { runtime, tasks: Mutex::default(), stops: Stops::default(), table }
    }

    /// Is ready once the container is asked to stop; at once where it does not run.
    pub fn stopping(&self, task: TaskId, container: &str) -> BoxFuture<'static, ()> {
        match self.stops.stopping(task, container) {
            Some(stop) => Box::pin(stop.cancelled_owned()),
            None => Box::pin(std::future::ready(())),
        }
    }

    fn task(&self, task: TaskId) -> Option<RunningTask> {
        self.tasks.lock().get(&task).cloned()
    }
}

impl Host for RuntimeHost {
    fn start(&self, spec: TaskSpec) -> mpsc::Receiver<Report> {
        let id = spec.id;
        self.stops.begin(id, spec.containers.iter().map(|container| container.name.as_str()));
        let (task, reports) = self.runtime.run(spec);
        self.tasks.lock().insert(id, task);
        reports
    }

    fn stop(&self, task: TaskId) {
        self.stops.all_stopped(task);
        if let Some(task) = self.task(task) {
            task.stop();
        }
    }

    fn start_container(&self, task: TaskId, container: &str) {
        self.stops.started(task, container);
        if let Some(task) = self.task(task) {
            task.start_container(container);
        }
    }

    fn stop_container(&self, task: TaskId, container: &str) {
        self.stops.stopped(task, container);
        if let Some(task) = self.task(task) {
            task.stop_container(container);
        }
    }

    fn finish(&self, task: TaskId) {
        if let Some(task) = self.task(task) {
            task.finish();
        }
    }

    fn probe(&self, ask: Ask) -> BoxFuture<'static, Result<(), String>> {
        let Some(task) = self.task(ask.task) else {
            return Box::pin(async { Err(String::from("the task does not run")) });
        };
        Box::pin(Prober { task, table: self.table.clone(), ask }.run())
    }

    fn kill(&self, task: TaskId) {
        self.stops.all_stopped(task);
        if let Some(task) = self.task(task) {
            task.kill();
        }
    }

    fn forget(&self, task: TaskId) {
        self.tasks.lock().remove(&task);
        self.stops.forget(task);
    }

    fn local_target(&self, task: TaskId, container: &str) -> Option<Arc<dyn LocalTarget>> {
        let handler = self.task(task)?.handler(container)?;
        Some(Arc::new(HandlerTarget(handler)))
    }

    fn usage(&self, task: TaskId) -> Option<Usage> {
        Some(self.task(task)?.usage())
    }

    fn memory_use(&self) -> MemoryUse {
        self.runtime.memory_use()
    }
}

impl UsageSource for RuntimeHost {
    fn usage(&self, task: TaskId) -> Option<Usage> {
        Some(self.task(task)?.usage())
    }

    fn container_usage(&self, task: TaskId, container: &str) -> Option<Usage> {
        self.task(task)?.container_usage(container)
    }

    fn storage_bytes(&self, task: TaskId) -> Option<u64> {
        self.task(task)?.storage_bytes()
    }
}

/// A handler of the runtime, as the proxy calls it.
struct HandlerTarget(Handler);

impl LocalTarget for HandlerTarget {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TargetError>> {
        let handler = self.0.clone();
        Box::pin(async move { handler.call(request).await.map_err(target_error) })
    }

    fn admit(&self) -> BoxFuture<'static, Result<(), TargetError>> {
        let handler = self.0.clone();
        Box::pin(async move { handler.admit().await.map_err(target_error) })
    }
}

fn target_error(error: HandlerError) -> TargetError {
    match error {
        HandlerError::Trapped(trap) => TargetError::Trapped(trap.message),
        HandlerError::OutOfMemory => TargetError::OutOfMemory,
        HandlerError::OutOfFuel => TargetError::OutOfFuel,
        HandlerError::Overloaded => TargetError::Overloaded,
        HandlerError::NotRunning => TargetError::NotStarted,
        HandlerError::Stopped => TargetError::Stopped,
        HandlerError::InvalidResponse(message) | HandlerError::Failed(message) => TargetError::InvalidResponse(message),
        error @ HandlerError::InvalidRequest(_) => TargetError::Failed(Box::new(error)),
    }
}

/// Where guests print to: the bounded logs of `telemetry`.
pub struct LogsSink {
    pub logs: Logs,
    pub clock: Clock,
}

impl LogSink for LogsSink {
    fn write(&self, task: TaskId, container: &str, stream: Stream, line: &str) {
        let stream = match stream {
            Stream::Stdout => logs::Stream::Stdout,
            Stream::Stderr => logs::Stream::Stderr,
        };
        self.logs.append(task, container, stream, (self.clock)(), line);
    }
}
