//! Randomness and clocks of a guest that is to run the same way every time.
//!
//! Random bytes come from a fixed seed. Time is what the guest itself has done: one nanosecond for each unit of fuel, so a loop
//! that waits for the clock ends, after the same number of turns each time. A sleep takes real time as well, and then moves
//! the clock on to its end (WASI 0.2 and 0.3).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// Where virtual time begins: 2000-01-01 00:00:00 UTC, a date that certificates and libraries take for plausible.
const EPOCH: Duration = Duration::from_secs(946_684_800);
/// Random bytes before they begin again. A prime, so that draws of any other size begin at another place each time.
const RANDOM_BYTES: usize = 65_521;
/// The first of `SplitMix64`'s states. Any will do; it may never change, or what runs the same way every time would not.
const SEED: u64 = 0x0C0A_AC1E_0C0A_AC1E;

/// The time of one guest.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    pub fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// So much was done.
    pub fn advance(&self, ns: u64) {
        self.0.fetch_add(ns, Ordering::Relaxed);
    }

    /// So long was slept.
    pub fn advance_to(&self, ns: u64) {
        self.0.fetch_max(ns, Ordering::Relaxed);
    }
}

impl HostMonotonicClock for VirtualClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.now_ns()
    }
}

impl HostWallClock for VirtualClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        EPOCH + Duration::from_nanos(self.now_ns())
    }
}

/// Gives the guest its clock and its random numbers.
pub fn configure(builder: &mut WasiCtxBuilder, clock: &VirtualClock) {
    let bytes = random_bytes();
    builder
        .wall_clock(clock.clone())
        .monotonic_clock(clock.clone())
        .secure_random(Deterministic::new(bytes.clone()))
        .insecure_random(Deterministic::new(bytes))
        .insecure_random_seed((u128::from(SEED) << 64) | u128::from(SEED));
}

/// `SplitMix64` from the seed.
fn random_bytes() -> Vec<u8> {
    let mut state = SEED;
    let words = std::iter::from_fn(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some((z ^ (z >> 31)).to_le_bytes())
    });
    words.flatten().take(RANDOM_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn random_bytes_are_the_same_and_do_not_repeat_soon() {
        let bytes = random_bytes();
        assert_eq!(bytes, random_bytes());
        assert_eq!(bytes[..4], [0xdb, 0xf1, 0x18, 0x43]);
        let ids: HashSet<Vec<u8>> =
            (0..RANDOM_BYTES).map(|n| (0..16).map(|at| bytes[(n * 16 + at) % RANDOM_BYTES]).collect()).collect();
        assert_eq!(ids.len(), RANDOM_BYTES);
    }

    #[test]
    fn time_is_what_was_done_and_slept() {
        let clock = VirtualClock::default();
        clock.advance(5);
        clock.advance_to(1_000_000_000);
        clock.advance_to(7);
        assert_eq!(HostMonotonicClock::now(&clock), 1_000_000_000);
        assert_eq!(HostWallClock::now(&clock).as_secs(), 946_684_801);
    }
}
