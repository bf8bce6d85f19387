//! Rules. Each listener has one, its default rule; others come with a later version.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::api::context::Context;
use crate::api::elbv2::listener::action;
use crate::api::elbv2::{load_balancer, page, reference};
use crate::api::error::ApiError;
use crate::api::wire::elbv2 as wire;
use crate::model::{Arn, Listener};
use crate::store::View;

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeRulesInput,
) -> Result<wire::DescribeRulesOutput, ApiError> {
    let arns = input.rule_arns.unwrap_or_default();
    let listeners: Vec<Arc<Listener>> = match (input.listener_arn.as_deref(), arns.as_slice()) {
        (Some(arn), []) => vec![reference::listener(cx, view, Some(arn))?],
        (None, arns @ [_, ..]) => {
            load_balancer::limit_references(arns)?;
            arns.iter().map(|arn| listener_of(cx, view, arn)).collect::<Result<_, _>>()?
        }
        _ => return Err(ApiError::validation("You must specify either a listener ARN or rule ARNs")),
    };
    let mut rules: Vec<wire::Rule> = listeners.iter().map(|listener| shown(listener)).collect();
    let arn = |rule: &wire::Rule| rule.rule_arn.clone().unwrap_or_default();
    rules.sort_by_key(arn);
    rules.dedup();
    let (rules, next_marker) = page::page(rules, arn, input.marker.as_deref(), input.page_size)?;
    Ok(wire::DescribeRulesOutput { rules: Some(rules), next_marker })
}

fn listener_of(cx: &Context, view: &View, arn: &str) -> Result<Arc<Listener>, ApiError> {
    let (listener, rule) = reference::listener_of_rule(cx, view, arn)?;
    match rule == default_id(&listener) && arn == default_arn(&listener).as_str() {
        true => Ok(listener),
        false => Err(reference::rule_not_found()),
    }
}

/// The id of a listener's default rule: made from the listener's, so that nothing has to be stored.
fn default_id(listener: &Listener) -> String {
    let digest = Sha256::digest(format!("default rule of {}", listener.id).as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn default_arn(listener: &Listener) -> Arn {
    Arn::listener_rule(&listener.arn(), &default_id(listener))
}

fn shown(listener: &Listener) -> wire::Rule {
    wire::Rule {
        rule_arn: Some(default_arn(listener).into()),
        priority: Some(String::from("default")),
        conditions: Some(Vec::new()),
        actions: Some(listener.default_actions.iter().map(action::shown).collect()),
        is_default: Some(true),
        transforms: Some(Vec::new()),
    }
}
