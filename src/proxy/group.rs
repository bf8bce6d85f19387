//! A target group: whose turn it is.
//!
//! The rotation remembers the target that was last chosen, not a count: its successor is the next in the order of
//! registration, whatever came or went meanwhile. So it stays strict when targets change, over one kept-alive
//! connection, and among concurrent requests, each of which moves the mark with one compare-and-swap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::model::{Arn, TargetGroup, TargetState};
use crate::proxy::settings::{Algorithm, GroupSettings};
use crate::proxy::target::{InFlight, Target};

/// Kept from one snapshot of the routes to the next; only `members` changes.
pub struct Group {
    pub arn: Arn,
    pub members: ArcSwap<Members>,
    /// The ordinal of the target that was chosen last; ordinals begin at 1.
    turn: AtomicU64,
    pub counts: GroupCounts,
}

/// What the proxy answered in the stead of the group's targets.
#[derive(Default)]
pub struct GroupCounts {
    pub requests: AtomicU64,
    /// Responses of 500 and above that are ours: no target, a failed one, a time-out.
    pub errors: AtomicU64,
}

/// The group's settings and targets at one moment; never changed in place.
pub struct Members {
    pub record: Arc<TargetGroup>,
    pub settings: Arc<GroupSettings>,
    /// Whether a listener forwards to this group: targets of an unused one are not checked.
    pub is_used: bool,
    /// Every registered target, in the order of their ordinals.
    pub all: Vec<Arc<Target>>,
    /// Those that get requests, in the same order.
    serving: Vec<Arc<Target>>,
}

impl Members {
    pub fn new(
        record: Arc<TargetGroup>,
        settings: Arc<GroupSettings>,
        is_used: bool,
        all: Vec<Arc<Target>>,
    ) -> Members {
        let serving = serving(&all);
        Members { record, settings, is_used, all, serving }
    }

    /// The same targets, sorted anew by what is known of their health.
    pub fn refreshed(&self) -> Members {
        Members::new(Arc::clone(&self.record), Arc::clone(&self.settings), self.is_used, self.all.clone())
    }
}

/// The healthy targets; while there is none, all that do not drain. ELB fails open in the same way: a wrong health
/// check must not take a whole service away. Targets still in `initial` count as not healthy, there as here.
fn serving(all: &[Arc<Target>]) -> Vec<Arc<Target>> {
    let open = || all.iter().filter(|target| !target.state.is_draining());
    let healthy: Vec<_> = open().filter(|target| target.state.health() == TargetState::Healthy).cloned().collect();
    if healthy.is_empty() { open().cloned().collect() } else { healthy }
}

impl Group {
    pub fn new(arn: Arn, members: Members) -> Group {
        Group { arn, members: ArcSwap::from_pointee(members), turn: AtomicU64::new(0), counts: GroupCounts::default() }
    }

    /// The next target, with the request counted in. `tried` are the ordinals of those that already failed it.
    pub fn enter(&self, tried: &[u64]) -> Option<(Arc<Target>, InFlight)> {
        loop {
            let members = self.members.load();
            let target = self.choose(&members, tried)?;
            // If it began to drain just now, the next turn passes it over; so this ends.
            if let Some(entered) = target.state.enter() {
                return Some((target, entered));
            }
        }
    }

    fn choose(&self, members: &Members, tried: &[u64]) -> Option<Arc<Target>> {
        let serving = &members.serving;
        let mut last = self.turn.load(Ordering::Acquire);
        loop {
            let after = serving.partition_point(|target| target.state.ordinal <= last);
            let in_turn = serving[after..].iter().chain(&serving[..after]);
            let mut open =
                in_turn.filter(|target| !tried.contains(&target.state.ordinal) && !target.state.is_draining());
            let chosen = match members.settings.algorithm {
                Algorithm::RoundRobin => open.next()?,
                // Among equals the one whose turn it is.
                Algorithm::LeastOutstandingRequests => open.min_by_key(|target| target.state.in_flight())?,
                Algorithm::WeightedRandom => {
                    let open: Vec<_> = open.collect();
                    let index = scatter(last) % u64::try_from(open.len()).ok().filter(|count| *count > 0)?;
                    open[usize::try_from(index).ok()?]
                }
            };
            let mark = match members.settings.algorithm {
                // Here the mark is only a count, the seed of the next choice.
                Algorithm::WeightedRandom => last.wrapping_add(1),
                Algorithm::RoundRobin | Algorithm::LeastOutstandingRequests => chosen.state.ordinal,
            };
            match self.turn.compare_exchange_weak(last, mark, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(Arc::clone(chosen)),
                Err(newer) => last = newer,
            }
        }
    }
}

/// SplitMix64: turns a count into bits that look random. Nothing depends on their being unpredictable.
pub fn scatter(count: u64) -> u64 {
    let mut bits = count.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
