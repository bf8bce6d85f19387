//! The choice of a target, once for each request: without a lock, and without an allocation.
//!
//! - The rotation remembers the target that was last chosen, not a count: its successor is the next in the order of
//!   registration, whatever came or went meanwhile. So it stays strict when targets change, over one kept-alive
//!   connection, and among concurrent requests, each of which moves the mark with one compare-and-swap.
//! - A target in its slow start takes part in the rotation, and lets turns go by: after half of its time every other one.
//! - Drawing rejects instead of summing weights: a target that was drawn is kept with the probability of its weight. So a
//!   draw costs the same for three targets and for a thousand.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::group::{Group, Members};
use crate::proxy::settings::Algorithm;
use crate::proxy::target::{InFlight, Mark, Target, WEIGHT_FULL};

/// Draws for one request, until the first that is open is taken. Where half of the targets are open, one request in
/// 65,000 comes to that.
const DRAWS_MAX: usize = 16;

impl Group {
    /// The next target, with the request counted in: the one that bears `mark`, where it gets requests. `tried` are the
    /// ordinals of those that already failed this request.
    pub fn enter(&self, mark: Option<Mark>, tried: &[u64]) -> Option<(Arc<Target>, InFlight)> {
        let members = self.members.load();
        if let Some(kept) = mark.and_then(|mark| members.marked(mark)).filter(|target| is_open(target, tried))
            && let Some(entered) = kept.state.enter()
        {
            return Some((Arc::clone(kept), entered));
        }
        loop {
            let target = match members.settings.algorithm {
                Algorithm::RoundRobin => {
                    self.take_turn(&members, tried, RoundRobin::new(members.settings.slow_start))?
                }
                Algorithm::LeastOutstandingRequests => self.take_turn(&members, tried, LeastOutstanding)?,
                Algorithm::WeightedRandom => self.draw(&members, tried)?,
            };
            // If it began to drain just now, the next turn passes it over; so this ends.
            if let Some(entered) = target.state.enter() {
                return Some((Arc::clone(target), entered));
            }
        }
    }

    fn take_turn<'a>(&self, members: &'a Members, tried: &[u64], order: impl Order) -> Option<&'a Arc<Target>> {
        let serving = &members.serving;
        let mut last = self.turn.load(Ordering::Acquire);
        loop {
            let after = serving.partition_point(|target| target.state.ordinal <= last);
            let in_turn = serving[after..].iter().chain(&serving[..after]);
            let chosen = order.choose(in_turn.filter(|target| is_open(target, tried)))?;
            let mark = chosen.state.ordinal;
            match self.turn.compare_exchange_weak(last, mark, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(chosen),
                Err(newer) => last = newer,
            }
        }
    }

    fn draw<'a>(&self, members: &'a Members, tried: &[u64]) -> Option<&'a Arc<Target>> {
        let serving = &members.serving;
        let mut at = 0;
        for _ in 0..DRAWS_MAX {
            let bits = scatter(self.turn.fetch_add(1, Ordering::Relaxed));
            at = below(bits >> 32, serving.len());
            let target = serving.get(at)?;
            let is_kept =
                !members.settings.mitigates_anomalies || below(bits & LOW, WEIGHT_FULL) < target.state.weight();
            if is_kept && is_open(target, tried) {
                return Some(target);
            }
        }
        serving[at..].iter().chain(&serving[..at]).find(|target| is_open(target, tried))
    }
}

impl Members {
    fn marked(&self, mark: Mark) -> Option<&Arc<Target>> {
        self.serving.get(*self.by_mark.get(&mark)?)
    }
}

fn is_open(target: &Target, tried: &[u64]) -> bool {
    !tried.contains(&target.state.ordinal) && !target.state.is_draining()
}

/// Chooses among targets that come in the order of their turns.
trait Order {
    fn choose<'a>(&self, in_turn: impl Iterator<Item = &'a Arc<Target>>) -> Option<&'a Arc<Target>>;
}

struct RoundRobin {
    slow_start: Option<(Duration, Instant)>,
}

impl RoundRobin {
    fn new(slow_start: Option<Duration>) -> RoundRobin {
        RoundRobin { slow_start: slow_start.map(|duration| (duration, Instant::now())) }
    }
}

impl Order for RoundRobin {
    fn choose<'a>(&self, mut in_turn: impl Iterator<Item = &'a Arc<Target>>) -> Option<&'a Arc<Target>> {
        let Some((duration, now)) = self.slow_start else { return in_turn.next() };
        let mut first = None;
        let taken = in_turn.find(|target| {
            first.get_or_insert(*target);
            target.state.takes_turn(duration, now)
        });
        taken.or(first)
    }
}

struct LeastOutstanding;

impl Order for LeastOutstanding {
    /// Among equals the one whose turn it is.
    fn choose<'a>(&self, in_turn: impl Iterator<Item = &'a Arc<Target>>) -> Option<&'a Arc<Target>> {
        in_turn.min_by_key(|target| target.state.in_flight())
    }
}

/// The lower half of the bits of a draw.
const LOW: u64 = 0xffff_ffff;

/// Maps 32 random bits to a number below `count`.
fn below(bits: u64, count: usize) -> usize {
    usize::try_from((u128::from(bits) * count as u128) >> 32).unwrap_or(0)
}

/// SplitMix64: turns a count into bits that look random. Nothing depends on their being unpredictable.
pub fn scatter(count: u64) -> u64 {
    let mut bits = count.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
