//! Priorities of several rules, set at once: what counts is the state afterwards, so two rules can swap theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::context::Context;
use crate::api::elbv2::rule::{checked_priority, of, priority_in_use, shown, stored};
use crate::api::error::ApiError;
use crate::api::wire::elbv2 as wire;
use crate::model::{Listener, Rule};
use crate::store::View;

/// Rules of one call: a transaction has at most 128 writes.
const CALL_RULES_MAX: usize = 100;

pub fn set(
    cx: &Context,
    view: &mut View,
    input: wire::SetRulePrioritiesInput,
) -> Result<wire::SetRulePrioritiesOutput, ApiError> {
    let (listener, wanted) = wanted(cx, view, input.rule_priorities.unwrap_or_default())?;
    let kept: BTreeSet<u32> =
        of(view, &listener).iter().filter(|rule| !wanted.contains_key(&rule.id)).map(|rule| rule.priority).collect();
    if let Some((_, taken)) = wanted.values().find(|(_, priority)| kept.contains(priority)) {
        return Err(priority_in_use(*taken));
    }
    let mut rules = Vec::new();
    for (rule, priority) in wanted.into_values() {
        if rule.priority == priority {
            rules.push(rule);
            continue;
        }
        let mut rule = Rule::clone(&rule);
        rule.priority = priority;
        let rule = Arc::new(rule);
        view.put::<Rule>(Arc::clone(&rule));
        rules.push(rule);
    }
    rules.sort_by_key(|rule| rule.priority);
    Ok(wire::SetRulePrioritiesOutput { rules: Some(rules.iter().map(|rule| shown(rule)).collect()) })
}

/// Rules by id, with the priorities that they shall have.
type Wanted = BTreeMap<String, (Arc<Rule>, u32)>;

/// What a call asks for, each rule once, and the listener of all.
fn wanted(cx: &Context, view: &View, pairs: Vec<wire::RulePriorityPair>) -> Result<(Arc<Listener>, Wanted), ApiError> {
    if pairs.len() > CALL_RULES_MAX {
        return Err(ApiError::validation(format_args!(
            "The priorities of at most {CALL_RULES_MAX} rules can be set at once"
        )));
    }
    let mut of_all: Option<Arc<Listener>> = None;
    let mut wanted = Wanted::new();
    let mut seen = BTreeSet::new();
    for pair in pairs {
        let (listener, rule) = stored(cx, view, pair.rule_arn.as_deref(), "given a priority")?;
        let priority = checked_priority(pair.priority)?;
        if of_all.as_ref().is_some_and(|other| other.arn() != listener.arn()) {
            return Err(ApiError::validation("All rules must belong to the same listener"));
        }
        of_all = Some(listener);
        if !seen.insert(priority) {
            return Err(ApiError::validation(format_args!("Priority '{priority}' was provided multiple times")));
        }
        if let Some((rule, _)) = wanted.insert(rule.id.clone(), (rule, priority)) {
            return Err(ApiError::validation(format_args!("Rule '{}' was provided multiple times", rule.arn())));
        }
    }
    match of_all {
        Some(listener) => Ok((listener, wanted)),
        None => Err(ApiError::validation("A rule priority must be specified")),
    }
}
