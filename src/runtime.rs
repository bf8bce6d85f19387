//! Runs tasks: resolves and compiles their images, gives each its share of the processor, its memory and its address,
//! and reports what happens to them. It decides nothing: no retry, no replacement, no status.
//!
//! - [`Runtime::run`] starts the containers of a task at once, and reports in the order that [`Report`] tells.
//! - A container is a component with a store of its own: a *program* (`wasi:cli/run`, or a module of WASI 0.1), which runs
//!   on the guest threads, or a *handler* (`wasi:http`), which is called through [`Handler`].
//! - A task inherits nothing of the host: no environment, no files, no credentials, no network but its own address.

pub mod capacity;
pub mod compile;
pub mod cpu;
pub mod endpoint;
pub mod engine;
pub mod exit;
pub mod files;
pub mod fuel;
pub mod guest;
pub mod host_ports;
pub mod image;
pub mod memory;
mod meters;
pub mod outgoing;
pub mod running;
pub mod sandbox;
pub mod sockets;
pub mod spec;
pub mod task;
pub mod worker;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use crate::model::StartFailure;
use crate::network::Table;
use crate::runtime::capacity::{Permits, Readings};
use crate::runtime::compile::Compiler;
use crate::runtime::cpu::CpuScheduler;
use crate::runtime::engine::{EngineKind, Engines};
use crate::runtime::files::{Home, OnlyTask};
use crate::runtime::guest::GuestThreads;
use crate::runtime::image::Images;
use crate::runtime::image::load::Loader;
use crate::runtime::image::source::Sources;
use crate::runtime::memory::{NodeMeter, resident};
use crate::runtime::outgoing::Gateway;
use crate::runtime::sandbox::linker::Linkers;
use crate::runtime::worker::parent::IsolatedTask;

pub use capacity::Capacity;
pub use endpoint::{NoEndpoint, TASK_ENDPOINT, TaskEndpoint};
pub use guest::handler::Handler;
pub use guest::http::{BoxError, HandlerError, RequestBody, ResponseBody};
pub use host_ports::HostPorts;
pub use image::ImageSummary;
pub use memory::MemoryUse;
pub use outgoing::names::Names;
pub use running::RunningTask;
pub use spec::{Binding, ContainerSpec, GuestKind, LogSink, Report, Stream, TaskSpec};
pub use worker::parent::WorkerConfig;

/// How this node runs guests. Made once at start by `cli`.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Compiled images are kept in `compiled` below it.
    pub data_dir: PathBuf,
    /// Cores that guests may use.
    pub cores: u32,
    /// The memory that tasks may use.
    pub memory_bytes: u64,
    /// `--image NAME=FILE`; the name `*` stands for every name that has none of its own.
    pub aliases: BTreeMap<String, PathBuf>,
    /// Where `file://` images of callers must lie who may not name any file.
    pub image_dir: Option<PathBuf>,
    /// Fewer instances than the machine could hold.
    pub instances_max: Option<u32>,
    pub compile: CompileIn,
    /// Each task in a process of its own; absent: all in this one.
    pub isolate: Option<WorkerConfig>,
    /// In a worker: the task that it is for.
    pub only_task: Option<OnlyTask>,
    /// Asked for names of the outside; without any, the machine's own resolvers.
    pub dns_servers: Vec<SocketAddr>,
}

/// Where images are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileIn {
    /// A child process, with limits: this program, called with this first argument.
    Child { program: PathBuf, argument: String },
    /// Here, without limits: for tests, whose binary is not ours.
    Process,
}

