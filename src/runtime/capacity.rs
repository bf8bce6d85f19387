//! How many instances this node can hold, what limits it, and the permits that keep it there.
//!
//! The limits of the machine are read once, at start; a pure function turns them into a number. Instantiation then takes
//! a permit first, so a full node queues; wasmtime's own "maximum concurrent limit reached" never reaches a task.

use std::fmt;
use std::fs;
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::runtime::engine::{EngineKind, POOL_WEIGHT_MAX};

/// What the machine offers, as read at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readings {
    /// The largest region that can be reserved.
    pub address_space_bytes: u64,
    /// `vm.max_map_count`.
    pub mappings: u64,
    /// `RLIMIT_NOFILE`, after the soft limit was raised to the hard one.
    pub open_files: u64,
    /// The memory that tasks may use.
    pub memory_bytes: u64,
}

/// A slot of a pool: 4 GiB of memory and its guard of 32 MiB.
const SLOT_BYTES: u64 = (4 << 30) + (32 << 20);
/// The share of the address space for slots; code, stacks, tables and what runs on demand have the rest.
const SLOT_SHARE: (u64, u64) = (3, 4);
/// Two mappings of each stack when the pool is made, four more of each live instance (measured).
const MAPPINGS_PER_INSTANCE: u64 = 6;
/// For the process itself: libraries, heaps, threads (some 500), and three of each of 256 compiled images, twice over.
const MAPPINGS_RESERVED: u64 = 2_500;
/// A program that listens holds one. For connections of the front and the proxy, files and images.
const OPEN_FILES_RESERVED: u64 = 512;
/// An idle task costs 40 to 80 KB with its page tables (measured); the bar is this.
const INSTANCE_BYTES: u64 = 100 << 10;
/// wasmtime numbers its slots; beyond this the pools' own tables would cost more than the instances.
const INSTANCES_MAX: u64 = 100_000;
/// A node below this cannot do its work; the readings are then believed to be wrong, and the pools will say so.
const INSTANCES_MIN: u64 = 8;
/// One in 64 permits is for WASI 0.3, and one for what runs on demand, but at least four where there are 32: most images are
/// of WASI 0.2, and with Linux's default of mappings 10,000 of them should run.
const SMALL_SHARE: u64 = 64;
const SMALL_MAX: u64 = 512;
const SMALL_NODE: (u64, u64) = (32, 8);
/// Twelve mappings (four stacks) of a concurrent instance, where a sequential one has six.
const CONCURRENT_WEIGHT: u64 = 2;

/// How many instances this node holds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Of WASI 0.1 and 0.2.
    pub sequential: u32,
    /// Of WASI 0.3.
    pub concurrent: u32,
    /// Of what fits no pool.
    pub on_demand: u32,
    pub limited_by: Limit,
}

/// What limits the number of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    AddressSpace { bytes: u64 },
    Mappings { count: u64 },
    OpenFiles { count: u64 },
    Memory { bytes: u64 },
    Configuration,
}

impl Capacity {
    /// A pure function of what was read; `instances_max` is the configuration's own limit.
    pub fn compute(readings: &Readings, instances_max: Option<u32>) -> Capacity {
        let slots = readings.address_space_bytes / SLOT_SHARE.1 * SLOT_SHARE.0 / SLOT_BYTES;
        let mapped = readings.mappings.saturating_sub(MAPPINGS_RESERVED) / MAPPINGS_PER_INSTANCE;
        let configured = instances_max.map_or(INSTANCES_MAX, |max| u64::from(max).min(INSTANCES_MAX));
        let candidates = [
            (slots, Limit::AddressSpace { bytes: readings.address_space_bytes }),
            (mapped, Limit::Mappings { count: readings.mappings }),
            (readings.open_files.saturating_sub(OPEN_FILES_RESERVED), Limit::OpenFiles { count: readings.open_files }),
            (readings.memory_bytes / INSTANCE_BYTES, Limit::Memory { bytes: readings.memory_bytes }),
            (configured, Limit::Configuration),
        ];
        let (total, limited_by) =
            candidates.into_iter().min_by_key(|(count, _)| *count).expect("the array is not empty");
        let total = total.max(INSTANCES_MIN);
        let small = (total / SMALL_SHARE).clamp(total.min(SMALL_NODE.0) / SMALL_NODE.1, SMALL_MAX);
        let sequential = total - small * CONCURRENT_WEIGHT - small;
        Capacity { sequential: narrow(sequential), concurrent: narrow(small), on_demand: narrow(small), limited_by }
    }

