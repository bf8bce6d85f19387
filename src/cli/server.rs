//! Assembles the server: store, runtime, loops, proxy, front. In this order, so that a port in use or a broken data
//! directory is said before anything runs, and nothing is answered before what the last run left is repaired.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::runtime::Handle;

use crate::agent::{Agent, AgentConfig};
use crate::api::context::IdSource;
use crate::api::{Api, ApiError};
use crate::cli::endpoint::{AgentEndpoint, Stops};
use crate::cli::local_api::LocalEndpoints;
use crate::cli::serve::{Isolation, ServerOptions};
use crate::cli::{Failure, data_dir, predecessor};
use crate::control::{self, Control, Ids, LogsSink, RuntimeHost};
use crate::front::{BindError, CONNECTIONS_MAX, Front, FrontConfig, OpenPort, Services};
use crate::identity::{AccessKeys, TaskRoles};
use crate::model::{BootId, NodeConfig, Scope, Settings, StartFailure, TaskId, Timestamp};
use crate::network::Table;
use crate::proxy::{Certificates, ObserverConfig, Proxy};
use crate::runtime::files::keep_files_private;
use crate::runtime::{CompileIn, GuestKind, Runtime, RuntimeConfig, WorkerConfig};
use crate::store::{BackendError, Key, Store};
use crate::telemetry::{Logs, UsageSource};

/// How much of the machine's memory tasks may use: the rest is for the page cache, compilation and ourselves.
const MEMORY_PERCENT: u64 = 80;
/// How long connections have to end once the tasks have stopped.
const CONNECTIONS_DRAIN: Duration = Duration::from_secs(5);
/// How long a listener's own port may take to be opened.
const BOUND_TIMEOUT: Duration = Duration::from_secs(5);

/// The users that workers become where the server is root: 65,536 of them, far above those that systems give away.
const WORKER_USER_FIRST: u32 = 0x7000_0000;

/// The running server.
pub struct Server {
    pub address: SocketAddr,
    pub store: Store,
    pub logs: Logs,
    scope: Scope,
    api: Arc<Api>,
    proxy: Arc<Proxy>,
    runtime: Runtime,
    /// Taken by the shutdown, which happens once.
    parts: tokio::sync::Mutex<Option<(Control, Front)>>,
    drain: Duration,
}

