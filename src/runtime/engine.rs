//! The wasmtime engines, and why there are three.
//!
//! - `sequential`: WASI 0.1 and 0.2, pooled, without the component model's concurrency, which costs 10 to 15 % of a
//!   request (measured) and which such components cannot use.
//! - `concurrent`: WASI 0.3, which cannot be linked without it. Its pool is small: two full pools would spend the
//!   process's mappings (`vm.max_map_count`) twice.
//! - `on_demand`: what fits no pool (several memories, a huge table, a heap that is garbage collected). Slower to
//!   instantiate by half, and bounded by nothing but the permits. It is concurrent, so that one serves both worlds.
//!
//! Pooling does not affect compiled code: engines with the same [`Concurrency`] share artifacts.

use std::fs;
use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::runtime::capacity::Capacity;

/// The one setting that changes compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Concurrency {
    Off,
    On,
}

/// Which engine an image runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineKind {
    Sequential,
    Concurrent,
    OnDemand,
}

impl EngineKind {
    pub fn concurrency(self) -> Concurrency {
        match self {
            EngineKind::Sequential => Concurrency::Off,
            EngineKind::Concurrent | EngineKind::OnDemand => Concurrency::On,
        }
    }
}

/// What an instance may take of a pool beyond one memory and four core instances (a Rust component of WASI 0.2 has
/// three). A component that needs more than this many times as much runs on demand.
pub const POOL_WEIGHT_MAX: u32 = 4;
/// Core instances and tables per permit; the pools are sized by it.
pub const CORE_INSTANCES_PER_PERMIT: u32 = 4;
/// A store of WASI 0.3 runs each of its tasks on a stack of its own.
pub const STACKS_PER_CONCURRENT_PERMIT: u32 = 4;
/// Elements of a pooled table: the largest of the toolchains have some thousands. An image that begins with more runs on
/// demand; a growth beyond it fails as the end of a memory does.
pub const POOL_TABLE_ELEMENTS: usize = 20_000;
/// What stays resident of a reset memory and table. Only with `PAGEMAP_SCAN`: without it the whole range is cleared
/// by hand each time, which is slower than giving it back (50 us instead of 20, measured).
const MEMORY_KEEP_RESIDENT_BYTES: usize = 1 << 20;
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// The engines of this node.
#[derive(Clone)]
pub struct Engines {
    pub sequential: Engine,
    pub concurrent: Engine,
    pub on_demand: Engine,
    /// Whether memories are reset by asking the kernel which pages were written.
    pub pagemap_scan: bool,
}

impl Engines {
    pub fn new(capacity: &Capacity) -> wasmtime::Result<Engines> {
        let pagemap_scan = may_scan_pagemap();
        let sequential = pool(capacity.sequential, capacity.sequential, pagemap_scan);
        let stacks = capacity.concurrent.saturating_mul(STACKS_PER_CONCURRENT_PERMIT);
        let concurrent = pool(capacity.concurrent, stacks, pagemap_scan);
        Ok(Engines {
            sequential: Engine::new(settings(Concurrency::Off).allocation_strategy(sequential))?,
            concurrent: Engine::new(settings(Concurrency::On).allocation_strategy(concurrent))?,
            on_demand: Engine::new(&settings(Concurrency::On))?,
            pagemap_scan,
        })
    }

    pub fn get(&self, kind: EngineKind) -> &Engine {
        match kind {
            EngineKind::Sequential => &self.sequential,
            EngineKind::Concurrent => &self.concurrent,
            EngineKind::OnDemand => &self.on_demand,
        }
    }
}

/// Everything that compiled code depends on. The compiling child makes its engine of the same.
pub fn settings(concurrency: Concurrency) -> Config {
    let mut config = Config::new();
    config
        // Fuel ends polls, counts work, and is a budget. Epochs cost the same (measured), and need a ticking thread.
        .consume_fuel(true)
        // The 4 GiB reservation of a memory stays: smaller slots make compiled code check bounds (up to 48 % slower).
        // Garbage collection and exceptions stay on too: turning them off gains 2 % and loses whole languages.
        .concurrency_support(concurrency == Concurrency::On);
    if concurrency == Concurrency::On {
        config.wasm_component_model_async(true);
    }
    config
}

/// A pool of `instances` permits.
fn pool(instances: u32, stacks: u32, pagemap_scan: bool) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_memories(instances)
        // A store keeps its fiber's stack between calls, so there is one for each live store.
        .total_stacks(stacks)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_PERMIT))
        .total_tables(instances.saturating_mul(CORE_INSTANCES_PER_PERMIT))
        .max_memories_per_component(POOL_WEIGHT_MAX)
        .max_core_instances_per_component(POOL_WEIGHT_MAX * CORE_INSTANCES_PER_PERMIT)
        .max_tables_per_component(POOL_WEIGHT_MAX * CORE_INSTANCES_PER_PERMIT)
        .table_elements(POOL_TABLE_ELEMENTS)
        // Each would reserve 4 GiB. What uses one runs on demand (`image::inspect` finds it).
        .total_gc_heaps(1)
        // Memory protection keys stay out (wasmtime's feature is not compiled in): they would put tenants side by side
        // in one slot's guard, to save address space that is not short.
        .pagemap_scan(if pagemap_scan { Enabled::Yes } else { Enabled::No });
    if pagemap_scan {
        pool.linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES).table_keep_resident(TABLE_KEEP_RESIDENT_BYTES);
    }
    InstanceAllocationStrategy::Pooling(pool)
}

