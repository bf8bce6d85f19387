//! The attributes of target groups: those of its protocol, and what one demands of another.

use crate::api::context::Context;
use crate::api::elbv2::attribute::Table;
use crate::api::elbv2::{attribute, reference};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::TargetGroup;
use crate::store::View;

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeTargetGroupAttributesInput,
) -> Result<wire::DescribeTargetGroupAttributesOutput, ApiError> {
    let group = reference::target_group(cx, view, input.target_group_arn.as_deref())?;
    Ok(wire::DescribeTargetGroupAttributesOutput { attributes: Some(shown(&group)) })
}

pub fn modify(
    cx: &Context,
    view: &mut View,
    input: wire::ModifyTargetGroupAttributesInput,
) -> Result<wire::ModifyTargetGroupAttributesOutput, ApiError> {
    let mut group = (*reference::target_group(cx, view, input.target_group_arn.as_deref())?).clone();
    let given = input.attributes.unwrap_or_default();
    for attribute in &given {
        check_stickiness_type(&group, attribute)?;
    }
    let given = given.into_iter().map(|attribute| (attribute.key, attribute.value));
    let without_effect = table(&group).set(&mut group.attributes, given)?;
    without_effect.into_iter().for_each(|setting| cx.without_effect.note(setting));
    match group.is_network() {
        true => check_network(&group)?,
        false => check_application(&group)?,
    }
    let attributes = shown(&group);
    view.put(group);
    Ok(wire::ModifyTargetGroupAttributesOutput { attributes: Some(attributes) })
}

/// The attributes that a group of this protocol and target type has.
pub fn table(group: &TargetGroup) -> &'static Table {
    match group.protocol.as_str() {
        "HTTP" | "HTTPS" => &attribute::TARGET_GROUP,
        _ if group.is_udp() => &attribute::NETWORK_TARGET_GROUP_OF_DATAGRAMS,
        _ if group.preserves_client_ip_by_default() => &attribute::NETWORK_TARGET_GROUP,
        _ => &attribute::NETWORK_TARGET_GROUP_OF_ADDRESSES,
    }
}

fn shown(group: &TargetGroup) -> Vec<wire::TargetGroupAttribute> {
    let pairs = table(group).shown(&group.attributes).into_iter();
    pairs.map(|(key, value)| wire::TargetGroupAttribute { key: Some(key), value: Some(value) }).collect()
}

/// A type of stickiness that other protocols have is told apart from one that there is not.
fn check_stickiness_type(group: &TargetGroup, attribute: &wire::TargetGroupAttribute) -> Result<(), ApiError> {
    let (Some("stickiness.type"), Some(value)) = (attribute.key.as_deref(), attribute.value.as_deref()) else {
        return Ok(());
    };
    let is_of_others = match group.is_network() {
        true => matches!(value, "lb_cookie" | "app_cookie" | "source_ip_dest_ip" | "source_ip_dest_ip_proto"),
        false => matches!(value, "source_ip" | "source_ip_dest_ip" | "source_ip_dest_ip_proto"),
    };
    match is_of_others {
        true => invalid(format!(
            "Stickiness type '{value}' is not supported for target groups with the {} protocol",
            group.protocol
        )),
        false => Ok(()),
    }
}

fn check_application(group: &TargetGroup) -> Result<(), ApiError> {
    let value = |key| table(group).value(&group.attributes, key);
    let slow_start: u32 = value("slow_start.duration_seconds").parse().unwrap_or(0);
    let algorithm = value("load_balancing.algorithm.type");
    if (1..30).contains(&slow_start) {
        return Err(ApiError::validation(
            "Target group attribute 'slow_start.duration_seconds' must be 0 or between 30 and 900",
        ));
    }
    if slow_start > 0 && algorithm != "round_robin" {
        return invalid("Slow start is supported only with the algorithm 'round_robin'");
    }
    if value("load_balancing.algorithm.anomaly_mitigation") == "on" && algorithm != "weighted_random" {
        return invalid("Anomaly mitigation is supported only with the algorithm 'weighted_random'");
    }
    let app_cookie = value("stickiness.app_cookie.cookie_name");
    if value("stickiness.enabled") == "true" && value("stickiness.type") == "app_cookie" && app_cookie.is_empty() {
        return invalid("Stickiness by application cookie needs 'stickiness.app_cookie.cookie_name'");
    }
    // AWSALBAPP and AWSALBTG begin with it as well.
    if app_cookie.starts_with("AWSALB") {
        return invalid(format!(
            "The cookie name '{app_cookie}' is not valid: names that begin with AWSALB, AWSALBAPP and AWSALBTG are reserved"
        ));
    }
    match app_cookie.bytes().all(may_be_in_a_cookie_name) {
        true => Ok(()),
        false => invalid(format!("The cookie name '{app_cookie}' has characters that names of cookies cannot have")),
    }
}

/// A token of HTTP.
fn may_be_in_a_cookie_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn check_network(group: &TargetGroup) -> Result<(), ApiError> {
    let value = |key| table(group).value(&group.attributes, key);
    let protocol = &group.protocol;
    if group.is_udp() && value("preserve_client_ip.enabled") == "false" {
        return invalid(format!(
            "Client IP preservation cannot be disabled for target groups with the {protocol} protocol"
        ));
    }
    if protocol == "TLS" && value("stickiness.enabled") == "true" {
        return invalid("Stickiness is not supported for target groups with the TLS protocol");
    }
    let terminates = value("target_health_state.unhealthy.connection_termination.enabled") == "true";
    if group.is_udp() && terminates {
        return invalid(format!(
            "Connection termination for unhealthy targets cannot be enabled for target groups with the {protocol} protocol"
        ));
    }
    if terminates && value("target_health_state.unhealthy.draining_interval_seconds") != "0" {
        return invalid(
            "The unhealthy draining interval can be set only where connection termination for unhealthy targets is disabled",
        );
    }
    Ok(())
}

fn invalid(message: impl std::fmt::Display) -> Result<(), ApiError> {
    Err(ApiError::new(ErrorKind::InvalidConfigurationRequest, message))
}
