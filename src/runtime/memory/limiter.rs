//! The limiter of one store: counts its linear memories and tables, and whatever the host keeps on the guest's behalf.
//!
//! A growth beyond what the module itself declared, or beyond what the allocator's slots hold, is refused in wasm's own
//! way (`-1`) and not counted: the module asked for that maximum, or knows that memories end. Beyond the limit of
//! the container or the task it is an error that ends the guest, and every later growth is the same error.
//!
//! wasmtime reports failed growths (`memory_grow_failed`) also for some that it never asked about, so nothing is given back
//! there: a guest could have memory that it holds uncounted. What was counted for a growth that then failed (the kernel had
//! no memory) stays counted until the store goes.

use wasmtime::ResourceLimiterAsync;
use wasmtime_wasi::async_trait;

use crate::runtime::engine::POOL_TABLE_ELEMENTS;

use super::admission::{Crowded, Next};
use super::{MemoryMeter, OutOfMemory, Reservation};

/// What an element of a table takes: wasmtime keeps a pointer for a function reference, and less for others.
const TABLE_ELEMENT_BYTES: u64 = 8;
/// Core instances in a store: a component of the WebAssembly toolchains has 3 to 10; composed ones a few dozen.
pub const MAX_INSTANCES: usize = 100;
/// Tables in a store: at most one or two for each core instance.
pub const MAX_TABLES: usize = 200;
/// Linear memories in a store: at most one for each core instance.
pub const MAX_MEMORIES: usize = 100;

/// What the engine's allocator can hold at most. A growth beyond it fails normally.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    pub memory_bytes: usize,
    pub table_elements: usize,
}

impl Slots {
    /// In a pool.
    pub const POOLED: Self = Self { memory_bytes: 1 << 32, table_elements: POOL_TABLE_ELEMENTS };
    /// A 32-bit memory, with nothing smaller configured.
    pub const LARGEST: Self = Self { memory_bytes: 1 << 32, table_elements: u32::MAX as usize };
}

/// Goes into the store's data (`store.limiter`); dropped with it, it gives back all that the store took.
#[derive(Debug)]
pub struct MemoryLimiter {
    meter: MemoryMeter,
    slots: Slots,
    /// Bytes that were set aside for this instance at its admission, and are used up first.
    admitted: Option<Reservation>,
    /// Bytes that the store uses now, and the most that it did.
    used_bytes: u64,
    peak_bytes: u64,
    /// Bytes that were reserved beyond the admitted ones.
    reserved_bytes: u64,
    out_of_memory: Option<OutOfMemory>,
}

impl MemoryLimiter {
    /// For an instance of the container with this meter; `admitted` is what its admission set aside, for a handler.
    pub fn new(meter: MemoryMeter, slots: Slots, admitted: Option<Reservation>) -> Self {
        let (used_bytes, peak_bytes, reserved_bytes) = (0, 0, 0);
        Self { meter, slots, admitted, used_bytes, peak_bytes, reserved_bytes, out_of_memory: None }
    }

    /// Counts what the host keeps for the guest (buffers of bodies and streams, a stack).
    pub fn charge_host(&mut self, bytes: u64) -> Result<(), OutOfMemory> {
        if let Some(refused) = self.out_of_memory {
            return Err(refused);
        }
        self.try_charge(bytes).inspect_err(|refused| self.out_of_memory = Some(*refused))
    }

    fn try_charge(&mut self, bytes: u64) -> Result<(), OutOfMemory> {
        let used_bytes = self.used_bytes.saturating_add(bytes);
        let paid_bytes = self.paid_bytes();
        if used_bytes > paid_bytes {
            let missing_bytes = used_bytes - paid_bytes;
            self.meter.reserve(missing_bytes)?;
            self.reserved_bytes += missing_bytes;
            if let Some(admitted) = &self.admitted {
                admitted.see(used_bytes);
            }
        }
        self.used_bytes = used_bytes;
        self.peak_bytes = self.peak_bytes.max(used_bytes);
        Ok(())
    }

    /// Gives back what `charge_host` counted.
    pub fn release_host(&mut self, bytes: u64) {
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
        let surplus_bytes = self.paid_bytes().saturating_sub(self.used_bytes).min(self.reserved_bytes);
        self.reserved_bytes -= surplus_bytes;
        self.meter.release(surplus_bytes);
    }

