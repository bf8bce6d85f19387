//! What the runtime is asked to run, and the facts that it reports: plain data, so that whoever decides needs to know
//! nothing of wasmtime.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Exit, TaskId};
use crate::network::{Address, Protocol};
use crate::runtime::files::{FilesSpec, TaskFiles};
use crate::runtime::host_ports::HostPorts;
use crate::runtime::outgoing::names::Names;

/// One task: its containers, which share one address and one set of limits.
pub struct TaskSpec {
    pub id: TaskId,
    /// Held until everything of the task is released.
    pub address: Address,
    /// 1024 units are one core. A weight always, a cap where `cpu_capped`.
    pub cpu_units: u32,
    /// Fargate caps; EC2 and EXTERNAL may use what is idle.
    pub cpu_capped: bool,
    /// The instruction budget of all containers and instances together; beyond it the task ends.
    pub fuel: Option<u64>,
    /// What all containers may hold together; `None` where only the containers have limits.
    pub memory_bytes: Option<u64>,
    /// The task goes on while none of its containers runs, until it is told that it is over: containers may be started
    /// again, or later. A task with a container that waits is held in any case.
    pub held: bool,
    pub files: TaskFiles,
    pub containers: Vec<ContainerSpec>,
}

/// One container of a task.
#[derive(Clone, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique within the task.
    pub name: String,
    /// As the definition writes it; `image` resolves it.
    pub image: String,
    /// Whether a `file://` image may lie outside of the image directory. True only for who could read the file anyway.
    pub may_name_any_file: bool,
    /// What the guest is told that it is called (`argv[0]`): `entryPoint[0]`, or the image's name where there is none.
    pub program_name: Option<String>,
    /// The arguments after that: the rest of `entryPoint`, then `command`.
    pub args: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// The container's part of the task's CPU, as `cpu` of the container definition.
    pub cpu_weight: u32,
    pub memory_bytes: Option<u64>,
    /// What a handler serves; a program binds by itself.
    pub ports: Vec<(u16, Protocol)>,
    /// Ports of this machine that lead to the container's.
    pub host_ports: Vec<HostPorts>,
    /// Whether its guests may make sockets, also among themselves.
    pub has_network: bool,
    /// What its guests may look up without asking anybody, and whom they ask for the rest.
    pub names: Names,
    /// Handlers: serve the next request with the same instance.
    pub keep_instances: bool,
    /// Programs: standard input stays open until the stop, instead of being empty.
    pub interactive: bool,
    /// It starts only when it is ordered to, instead of by itself once the images are there.
    pub waits: bool,
    /// From the polite stop to the cut.
    pub stop_timeout: Duration,
    /// The instruction budget of each request of a handler.
    pub request_fuel: Option<u64>,
    /// Seeded randomness and virtual clocks, so that the same input uses the same fuel. Instances are never kept.
    pub deterministic: bool,
    pub files: FilesSpec,
}

impl ContainerSpec {
    /// A container with the runtime's defaults, to be changed by field.
    pub fn new(name: impl Into<String>, image: impl Into<String>) -> ContainerSpec {
        ContainerSpec {
            name: name.into(),
            image: image.into(),
            may_name_any_file: false,
            program_name: None,
            args: Vec::new(),
            environment: Vec::new(),
            cpu_weight: CPU_WEIGHT_DEFAULT,
            memory_bytes: None,
            ports: Vec::new(),
            host_ports: Vec::new(),
            has_network: true,
            names: Names::default(),
            keep_instances: false,
            interactive: false,
            waits: false,
            stop_timeout: STOP_TIMEOUT_DEFAULT,
            request_fuel: None,
            deterministic: false,
            files: FilesSpec::default(),
        }
    }
}

/// Without its environment and arguments: people pass secrets in them.
impl fmt::Debug for ContainerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerSpec").field("name", &self.name).field("image", &self.image).finish_non_exhaustive()
    }
}

/// The least that ECS's agent gives a container that names no `cpu` (2 shares).
pub const CPU_WEIGHT_DEFAULT: u32 = 2;
/// ECS's default `stopTimeout`.
pub const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// What an image is, read off its exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestKind {
    /// Exports `wasi:http`: the runtime is its server.
    Handler,
    /// Exports `wasi:cli/run`, or a WASI 0.1 `_start`.
    Program,
}

/// A container port, and where it is really open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    pub container_port: u16,
    pub protocol: Protocol,
    pub host: SocketAddr,
    /// Ports from these on: more than one where a mapping names a range.
    pub count: u16,
}

/// A fact about a task.
///
/// First `PullStarted`, one `Resolved` per image found, `PullStopped`. Then, for each container, its lives, one after the
/// other: `ContainerStarted` (unless it could not start), then `ContainerStopped`, before which all that it printed was
/// handed to the [`LogSink`]. A container that does not wait begins its first life by itself; every other life is ordered
/// by `start_container` and ends in one `ContainerStopped`, also where `stop_container` comes before it began; a further one only after the `ContainerStopped` of the one before was received. Last `Ended`, when
/// everything is released.
///
/// A task that is not held ends when all of its containers have stopped. One that is held (`TaskSpec::held`, or a container
/// that `waits`) ends when nothing of it runs and nothing can start any more: after `stop`, `kill` or `finish`. A container
/// that never lived has one `ContainerStopped` all the same, before `Ended`; where an image cannot be had, that is so for
/// all, and the task is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    PullStarted,
    Resolved { container: String, digest: String, kind: GuestKind },
    PullStopped,
    ContainerStarted { container: String, runtime_id: String, bindings: Vec<Binding> },
    ContainerStopped { container: String, exit: Exit },
    Ended,
}

/// Which of its two outputs a guest wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Where the lines go that guests print. Called on the threads that run guests: it must not block.
pub trait LogSink: Send + Sync {
    fn write(&self, task: TaskId, container: &str, stream: Stream, line: &str);
}
