//! The life of one task, from the pull of its images to the release of everything that it held.
//!
//! Its containers start by themselves or, where they wait, when they are ordered to; one that stopped may be ordered to
//! start again. In which order, whether and why is decided above.

mod lives;
mod orders;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::task::runtime_id;
use crate::model::{Exit, StartFailure, TaskId, Usage};
use crate::network::{Address, Protocol};
use crate::runtime::Node;
use crate::runtime::files::{ContainerFiles, TaskDisk, TaskFiles};
use crate::runtime::guest::export::Callable;
use crate::runtime::guest::handler::{Handler, HandlerContainer, Parts, acquire_under_pressure};
use crate::runtime::guest::listen::{Listening, listen};
use crate::runtime::guest::program::Program;
use crate::runtime::host_ports::{self, OpenPorts};
use crate::runtime::image::load::Image;
use crate::runtime::meters::{ContainerMeters, TaskMeters};
use crate::runtime::sandbox::Sandbox;
use crate::runtime::sandbox::container_log::ContainerLog;
use crate::runtime::sockets::TaskNetwork;
use crate::runtime::spec::{Binding, ContainerSpec, GuestKind, Report, Stream, TaskSpec};
use crate::runtime::task::lives::Lives;
use crate::runtime::task::orders::{Halt, Orders};

/// A task that was started in this process: `RunningTask` says what its methods do.
#[derive(Clone)]
pub struct LocalTask {
    shared: Arc<Shared>,
}

struct Shared {
    stop: CancellationToken,
    kill: CancellationToken,
    orders: Orders,
    meters: TaskMeters,
    handlers: Mutex<HashMap<String, Handler>>,
    /// Containers that run, of a task that is held: to be called by their health checks.
    callables: Mutex<HashMap<String, Callable>>,
    node: Weak<Node>,
    /// What its files take of the disk; set once its images are there.
    storage: OnceLock<Arc<AtomicU64>>,
}

impl LocalTask {
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    pub fn start_container(&self, container: &str) {
        self.shared.orders.start(container);
    }

    pub fn stop_container(&self, container: &str) {
        self.shared.orders.stop(container);
    }

    pub fn finish(&self) {
        self.shared.orders.finish();
    }

    pub fn kill(&self) {
        self.shared.kill.cancel();
    }

    pub fn handler(&self, container: &str) -> Option<Handler> {
        self.shared.handlers.lock().get(container).cloned()
    }

    /// Calls an exported function of a container that runs: see [`crate::runtime::guest::export`].
    pub async fn call_export(&self, container: &str, name: &str) -> Result<(), String> {
        let callable = self.shared.callables.lock().get(container).cloned();
        let (Some(callable), Some(node)) = (callable, self.shared.node.upgrade()) else {
            return Err(String::from("the container does not run"));
        };
        callable.call(name, &node.permits, &node.pressure, node.guests.handle()).await
    }

    /// Where guests run.
    pub fn guest_threads(&self) -> Option<tokio::runtime::Handle> {
        self.shared.node.upgrade().map(|node| node.guests.handle().clone())
    }

    /// What it has used until now.
    pub fn usage(&self) -> Usage {
        self.shared.meters.usage()
    }

    /// What its files took of the disk when they were last looked at.
    pub fn storage_bytes(&self) -> u64 {
        self.shared.storage.get().map_or(0, |bytes| bytes.load(Ordering::Relaxed))
    }

    /// What one of its containers has used, over all its starts.
    pub fn container_usage(&self, container: &str) -> Option<Usage> {
        self.shared.meters.container(container).map(|meters| meters.usage())
    }
}

/// Reports of a task with so many containers, each started once: none is ever waited for, and none is lost.
pub fn reports_max(containers: usize) -> usize {
    const OF_PULL: usize = 2;
    const RESOLVED: usize = 1;
    OF_PULL + RESOLVED * containers + reports_to_come_max(containers)
}

