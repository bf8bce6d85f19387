//! A host and a balancer that do as the test says: nothing runs, but everything is reported as if it did.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time;

use crate::control::{Ask, Balancer, Host};
use crate::model::exit::StartFailure;
use crate::model::{Arn, Exit, TargetHealth, TargetState, TaskId};
use crate::proxy::{HealthChange, HealthReport, LocalTarget, RoutesSpec, TargetKey};
use crate::runtime::{GuestKind, MemoryUse, Report, TaskSpec};
use crate::telemetry::usage::Usage;

/// Containers of this image cannot be started.
pub const MISSING: &str = "missing";

/// More than a test has under way for one task.
const REPORTS_MAX: usize = 64;
const COMMANDS_MAX: usize = 64;

/// How long a probe takes.
const PROBE_TIME: Duration = Duration::from_millis(3);

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Stop,
    Kill,
    Start(String),
    StopContainer(String),
    Finish,
    /// This container ends by itself.
    ExitOf(String, Exit),
    /// The first container ends by itself.
    Exit(Exit),
}

/// What outlives a crash: what the test judges by.
#[derive(Default)]
pub struct Witness {
    /// How often each task was started, in all boots.
    pub starts: Mutex<HashMap<TaskId, usize>>,
}

pub struct ScriptedHost {
    witness: Arc<Witness>,
    commands: Mutex<BTreeMap<TaskId, mpsc::Sender<Command>>>,
    /// Every stop that was asked for, in order.
    pub stops: Mutex<Vec<TaskId>>,
    /// What tasks hold of the memory, and what all may.
    pub held: Mutex<HashMap<TaskId, u64>>,
    pub budget_bytes: Mutex<u64>,
    /// Every container that was told to stop, in order.
    pub container_stops: Mutex<Vec<String>>,
    /// Containers that fail their own checks.
    pub sick: Mutex<HashSet<(TaskId, String)>>,
    /// How long starting takes.
    pub start_time: Duration,
    /// How long a polite stop takes.
    pub stop_time: Duration,
}

impl ScriptedHost {
    pub fn new(witness: Arc<Witness>) -> ScriptedHost {
        ScriptedHost {
            witness,
            commands: Mutex::default(),
            stops: Mutex::default(),
            container_stops: Mutex::default(),
            sick: Mutex::default(),
            held: Mutex::default(),
            budget_bytes: Mutex::default(),
            start_time: Duration::from_millis(40),
            stop_time: Duration::from_millis(60),
        }
    }

    pub fn command(&self, task: TaskId, command: Command) {
        if let Some(commands) = self.commands.lock().get(&task) {
            let _ = commands.try_send(command);
        }
    }

    pub fn has(&self, task: TaskId) -> bool {
        self.commands.lock().contains_key(&task)
    }
}

impl Host for ScriptedHost {
    fn start(&self, spec: TaskSpec) -> mpsc::Receiver<Report> {
        *self.witness.starts.lock().entry(spec.id).or_default() += 1;
        let (reports, receiver) = mpsc::channel(REPORTS_MAX);
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        self.commands.lock().insert(spec.id, commands);
        let (start_time, stop_time) = (self.start_time, self.stop_time);
        tokio::spawn(async move {
            // A receiver that is gone is a crash of the server: the guest ends with it.
            let _ = live(spec, reports, orders, start_time, stop_time).await;
        });
        receiver
    }

    fn stop(&self, task: TaskId) {
        self.stops.lock().push(task);
        self.command(task, Command::Stop);
    }

    fn start_container(&self, task: TaskId, container: &str) {
        self.command(task, Command::Start(String::from(container)));
    }

    fn stop_container(&self, task: TaskId, container: &str) {
        self.container_stops.lock().push(String::from(container));
        self.command(task, Command::StopContainer(String::from(container)));
    }

    fn finish(&self, task: TaskId) {
        self.command(task, Command::Finish);
    }

