//! What guests hold of memory: counted per container and task, bounded, and waited for.
//!
//! [`MemoryMeter`]s count; a [`MemoryLimiter`] in each store asks them before a linear memory or a table grows, and gives
//! everything back when the store goes. Refusing is final: a program that was refused memory ends as if the
//! kernel had ended it, so it is told by a typed error and not by a `-1` that it might mistake for something else.
//! [`Admission`] makes that rare for handlers: a request waits until another instance fits, by what instances were seen to
//! use, so that overload is a queue and not a crash.
//!
//! Counted is what a guest can make grow: linear memories, tables, and what the host holds for its handles
//! (`sandbox::held`). What the host needs for an instance in any case (24 to 70 kB, measured, and a stack of 512 KiB at most
//! where it recurses) is in the node's capacity, not in the task's limit.

mod admission;
mod held_time;
mod limiter;
mod meter;
mod node;

pub use admission::{Admission, AdmissionError, Crowded, Reservation};
pub use limiter::{MAX_INSTANCES, MAX_MEMORIES, MAX_TABLES, MemoryLimiter, Slots};
pub use meter::{Level, MemoryMeter, NodeMeter, NodeShare, OutOfMemory};
pub use node::{MemoryUse, resident};
