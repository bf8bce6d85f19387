//! What a guest runs in. There is one way to make a store, so no limit can be forgotten on a path that somebody adds.
//!
//! A guest inherits nothing of the host: its environment and arguments are those of its container, its output goes to the
//! task's log, its standard input is empty, its files are what it was given, its network is its task's own address.

pub mod container_log;
pub mod deterministic;
mod held;
pub mod linker;
pub mod outgoing;
mod polling;
mod sleep;
pub mod stdio;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::ResourceTable;
use wasmtime::{CallHook, Engine, Store, StoreContextMut, Trap};
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::model::{StartFailure, TaskId};
use crate::runtime::files::{ContainerFiles, FilesView, Given, Listings};
use crate::runtime::fuel::{Budget, Crossing, FuelMeter, STORE_FUEL};
use crate::runtime::memory::{MemoryLimiter, MemoryMeter, Reservation, Slots};
use crate::runtime::sandbox::container_log::ContainerLog;
use crate::runtime::sandbox::deterministic::VirtualClock;
use crate::runtime::sandbox::held::Held;
use crate::runtime::sandbox::outgoing::Outgoing;
use crate::runtime::sandbox::stdio::{LogOutput, Stdin};
use crate::runtime::sockets::{self, SocketsView, TaskNetwork};
use crate::runtime::spec::Stream;

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
    /// The container's count of fuel, its task's budget, and the budget of each of its requests.
    pub fuel: Arc<AtomicU64>,
    pub fuel_budget: Option<Arc<Budget>>,
    pub request_fuel: Option<u64>,
    /// Seeded randomness and virtual clocks.
    pub deterministic: bool,
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
    fuel: FuelMeter,
    clock: Option<VirtualClock>,
    /// For all worlds: WASI 0.2 and 0.3 use the context and the table within.
    pub wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    network: TaskNetwork,
    files: Arc<ContainerFiles>,
    listings: Listings,
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
        let clock = self.deterministic.then(VirtualClock::default);
        let guest = Guest {
            memory,
            held: Held::default(),
            fuel: FuelMeter::new(Arc::clone(&self.fuel), self.fuel_budget.clone(), self.request_fuel),
            wasi: self.wasi(stdin, given, clock.as_ref())?,
            clock,
            http: http_limits(),
            outgoing: Outgoing::new(self.network.outlet()),
            network: self.network.another(),
            files: Arc::clone(&self.files),
            listings: Listings::default(),
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
            CallHook::CallingHost => cross(store),
            CallHook::ReturningFromHost => store.data_mut().count_held(),
            CallHook::CallingWasm | CallHook::ReturningFromWasm => Ok(()),
        });
        begin(&mut store)?;
        Ok(store)
    }

    /// Resolves when the task's budget of fuel is used up; never where it has none.
    pub async fn fuel_exhausted(&self) {
        match &self.fuel_budget {
            Some(budget) => budget.exhausted().await,
            None => std::future::pending().await,
        }
    }

    pub fn is_fuel_exhausted(&self) -> bool {
        self.fuel_budget.as_ref().is_some_and(|budget| budget.is_exhausted())
    }

    fn wasi(&self, stdin: Stdin, given: Option<&Given>, clock: Option<&VirtualClock>) -> wasmtime::Result<WasiP1Ctx> {
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
        if let Some(clock) = clock {
            deterministic::configure(&mut builder, clock);
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

/// A run begins in this store, or another request in that of a kept instance: the budget of a request is whole again.
pub fn begin(store: &mut Store<Guest>) -> wasmtime::Result<()> {
    match store.data_mut().fuel.begin() {
        // The share of the processor decides when the next slice may begin.
        Crossing::Slice(slice) => store.fuel_async_yield_interval(Some(slice))?,
        Crossing::Go => {}
        Crossing::Out => return Err(Trap::OutOfFuel.into()),
    }
    store.set_fuel(STORE_FUEL)
}

/// The run or the request has ended, well or not: counts what it used since it last called the host.
pub fn settle(store: &mut Store<Guest>) {
    if let Ok(fuel) = store.get_fuel() {
        store.data_mut().fuel.settle(fuel);
    }
}

/// The guest leaves its own code: for a host call, or because its slice has ended.
fn cross(mut store: StoreContextMut<'_, Guest>) -> wasmtime::Result<()> {
    let fuel = store.get_fuel()?;
    let guest = store.data_mut();
    let before = guest.fuel.total();
    let crossing = guest.fuel.cross(fuel);
    if let Some(clock) = &guest.clock {
        clock.advance(guest.fuel.total() - before);
    }
    match crossing {
        Crossing::Go => Ok(()),
        Crossing::Slice(slice) => store.fuel_async_yield_interval(Some(slice)),
        Crossing::Out => Err(Trap::OutOfFuel.into()),
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

    /// Where its time is virtual.
    fn virtual_clock(&self) -> Option<VirtualClock> {
        self.clock.clone()
    }

    /// What its monotonic clock shows.
    fn monotonic_ns(&mut self) -> u64 {
        // It cannot fail: it reads the clock that the context was made with.
        monotonic_clock::Host::now(&mut self.clocks()).unwrap_or_default()
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

    fn listings(&mut self) -> &mut Listings {
        &mut self.listings
    }
}

#[cfg(test)]
mod tests;
