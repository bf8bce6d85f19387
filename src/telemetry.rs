//! Logs, metrics and usage, as they are written and read. Everything here is bounded: a guest that prints without end
//! loses its own oldest lines, never the node's memory.

pub mod logs;
pub mod usage;

pub use logs::{LogLine, Logs, Stream};
pub use usage::{NoUsage, Usage, UsageSource};
