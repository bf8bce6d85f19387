//! Sleeping under a virtual clock: it takes real time, and then the guest's clock is where the sleep was to end.
//!
//! The functions of wasmtime-wasi are replaced in its linkers, and serve every guest that has real clocks, as before.

use std::time::Duration;

use tokio::time::Instant;
use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::Host;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::runtime::sandbox::Guest;
use crate::runtime::sandbox::deterministic::VirtualClock;

/// The versions under which wasmtime-wasi 48 defines the interface.
const P2: &str = "wasi:clocks/monotonic-clock@0.2.12";
const P3: &str = "wasi:clocks/monotonic-clock@0.3.0";

/// A sleep of a guest whose time is virtual.
struct Sleep {
    /// `None` where it is too far away for the system's clock.
    until: Option<Instant>,
    until_ns: u64,
    clock: VirtualClock,
}

impl Sleep {
    fn of(clock: VirtualClock, duration_ns: u64) -> Sleep {
        let until = Instant::now().checked_add(Duration::from_nanos(duration_ns));
        Sleep { until, until_ns: clock.now_ns().saturating_add(duration_ns), clock }
    }

    async fn sleep(&self) {
        match self.until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
        self.clock.advance_to(self.until_ns);
    }
}

#[async_trait]
impl Pollable for Sleep {
    async fn ready(&mut self) {
        self.sleep().await;
    }
}

type Subscribed = wasmtime::Result<(Resource<DynPollable>,)>;

/// In a linker to which wasmtime-wasi's WASI 0.2 was added before.
pub fn shadow_p2(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut interface = linker.instance(P2)?;
    interface.func_wrap(
        "subscribe-duration",
        |mut store: StoreContextMut<'_, Guest>, (duration_ns,): (u64,)| -> Subscribed {
            let guest = store.data_mut();
            Ok((match guest.virtual_clock() {
                Some(clock) => sleep_p2(guest, Sleep::of(clock, duration_ns))?,
                None => guest.clocks().subscribe_duration(duration_ns)?,
            },))
        },
    )?;
    interface.func_wrap(
        "subscribe-instant",
        |mut store: StoreContextMut<'_, Guest>, (at_ns,): (u64,)| -> Subscribed {
            let guest = store.data_mut();
            Ok((match guest.virtual_clock() {
                Some(clock) => {
                    let duration_ns = at_ns.saturating_sub(clock.now_ns());
                    sleep_p2(guest, Sleep::of(clock, duration_ns))?
                }
                None => guest.clocks().subscribe_instant(at_ns)?,
            },))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn sleep_p2(guest: &mut Guest, sleep: Sleep) -> wasmtime::Result<Resource<DynPollable>> {
    let table = guest.table();
    let sleep = table.push(sleep)?;
    subscribe(table, sleep)
}

/// In a linker to which wasmtime-wasi's WASI 0.3 was added before.
pub fn shadow_p3(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut interface = linker.instance(P3)?;
    interface.func_wrap_concurrent("wait-for", |accessor: &Accessor<Guest>, (duration_ns,): (u64,)| {
        Box::pin(async move {
            wait_p3(accessor, |_| duration_ns).await;
            Ok(())
        })
    })?;
    interface.func_wrap_concurrent("wait-until", |accessor: &Accessor<Guest>, (at_ns,): (u64,)| {
        Box::pin(async move {
            wait_p3(accessor, |now_ns| at_ns.saturating_sub(now_ns)).await;
            Ok(())
        })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// `duration_ns` is asked with what the guest's clock shows.
async fn wait_p3(accessor: &Accessor<Guest>, duration_ns: impl FnOnce(u64) -> u64) {
    let (now_ns, clock) = accessor.with(|mut access| {
        let guest = access.get();
        (guest.monotonic_ns(), guest.virtual_clock())
    });
    let duration_ns = duration_ns(now_ns);
    match clock {
        Some(clock) => Sleep::of(clock, duration_ns).sleep().await,
        None if duration_ns > 0 => tokio::time::sleep(Duration::from_nanos(duration_ns)).await,
        None => {}
    }
}