/// The runtime could not start.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("the runtime needs an async runtime to be started in")]
    NoAsyncRuntime,
    #[error("cannot use the directory of compiled images {}", path.display())]
    DataDir {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot use the directories of tasks")]
    Files(#[source] files::HomeError),
    #[error("cannot start the threads of the guests")]
    Threads(#[source] std::io::Error),
    #[error("cannot open the socket of the task endpoint")]
    Endpoint(#[source] std::io::Error),
    #[error("cannot make the WebAssembly engines for {0}")]
    Engine(Capacity, #[source] wasmtime::Error),
}

/// Runs tasks on this node. A cheap handle.
#[derive(Clone)]
pub struct Runtime {
    node: Arc<Node>,
}

/// What all tasks of the node share.
pub struct Node {
    capacity: Capacity,
    /// What tasks may hold together, and what they do.
    memory_bytes: u64,
    memory: NodeMeter,
    /// What workers are told of this node.
    config: RuntimeConfig,
    isolate: Option<Arc<WorkerConfig>>,
    /// Where the loops of tasks run: above the guests' priority, so that a stop is never behind a spinning guest.
    control: Handle,
    guests: GuestThreads,
    engines: Engines,
    permits: Permits,
    cpu: CpuScheduler,
    images: Images,
    network: Table,
    files: Home,
    logs: Arc<dyn LogSink>,
    gateway: Arc<Gateway>,
    /// Tells idle instances that somebody waits for a slot.
    pressure: Arc<Notify>,
}

impl Runtime {
    /// Makes the engines and the guest threads. The loops of tasks run on the async runtime that this is called in.
    pub fn start(
        config: RuntimeConfig,
        logs: Arc<dyn LogSink>,
        endpoint: Arc<dyn TaskEndpoint>,
        network: Table,
    ) -> Result<Runtime, RuntimeError> {
        let control = Handle::try_current().map_err(|_| RuntimeError::NoAsyncRuntime)?;
        let capacity = Capacity::compute(&Readings::take(config.memory_bytes), config.instances_max);
        let guests = GuestThreads::start(config.cores).map_err(RuntimeError::Threads)?;
        let gateway =
            Gateway::open(guests.handle(), endpoint, config.dns_servers.clone()).map_err(RuntimeError::Endpoint)?;
        let engine = |error| RuntimeError::Engine(capacity, error);
        let engines = Engines::new(&capacity).map_err(engine)?;
        let linkers = Linkers::new(&engines).map_err(engine)?;
        let compiler = Compiler::new(&config.data_dir, config.compile.clone())
            .map_err(|source| RuntimeError::DataDir { path: config.data_dir.clone(), source })?;
        tracing::info!(%capacity, pagemap_scan = engines.pagemap_scan, "this node can hold");
        let node = Node {
            capacity,
            memory_bytes: config.memory_bytes,
            memory: NodeMeter::default(),
            isolate: config.isolate.clone().map(Arc::new),
            cpu: CpuScheduler::new(config.cores, &control),
            images: Images::new(
                Sources::new(config.aliases.clone(), config.image_dir.clone()),
                Loader::new(engines.clone(), linkers, Arc::new(compiler)),
            ),
            permits: Permits::new(&capacity),
            control,
            guests,
            engines,
            network,
            files: match &config.only_task {
                None => Home::open(&config.data_dir),
                Some(task) => Home::open_for(&config.data_dir, task),
            }
            .map_err(RuntimeError::Files)?,
            logs,
            gateway,
            pressure: Arc::default(),
            config,
        };
        Ok(Runtime { node: Arc::new(node) })
    }

    /// How many instances this node can hold; its `Display` says what limits it.
    pub fn capacity(&self) -> &Capacity {
        &self.node.capacity
    }

    /// What tasks hold of the node's memory. The process is asked only where they were given enough for it to matter.
    pub fn memory_use(&self) -> MemoryUse {
        let (budget_bytes, held_bytes) = (self.node.memory_bytes, self.node.memory.held());
        // What workers have is not this process's; there what was given counts alone.
        let is_here = self.node.isolate.is_none();
        let resident_bytes = if is_here && held_bytes > budget_bytes / 2 { resident() } else { held_bytes };
        MemoryUse { budget_bytes, held_bytes, resident_bytes }
    }

    /// Slots for instances that are taken now.
    pub fn instances(&self) -> usize {
        let free = |kind| self.node.permits.free(kind);
        let kinds = [EngineKind::Sequential, EngineKind::Concurrent, EngineKind::OnDemand];
        (self.node.capacity.instances() as usize).saturating_sub(kinds.into_iter().map(free).sum())
    }

    /// What can be named as an image without a file: aliases and what is built in. Reads the files of aliases.
    pub fn images(&self) -> Vec<ImageSummary> {
        self.node.images.summaries()
    }

    /// What kind of guest an image is: pulls and compiles it, so that a start finds it ready.
    pub async fn inspect(&self, image: &str, may_name_any_file: bool) -> Result<GuestKind, StartFailure> {
        Ok(self.node.images.pull(image, may_name_any_file).await?.kind())
    }

    /// The file that an image name leads to here, if it does.
    pub fn file_of(&self, image: &str) -> Option<PathBuf> {
        self.node.images.file_of(image)
    }

    /// Starts a task. The receiver never misses a report, and closes after [`Report::Ended`].
    pub fn run(&self, spec: TaskSpec) -> (RunningTask, mpsc::Receiver<Report>) {
        match &self.node.isolate {
            None => {
                let (task, reports) = task::start(&self.node, spec);
                (task.into(), reports)
            }
            Some(config) => {
                let (task, reports) = IsolatedTask::start(&self.node, Arc::clone(config), spec);
                (task.into(), reports)
            }
        }
    }
}