/// An operation that was refused, called in process.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {kind}: {message}")]
pub struct CallError {
    operation: &'static str,
    pub kind: &'static str,
    message: String,
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        Failure::new(error)
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Server {
    pub async fn start(options: &ServerOptions) -> Result<Server, Failure> {
        keep_files_private();
        let keys = access_keys(options)?;
        let settings = Arc::new(settings(options)?);
        let is_taken = |error: &BindError| matches!(error, BindError::InUse { .. });
        let port = predecessor::outlive(is_taken, || Front::bind(options.listen)).await.map_err(Failure::new)?;
        let data_dir = match &options.data_dir {
            Some(dir) => dir.clone(),
            None => data_dir::default_path()?,
        };
        data_dir::create(&data_dir)?;
        let store = open_store(&data_dir).await?;
        let config = node_config(options, &settings, &keys, &data_dir, &port)?;
        let sealing = Arc::new(data_dir::sealing_key(&data_dir, &store.snapshot())?);
        let logs = Logs::default();
        let clock: control::Clock = Arc::new(now);
        let network = Table::default();
        let sink = Arc::new(LogsSink { logs: logs.clone(), clock: Arc::clone(&clock) });
        let runtime_config = RuntimeConfig {
            data_dir: data_dir.clone(),
            cores: config.cores,
            memory_bytes: config.memory_bytes,
            aliases: aliases(options)?,
            image_dir: options.image_dir.clone(),
            instances_max: options.instances_max,
            dns_servers: settings.network.dns_servers.iter().map(|server| server.0).collect(),
            compile: CompileIn::Child {
                program: std::env::current_exe()
                    .map_err(|error| Failure::new("cannot find this program's own file").caused_by(error))?,
                argument: String::from("compile-image"),
            },
            isolate: workers(options, &data_dir)?,
            only_task: None,
        };
        let endpoint = Arc::new(AgentEndpoint::new(Handle::current()));
        let runtime = Runtime::start(runtime_config, sink, Arc::clone(&endpoint) as _, network.clone())
            .map_err(|error| Failure::new("cannot start the runtime").caused_by(error))?;
        tracing::info!(
            node = %config.node, account = %config.account, cores = config.cores,
            memory_mib = config.memory_bytes >> 20,
            "this node"
        );
        let certificates = Certificates::new(settings.certificates.clone(), Some(data_dir.join("tls")));
        let proxy = Proxy::configured(&Handle::current(), &observers(&settings), certificates);
        let host = Arc::new(RuntimeHost::new(runtime.clone(), network.clone()));
        let usage = Arc::clone(&host) as Arc<dyn UsageSource>;
        let task_roles = TaskRoles::default();
        let stops = Arc::new(Stops(Arc::clone(&host)));
        let agent_config = AgentConfig {
            cores: config.cores,
            memory_bytes: config.memory_bytes,
            keys_configured: keys.are_configured(),
        };
        endpoint.fill(Agent::new(store.clone(), task_roles.clone(), Arc::clone(&usage), stops, agent_config));
        let control = control::start(control::Config {
            store: store.clone(),
            host,
            balancer: Arc::clone(&proxy) as Arc<dyn control::Balancer>,
            network,
            logs: logs.clone(),
            node: config.node,
            boot: config.boot,
            clock,
            ids: ids()?,
            any_file_image: config.any_file_image,
            settings: Arc::clone(&settings),
            task_roles: task_roles.clone(),
            sealing: Arc::clone(&sealing),
        })
        .await
        .map_err(|error| Failure::new("cannot start").caused_by(error))?;
        if control.recovered > 0 {
            tracing::warn!(tasks = control.recovered, "stopped the tasks that the last run of the server had placed");
        }
        let scope = Scope { account: config.account.clone(), region: config.default_region.clone() };
        let config = Arc::new(config);
        let api_keys = keys.clone().with_task_roles(task_roles);
        let api = Arc::new(Api::new(store.clone(), logs.clone(), api_keys, sealing, Arc::clone(&config)));
        let local = LocalEndpoints::new(store.clone(), logs.clone(), runtime.clone(), Arc::clone(&proxy), usage, keys);
        let services = Services { proxy: Arc::clone(&proxy), api: Arc::clone(&api) as _, local: Arc::new(local) };
        let front_config = FrontConfig {
            hosts: Vec::new(),
            workers: usize::try_from(config.cores).unwrap_or(1),
            connections_max: CONNECTIONS_MAX,
        };
        let front = Front::serve(port, &front_config, services, &Handle::current())
            .map_err(|error| Failure::new("cannot start the threads of the front").caused_by(error))?;
        Ok(Server {
            address: front.address(),
            store,
            logs,
            scope,
            api,
            proxy,
            runtime,
            parts: tokio::sync::Mutex::new(Some((control, front))),
            drain: Duration::from_secs(options.drain_timeout),
        })
    }

    /// Calls an operation of the API in process, in the default region.
    pub async fn call(&self, service: &str, operation: &'static str, input: Value) -> Result<Value, CallError> {
        let ids = IdSource::random().map_err(ApiError::server);
        let answer = match ids {
            Ok(ids) => self.api.call_json(service, operation, self.scope.clone(), input, (now(), ids)).await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| CallError { operation, kind: error.kind.exception(), message: error.message })
    }

    /// What an image is, without running it.
    pub async fn inspect(&self, image: &str) -> Result<GuestKind, StartFailure> {
        self.runtime.inspect(image, true).await
    }

    /// The file behind an image, where it is one of this machine.
    pub fn file_of(&self, image: &str) -> Option<PathBuf> {
        let file = match image.strip_prefix("file://") {
            Some(file) => PathBuf::from(file),
            None => self.runtime.file_of(image)?,
        };
        file.canonicalize().ok()
    }

    /// Where a listener's own port really is.
    pub async fn bound(&self, listener: &str) -> Result<SocketAddr, Failure> {
        let mut bound = self.proxy.bound();
        let found = bound.wait_for(|bound| bound.keys().any(|arn| arn.as_str() == listener));
        let unbound = || Failure::new(format!("the port of {listener} could not be opened"));
        let bound = tokio::time::timeout(BOUND_TIMEOUT, found).await.map_err(|_| unbound())?.map_err(|_| unbound())?;
        bound.iter().find(|(arn, _)| arn.as_str() == listener).map(|(_, address)| *address).ok_or_else(unbound)
    }

    /// Tasks of services, each given by its cluster and name, that print or have printed in this run of the server.
    pub fn printing_tasks_of(&self, services: &[(String, String)]) -> Vec<TaskId> {
        let tasks = self.tasks(services);
        tasks.iter().filter(|task| !task.is_stopped() || self.logs.has(task.id)).map(|task| task.id).collect()
    }

    pub fn live_tasks_of(&self, services: &[(String, String)]) -> usize {
        self.tasks(services).iter().filter(|task| !task.is_stopped()).count()
    }

    /// Why tasks of a service ended, newest last.
    pub fn failures_of(&self, cluster: &str, service: &str) -> Vec<String> {
        let mut tasks = self.tasks(&[(cluster.to_owned(), service.to_owned())]);
        tasks.retain(|task| task.is_stopped() && task.started_at.is_none());
        tasks.sort_by_key(|task| task.stopped_at);
        tasks.iter().filter_map(|task| task.stopped_reason.clone()).collect()
    }

    fn tasks(&self, services: &[(String, String)]) -> Vec<Arc<crate::model::Task>> {
        let snapshot = self.store.snapshot();
        let mut tasks = Vec::new();
        for (cluster, service) in services {
            let Ok(cluster) = cluster.parse() else { continue };
            if snapshot.get::<crate::model::Service>(&Key::service(&self.scope, &cluster, service)).is_some() {
                tasks.extend(snapshot.tasks_of_service(&self.scope, &cluster, service));
            }
        }
        tasks
    }

    /// Drains: tasks stop politely, then connections end, then the store is closed.
    pub async fn shutdown(&self) {
        let Some((mut control, front)) = self.parts.lock().await.take() else { return };
        let told = std::sync::Mutex::new(None);
        let progress = |progress: control::DrainProgress| {
            let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if *told != Some(progress.tasks) {
                *told = Some(progress.tasks);
                tracing::info!(tasks = progress.tasks, "stopping");
            }
        };
        control.drain(self.drain, progress).await;
        front.shutdown(CONNECTIONS_DRAIN).await;
        self.proxy.close_observers().await;
        if let Err(error) = self.store.close().await {
            tracing::error!(error = &*error as &dyn std::error::Error, "the store could not be closed");
        }
    }
}

fn access_keys(options: &ServerOptions) -> Result<AccessKeys, Failure> {
    let keys = match &options.access_keys {
        Some(file) => AccessKeys::load(file).map_err(|error| {
            Failure::new(error).next(r#"Write {"accessKeys": [{"accessKeyId": "…", "secretAccessKey": "…"}]}."#)
        })?,
        None => AccessKeys::default(),
    };
    if !options.listen.ip().is_loopback() && !keys.are_configured() {
        return Err(Failure::new(format!(
            "{} is beyond this machine, and no access keys are configured",
            options.listen
        ))
        .next("Name a file of access keys with --access-keys FILE, or listen on 127.0.0.1."));
    }
    Ok(keys)
}

/// How each task gets a process of its own, where that is asked for.
fn workers(options: &ServerOptions, data_dir: &Path) -> Result<Option<WorkerConfig>, Failure> {
    let Some(Isolation::Process) = options.isolate else { return Ok(None) };
    let socket_dir = data_dir.join("workers");
    data_dir::create(&socket_dir)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::new("cannot find this program's own file").caused_by(error))?;
    let first_user = rustix::process::geteuid().is_root().then_some(WORKER_USER_FIRST);
    Ok(Some(WorkerConfig { program, argument: String::from("task-worker"), socket_dir, first_user }))
}

fn settings(options: &ServerOptions) -> Result<Settings, Failure> {
    let Some(file) = &options.config else { return Ok(Settings::default()) };
    let text = std::fs::read(file)
        .map_err(|error| Failure::new(format!("--config: cannot read {}", file.display())).caused_by(error))?;
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(format!("--config: {}: {error}", file.display()))
            .next("The README lists what a configuration file may say.")
    };
    let settings = Settings::parse(&text).map_err(|error| wrong(&error))?;
    control::Reach::compile(&settings).map_err(|error| wrong(&error))?;
    Ok(settings)
}

