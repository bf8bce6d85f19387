//! The attributes of load balancers: those of its type.

use crate::api::context::Context;
use crate::api::elbv2::attribute::Table;
use crate::api::elbv2::{attribute, reference};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::LoadBalancer;
use crate::model::load_balancer::LoadBalancerKind;
use crate::store::View;

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeLoadBalancerAttributesInput,
) -> Result<wire::DescribeLoadBalancerAttributesOutput, ApiError> {
    let load_balancer = reference::load_balancer(cx, view, input.load_balancer_arn.as_deref())?;
    Ok(wire::DescribeLoadBalancerAttributesOutput { attributes: Some(shown(&load_balancer)) })
}

pub fn modify(
    cx: &Context,
    view: &mut View,
    input: wire::ModifyLoadBalancerAttributesInput,
) -> Result<wire::ModifyLoadBalancerAttributesOutput, ApiError> {
    let load_balancer = reference::load_balancer(cx, view, input.load_balancer_arn.as_deref())?;
    let mut load_balancer = (*load_balancer).clone();
    let given = input.attributes.unwrap_or_default().into_iter().map(|attribute| (attribute.key, attribute.value));
    let table = table(&load_balancer);
    let without_effect = table.set(&mut load_balancer.attributes, given)?;
    without_effect.into_iter().for_each(|setting| cx.without_effect.note(setting));
    attribute::note_logs(cx, &load_balancer.attributes);
    check_together(table, &load_balancer)?;
    let attributes = shown(&load_balancer);
    view.put(load_balancer);
    Ok(wire::ModifyLoadBalancerAttributesOutput { attributes: Some(attributes) })
}

/// Logs need somewhere to go.
fn check_together(table: &Table, load_balancer: &LoadBalancer) -> Result<(), ApiError> {
    for logs in ["access_logs", "connection_logs", "health_check_logs"] {
        let value = |member: &str| table.value(&load_balancer.attributes, &format!("{logs}.s3.{member}"));
        if value("enabled") == "true" && value("bucket").is_empty() {
            return Err(ApiError::new(
                ErrorKind::InvalidConfigurationRequest,
                format_args!("'{logs}.s3.bucket' must be specified where '{logs}.s3.enabled' is true"),
            ));
        }
    }
    Ok(())
}

/// The attributes that a load balancer of this type has.
pub fn table(load_balancer: &LoadBalancer) -> &'static Table {
    match load_balancer.kind {
        LoadBalancerKind::Application => &attribute::LOAD_BALANCER,
        LoadBalancerKind::Network => &attribute::NETWORK_LOAD_BALANCER,
    }
}

fn shown(load_balancer: &LoadBalancer) -> Vec<wire::LoadBalancerAttribute> {
    let pairs = table(load_balancer).shown(&load_balancer.attributes).into_iter();
    pairs.map(|(key, value)| wire::LoadBalancerAttribute { key: Some(key), value: Some(value) }).collect()
}