    /// For tests, which need few.
    pub fn of_instances(count: u32) -> Capacity {
        let plenty =
            Readings { address_space_bytes: 1 << 47, mappings: 1 << 20, open_files: 1 << 20, memory_bytes: 1 << 40 };
        Capacity::compute(&plenty, Some(count))
    }

    pub fn instances(&self) -> u32 {
        self.sequential + self.concurrent + self.on_demand
    }
}

/// No count here is above `INSTANCES_MAX`, or `INSTANCES_MIN`.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} instances ({} of WASI 0.1 and 0.2, {} of WASI 0.3, {} of any other size), limited by {}",
            self.instances(),
            self.sequential,
            self.concurrent,
            self.on_demand,
            self.limited_by
        )
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::AddressSpace { bytes } => write!(f, "{} GiB of address space", bytes >> 30),
            Limit::Mappings { count } => write!(f, "vm.max_map_count = {count} (raise it with sysctl for more)"),
            Limit::OpenFiles { count } => {
                write!(f, "{count} open files (raise the hard limit of `ulimit -n` for more)")
            }
            Limit::Memory { bytes } => write!(f, "{} MiB of memory for tasks", bytes >> 20),
            Limit::Configuration => write!(f, "the configuration"),
        }
    }
}

impl Readings {
    /// Reads this machine, and raises the soft limit of open files to the hard one.
    pub fn take(memory_bytes: u64) -> Readings {
        Readings {
            address_space_bytes: probe_address_space(),
            mappings: read_number("/proc/sys/vm/max_map_count").unwrap_or(MAPPINGS_DEFAULT),
            open_files: raise_open_files(),
            memory_bytes,
        }
    }
}

/// Linux's default, where `/proc` cannot be read.
const MAPPINGS_DEFAULT: u64 = 65_530;

fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // A refusal leaves the soft limit in force, which is then read back.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The user's part of the address space of x86-64 with four levels of page tables, and the step of the search.
const ADDRESS_SPACE_MAX_BYTES: u64 = 1 << 47;
const ADDRESS_SPACE_STEP_BYTES: u64 = 1 << 40;

/// The largest region that can be reserved, to 1 TiB: `RLIMIT_AS`, the kernel's layout and the CPU all have a say, so
/// asking is the only way to know. Nothing is touched, so it costs some microseconds and no memory.
fn probe_address_space() -> u64 {
    let (mut fits, mut fails) = (0, ADDRESS_SPACE_MAX_BYTES / ADDRESS_SPACE_STEP_BYTES);
    while fails - fits > 1 {
        let middle = (fits + fails) / 2;
        if can_reserve(middle * ADDRESS_SPACE_STEP_BYTES) { fits = middle } else { fails = middle }
    }
    fits * ADDRESS_SPACE_STEP_BYTES
}

fn can_reserve(bytes: u64) -> bool {
    let Ok(length) = usize::try_from(bytes) else { return false };
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing, and is never accessed.
    let Ok(address) = (unsafe { mmap_anonymous(std::ptr::null_mut(), length, ProtFlags::empty(), flags) }) else {
        return false;
    };
    // SAFETY: exactly the mapping made above, to which no reference exists.
    let unmapped = unsafe { munmap(address, length) };
    unmapped.is_ok()
}

/// The right to hold instances. One for each kind of engine, taken before instantiation, given back after the store is
/// dropped.
#[derive(Clone)]
pub struct Permits {
    sequential: Arc<Semaphore>,
    concurrent: Arc<Semaphore>,
    on_demand: Arc<Semaphore>,
}