/// With `PAGEMAP_SCAN`, wasmtime 48 may fail to reset a page that was swapped out (bytecodealliance/wasmtime#14357), and
/// the next tenant of the slot could read it. So: only where nothing can be swapped out.
fn may_scan_pagemap() -> bool {
    PoolingAllocationConfig::is_pagemap_scan_available() && fs::read_to_string("/proc/swaps").is_ok_and(no_swap)
}

/// `/proc/swaps` has a heading, then a line for each swap space.
fn no_swap(swaps: String) -> bool {
    swaps.lines().skip(1).all(|line| line.trim().is_empty())
}

/// Names the compiler, its settings, the target and its CPU features: what an artifact must agree with.
pub fn compatibility(engine: &Engine) -> String {
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let digest = hasher.0.finalize();
    // 64 bits: a name, not a defence. wasmtime itself refuses an artifact of other settings.
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// `std`'s own hasher may change between releases, and file names must not.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Instance, Memory, Module, Ref, Store, Table, TypedFunc};

    use super::*;

    #[test]
    fn swap_forbids_the_pagemap_scan() {
        let heading = String::from("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
        assert!(no_swap(heading.clone()));
        assert!(!no_swap(heading + "/swapfile file 2097148 0 -2\n"));
    }

    /// `(module (table (export "t") 10 funcref) (memory (export "m") PAGES) (func (export "f") unreachable))`
    fn module_of_tenant(engine: &Engine, pages: u8) -> Module {
        let sections: [&[u8]; 7] = [
            b"\0asm\x01\0\0\0",
            b"\x01\x04\x01\x60\0\0",
            b"\x03\x02\x01\0",
            b"\x04\x04\x01\x70\0\x0a",
            &[0x05, 0x03, 0x01, 0x00, pages],
            b"\x07\x0d\x03\x01t\x01\0\x01m\x02\0\x01f\0\0",
            b"\x0a\x05\x01\x03\0\0\x0b",
        ];
        Module::new(engine, sections.concat()).unwrap()
    }

    struct Tenant {
        store: Store<()>,
        memory: Memory,
        table: Table,
        trap: TypedFunc<(), ()>,
    }

    fn tenant(module: &Module) -> Tenant {
        let mut store = Store::new(module.engine(), ());
        store.set_fuel(1_000_000).unwrap();
        let instance = Instance::new(&mut store, module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let table = instance.get_table(&mut store, "t").unwrap();
        let trap = instance.get_typed_func(&mut store, "f").unwrap();
        Tenant { store, memory, table, trap }
    }

    impl Tenant {
        /// Leaves its mark on all that it can write to, in more than what stays resident, and maybe ends badly.
        fn stain(&mut self, traps: bool) {
            let Tenant { store, memory, table, trap } = self;
            memory.data_mut(&mut *store).fill(0xa5);
            memory.grow(&mut *store, 30).unwrap();
            memory.data_mut(&mut *store).fill(0xa5);
            table.grow(&mut *store, 15_000, Ref::Func(None)).unwrap();
            let length = table.size(&*store);
            table.fill(&mut *store, 0, Ref::Func(Some(*trap.func())), length).unwrap();
            if traps {
                assert!(trap.call(&mut *store, ()).is_err());
            }
        }

        fn finds_nothing(&mut self) {
            let Tenant { store, memory, table, .. } = self;
            for grown in [false, true] {
                if grown {
                    memory.grow(&mut *store, 23).unwrap();
                    table.grow(&mut *store, 12_000, Ref::Func(None)).unwrap();
                }
                assert!(memory.data(&*store).iter().all(|byte| *byte == 0));
                let length = table.size(&*store);
                let is_null = |element| matches!(table.get(&mut *store, element), Some(Ref::Func(None)));
                assert!((0..length).all(is_null));
            }
        }
    }

    #[test]
    fn one_tenant_finds_nothing_of_another() {
        let scans: &[bool] =
            if PoolingAllocationConfig::is_pagemap_scan_available() { &[false, true] } else { &[false] };
        for scan in scans {
            let engine = Engine::new(settings(Concurrency::Off).allocation_strategy(pool(16, 16, *scan))).unwrap();
            // Another module each time, and a larger one: a slot that goes back to its last module is the easy case.
            let (first, second) = (module_of_tenant(&engine, 20), module_of_tenant(&engine, 40));
            for round in 0..4 {
                // All slots of the pool.
                let mut tenants: Vec<_> = (0..16).map(|_| tenant(&first)).collect();
                tenants.iter_mut().for_each(|tenant| tenant.stain(round % 2 == 1));
                drop(tenants);
                let module = if round < 2 { &second } else { &first };
                let mut tenants: Vec<_> = (0..16).map(|_| tenant(module)).collect();
                tenants.iter_mut().for_each(Tenant::finds_nothing);
            }
        }
    }

    #[test]
    fn pools_share_artifacts_with_the_compiler_of_the_same_concurrency() {
        let engines = Engines::new(&Capacity::of_instances(16)).unwrap();
        let off = Engine::new(&settings(Concurrency::Off)).unwrap();
        let on = Engine::new(&settings(Concurrency::On)).unwrap();
        assert_eq!(compatibility(&engines.sequential), compatibility(&off));
        assert_eq!(compatibility(&engines.concurrent), compatibility(&on));
        assert_eq!(compatibility(&engines.on_demand), compatibility(&on));
        assert_ne!(compatibility(&off), compatibility(&on));
    }
}
