//! Shares the processor among guests: a weighted fair queue with caps, over the CPU time that threads really used.
//!
//! [`Scheduler`] is a pure structure: it has no clock, no thread and no guest, so that a simulation can run hours of
//! contention in a moment. [`CpuScheduler`] puts it behind a lock and beside one timer; [`Metered`] owns a guest's
//! future, polls it only while it has a permit, and charges what the poll cost.
//!
//! Fuel plays no part in who runs. It only ends polls, so that there is something to decide; what a guest pays is
//! the CPU time of the thread that polled it, host calls included.

mod bucket;
mod metered;
mod scheduler;
mod slab;

pub use metered::{Clock, ContainerCpu, CpuScheduler, Metered, SystemClock, TaskCpu, this_thread_is_for_guests};
pub use scheduler::{ContainerKey, CpuUsage, Decision, Scheduler, TaskKey, TaskShare, WaiterId};
