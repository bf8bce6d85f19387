//! What runs in a container: programs, which run on the guest threads from the beginning, and handlers, whose requests
//! begin on the thread that read them and come here when they take longer.

pub mod export;
pub mod handler;
pub mod http;
pub mod instance;
pub mod listen;
pub mod program;

use std::io;

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::model::exit::Trap;
use crate::runtime::cpu::this_thread_is_for_guests;
use crate::runtime::sandbox::Sandbox;
use crate::runtime::spec::Stream;

/// Guests come after everything that serves them: so much nicer than the server's own threads, a neighbour's p99 beside spinning guests was 0.8 ms,
/// and 1.7 ms without (measured); at 19 its worst case grew to 10 ms.
const GUEST_NICE: i32 = 10;
/// Linux's nicest.
const NICE_MAX: i32 = 19;
/// A poll of a guest takes up to half a millisecond, so the threads look at sockets and timers after each one: with
/// tokio's default of 61 a guest that waits for a socket would wait for 17 ms beside one that spins.
const EVENT_INTERVAL: u32 = 1;
const GLOBAL_QUEUE_INTERVAL: u32 = 2;

/// The threads that guests run on: as many as there are cores for guests, below the priority of everything else.
pub struct GuestThreads {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl GuestThreads {
    pub fn start(cores: u32) -> io::Result<GuestThreads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.max(1) as usize)
            .thread_name("guest")
            .event_interval(EVENT_INTERVAL)
            .global_queue_interval(GLOBAL_QUEUE_INTERVAL)
            .on_thread_start(|| {
                // On Linux the priority is the thread's own. Without it guests still run, only less politely.
                let own = getpriority_process(Some(gettid())).unwrap_or(0);
                if let Err(error) = setpriority_process(Some(gettid()), (own + GUEST_NICE).min(NICE_MAX)) {
                    tracing::warn!(%error, "cannot lower the priority of a guest thread");
                }
                this_thread_is_for_guests();
            })
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(GuestThreads { runtime: Some(runtime), handle })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        // Guests yield at every slice, so the threads end by themselves; waiting for them here could block an async thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Lines of a trap's report in the container's log: the cause and the innermost frames.
const TRAP_LINES_MAX: usize = 40;

/// Writes a trap, with its backtrace of wasm frames, where the guest's own words are.
pub fn log_trap(sandbox: &Sandbox, trap: &Trap, error: &wasmtime::Error) {
    let report = format!("{error:?}");
    let lines = std::iter::once(trap.message.as_str()).chain(report.lines().filter(|line| !line.trim().is_empty()));
    for line in lines.take(TRAP_LINES_MAX) {
        sandbox.log.write(Stream::Stderr, line);
    }
}
