//! Memory over time: what was held, times how long, without a lock and without a sampling thread.
//!
//! The integral of a step function is `held_now × now − Σ change × time of the change`, so each change adds one product to
//! a sum. The sum may wrap: only the integral itself must fit, which in KiB × milliseconds it does for a terabyte over
//! five centuries. A step is cut to milliseconds at both ends alike, so that short ones are right on average.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const KIB: u64 = 1 << 10;
const KIB_MS_PER_GB_SECOND: f64 = (1u64 << 20) as f64 * 1e3;

#[derive(Debug)]
pub struct HeldTime {
    begun: Instant,
    /// `Σ change × time of the change`, modulo 2^64.
    weighted: AtomicU64,
}

impl HeldTime {
    pub fn begin() -> HeldTime {
        HeldTime { begun: Instant::now(), weighted: AtomicU64::new(0) }
    }

    /// What is held has changed.
    pub fn change(&self, before_bytes: u64, after_bytes: u64) {
        // Most changes of a handler's request are of some KiB; what is smaller than one is nothing.
        if before_bytes / KIB != after_bytes / KIB {
            self.change_at(self.now_ms(), before_bytes, after_bytes);
        }
    }

    /// GB-seconds until now, a GB being 1024 MiB.
    pub fn gb_seconds(&self, held_bytes: u64) -> f64 {
        self.gb_seconds_at(self.now_ms(), held_bytes)
    }

    fn change_at(&self, now_ms: u64, before_bytes: u64, after_bytes: u64) {
        let change = (after_bytes / KIB).wrapping_sub(before_bytes / KIB);
        self.weighted.fetch_add(change.wrapping_mul(now_ms), Ordering::Relaxed);
    }

    fn gb_seconds_at(&self, now_ms: u64, held_bytes: u64) -> f64 {
        let area = (held_bytes / KIB).wrapping_mul(now_ms).wrapping_sub(self.weighted.load(Ordering::Relaxed));
        // A change that another thread is making right now may put it just below zero.
        area.cast_signed().max(0) as f64 / KIB_MS_PER_GB_SECOND
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn each_step_counts_for_as_long_as_it_was_held() {
        let time = HeldTime::begin();
        time.change_at(1_000, 0, 2 * GIB);
        assert_eq!(time.gb_seconds_at(1_000, 2 * GIB), 0.0);
        assert_eq!(time.gb_seconds_at(3_000, 2 * GIB), 4.0);
        time.change_at(4_000, 2 * GIB, GIB / 2);
        time.change_at(8_000, GIB / 2, 0);
        assert_eq!(time.gb_seconds_at(900_000, 0), 8.0);
    }

    #[test]
    fn a_sum_that_wraps_on_the_way_comes_back() {
        let time = HeldTime::begin();
        let century_ms = 100 * 365 * 24 * 3_600_000;
        for _ in 0..64 {
            time.change_at(century_ms, 0, 512 * GIB);
            time.change_at(century_ms + 1_000, 512 * GIB, 0);
        }
        assert_eq!(time.gb_seconds_at(2 * century_ms, 0), 64.0 * 512.0);
    }
}
