//! How clients refer to resources: by ARN. What is no ARN of the kind is told apart from what does not exist.

use std::sync::Arc;

use crate::api::context::Context;
use crate::api::error::{ApiError, ErrorKind};
use crate::model::arn::ArnParts;
use crate::model::{Listener, LoadBalancer, TargetGroup};
use crate::store::{Key, View};

pub fn load_balancer(cx: &Context, view: &View, arn: Option<&str>) -> Result<Arc<LoadBalancer>, ApiError> {
    let arn = given(arn, "load balancer")?;
    let [_, name, _] = path(arn, "loadbalancer", "load balancer")?;
    let found = view.get::<LoadBalancer>(&Key::load_balancer(&cx.scope, name));
    found.filter(|found| found.arn().as_str() == arn).ok_or_else(load_balancer_not_found)
}

pub fn target_group(cx: &Context, view: &View, arn: Option<&str>) -> Result<Arc<TargetGroup>, ApiError> {
    let arn = given(arn, "target group")?;
    let [name, _] = path(arn, "targetgroup", "target group")?;
    let found = view.get::<TargetGroup>(&Key::target_group(&cx.scope, name));
    // Another account's or region's, or one that had the name before, is not this one.
    found.filter(|found| found.arn().as_str() == arn).ok_or_else(target_group_not_found)
}

pub fn listener(cx: &Context, view: &View, arn: Option<&str>) -> Result<Arc<Listener>, ApiError> {
    let arn = given(arn, "listener")?;
    let [_, load_balancer, _, id] = path(arn, "listener", "listener")?;
    let found = view.get::<Listener>(&Key::listener(&cx.scope, load_balancer, id));
    found.filter(|found| found.arn().as_str() == arn).ok_or_else(listener_not_found)
}

/// The listener of a rule, and the rule's id.
pub fn listener_of_rule<'a>(cx: &Context, view: &View, arn: &'a str) -> Result<(Arc<Listener>, &'a str), ApiError> {
    let [_, load_balancer, load_balancer_id, id, rule] = path(arn, "listener-rule", "listener rule")?;
    let found = view.get::<Listener>(&Key::listener(&cx.scope, load_balancer, id));
    let found = found.filter(|found| found.load_balancer_id == load_balancer_id);
    found.map(|found| (found, rule)).ok_or_else(rule_not_found)
}

fn given<'a>(arn: Option<&'a str>, what: &str) -> Result<&'a str, ApiError> {
    arn.ok_or_else(|| ApiError::validation(format_args!("A {what} ARN must be specified")))
}

/// The parts of an ARN's resource after `kind`, as many as such a resource has.
fn path<'a, const PARTS: usize>(arn: &'a str, kind: &str, what: &str) -> Result<[&'a str; PARTS], ApiError> {
    let parts = ArnParts::parse(arn).filter(|parts| parts.service == "elasticloadbalancing");
    let path = parts.and_then(|parts| parts.resource.strip_prefix(kind)?.strip_prefix('/'));
    let path = path.and_then(|path| <[&str; PARTS]>::try_from(path.split('/').collect::<Vec<_>>()).ok());
    path.ok_or_else(|| ApiError::validation(format_args!("'{arn}' is not a valid {what} ARN")))
}

pub fn load_balancer_not_found() -> ApiError {
    ApiError::new(ErrorKind::LoadBalancerNotFound, "One or more load balancers not found")
}

pub fn target_group_not_found() -> ApiError {
    ApiError::new(ErrorKind::TargetGroupNotFound, "One or more target groups not found")
}

pub fn listener_not_found() -> ApiError {
    ApiError::new(ErrorKind::ListenerNotFound, "One or more listeners not found")
}

pub fn rule_not_found() -> ApiError {
    ApiError::new(ErrorKind::RuleNotFound, "One or more rules not found")
}
