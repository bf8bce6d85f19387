//! Forwarding to target groups, by weight.

use crate::api::context::Context;
use crate::api::elbv2::listener::action::invalid;
use crate::api::elbv2::reference;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::load_balancer::Action;
use crate::store::View;

/// Target groups of one forward action: ELB's own quota.
const GROUPS_MAX: usize = 5;
const WEIGHT_MAX: i32 = 999;

/// Seven days.
const STICKINESS_SECONDS_MAX: u32 = 604_800;

pub fn read(cx: &Context, view: &View, action: wire::Action) -> Result<Action, ApiError> {
    let config = action.forward_config.unwrap_or_default();
    let stickiness_seconds = stickiness(config.target_group_stickiness_config)?;
    let mut tuples = config.target_groups.unwrap_or_default();
    if let Some(arn) = action.target_group_arn {
        match tuples.as_slice() {
            [] => tuples.push(wire::TargetGroupTuple { target_group_arn: Some(arn), weight: None }),
            [tuple] if tuple.target_group_arn.as_ref() == Some(&arn) => {}
            _ => {
                return Err(invalid(
                    "A target group ARN and the target groups of the forward configuration must be the same",
                ));
            }
        }
    }
    match tuples.len() {
        0 => return Err(ApiError::validation("A forward action must have a target group")),
        count if count > GROUPS_MAX => {
            return Err(ApiError::new(
                ErrorKind::TooManyTargetGroups,
                format_args!("A forward action can have at most {GROUPS_MAX} target groups"),
            ));
        }
        _ => {}
    }
    let mut groups: Vec<(String, u32)> = Vec::new();
    for tuple in tuples {
        let arn = tuple.target_group_arn.unwrap_or_default();
        reference::target_group(cx, view, Some(&arn)).map_err(|error| match error.kind {
            ErrorKind::TargetGroupNotFound => {
                ApiError::new(ErrorKind::TargetGroupNotFound, format_args!("Target groups '{arn}' not found"))
            }
            _ => error,
        })?;
        if groups.iter().any(|(earlier, _)| *earlier == arn) {
            return Err(invalid("A forward action cannot have the same target group twice"));
        }
        let weight = tuple.weight.unwrap_or(1);
        let checked = u32::try_from(weight).ok().filter(|_| weight <= WEIGHT_MAX);
        let weight = checked.ok_or_else(|| {
            ApiError::validation(format_args!("Target group weight '{weight}' must be between 0 and {WEIGHT_MAX}"))
        })?;
        groups.push((arn, weight));
    }
    Ok(Action::Forward { groups, stickiness_seconds })
}

/// For how long a client stays with a group, where it does.
fn stickiness(given: Option<wire::TargetGroupStickinessConfig>) -> Result<Option<u32>, ApiError> {
    let Some(given) = given.filter(|given| given.enabled == Some(true)) else { return Ok(None) };
    let seconds = given.duration_seconds.ok_or_else(|| {
        ApiError::validation("Target group stickiness duration must be specified when stickiness is enabled")
    })?;
    let checked = u32::try_from(seconds).ok().filter(|seconds| (1..=STICKINESS_SECONDS_MAX).contains(seconds));
    checked.map(Some).ok_or_else(|| {
        ApiError::validation(format_args!(
            "Target group stickiness duration '{seconds}' must be between 1 and {STICKINESS_SECONDS_MAX} seconds"
        ))
    })
}

pub fn shown(groups: &[(String, u32)], stickiness_seconds: Option<u32>) -> wire::Action {
    let tuples = groups.iter().map(|(arn, weight)| wire::TargetGroupTuple {
        target_group_arn: Some(arn.clone()),
        weight: i32::try_from(*weight).ok(),
    });
    wire::Action {
        target_group_arn: match groups {
            [(only, _)] => Some(only.clone()),
            _ => None,
        },
        forward_config: Some(wire::ForwardActionConfig {
            target_groups: Some(tuples.collect()),
            target_group_stickiness_config: Some(wire::TargetGroupStickinessConfig {
                enabled: Some(stickiness_seconds.is_some()),
                duration_seconds: stickiness_seconds.and_then(|seconds| i32::try_from(seconds).ok()),
            }),
        }),
        ..wire::Action::default()
    }
}