    fn probe(&self, ask: Ask) -> BoxFuture<'static, Result<(), String>> {
        let sick = self.sick.lock().contains(&(ask.task, ask.container));
        Box::pin(async move {
            time::sleep(PROBE_TIME).await;
            if sick { Err(String::from("it is sick")) } else { Ok(()) }
        })
    }

    fn kill(&self, task: TaskId) {
        self.command(task, Command::Kill);
    }

    fn forget(&self, task: TaskId) {
        self.commands.lock().remove(&task);
    }

    fn local_target(&self, _: TaskId, _: &str) -> Option<Arc<dyn LocalTarget>> {
        None
    }

    fn usage(&self, task: TaskId) -> Option<Usage> {
        let memory_bytes = self.held.lock().get(&task).copied().filter(|_| self.has(task))?;
        Some(Usage { memory_bytes, ..Usage::default() })
    }

    fn memory_use(&self) -> MemoryUse {
        let held = self.held.lock();
        let held_bytes = held.iter().filter(|(task, _)| self.has(**task)).map(|(_, bytes)| bytes).sum();
        MemoryUse { budget_bytes: *self.budget_bytes.lock(), held_bytes, resident_bytes: u64::MAX }
    }
}

/// As the runtime does it, with the same protocol.
async fn live(
    spec: TaskSpec,
    reports: mpsc::Sender<Report>,
    mut orders: mpsc::Receiver<Command>,
    start_time: Duration,
    stop_time: Duration,
) -> Result<(), mpsc::error::SendError<Report>> {
    let names: Vec<String> = spec.containers.iter().map(|container| container.name.clone()).collect();
    let mut task = Scripted { reports, running: Vec::new(), lived: HashSet::new() };
    task.reports.send(Report::PullStarted).await?;
    time::sleep(start_time).await;
    if spec.containers[0].image == MISSING {
        for name in names {
            let failure = StartFailure::CannotPull(String::from("there is no such image"));
            task.stopped(&name, Exit::CouldNotStart(failure)).await?;
        }
        return task.reports.send(Report::Ended).await;
    }
    for container in &names {
        let (container, digest) = (container.clone(), String::from("sha256:0"));
        task.reports.send(Report::Resolved { container, digest, kind: GuestKind::Program }).await?;
    }
    task.reports.send(Report::PullStopped).await?;
    for container in spec.containers.iter().filter(|container| !container.waits) {
        task.start(&container.name).await?;
    }
    let mut held = spec.held || spec.containers.iter().any(|container| container.waits);
    while held || !task.running.is_empty() {
        match orders.recv().await {
            Some(Command::Start(name)) => task.start(&name).await?,
            Some(Command::StopContainer(name)) => {
                time::sleep(stop_time).await;
                task.stopped(&name, Exit::Stopped).await?;
            }
            Some(Command::Exit(exit)) => {
                let first = task.running.first().cloned().unwrap_or_default();
                task.stopped(&first, exit).await?;
            }
            Some(Command::ExitOf(name, exit)) => task.stopped(&name, exit).await?,
            Some(Command::Finish) => held = false,
            Some(Command::Stop) => {
                time::sleep(stop_time).await;
                task.all_stopped(Exit::Stopped).await?;
                held = false;
            }
            Some(Command::Kill) | None => {
                task.all_stopped(Exit::Killed).await?;
                held = false;
            }
        }
    }
    for name in names.iter().filter(|name| !task.lived.contains(*name)) {
        let failure = StartFailure::CannotCreate(String::from("the task was stopped before the container started"));
        let (container, exit) = (name.clone(), Exit::CouldNotStart(failure));
        task.reports.send(Report::ContainerStopped { container, exit }).await?;
    }
    task.reports.send(Report::Ended).await
}

struct Scripted {
    reports: mpsc::Sender<Report>,
    running: Vec<String>,
    lived: HashSet<String>,
}

impl Scripted {
    async fn start(&mut self, name: &str) -> Result<(), mpsc::error::SendError<Report>> {
        if self.running.iter().any(|running| running == name) {
            return Ok(());
        }
        self.running.push(String::from(name));
        self.lived.insert(String::from(name));
        let (container, runtime_id) = (String::from(name), String::from("runtime-id"));
        self.reports.send(Report::ContainerStarted { container, runtime_id, bindings: vec![] }).await
    }

