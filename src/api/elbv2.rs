//! Elastic Load Balancing, version 2: one file per resource, and the table of its operations.
//!
//! What is here are Application and Network Load Balancers. What AWS has and we do not is refused with a reason that names
//! it, never stored and forgotten.

use std::collections::BTreeMap;

use crate::api::error::{ApiError, ErrorKind};
use crate::api::operation::{Operation, operation};

pub mod attribute;
pub mod certificate;
mod condition;
pub mod limits;
pub mod listener;
pub mod load_balancer;
mod name;
mod network;
mod page;
mod reference;
pub mod rule;
pub mod ssl_policy;
pub mod tag;
pub mod target;
pub mod target_group;
mod transform;
#[cfg(test)]
mod tests;

/// Every operation, by the `Action` that names it, in the order of `models/operations.txt`.
pub fn operations() -> BTreeMap<&'static str, Operation> {
    BTreeMap::from([
        ("CreateLoadBalancer", operation(load_balancer::create)),
        ("DescribeLoadBalancers", operation(load_balancer::describe)),
        ("DeleteLoadBalancer", operation(load_balancer::delete)),
        ("CreateTargetGroup", operation(target_group::create)),
        ("DescribeTargetGroups", operation(target_group::describe)),
        ("DeleteTargetGroup", operation(target_group::delete)),
        ("ModifyTargetGroup", operation(target_group::modify)),
        ("ModifyTargetGroupAttributes", operation(target_group::attributes::modify)),
        ("DescribeTargetGroupAttributes", operation(target_group::attributes::describe)),
        ("CreateListener", operation(listener::create)),
        ("DescribeListeners", operation(listener::describe)),
        ("DeleteListener", operation(listener::delete)),
        ("ModifyListener", operation(listener::modify)),
        ("DescribeTargetHealth", operation(target::describe_health)),
        ("RegisterTargets", operation(target::register)),
        ("DeregisterTargets", operation(target::deregister)),
        ("DescribeLoadBalancerAttributes", operation(load_balancer::attributes::describe)),
        ("ModifyLoadBalancerAttributes", operation(load_balancer::attributes::modify)),
        ("DescribeListenerAttributes", operation(listener::attributes::describe)),
        ("DescribeTags", operation(tag::describe)),
        ("AddTags", operation(tag::add)),
        ("RemoveTags", operation(tag::remove)),
        ("DescribeRules", operation(rule::describe)),
        ("CreateRule", operation(rule::create)),
        ("ModifyRule", operation(rule::modify)),
        ("DeleteRule", operation(rule::delete)),
        ("SetRulePriorities", operation(rule::set_priorities)),
        ("ModifyListenerAttributes", operation(listener::attributes::modify)),
        ("AddListenerCertificates", operation(certificate::add)),
        ("RemoveListenerCertificates", operation(certificate::remove)),
        ("DescribeListenerCertificates", operation(certificate::describe)),
        ("DescribeSSLPolicies", operation(ssl_policy::describe)),
        ("DescribeAccountLimits", operation(limits::describe)),
        ("DescribeCapacityReservation", operation(load_balancer::describe_capacity_reservation)),
        ("SetSecurityGroups", operation(load_balancer::set::security_groups)),
        ("SetSubnets", operation(load_balancer::set::subnets)),
        ("SetIpAddressType", operation(load_balancer::set::ip_address_type)),
    ])
}

/// Operations of AWS that will not come, and why.
const REFUSED: &[(&str, &str)] = &[
    ("AddTrustStoreRevocations", NO_TRUST_STORES),
    ("CreateTrustStore", NO_TRUST_STORES),
    ("DeleteSharedTrustStoreAssociation", NO_TRUST_STORES),
    ("DeleteTrustStore", NO_TRUST_STORES),
    ("DescribeTrustStoreAssociations", NO_TRUST_STORES),
    ("DescribeTrustStoreRevocations", NO_TRUST_STORES),
    ("DescribeTrustStores", NO_TRUST_STORES),
    ("GetResourcePolicy", NO_TRUST_STORES),
    ("GetTrustStoreCaCertificatesBundle", NO_TRUST_STORES),
    ("GetTrustStoreRevocationContent", NO_TRUST_STORES),
    ("ModifyCapacityReservation", "a load balancer has what this machine has, and nothing to reserve"),
    ("ModifyIpPools", "addresses here are this machine's own"),
    ("ModifyTrustStore", NO_TRUST_STORES),
    ("RemoveTrustStoreRevocations", NO_TRUST_STORES),
];

const NO_TRUST_STORES: &str = "listeners do not ask for clients' certificates, so there are no trust stores";

/// Why an operation will not come, where it will not.
pub fn refusal(operation: &str) -> Option<ApiError> {
    REFUSED.iter().find(|(name, _)| *name == operation).map(|(name, reason)| never(name, reason))
}

/// What AWS has and this version has not.
fn not_yet(what: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::UnsupportedFeature, format_args!("{what} is not available in Coracle yet."))
}

/// What AWS has and what cannot be here, with the reason.
fn never(what: impl std::fmt::Display, reason: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::UnsupportedFeature, format_args!("{what} is not available in Coracle: {reason}."))
}
