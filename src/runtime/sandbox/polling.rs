//! `wasi:io/poll` with bounds: waiting for many things at once is the host's work, and only compiled code uses fuel.
//!
//! One call looks at each of its pollables, and wakes look at all of them again. A guest that does nothing but poll tens of
//! thousands held a core for a tenth of a second in one turn (measured); so a call has a most, and one that is not small
//! begins a turn of its own.

use std::future::poll_fn;
use std::task::Poll;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::poll::Host;

use crate::runtime::sandbox::Guest;

/// The version under which wasmtime-wasi 48 defines the interface; guests of every 0.2 resolve to it.
const INTERFACE: &str = "wasi:io/poll@0.2.12";
/// What one call may wait for: both directions of as many sockets as a task may have (2,048), and three times as many timers.
const POLLABLES_MAX: usize = 8192;
/// Calls for more than this go to the end of the queue first. Each pollable costs the host some 0.3 µs.
const POLLABLES_PER_TURN: usize = 64;

/// Replaces the function in a linker to which wasmtime-wasi's WASI 0.2 was added before.
pub fn shadow_p2(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let shadowed = linker.instance(INTERFACE).and_then(|mut interface| {
        interface.func_wrap_async("poll", |store, (pollables,): (Vec<Resource<DynPollable>>,)| {
            Box::new(poll(store, pollables))
        })
    });
    linker.allow_shadowing(false);
    shadowed
}

async fn poll(
    mut store: StoreContextMut<'_, Guest>,
    pollables: Vec<Resource<DynPollable>>,
) -> wasmtime::Result<(Vec<u32>,)> {
    if pollables.len() > POLLABLES_MAX {
        wasmtime::bail!("it waits for {} pollables in one call, and {POLLABLES_MAX} is the most", pollables.len());
    }
    if pollables.len() > POLLABLES_PER_TURN {
        end_turn().await;
    }
    Ok((Host::poll(store.data_mut().table(), pollables).await?,))
}

/// Pending once: as at the end of a slice of fuel, the guest goes to the end of the queue.
async fn end_turn() {
    let mut has_ended = false;
    poll_fn(|cx| {
        if has_ended {
            return Poll::Ready(());
        }
        has_ended = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
