//! The two clocks that metering reads, behind a trait so that tests can move them.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

pub trait Clock: Send + Sync + 'static {
    /// Time that passes for everybody; from any beginning, never back.
    fn now_ns(&self) -> u64;
    /// CPU time of the calling thread.
    fn thread_cpu_ns(&self) -> u64;
}

pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        // 584 years.
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn thread_cpu_ns(&self) -> u64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
    }
}