/// Held as long as the instance lives.
#[derive(Debug)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Permits {
    pub fn new(capacity: &Capacity) -> Permits {
        let semaphore = |permits: u32| Arc::new(Semaphore::new(permits as usize));
        Permits {
            sequential: semaphore(capacity.sequential),
            concurrent: semaphore(capacity.concurrent),
            on_demand: semaphore(capacity.on_demand),
        }
    }

    /// Waits, in the order of asking, until `weight` shares of a pool are free.
    pub async fn acquire(&self, engine: EngineKind, weight: u32) -> Permit {
        let permits = Arc::clone(self.of(engine)).acquire_many_owned(weight.clamp(1, POOL_WEIGHT_MAX)).await;
        Permit(permits.expect("the semaphores are never closed"))
    }

    /// The same without waiting.
    pub fn try_acquire(&self, engine: EngineKind, weight: u32) -> Option<Permit> {
        let weight = weight.clamp(1, POOL_WEIGHT_MAX);
        Arc::clone(self.of(engine)).try_acquire_many_owned(weight).ok().map(Permit)
    }

    /// Permits that nobody holds.
    pub fn free(&self, engine: EngineKind) -> usize {
        self.of(engine).available_permits()
    }

    fn of(&self, engine: EngineKind) -> &Arc<Semaphore> {
        match engine {
            EngineKind::Sequential => &self.sequential,
            EngineKind::Concurrent => &self.concurrent,
            EngineKind::OnDemand => &self.on_demand,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: Readings =
        Readings { address_space_bytes: 127 << 40, mappings: 1 << 20, open_files: 1 << 20, memory_bytes: 1 << 40 };

    #[test]
    fn the_scarcest_resource_limits_and_is_named() {
        let usual = Capacity::compute(&Readings { mappings: 65_530, ..PLENTY }, None);
        assert!((10_000..=10_365).contains(&usual.sequential), "{usual}");
        assert!(usual.to_string().contains("vm.max_map_count = 65530"), "{usual}");

        for (readings, limit) in [
            (Readings { address_space_bytes: 1 << 40, ..PLENTY }, "1024 GiB of address space"),
            (Readings { open_files: 1024, ..PLENTY }, "1024 open files"),
            (Readings { memory_bytes: 100 << 20, ..PLENTY }, "100 MiB of memory"),
        ] {
            let capacity = Capacity::compute(&readings, None);
            assert!(capacity.to_string().contains(limit), "{capacity}");
        }
        assert_eq!(Capacity::compute(&PLENTY, Some(64)).limited_by, Limit::Configuration);
    }

    #[test]
    fn what_the_pools_may_take_fits_the_mappings() {
        for mappings in [10_000, 65_530, 262_144] {
            let capacity = Capacity::compute(&Readings { mappings, ..PLENTY }, None);
            let used = u64::from(capacity.sequential) * 6
                + u64::from(capacity.concurrent) * 12
                + u64::from(capacity.on_demand) * 6;
            assert!(used + MAPPINGS_RESERVED <= mappings, "{capacity}: {used} of {mappings}");
        }
    }

    #[test]
    fn a_machine_without_anything_still_runs_a_little() {
        let nothing = Readings { address_space_bytes: 0, mappings: 0, open_files: 0, memory_bytes: 0 };
        let capacity = Capacity::compute(&nothing, None);
        assert!(capacity.sequential >= 1 && capacity.concurrent >= 1 && capacity.on_demand >= 1);
    }

    #[test]
    fn this_machine_can_be_read() {
        let readings = Readings::take(1 << 30);
        assert!(readings.address_space_bytes >= 1 << 40 && readings.mappings > 0 && readings.open_files > 0);
    }

    #[tokio::test]
    async fn a_full_node_queues() {
        let permits = Permits::new(&Capacity::of_instances(16));
        let held: Vec<_> = std::iter::from_fn(|| permits.try_acquire(EngineKind::OnDemand, 1)).collect();
        assert!(!held.is_empty());
        let mut waiting = Box::pin(permits.acquire(EngineKind::OnDemand, 1));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(held);
        waiting.await;
    }
}