    /// Why the guest ended, if memory is why.
    pub fn out_of_memory(&self) -> Option<OutOfMemory> {
        self.out_of_memory
    }

    pub fn used(&self) -> u64 {
        self.used_bytes
    }

    pub fn peak(&self) -> u64 {
        self.peak_bytes
    }

    fn paid_bytes(&self) -> u64 {
        self.reserved_bytes + self.admitted.as_ref().map_or(0, Reservation::bytes)
    }

    async fn grow(&mut self, growth: Growth) -> wasmtime::Result<bool> {
        if let Some(refused) = self.out_of_memory {
            return Err(wasmtime::Error::new(refused));
        }
        if growth.desired > growth.maximum.unwrap_or(usize::MAX) || growth.desired > growth.slot {
            return Ok(false);
        }
        let bytes = (growth.desired.saturating_sub(growth.current) as u64).saturating_mul(growth.unit_bytes);
        let Err(refused) = self.try_charge(bytes) else { return Ok(true) };
        // What would not fit even alone is an end; what others hold is waited for, by who was let in with them.
        let fits_alone = self.used_bytes.saturating_add(bytes) <= self.meter.capacity();
        let ended = match &self.admitted {
            Some(_) if fits_alone => self.wait_for(bytes, refused).await,
            _ => Err(wasmtime::Error::new(refused)),
        };
        if ended.is_err() {
            self.out_of_memory = Some(refused);
        }
        ended.map(|()| true)
    }

    async fn wait_for(&mut self, bytes: u64, refused: OutOfMemory) -> wasmtime::Result<()> {
        let meter = self.meter.clone();
        let Some(growing) = self.admitted.as_ref().map(Reservation::grow) else { return Err(refused.into()) };
        loop {
            // Both listen from here on: what becomes free between the try and the wait is not missed.
            let (freed, changed) = (meter.freed(), growing.changed());
            if self.try_charge(bytes).is_ok() {
                return Ok(());
            }
            match growing.next() {
                Next::Wait(limit) => tokio::select! {
                    () = freed => {}
                    () = changed => {}
                    () = tokio::time::sleep(limit) => {}
                },
                Next::GiveWay => return Err(Crowded.into()),
                Next::TooLarge => return Err(refused.into()),
            }
        }
    }
}

/// A memory or a table that wants to grow, in units of so many bytes.
struct Growth {
    current: usize,
    desired: usize,
    maximum: Option<usize>,
    slot: usize,
    unit_bytes: u64,
}

#[async_trait]
impl ResourceLimiterAsync for MemoryLimiter {
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(Growth { current, desired, maximum, slot: self.slots.memory_bytes, unit_bytes: 1 }).await
    }

    async fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let slot = self.slots.table_elements;
        self.grow(Growth { current, desired, maximum, slot, unit_bytes: TABLE_ELEMENT_BYTES }).await
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