/// Where requests through load balancers are told of. The environment is that of OpenTelemetry.
fn observers(settings: &Settings) -> ObserverConfig {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let traces_below = |base: String| format!("{}/v1/traces", base.trim_end_matches('/'));
    let configured = settings.telemetry.otlp_endpoint.clone().map(traces_below);
    let in_environment = || {
        variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(traces_below))
    };
    let is_disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    ObserverConfig {
        object_directory: settings.files.object_directory.clone(),
        traces_url: if is_disabled { None } else { configured.or_else(in_environment) },
    }
}

async fn open_store(data_dir: &Path) -> Result<Store, Failure> {
    let is_taken = |error: &BackendError| matches!(error, BackendError::InUse { .. });
    predecessor::outlive(is_taken, || Store::open_redb(data_dir)).await.map_err(|error| {
        let next = match &error {
            BackendError::InUse { .. } => "Stop the other server, or name another directory with --data-dir DIR.",
            BackendError::Corrupt { .. } => {
                "Restore the file from a copy, or name another directory with --data-dir DIR."
            }
            BackendError::NewerFormat { .. } => "Use the newer version, or name another directory with --data-dir DIR.",
            _ => "Name another directory with --data-dir DIR.",
        };
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let failure = Failure::new(&error).next(next);
        match cause {
            Some(cause) => failure.caused_by(cause),
            None => failure,
        }
    })
}

