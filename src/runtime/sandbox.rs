//! What a guest runs in. There is one way to make a store, so no limit can be forgotten on a path that somebody adds.
//!
//! A guest inherits nothing of the host: its environment and arguments are those of its container, its output goes to the
//! task's log, its standard input is empty, its files are what it was given, its network is its task's own address.

pub mod container_log;
mod held;
pub mod linker;
pub mod outgoing;
pub mod stdio;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::ResourceTable;
use wasmtime::{CallHook, Engine, Store};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::model::{StartFailure, TaskId};
use crate::runtime::files::{ContainerFiles, FilesView, Given};
use crate::runtime::memory::{MemoryLimiter, MemoryMeter, Reservation, Slots};
use crate::runtime::sandbox::container_log::ContainerLog;
use crate::runtime::sandbox::held::Held;
use crate::runtime::sandbox::outgoing::Outgoing;
use crate::runtime::sandbox::stdio::{LogOutput, Stdin};
use crate::runtime::sockets::{self, SocketsView, TaskNetwork};
use crate::runtime::spec::Stream;

/// Fuel ends a poll after 0.1 to 0.45 ms of work, at 1 % of overhead (measured: a tenth of it costs 11 %, ten times as
/// much delays others by milliseconds).
const POLL_FUEL: u64 = 1_000_000;
/// What one host call may make the host copy. The largest that a well-meant guest does is a chunk of 1 MiB of a body.
const HOST_CALL_BYTES_MAX: usize = 16 << 20;
/// Random bytes of one call: the host makes them in one go, and copies them. wasmtime's default of 64 MiB is 0.2 s during
/// which the guest cannot be interrupted, and memory that nobody counts.
const RANDOM_BYTES_MAX: u64 = 1 << 20;
/// Handles (streams, requests, sockets, headers, timers) that a guest may hold. What each takes counts as its memory
/// (`held`), so this bounds the tables themselves: a server with 10,000 connections has five for each.
pub const RESOURCES_MAX: usize = 65_536;
/// Standard streams, and what single calls need for a moment.
const OTHER_RESOURCES_OF_MODULES: usize = 32;
/// Headers of one message, as the host keeps them: the proxies in front allow 64 KiB.
const FIELDS_BYTES_MAX: usize = 128 << 10;

/// What every instance of a container is made of.
pub struct Sandbox {
    pub task: TaskId,
    pub container: Arc<str>,
    pub args: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub fuel: Option<u64>,
    pub memory: MemoryMeter,
    pub network: TaskNetwork,
    pub files: Arc<ContainerFiles>,
    pub log: Arc<ContainerLog>,
    /// The task's live instances.
    pub instances: Arc<AtomicU64>,
}

/// The data of a store: one guest's host.
pub struct Guest {
    pub memory: MemoryLimiter,
    held: Held,
    /// For all worlds: WASI 0.2 and 0.3 use the context and the table within.
    pub wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    network: TaskNetwork,
    files: Arc<ContainerFiles>,
    _live: Live,
}

/// One of the task's live instances.
struct Live(Arc<AtomicU64>);

