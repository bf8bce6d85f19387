//! A target group: whose turn it is.
//!
//! Kept from one snapshot of the routes to the next are the place of the rotation and what is counted; the settings and
//! the targets are replaced as a whole, in one piece, so a request sees one moment of them and takes no lock.

mod choice;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::{Arn, TargetGroup, TargetState};
use crate::proxy::hold::Wanted;
use crate::proxy::settings::GroupSettings;
use crate::proxy::stats::{Codes, Latency};
use crate::proxy::target::{Mark, Target};

pub use choice::scatter;

/// Kept from one snapshot of the routes to the next; only `members` changes.
pub struct Group {
    pub arn: Arn,
    pub members: ArcSwap<Members>,
    /// The ordinal of the target that was chosen last, where they take turns; ordinals begin at 1. Where targets are drawn
    /// it counts the draws.
    turn: AtomicU64,
    pub counts: GroupCounts,
    /// Wakes requests that wait for a target, whenever the members change.
    pub replaced: Notify,
    /// Where they say that they wait.
    pub wanted: Arc<Wanted>,
}

/// What was forwarded to the group, and what came of it.
#[derive(Default)]
pub struct GroupCounts {
    pub requests: AtomicU64,
    /// Of its targets.
    pub codes: Codes,
    pub response_time: Latency,
    pub connection_errors: AtomicU64,
    pub tls_errors: AtomicU64,
    /// Responses of 500 and above that are ours: no target, a failed one, a time-out.
    pub errors: AtomicU64,
}

/// The group's settings and targets at one moment; never changed in place.
pub struct Members {
    pub record: Arc<TargetGroup>,
    pub settings: Arc<GroupSettings>,
    /// Whether a listener forwards to this group: targets of an unused one are not checked.
    pub is_used: bool,
    /// Whether a service will start a task for a request that finds no target.
    pub scales_from_zero: bool,
    /// Requests wait: such a service has no target yet of which more is known than that it is new.
    pub holds: bool,
    /// Every registered target, in the order of their ordinals.
    pub all: Vec<Arc<Target>>,
    /// Those that get requests, in the same order.
    serving: Vec<Arc<Target>>,
    /// Of those in `serving`, where clients stay with their target.
    by_mark: HashMap<Mark, usize>,
}

impl Members {
    pub fn new(
        record: Arc<TargetGroup>,
        settings: Arc<GroupSettings>,
        is_used: bool,
        all: Vec<Arc<Target>>,
    ) -> Members {
        let serving = serving(&all, &settings);
        let by_mark = match settings.stickiness {
            Some(_) => serving.iter().enumerate().map(|(at, target)| (target.state.mark, at)).collect(),
            None => HashMap::new(),
        };
        Members { record, settings, is_used, scales_from_zero: false, holds: false, all, serving, by_mark }
    }

    pub fn scaling_from_zero(mut self, scales_from_zero: bool) -> Members {
        let is_known = |target: &&Arc<Target>| target.state.health() != TargetState::Initial;
        self.scales_from_zero = scales_from_zero;
        self.holds = scales_from_zero && !open(&self.all).any(|target| is_known(&target));
        self
    }

    /// The same targets, sorted anew by what is known of their health.
    pub fn refreshed(&self) -> Members {
        let (record, settings) = (Arc::clone(&self.record), Arc::clone(&self.settings));
        Members::new(record, settings, self.is_used, self.all.clone()).scaling_from_zero(self.scales_from_zero)
    }

    /// Whether another target than this takes its full share: only then one that becomes healthy can begin slowly. The
    /// first targets of a group have nobody to leave requests to.
    pub fn has_full_share(&self, beside: &Target, now: Instant) -> bool {
        let Some(duration) = self.settings.slow_start else { return false };
        let mut others = self.healthy().filter(|other| other.state.ordinal != beside.state.ordinal);
        others.any(|other| other.state.slow_share(duration, now).is_none())
    }

    /// Healthy targets that do not drain.
    pub fn healthy(&self) -> impl Iterator<Item = &Arc<Target>> {
        open(&self.all).filter(|target| target.state.health() == TargetState::Healthy)
    }
}

/// The healthy targets; while there are fewer than the group's minimum, all that do not drain. ELB fails open in the same
/// way: a wrong health check must not take a whole service away. Targets still in `initial` count as not healthy, there as
/// here.
fn serving(all: &[Arc<Target>], settings: &GroupSettings) -> Vec<Arc<Target>> {
    let open: Vec<&Arc<Target>> = open(all).collect();
    let is_healthy = |target: &&&Arc<Target>| target.state.health() == TargetState::Healthy;
    let healthy = open.iter().filter(is_healthy).count();
    if settings.minimum_healthy.is_met(healthy, open.len()) {
        open.iter().filter(is_healthy).map(|target| Arc::clone(target)).collect()
    } else {
        open.into_iter().cloned().collect()
    }
}

/// Those that may get requests at all.
fn open(all: &[Arc<Target>]) -> impl Iterator<Item = &Arc<Target>> {
    all.iter().filter(|target| !target.state.is_draining() && target.unusable.is_none())
}

impl Group {
    pub fn new(arn: Arn, members: Members) -> Group {
        Group {
            arn,
            members: ArcSwap::from_pointee(members),
            turn: AtomicU64::new(0),
            counts: GroupCounts::default(),
            replaced: Notify::new(),
            wanted: Arc::default(),
        }
    }

    /// Says in `wanted` when requests wait.
    pub fn waiting_in(mut self, wanted: Arc<Wanted>) -> Group {
        self.wanted = wanted;
        self
    }

    pub fn replace(&self, members: Members) {
        self.members.store(Arc::new(members));
        self.replaced.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