fn node_config(
    options: &ServerOptions,
    settings: &Settings,
    keys: &AccessKeys,
    data_dir: &Path,
    port: &OpenPort,
) -> Result<NodeConfig, Failure> {
    let machine_cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let memory_bytes = match options.memory {
        Some(mib) => mib << 20,
        None => machine_memory_bytes() / 100 * MEMORY_PERCENT,
    };
    Ok(NodeConfig {
        account: options.account.clone(),
        default_region: options.region.clone(),
        node: data_dir::node_id(data_dir)?,
        boot: BootId(data_dir::random_bits()?),
        port: port.address().port(),
        cores: options.cores.unwrap_or(machine_cores),
        memory_bytes,
        has_object_directory: settings.files.object_directory.is_some(),
        any_file_image: options.listen.ip().is_loopback() && !keys.are_configured(),
    })
}

fn machine_memory_bytes() -> u64 {
    let system = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion, reason = "the width of these fields differs between platforms")]
    let (total, unit) = (u64::from(system.totalram), u64::from(system.mem_unit));
    total.saturating_mul(unit.max(1))
}

fn aliases(options: &ServerOptions) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut aliases = BTreeMap::new();
    for image in &options.images {
        let file = image.file.canonicalize().map_err(|error| {
            Failure::new(format!("--image {}: cannot find {}", image.name, image.file.display())).caused_by(error)
        })?;
        if aliases.insert(image.name.clone(), file).is_some() {
            return Err(Failure::new(format!("--image {} is given twice", image.name)));
        }
    }
    Ok(aliases)
}

/// Ids of what the loops make: tasks, events, interfaces.
fn ids() -> Result<Ids, Failure> {
    let source = IdSource::random()
        .map_err(|error| Failure::new("the system gives no random numbers").caused_by(error.to_string()))?;
    Ok(Ids::new(move || source.bits()))
}