/// What a task in which every container lives has still to say. A container lives again only while the channel has
/// room for this much, that is, when what was reported before has been received: so restarts without end need no more.
fn reports_to_come_max(containers: usize) -> usize {
    const ENDED: usize = 1;
    const OF_LIFE: usize = 2;
    ENDED + OF_LIFE * containers
}

/// See [`crate::runtime::Runtime::run`].
pub fn start(node: &Arc<Node>, spec: TaskSpec) -> (LocalTask, mpsc::Receiver<Report>) {
    let (sender, receiver) = mpsc::channel(reports_max(spec.containers.len()));
    let shared = Arc::new(Shared {
        stop: CancellationToken::new(),
        kill: CancellationToken::new(),
        orders: Orders::new(spec.containers.iter().map(|container| (container.name.as_str(), container.waits))),
        meters: TaskMeters::new(&node.cpu, &node.memory, &spec),
        handlers: Mutex::default(),
        callables: Mutex::default(),
        node: Arc::downgrade(node),
        storage: OnceLock::new(),
    });
    let life = Life { node: Arc::clone(node), shared: Arc::clone(&shared), reports: Reports(sender) };
    node.control.spawn(life.live(spec));
    (LocalTask { shared }, receiver)
}

#[derive(Clone)]
struct Reports(mpsc::Sender<Report>);

impl Reports {
    /// The channel holds all that a task reports, so this fails only when nobody wants to know.
    fn send(&self, report: Report) {
        let _ = self.0.try_send(report);
    }

    fn stopped(&self, container: &str, exit: Exit) {
        self.send(Report::ContainerStopped { container: container.to_owned(), exit });
    }
}

struct Life {
    node: Arc<Node>,
    shared: Arc<Shared>,
    reports: Reports,
}

impl Life {
    async fn live(self, spec: TaskSpec) {
        let TaskSpec { id, address, containers, files, held, .. } = spec;
        self.reports.send(Report::PullStarted);
        let images = self.pull(&containers).await;
        self.reports.send(Report::PullStopped);
        match self.ready(id, &containers, images, files).await {
            Ok((images, disk)) => {
                let is_held = held || containers.iter().any(|container| container.waits);
                let ports = containers.iter().flat_map(|container| container.ports.iter().copied());
                let network = TaskNetwork::new(address, ports).through(Arc::clone(&self.node.gateway));
                Lives { life: &self, id, network, disk, containers: &containers, images: &images, is_held }.run().await;
            }
            Err(failures) => {
                for (container, failure) in containers.iter().zip(failures) {
                    self.reports.stopped(&container.name, Exit::CouldNotStart(failure));
                }
                drop(address);
            }
        }
        let Life { node, shared, reports } = self;
        drop((node, shared));
        reports.send(Report::Ended);
    }

    async fn pull(&self, containers: &[ContainerSpec]) -> Vec<Result<Arc<Image>, StartFailure>> {
        let pulls = join_all(containers.iter().map(|container| async {
            let image = self.node.images.pull(&container.image, container.may_name_any_file).await?;
            self.reports.send(Report::Resolved {
                container: container.name.clone(),
                digest: image.digest.clone(),
                kind: image.kind(),
            });
            Ok(image)
        }));
        tokio::select! {
            biased;
            () = self.cancelled() => containers.iter().map(|_| Err(stopped_before())).collect(),
            images = pulls => images,
        }
    }

    /// What the task needs before any of its containers starts: all images, and its volumes.
    async fn ready(
        &self,
        id: TaskId,
        containers: &[ContainerSpec],
        images: Vec<Result<Arc<Image>, StartFailure>>,
        files: TaskFiles,
    ) -> Result<(Vec<Arc<Image>>, TaskDisk), Vec<StartFailure>> {
        let images = all_or_failures(containers, images)?;
        let of_containers = containers.iter().map(|container| container.files.clone()).collect();
        let disk = TaskDisk::open(&self.node.files, id, files, of_containers, self.shared.kill.clone()).await;
        let disk = disk.map_err(|failure| containers.iter().map(|_| failure.clone()).collect::<Vec<_>>())?;
        let _ = self.shared.storage.set(disk.used_bytes());
        Ok((images, disk))
    }