impl Drop for MemoryLimiter {
    fn drop(&mut self) {
        if let Some(admitted) = &self.admitted {
            // One that was refused needed what it asked for, too.
            let refused_bytes =
                self.out_of_memory.map_or(0, |refused| self.used_bytes.saturating_add(refused.asked_bytes));
            admitted.observe(self.peak_bytes.max(refused_bytes));
        }
        self.meter.release(self.reserved_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::memory::{Level, NodeMeter};

    const PAGE: usize = 65536;

    fn limiter(limit_bytes: u64) -> (MemoryMeter, MemoryLimiter) {
        let meter = MemoryMeter::task(None, &NodeMeter::default()).container(Some(limit_bytes));
        (meter.clone(), MemoryLimiter::new(meter, Slots::LARGEST, None))
    }

    #[tokio::test]
    async fn counts_memories_tables_and_host_buffers_and_gives_all_back() {
        let (meter, mut it) = limiter(10 * PAGE as u64);
        assert!(it.memory_growing(0, 2 * PAGE, None).await.unwrap());
        assert!(it.memory_growing(2 * PAGE, 3 * PAGE, Some(4 * PAGE)).await.unwrap());
        assert!(it.table_growing(0, 100, None).await.unwrap());
        it.charge_host(1000).unwrap();
        assert_eq!(meter.held(), 3 * PAGE as u64 + 1800);
        it.release_host(1000);
        assert_eq!((meter.held(), it.used()), (3 * PAGE as u64 + 800, 3 * PAGE as u64 + 800));
        drop(it);
        assert_eq!((meter.held(), meter.peak()), (0, 3 * PAGE as u64 + 1800));
    }

    #[tokio::test]
    async fn past_the_limit_is_a_typed_error_for_good() {
        let (meter, mut it) = limiter(2 * PAGE as u64);
        assert!(it.memory_growing(0, PAGE, None).await.unwrap());
        let error = it.memory_growing(PAGE, 3 * PAGE, None).await.unwrap_err();
        let refused = *error.downcast_ref::<OutOfMemory>().unwrap();
        assert_eq!((refused.level, refused.asked_bytes), (Level::Container, 2 * PAGE as u64));
        assert_eq!(it.out_of_memory(), Some(refused));
        // Even what would fit.
        assert!(it.memory_growing(PAGE, 2 * PAGE, None).await.is_err());
        assert!(it.table_growing(0, 1, None).await.is_err());
        assert!(it.charge_host(1).is_err());
        drop(it);
        assert_eq!(meter.held(), 0);
    }

    #[tokio::test]
    async fn the_modules_own_maximum_and_the_slot_fail_normally_and_count_nothing() {
        let meter = MemoryMeter::task(Some(100 * PAGE as u64), &NodeMeter::default()).container(None);
        let slots = Slots { memory_bytes: 8 * PAGE, table_elements: 10 };
        let mut it = MemoryLimiter::new(meter.clone(), slots, None);
        assert!(!it.memory_growing(PAGE, 3 * PAGE, Some(2 * PAGE)).await.unwrap());
        assert!(!it.memory_growing(PAGE, 9 * PAGE, None).await.unwrap());
        assert!(!it.table_growing(0, 11, None).await.unwrap());
        assert_eq!((meter.held(), it.out_of_memory()), (0, None));
        assert!(it.memory_growing(0, PAGE, None).await.unwrap());
    }

    /// `(module (memory 1 MAX) (func (export "run") (result i32) (memory.grow (i32.const 10))))`, run in wasmtime.
    async fn grow_by_ten_pages(limit_pages: u64, maximum: Option<u8>) -> (wasmtime::Result<i32>, u64) {
        let memory: &[u8] = &maximum.map_or(vec![5, 3, 1, 0, 1], |maximum| vec![5, 4, 1, 1, 1, maximum]);
        let module = [
            b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0",
            memory,
            b"\x07\x07\x01\x03run\0\0\x0a\x08\x01\x06\0\x41\x0a\x40\0\x0b",
        ]
        .concat();
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, module).unwrap();
        let (meter, limiter) = limiter(limit_pages * PAGE as u64);
        let mut store = wasmtime::Store::new(&engine, limiter);
        store.limiter_async(|limiter| limiter);
        let result = async {
            let instance = wasmtime::Instance::new_async(&mut store, &module, &[]).await?;
            let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
            run.call_async(&mut store, ()).await
        }
        .await;
        let held_pages = meter.held() / PAGE as u64;
        drop(store);
        assert_eq!(meter.held(), 0);
        (result, held_pages)
    }

    #[tokio::test]
    async fn wasmtime_asks_and_hands_the_error_through() {
        let (result, held_pages) = grow_by_ten_pages(11, None).await;
        assert_eq!((result.unwrap(), held_pages), (1, 11));
        let (result, held_pages) = grow_by_ten_pages(11, Some(5)).await;
        assert_eq!((result.unwrap(), held_pages), (-1, 1));
        let (result, held_pages) = grow_by_ten_pages(10, None).await;
        assert!(result.unwrap_err().downcast_ref::<OutOfMemory>().is_some());
        assert_eq!(held_pages, 1);
        // Not even what it begins with.
        let (result, held_pages) = grow_by_ten_pages(0, None).await;
        assert!(result.unwrap_err().downcast_ref::<OutOfMemory>().is_some());
        assert_eq!(held_pages, 0);
    }
}
