//! The cap of a task: a token bucket that fills with the task's share of wall time and is emptied by the CPU time that
//! the task used.
//!
//! What a poll costs is known only afterwards, so the balance may go below zero; the task then waits until the debt is
//! paid and a little more is there, or it would be woken for every microsecond it earns.

use crate::model::size::UNITS_PER_CORE;

/// A task that did nothing may run this much wall time at more than its share. Ten milliseconds are 0.2 % of the five
/// seconds over which shares are judged, and cover ten rounds of a timer that counts in milliseconds.
const BURST_NS: u64 = 10_000_000;
/// Even the smallest bucket holds the usual poll (a million units of fuel take 0.1 to 0.45 ms).
const SLICE_NS: u64 = 500_000;
/// A throttled task goes on when it may run for its share of this: fewer wake-ups (1,000 a second at most), and still
/// a tenth of the burst, so that a timer that is late by some milliseconds loses nothing.
const RESUME_NS: u64 = 1_000_000;

/// Amounts are nanoseconds × [`UNITS_PER_CORE`], so that refilling at units/1024 of a core rounds nothing off.
const SCALE: i128 = UNITS_PER_CORE as i128;

#[derive(Debug)]
pub struct Bucket {
    units: i128,
    balance: i128,
    refilled_at_ns: u64,
}

impl Bucket {
    /// A full bucket of `units`/1024 cores.
    pub fn new(units: u32, now_ns: u64) -> Self {
        let units = i128::from(units.max(1));
        Self { units, balance: Self::burst(units), refilled_at_ns: now_ns }
    }

    /// Takes what was used; where that is more than there was, the time when the task may go on.
    pub fn charge(&mut self, now_ns: u64, cpu_ns: u64) -> Option<u64> {
        self.refill(now_ns);
        self.balance -= i128::from(cpu_ns) * SCALE;
        if self.balance >= 0 {
            return None;
        }
        let missing = self.units * i128::from(RESUME_NS) - self.balance;
        let wait_ns = (missing + self.units - 1) / self.units;
        Some(now_ns.saturating_add(u64::try_from(wait_ns).unwrap_or(u64::MAX)))
    }

    fn refill(&mut self, now_ns: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.refilled_at_ns);
        self.balance = (self.balance + i128::from(elapsed_ns) * self.units).min(Self::burst(self.units));
        self.refilled_at_ns = self.refilled_at_ns.max(now_ns);
    }

    fn burst(units: i128) -> i128 {
        (units * i128::from(BURST_NS)).max(SCALE * i128::from(SLICE_NS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_a_core_pays_a_debt_in_four_times_its_length() {
        let mut bucket = Bucket::new(256, 0);
        // 2.5 ms are the burst.
        assert_eq!(bucket.charge(0, 2_500_000), None);
        // 1 ms of debt takes 4 ms, and 0.25 ms to go on with another one.
        assert_eq!(bucket.charge(0, 1_000_000), Some(5_000_000));
        assert_eq!(bucket.charge(5_000_000, 250_000), None);
        assert_eq!(bucket.charge(5_000_000, 1), Some(6_000_004));
    }

    #[test]
    fn saves_up_no_more_than_the_burst() {
        let mut bucket = Bucket::new(2048, 0);
        assert_eq!(bucket.charge(3_600_000_000_000, 20_000_000), None);
        assert!(bucket.charge(3_600_000_000_000, 1).is_some());
    }

    #[test]
    fn the_smallest_bucket_holds_a_slice() {
        assert_eq!(Bucket::new(1, 0).charge(0, SLICE_NS), None);
    }
}
