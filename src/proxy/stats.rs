//! What was counted on the data path, read without stopping it: the metrics of a load balancer are made of this.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::model::{Arn, TargetState};
use crate::proxy::group::Group;
use crate::proxy::target::{Target, TargetKey};

#[derive(Clone, Debug, PartialEq)]
pub struct GroupStats {
    pub group: Arn,
    /// `RequestCount`: what listeners forwarded to the group, whether a target took it or not.
    pub requests: u64,
    /// `HTTPCode_ELB_5XX_Count`, of this group.
    pub errors: u64,
    pub targets: Vec<TargetStats>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TargetStats {
    pub target: TargetKey,
    pub health: TargetState,
    pub in_flight: usize,
    pub requests: u64,
    /// `HTTPCode_Target_5XX_Count`.
    pub errors: u64,
    /// `TargetConnectionErrorCount` and whatever else kept it from answering.
    pub failures: u64,
    /// The sum of what `TargetResponseTime` averages.
    pub latency: Duration,
}

impl GroupStats {
    pub(super) fn of(group: &Group) -> GroupStats {
        GroupStats {
            group: group.arn.clone(),
            requests: group.counts.requests.load(Ordering::Relaxed),
            errors: group.counts.errors.load(Ordering::Relaxed),
            targets: group.members.load().all.iter().map(|target| TargetStats::of(target)).collect(),
        }
    }
}

impl TargetStats {
    fn of(target: &Target) -> TargetStats {
        let state = &target.state;
        TargetStats {
            target: state.key.clone(),
            health: if state.is_draining() { TargetState::Draining } else { state.health() },
            in_flight: state.in_flight(),
            requests: state.counts.requests.load(Ordering::Relaxed),
            errors: state.counts.errors.load(Ordering::Relaxed),
            failures: state.counts.failures.load(Ordering::Relaxed),
            latency: Duration::from_nanos(state.counts.latency_ns.load(Ordering::Relaxed)),
        }
    }
}