    fn meters(&self, container: &str) -> &Arc<ContainerMeters> {
        self.shared.meters.container(container).expect("the task's meters were made of the same containers")
    }

    /// The task's network, as a container's guests see it.
    fn network(container: &ContainerSpec, network: &TaskNetwork) -> TaskNetwork {
        let named = network.another().named(container.names.clone());
        if container.has_network { named } else { named.closed_off() }
    }

    fn sandbox(
        &self,
        id: TaskId,
        container: &ContainerSpec,
        network: &TaskNetwork,
        files: Arc<ContainerFiles>,
    ) -> Arc<Sandbox> {
        let meters = self.meters(&container.name);
        let mut args = vec![container.program_name.clone().unwrap_or_else(|| container.image.clone())];
        args.extend(container.args.iter().cloned());
        Arc::new(Sandbox {
            task: id,
            container: Arc::from(container.name.as_str()),
            args,
            environment: container.environment.clone(),
            fuel: Arc::clone(&meters.fuel),
            fuel_budget: self.shared.meters.fuel_budget().cloned(),
            request_fuel: container.request_fuel,
            deterministic: container.deterministic,
            memory: meters.memory.clone(),
            network: Life::network(container, network),
            files,
            log: ContainerLog::new(Arc::clone(&self.node.logs), id, &container.name),
            instances: Arc::clone(&meters.instances),
        })
    }

    /// The life of one container; when it ends, nothing of it is left.
    async fn container(
        &self,
        number: usize,
        container: &ContainerSpec,
        image: Arc<Image>,
        sandbox: Arc<Sandbox>,
        halt: Halt,
    ) -> Exit {
        if let Err(failure) = sandbox.check_arguments() {
            return Exit::CouldNotStart(failure);
        }
        let room = sandbox.memory.capacity();
        if image.initial_memory_bytes > room {
            // A process whose program does not fit is killed as it begins; the log says why.
            let line = format!(
                "coracle: image '{}' begins with {} bytes of memory, and the container may have {room}",
                container.image, image.initial_memory_bytes
            );
            sandbox.log.write(Stream::Stderr, &line);
            return Exit::OutOfMemory;
        }
        let runtime_id = runtime_id(sandbox.task, number);
        match image.kind() {
            GuestKind::Program => self.program(container, image, sandbox, runtime_id, halt).await,
            GuestKind::Handler => self.handler(container, image, sandbox, runtime_id, halt).await,
        }
    }

    async fn program(
        &self,
        container: &ContainerSpec,
        image: Arc<Image>,
        sandbox: Arc<Sandbox>,
        runtime_id: String,
        halt: Halt,
    ) -> Exit {
        if container.request_fuel.is_some() {
            let message = format!(
                "coracle.fuel.request: image '{}' is a program, which has no requests; coracle.fuel.task bounds it",
                container.image
            );
            return Exit::CouldNotStart(StartFailure::CannotCreate(message));
        }
        // On a full node a program waits; it is not running before it has its slot.
        let permit = tokio::select! {
            biased;
            () = halt.asked() => return Exit::CouldNotStart(stopped_before()),
            permit = acquire_under_pressure(&self.node.permits, &image, &self.node.pressure) => permit,
        };
        let open = match self.open_host_ports(container, sandbox.network.address()) {
            Ok(open) => open,
            Err(failure) => return Exit::CouldNotStart(failure),
        };
        self.started(container, runtime_id, open.bindings.clone());
        let program = Program {
            engine: self.node.engines.get(image.engine).clone(),
            cpu: self.meters(&container.name).cpu.clone(),
            stop_timeout: container.stop_timeout,
            interactive: container.interactive,
            sandbox,
            image,
            permit,
        };
        let exit = program.run(self.node.guests.handle(), halt.stop.clone(), halt.kill.clone()).await;
        drop(open);
        exit
    }

    fn open_host_ports(&self, container: &ContainerSpec, address: &Address) -> Result<OpenPorts, StartFailure> {
        host_ports::open(self.node.guests.handle(), address, &container.host_ports)
    }

