//! Elastic Load Balancing, version 2: one file per resource, and the table of its operations.
//!
//! What is here is the Application Load Balancer over HTTP. What AWS has and we do not (yet) is refused with a reason that
//! names it, never stored and forgotten.

use std::collections::BTreeMap;

use crate::api::error::{ApiError, ErrorKind};
use crate::api::operation::{Operation, operation};

pub mod attribute;
mod condition;
pub mod listener;
pub mod load_balancer;
mod name;
mod network;
mod page;
mod reference;
pub mod rule;
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
        ("ModifyTargetGroupAttributes", operation(target_group::modify_attributes)),
        ("DescribeTargetGroupAttributes", operation(target_group::describe_attributes)),
        ("CreateListener", operation(listener::create)),
        ("DescribeListeners", operation(listener::describe)),
        ("DeleteListener", operation(listener::delete)),
        ("ModifyListener", operation(listener::modify)),
        ("DescribeTargetHealth", operation(target::describe_health)),
        ("RegisterTargets", operation(target::register)),
        ("DeregisterTargets", operation(target::deregister)),
        ("DescribeLoadBalancerAttributes", operation(load_balancer::describe_attributes)),
        ("ModifyLoadBalancerAttributes", operation(load_balancer::modify_attributes)),
        ("DescribeListenerAttributes", operation(listener::describe_attributes)),
        ("DescribeTags", operation(tag::describe)),
        ("AddTags", operation(tag::add)),
        ("RemoveTags", operation(tag::remove)),
        ("DescribeRules", operation(rule::describe)),
        ("CreateRule", operation(rule::create)),
        ("ModifyRule", operation(rule::modify)),
        ("DeleteRule", operation(rule::delete)),
        ("SetRulePriorities", operation(rule::set_priorities)),
    ])
}

/// What AWS has and this version has not.
fn not_yet(what: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::UnsupportedFeature, format_args!("{what} is not available in Coracle yet."))
}

/// Refuses a member that was given and that nothing here would heed.
fn refuse<T>(given: &Option<T>, member: &str) -> Result<(), ApiError> {
    match given {
        Some(_) => Err(not_yet(member)),
        None => Ok(()),
    }
}