    async fn stopped(&mut self, name: &str, exit: Exit) -> Result<(), mpsc::error::SendError<Report>> {
        let was_running = self.running.iter().position(|running| running == name);
        match was_running {
            Some(at) => drop(self.running.remove(at)),
            None if exit.never_ran() => drop(self.lived.insert(String::from(name))),
            None => return Ok(()),
        }
        self.reports.send(Report::ContainerStopped { container: String::from(name), exit }).await
    }

    async fn all_stopped(&mut self, exit: Exit) -> Result<(), mpsc::error::SendError<Report>> {
        for name in self.running.clone() {
            self.stopped(&name, exit.clone()).await?;
        }
        Ok(())
    }
}

/// Finds every target healthy (unless told otherwise) and every draining one idle, a while after it hears of it.
pub struct ScriptedBalancer {
    reports: mpsc::Sender<HealthReport>,
    receiver: Mutex<Option<mpsc::Receiver<HealthReport>>>,
    told: Mutex<HashSet<(TargetKey, bool)>>,
    /// Tasks that fail their checks.
    pub sick: Mutex<HashSet<TaskId>>,
    pub published: Mutex<usize>,
    /// Groups at which requests wait.
    pub wanted: watch::Sender<BTreeMap<Arn, usize>>,
    /// From the order to drain until nothing is in flight.
    pub drain_time: Mutex<Duration>,
}

impl Default for ScriptedBalancer {
    fn default() -> ScriptedBalancer {
        let (reports, receiver) = mpsc::channel(256);
        ScriptedBalancer {
            reports,
            receiver: Mutex::new(Some(receiver)),
            told: Mutex::default(),
            sick: Mutex::default(),
            published: Mutex::default(),
            wanted: watch::Sender::default(),
            drain_time: Mutex::new(Duration::from_millis(100)),
        }
    }
}

impl ScriptedBalancer {
    /// The checks of a task find something else from now on.
    pub async fn report(&self, key: TargetKey, state: TargetState) {
        let reason = (state == TargetState::Unhealthy).then(|| String::from("Target.ResponseCodeMismatch"));
        let description = reason.as_ref().map(|_| String::from("Health checks failed with these codes: [500]"));
        let change = HealthChange::Health(TargetHealth { state, reason, description });
        let _ = self.reports.send(HealthReport { target: key, change }).await;
    }
}

impl Balancer for ScriptedBalancer {
    fn publish(&self, routes: &RoutesSpec) {
        *self.published.lock() += 1;
        for group in &routes.target_groups {
            for target in &group.targets {
                let (address, port, task) = (target.address, target.port, target.task);
                let key = TargetKey { group: group.record.arn(), address, port, task };
                if !self.told.lock().insert((key.clone(), target.draining)) {
                    continue;
                }
                let sick = task.is_some_and(|task| self.sick.lock().contains(&task));
                let change = match (target.draining, sick) {
                    (true, _) => HealthChange::Drained,
                    (false, sick) => HealthChange::Health(TargetHealth {
                        state: if sick { TargetState::Unhealthy } else { TargetState::Healthy },
                        reason: None,
                        description: None,
                    }),
                };
                let wait = if target.draining { *self.drain_time.lock() } else { Duration::from_millis(5) };
                let reports = self.reports.clone();
                tokio::spawn(async move {
                    time::sleep(wait).await;
                    let _ = reports.send(HealthReport { target: key, change }).await;
                });
            }
        }
    }

    fn health_reports(&self) -> mpsc::Receiver<HealthReport> {
        self.receiver.lock().take().expect("taken once")
    }

    fn wanted_groups(&self) -> watch::Receiver<BTreeMap<Arn, usize>> {
        self.wanted.subscribe()
    }

    fn is_own(&self, _address: SocketAddr) -> bool {
        false
    }
}
