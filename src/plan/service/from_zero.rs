//! Scale from zero: a service that is asked for gets its first task. Scaling back to zero is its owner's decision.

use crate::model::service::SchedulingStrategy;
use crate::model::{Service, ServiceStatus};
use crate::plan::Plan;
use crate::plan::service::{Action, events};

/// A tag of a service, with the value `true`.
pub const TAG: &str = "coracle.scale-from-zero";

/// Whether requests may wait for the first task of this service.
pub fn scales_from_zero(service: &Service) -> bool {
    service.status == ServiceStatus::Active
        && service.scheduling_strategy == SchedulingStrategy::Replica
        && service.tags.iter().any(|tag| tag.key == TAG && tag.value.as_deref() == Some("true"))
}

/// What to do for a service at one of whose target groups requests wait.
pub fn plan_from_zero(service: &Service, target_group_arn: &str) -> Plan<Action> {
    let mut plan = Plan::default();
    if service.desired_count == 0 && scales_from_zero(service) {
        plan.actions.push(Action::SetDesiredCount(1));
        plan.actions.push(events::record(service, events::scaled_from_zero(target_group_arn)));
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tag;
    use crate::plan::service::tests::scene::service;

    #[test]
    fn only_a_tagged_service_at_zero_is_raised() {
        let tagged = |desired, value: &str| {
            let mut service = service(desired);
            service.tags = vec![Tag { key: TAG.into(), value: Some(value.into()) }];
            service
        };
        assert!(plan_from_zero(&service(0), "arn").is_empty());
        assert!(plan_from_zero(&tagged(0, "false"), "arn").is_empty());
        let mut raised = tagged(0, "true");
        let plan = plan_from_zero(&raised, "arn");
        assert_eq!(plan.actions[0], Action::SetDesiredCount(1));
        assert!(matches!(&plan.actions[1], Action::Record { message } if message.contains("(target-group arn)")));
        // Planned again on what came of it, there is nothing to do.
        raised.desired_count = 1;
        assert!(plan_from_zero(&raised, "arn").is_empty());
        raised.desired_count = 0;
        raised.status = ServiceStatus::Draining;
        assert!(plan_from_zero(&raised, "arn").is_empty());
    }
}