impl Live {
    fn begin(instances: &Arc<AtomicU64>) -> Live {
        instances.fetch_add(1, Ordering::Relaxed);
        Live(Arc::clone(instances))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Arguments and environment of a container, as Linux bounds them for a program (a quarter of its stack, 2 MiB).
const ARGUMENTS_BYTES_MAX: usize = 2 << 20;

impl Sandbox {
    /// Every instance has a copy of its arguments and its environment, which nobody counts.
    pub fn check_arguments(&self) -> Result<(), StartFailure> {
        let variables = self.environment.iter().map(|(name, value)| name.len() + value.len());
        let bytes: usize = self.args.iter().map(String::len).chain(variables).sum();
        if bytes > ARGUMENTS_BYTES_MAX {
            let text = format!("its arguments and environment have {bytes} bytes, and may have {ARGUMENTS_BYTES_MAX}");
            return Err(StartFailure::CannotCreate(text));
        }
        Ok(())
    }

    /// A store bounded in memory, in host calls, in handles and in the length of a poll: there is no other way to make one.
    /// `admitted` is the memory that was set aside for it; `given` are the directories of a module, which cannot ask for them.
    pub fn store(
        &self,
        engine: &Engine,
        stdin: Stdin,
        admitted: Option<Reservation>,
        given: Option<&Given>,
    ) -> wasmtime::Result<Store<Guest>> {
        let slots = if engine.pooling_allocator_metrics().is_some() { Slots::POOLED } else { Slots::LARGEST };
        let memory = MemoryLimiter::new(self.memory.clone(), slots, admitted);
        let guest = Guest {
            memory,
            held: Held::default(),
            wasi: self.wasi(stdin, given)?,
            http: http_limits(),
            outgoing: Outgoing::new(self.network.outlet()),
            network: self.network.another(),
            files: Arc::clone(&self.files),
            _live: Live::begin(&self.instances),
        };
        let mut store = Store::new(engine, guest);
        store.limiter_async(|guest| &mut guest.memory);
        store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
        // Of its own resources, and of the streams and tasks of WASI 0.3, as of ours.
        store.set_max_component_handles(RESOURCES_MAX);
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(RESOURCES_MAX);
        }
        store.call_hook(|mut store, hook| match hook {
            CallHook::ReturningFromHost => store.data_mut().count_held(),
            CallHook::CallingHost | CallHook::CallingWasm | CallHook::ReturningFromWasm => Ok(()),
        });
        // The share of the processor decides when the next poll may begin.
        store.fuel_async_yield_interval(Some(POLL_FUEL))?;
        self.refuel(&mut store)?;
        Ok(store)
    }

    /// Gives the whole budget, for a run or for a request.
    pub fn refuel(&self, store: &mut Store<Guest>) -> wasmtime::Result<()> {
        store.set_fuel(self.fuel.unwrap_or(u64::MAX))
    }

    fn wasi(&self, stdin: Stdin, given: Option<&Given>) -> wasmtime::Result<WasiP1Ctx> {
        let mut builder = WasiCtx::builder();
        builder
            .args(&self.args)
            .envs(&self.environment)
            .stdin(stdin)
            .stdout(self.output(Stream::Stdout))
            .stderr(self.output(Stream::Stderr))
            // Files are read on threads that may wait; a guest's own thread serves others.
            .allow_blocking_current_thread(false)
            .max_random_size(RANDOM_BYTES_MAX);
        if let Some(directory) = self.files.working_directory() {
            builder.initial_cwd(directory);
        }
        sockets::configure(&self.network, &mut builder);
        for (path, name, permissions) in given.into_iter().flatten() {
            builder.preopened_dir(path, name, *permissions)?;
        }
        let mut wasi = builder.build_p1();
        // A module has nothing in the table but its open files.
        let open_files_max = usize::try_from(self.files.open_files_max()).unwrap_or(RESOURCES_MAX);
        let resources_max =
            given.map_or(RESOURCES_MAX, |given| given.len() + OTHER_RESOURCES_OF_MODULES + open_files_max);
        wasi.ctx().table.set_max_capacity(resources_max.min(RESOURCES_MAX));
        Ok(wasi)
    }

    fn output(&self, stream: Stream) -> LogOutput {
        LogOutput::new(Arc::clone(&self.log), stream)
    }
}

fn http_limits() -> WasiHttpCtx {
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(FIELDS_BYTES_MAX);
    http
}

impl Guest {
    /// Whether its limiter refused it memory; it then ended because of that.
    pub fn memory_refused(&self) -> bool {
        self.memory.out_of_memory().is_some()
    }

    /// Counts what the host holds for it, from time to time.
    fn count_held(&mut self) -> wasmtime::Result<()> {
        self.held.after_call(self.wasi.ctx().table, &mut self.memory).map_err(wasmtime::Error::new)
    }

    pub fn table(&mut self) -> &mut ResourceTable {
        self.wasi.ctx().table
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: self.wasi.ctx().table, ctx: &mut self.http }
    }
}

impl SocketsView for Guest {
    fn network(&mut self) -> &mut TaskNetwork {
        &mut self.network
    }
}

impl FilesView for Guest {
    fn files(&self) -> &Arc<ContainerFiles> {
        &self.files
    }
}
