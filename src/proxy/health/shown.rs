//! What `DescribeTargetHealth` shows of a target, in ELB's words.

use crate::model::{TargetHealth, TargetState};
use crate::proxy::health::check::Outcome;
use crate::proxy::spec::Unusable;

pub fn initial() -> TargetHealth {
    with_reason(TargetState::Initial, "Elb.InitialHealthChecking", "Initial health checks in progress")
}

pub fn draining() -> TargetHealth {
    let description = "Target deregistration is in progress";
    with_reason(TargetState::Draining, "Target.DeregistrationInProgress", description)
}

pub fn not_in_use() -> TargetHealth {
    let description = "Target group is not configured to receive traffic from the load balancer";
    with_reason(TargetState::Unused, "Target.NotInUse", description)
}

pub fn not_checked() -> TargetHealth {
    let description = "Health checks are not enabled for this target";
    with_reason(TargetState::Unavailable, "Target.HealthCheckDisabled", description)
}

pub fn unusable(why: Unusable) -> TargetHealth {
    let (reason, description) = match why {
        Unusable::Stopped => ("Target.InvalidState", "Target is in the stopped state"),
        Unusable::ReservedAddress => ("Target.IpUnusable", "The IP address is in use by a load balancer"),
    };
    with_reason(TargetState::Unused, reason, description)
}

/// What a check means for a target that is in `state` since. `None` where what was shown stays: while it is new, or on its
/// way back.
pub fn found(state: TargetState, outcome: Outcome, drains: bool) -> Option<TargetHealth> {
    match (state, outcome) {
        (TargetState::Healthy, _) => Some(TargetHealth { state, reason: None, description: None }),
        (TargetState::Unhealthy, Outcome::Failed { reason, description }) => {
            let state = if drains { TargetState::UnhealthyDraining } else { state };
            Some(with_reason(state, reason, &description))
        }
        _ => None,
    }
}

/// The same once the time of its connections is over.
pub fn drained(shown: TargetHealth) -> TargetHealth {
    match shown.state {
        TargetState::UnhealthyDraining => TargetHealth { state: TargetState::Unhealthy, ..shown },
        _ => shown,
    }
}

fn with_reason(state: TargetState, reason: &str, description: &str) -> TargetHealth {
    TargetHealth { state, reason: Some(reason.to_owned()), description: Some(description.to_owned()) }
}