    async fn handler(
        &self,
        container: &ContainerSpec,
        image: Arc<Image>,
        sandbox: Arc<Sandbox>,
        runtime_id: String,
        halt: Halt,
    ) -> Exit {
        let address = sandbox.network.address().clone();
        let served = HandlerContainer::start(Parts {
            engine: self.node.engines.get(image.engine).clone(),
            permits: self.node.permits.clone(),
            cpu: self.meters(&container.name).cpu.clone(),
            guests: self.node.guests.handle().clone(),
            pressure: Arc::clone(&self.node.pressure),
            keep_instances: container.keep_instances && !container.deterministic,
            requests: Arc::clone(&self.meters(&container.name).requests),
            sandbox,
            image,
        });
        let mut listening = Vec::new();
        for (port, _) in container.ports.iter().filter(|(_, protocol)| *protocol == Protocol::Tcp) {
            match self.listen(served.handler(), &address, *port).await {
                Ok(open) => listening.push(open),
                Err(error) => {
                    let message = format!("cannot open port {port} on {}: {error}", address.ip());
                    return Exit::CouldNotStart(StartFailure::ResourceInitialization(message));
                }
            }
        }
        let open = match self.open_host_ports(container, &address) {
            Ok(open) => open,
            Err(failure) => return Exit::CouldNotStart(failure),
        };
        drop(address);
        self.shared.handlers.lock().insert(container.name.clone(), served.handler());
        let own = listening.iter().map(|open| open.binding.clone());
        // Where ports of the machine lead here, those are what callers need to know.
        let bindings = if open.bindings.is_empty() { own.collect() } else { open.bindings.clone() };
        self.started(container, runtime_id, bindings);
        let budget = served.sandbox();
        let run = served.run(halt.stop.clone(), halt.kill.clone(), container.stop_timeout);
        // The ports close first, so that no new connection meets a handler that has stopped.
        let close = async {
            tokio::select! {
                () = halt.asked() => {}
                // Then nobody asks: the handler ends by itself.
                () = budget.fuel_exhausted() => {}
            }
            join_all(listening.into_iter().map(Listening::close)).await;
        };
        let (exit, _) = tokio::join!(run, close);
        // Until now they carried what was still being answered.
        drop(open);
        exit
    }

    /// On the guest threads, where its connections are served.
    async fn listen(&self, handler: Handler, address: &Address, port: u16) -> std::io::Result<Listening> {
        let (table, address) = (self.node.network.clone(), address.clone());
        let opening = self.node.guests.handle().spawn(async move { listen(handler, &table, &address, port).await });
        opening.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    fn started(&self, container: &ContainerSpec, runtime_id: String, bindings: Vec<Binding>) {
        self.reports.send(Report::ContainerStarted { container: container.name.clone(), runtime_id, bindings });
    }

    async fn cancelled(&self) {
        tokio::select! {
            () = self.shared.stop.cancelled() => {}
            () = self.shared.kill.cancelled() => {}
        }
    }
}

fn stopped_before() -> StartFailure {
    StartFailure::CannotCreate(String::from("the task was stopped before the container started"))
}

/// No container starts where another's image is missing: the task cannot become what was asked for.
fn all_or_failures(
    containers: &[ContainerSpec],
    images: Vec<Result<Arc<Image>, StartFailure>>,
) -> Result<Vec<Arc<Image>>, Vec<StartFailure>> {
    let failed = images.iter().position(Result::is_err);
    let Some(failed) = failed.and_then(|index| containers.get(index)) else {
        return Ok(images.into_iter().filter_map(Result::ok).collect());
    };
    let because = format!("not started, because the image of container {} could not be had", failed.name);
    let failure = |image: Result<_, StartFailure>| match image {
        Ok(_) => StartFailure::CannotCreate(because.clone()),
        Err(failure) => failure,
    };
    Err(images.into_iter().map(failure).collect())
}

#[cfg(test)]
mod tests;
