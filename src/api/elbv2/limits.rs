//! What an account may have of each thing. Where a bound is enforced here, it is this one.

use crate::api::context::Context;
use crate::api::elbv2::{certificate, condition, listener, load_balancer, page, rule, target, target_group};
use crate::api::error::ApiError;
use crate::api::wire::elbv2 as wire;
use crate::store::View;

/// Target groups of one forward action of an Application Load Balancer, and of a Network Load Balancer: ELB's own quotas.
const GROUPS_PER_ACTION: usize = 5;
/// Targets of one load balancer that clients and services register together: ELB's own quota.
const TARGETS_PER_LOAD_BALANCER: usize = 1000;
/// Target groups behind one load balancer: ELB's own quota.
const GROUPS_PER_LOAD_BALANCER: usize = 100;

pub fn describe(
    _: &Context,
    _: &mut View,
    input: wire::DescribeAccountLimitsInput,
) -> Result<wire::DescribeAccountLimitsOutput, ApiError> {
    let mut limits = limits();
    limits.sort_unstable();
    let name = |(name, _): &(&str, usize)| String::from(*name);
    let (page, next_marker) = page::page(limits, name, input.marker.as_deref(), input.page_size)?;
    let shown = |(name, max): (&str, usize)| wire::Limit { name: Some(name.to_owned()), max: Some(max.to_string()) };
    Ok(wire::DescribeAccountLimitsOutput { limits: Some(page.into_iter().map(shown).collect()), next_marker })
}

fn limits() -> Vec<(&'static str, usize)> {
    vec![
        ("application-load-balancers", load_balancer::LOAD_BALANCERS_MAX),
        ("certificates-per-application-load-balancer", certificate::CERTIFICATES_MAX),
        ("certificates-per-network-load-balancer", certificate::CERTIFICATES_MAX),
        ("condition-values-per-alb-rule", condition::VALUES_MAX),
        ("condition-wildcards-per-alb-rule", condition::WILDCARDS_MAX),
        ("gateway-load-balancers", 0),
        ("gateway-load-balancers-per-vpc", 0),
        ("geneve-target-groups", 0),
        ("listeners-per-application-load-balancer", listener::LISTENERS_MAX),
        ("listeners-per-network-load-balancer", listener::LISTENERS_MAX),
        ("network-load-balancers", load_balancer::LOAD_BALANCERS_MAX),
        ("rules-per-application-load-balancer", rule::RULES_MAX),
        ("target-groups", target_group::TARGET_GROUPS_MAX),
        ("target-groups-per-action-on-application-load-balancer", GROUPS_PER_ACTION),
        ("target-groups-per-action-on-network-load-balancer", GROUPS_PER_ACTION),
        ("target-groups-per-application-load-balancer", GROUPS_PER_LOAD_BALANCER),
        ("targets-per-application-load-balancer", TARGETS_PER_LOAD_BALANCER),
        ("targets-per-availability-zone-per-gateway-load-balancer", 0),
        ("targets-per-availability-zone-per-network-load-balancer", TARGETS_PER_LOAD_BALANCER),
        ("targets-per-network-load-balancer", TARGETS_PER_LOAD_BALANCER),
        ("targets-per-target-group", target::CLIENT_TARGETS_MAX),
    ]
}
