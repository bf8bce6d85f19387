//! A histogram of durations that any number of threads count into without a lock.
//!
//! Buckets grow with what they hold: eight for each doubling, from a microsecond to over an hour. So a quantile is wrong
//! by at most an eighth, whether the target answers from memory or thinks for a minute, and a thousand targets' worth of
//! histograms fit into two megabytes. The sum is kept apart, and exact.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Each doubling is cut into 2^3 buckets: a value is known to an eighth of itself.
const CUT_BITS: u32 = 3;
const CUTS: usize = 1 << CUT_BITS;
/// What is faster than 2^10 ns, about a microsecond, is not told apart: a clock read twice costs a tenth of it.
const FLOOR_BITS: u32 = 10;
/// 2^42 ns are 73 minutes: `idle_timeout.timeout_seconds` ends at 4,000 s.
const CEILING_BITS: u32 = 42;
const BUCKETS: usize = 1 + (CEILING_BITS - FLOOR_BITS) as usize * CUTS;

pub struct Latency {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum_ns: AtomicU64::new(0) }
    }
}

/// A histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyStats {
    pub count: u64,
    pub sum: Duration,
    /// Of each bucket that is not empty, in order: the upper bound, which belongs to it, and how many are in it.
    pub buckets: Vec<(Duration, u64)>,
}

impl Latency {
    pub fn record(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(ns)].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub fn read(&self) -> LatencyStats {
        let mut stats =
            LatencyStats { sum: Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)), ..LatencyStats::default() };
        for (index, bucket) in self.buckets.iter().enumerate() {
            let count = bucket.load(Ordering::Relaxed);
            if count > 0 {
                stats.count += count;
                stats.buckets.push((Duration::from_nanos(upper_ns(index)), count));
            }
        }
        stats
    }
}

impl LatencyStats {
    /// The duration that `fraction` of all do not exceed, to an eighth above; `None` as long as there is none.
    pub fn quantile(&self, fraction: f64) -> Option<Duration> {
        // The rank is at most `count`, which is far below what a float counts exactly.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = ((self.count as f64 * fraction.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        self.buckets.iter().find_map(|(upper, count)| {
            seen += count;
            (seen >= rank).then_some(*upper)
        })
    }

    /// How many took at most `bound`, exactly where `bound` is a bucket's own.
    pub fn count_within(&self, bound: Duration) -> u64 {
        self.buckets.iter().take_while(|(upper, _)| *upper <= bound).map(|(_, count)| count).sum()
    }
}

fn bucket(ns: u64) -> usize {
    if ns < 1 << FLOOR_BITS {
        return 0;
    }
    let exponent = ns.ilog2();
    if exponent >= CEILING_BITS {
        return BUCKETS - 1;
    }
    // The bits that follow the highest one.
    let cut = usize::try_from(ns >> (exponent - CUT_BITS)).unwrap_or(0) & (CUTS - 1);
    1 + usize::try_from(exponent - FLOOR_BITS).unwrap_or(0) * CUTS + cut
}

/// The largest value of a bucket.
fn upper_ns(index: usize) -> u64 {
    let Some(above) = index.checked_sub(1) else { return (1 << FLOOR_BITS) - 1 };
    let (doubling, cut) = (above / CUTS, above % CUTS);
    let base = 1u64 << (u64::try_from(doubling).unwrap_or(0) + u64::from(FLOOR_BITS));
    base + (base >> CUT_BITS) * (u64::try_from(cut).unwrap_or(0) + 1) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_bucket_ends_where_the_next_begins() {
        for index in 0..BUCKETS {
            assert_eq!(bucket(upper_ns(index)), index);
            if index + 1 < BUCKETS {
                assert_eq!(bucket(upper_ns(index) + 1), index + 1);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Latency::default().read().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_right_to_an_eighth(
            mut values in prop::collection::vec(1_024u64..1 << 41, 1..300),
            fraction in 0.0..=1.0f64,
        ) {
            let latency = Latency::default();
            for value in &values {
                latency.record(Duration::from_nanos(*value));
            }
            values.sort_unstable();
            let rank = ((values.len() as f64 * fraction).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let stats = latency.read();
            let found = stats.quantile(fraction).unwrap().as_nanos() as u64;
            prop_assert!(found >= exact && found - exact <= exact / 8, "{found} for {exact}");
            prop_assert_eq!(stats.count, values.len() as u64);
            prop_assert_eq!(stats.sum, Duration::from_nanos(values.iter().sum()));
        }
    }
}
