//! Rules of the listeners of application load balancers.
//!
//! A listener's default rule is made of the listener itself, so it is always there and cannot be changed here. The others
//! are records under their listener. All priorities of a listener are read by whoever sets one, so that no two writers
//! can ever give the same.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::api::context::Context;
use crate::api::elbv2::listener::{Listeners, action, protocol};
use crate::api::elbv2::{condition, load_balancer, page, reference, tag, transform};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::load_balancer::LoadBalancerKind;
use crate::model::rule::PRIORITY_MAX;
use crate::model::{Arn, Listener, LoadBalancer, Rule};
use crate::store::{Key, Prefix, View};

mod priorities;

pub use priorities::set as set_priorities;

/// Rules of one listener beside its default. ELB's own quota is 100 for each load balancer and is raised on request; here
/// is nobody to ask, so it is what the data path is measured with.
pub const RULES_MAX: usize = 1000;

/// Rules that are deleted together with their listener or load balancer: a transaction has at most 128 writes, and a load
/// balancer with all of its listeners needs 51. The others cannot be reached without their listener, and `control` sweeps
/// them.
const DELETED_MAX: usize = 64;

pub fn create(cx: &Context, view: &mut View, input: wire::CreateRuleInput) -> Result<wire::CreateRuleOutput, ApiError> {
    let listener = reference::listener(cx, view, input.listener_arn.as_deref())?;
    if listener.load_balancer_kind != LoadBalancerKind::Application {
        return Err(ApiError::new(
            ErrorKind::UnsupportedProtocol,
            format_args!(
                "Rules are supported only on listeners of Application Load Balancers, and '{}' has the protocol {}",
                listener.arn(),
                listener.protocol
            ),
        ));
    }
    let priority = checked_priority(input.priority)?;
    let conditions = condition::read(input.conditions.unwrap_or_default())?;
    let (actions, action_orders) = action::read(cx, view, input.actions, place(&listener))?;
    let transforms = transform::read(input.transforms.unwrap_or_default())?;
    let tags = tag::given(input.tags.as_deref())?;

    let others = of(view, &listener);
    if others.iter().any(|other| other.priority == priority) {
        return Err(priority_in_use(priority));
    }
    if others.len() >= RULES_MAX {
        return Err(ApiError::new(
            ErrorKind::TooManyRules,
            format_args!("A listener can have at most {RULES_MAX} rules beside its default"),
        ));
    }
    let rule = Rule {
        scope: cx.scope.clone(),
        load_balancer: listener.load_balancer.clone(),
        load_balancer_kind: listener.load_balancer_kind,
        load_balancer_id: listener.load_balancer_id.clone(),
        listener: listener.id.clone(),
        id: cx.ids.hex16(),
        priority,
        conditions,
        actions,
        action_orders,
        transforms,
        tags,
        created_at: cx.now,
    };
    Listeners::all(cx, view).check_association(&rule.load_balancer_arn(), &rule.actions)?;
    let answer = shown(&rule);
    view.put(rule);
    Ok(wire::CreateRuleOutput { rules: Some(vec![answer]) })
}

pub fn modify(cx: &Context, view: &mut View, input: wire::ModifyRuleInput) -> Result<wire::ModifyRuleOutput, ApiError> {
    let (listener, rule) = stored(cx, view, input.rule_arn.as_deref(), "modified: modify its listener")?;
    let mut rule = Rule::clone(&rule);
    let transforms = input.transforms.filter(|transforms| !transforms.is_empty());
    let reset = input.reset_transforms == Some(true);
    if transforms.is_some() && reset {
        return Err(ApiError::validation("You cannot specify both Transforms and ResetTransforms"));
    }
    if input.conditions.is_none() && input.actions.is_none() && transforms.is_none() && !reset {
        return Err(ApiError::validation("Either conditions, actions or transforms must be specified"));
    }
    if let Some(conditions) = input.conditions {
        rule.conditions = condition::read(conditions)?;
    }
    if let Some(actions) = input.actions {
        (rule.actions, rule.action_orders) = action::read(cx, view, Some(actions), place(&listener))?;
        Listeners::all(cx, view).check_association(&rule.load_balancer_arn(), &rule.actions)?;
    }
    match transforms {
        Some(transforms) => rule.transforms = transform::read(transforms)?,
        None if reset => rule.transforms.clear(),
        None => {}
    }
    let answer = shown(&rule);
    view.put(rule);
    Ok(wire::ModifyRuleOutput { rules: Some(vec![answer]) })
}

pub fn delete(cx: &Context, view: &mut View, input: wire::DeleteRuleInput) -> Result<wire::DeleteRuleOutput, ApiError> {
    let (_, rule) = stored(cx, view, input.rule_arn.as_deref(), "deleted")?;
    view.delete::<Rule>(&key(&rule));
    Ok(wire::DeleteRuleOutput::default())
}

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeRulesInput,
) -> Result<wire::DescribeRulesOutput, ApiError> {
    let arns = input.rule_arns.unwrap_or_default();
    let mut found: Vec<Found> = match (input.listener_arn.as_deref(), arns.as_slice()) {
        (Some(arn), []) => {
            let listener = reference::listener(cx, view, Some(arn))?;
            let rules = of(view, &listener).into_iter();
            rules
                .map(|rule| Found::Stored(Arc::clone(&listener), rule))
                .chain([Found::Default(listener.clone())])
                .collect()
        }
        (None, arns @ [_, ..]) => {
            load_balancer::limit_references(arns)?;
            arns.iter().map(|arn| find(cx, view, Some(arn))).collect::<Result<_, _>>()?
        }
        _ => return Err(ApiError::validation("You must specify either a listener ARN or rule ARNs")),
    };
    found.sort_by_cached_key(Found::place);
    found.dedup_by_key(|found| found.arn());
    let (page, next_marker) = page::page(found, Found::place, input.marker.as_deref(), input.page_size)?;
    Ok(wire::DescribeRulesOutput { rules: Some(page.iter().map(Found::shown).collect()), next_marker })
}

/// A rule that a client named.
pub enum Found {
    Default(Arc<Listener>),
    Stored(Arc<Listener>, Arc<Rule>),
}

impl Found {
    /// By listener, then by priority with the default last.
    fn place(&self) -> String {
        let (listener, priority) = match self {
            Found::Default(listener) => (listener, PRIORITY_MAX + 1),
            Found::Stored(listener, rule) => (listener, rule.priority),
        };
        format!("{}/{}/{priority:05}", listener.load_balancer, listener.id)
    }

    fn arn(&self) -> Arn {
        match self {
            Found::Default(listener) => default_arn(listener),
            Found::Stored(_, rule) => rule.arn(),
        }
    }

    fn shown(&self) -> wire::Rule {
        match self {
            Found::Default(listener) => shown_default(listener),
            Found::Stored(_, rule) => shown(rule),
        }
    }
}

/// The rule of an ARN.
pub fn find(cx: &Context, view: &View, arn: Option<&str>) -> Result<Found, ApiError> {
    let arn = arn.ok_or_else(|| ApiError::validation("A listener rule ARN must be specified"))?;
    let (listener, id) = reference::listener_of_rule(cx, view, arn)?;
    let found = match view.get::<Rule>(&Key::rule(&listener.scope, &listener.load_balancer, &listener.id, id)) {
        Some(rule) => Found::Stored(listener, rule),
        None => Found::Default(listener),
    };
    // Another account's or region's, or one that never was, is not this one.
    match found.arn().as_str() == arn {
        true => Ok(found),
        false => Err(reference::rule_not_found()),
    }
}

/// A rule that is not a default, which cannot be what the call is about.
fn stored(cx: &Context, view: &View, arn: Option<&str>, refused: &str) -> Result<(Arc<Listener>, Arc<Rule>), ApiError> {
    match find(cx, view, arn)? {
        Found::Stored(listener, rule) => Ok((listener, rule)),
        Found::Default(listener) => Err(ApiError::new(
            ErrorKind::OperationNotPermitted,
            format_args!("Default rule '{}' cannot be {refused}", default_arn(&listener)),
        )),
    }
}

fn key(rule: &Rule) -> Key {
    Key::rule(&rule.scope, &rule.load_balancer, &rule.listener, &rule.id)
}

/// The rules of a listener, its default not among them.
fn of(view: &View, listener: &Listener) -> Vec<Arc<Rule>> {
    view.list::<Rule>(&Prefix::rules(&listener.scope, &listener.load_balancer, &listener.id))
}

fn place(listener: &Listener) -> action::Place<'_> {
    action::Place { protocol: &listener.protocol, port: listener.port }
}

/// Whether a listener whose protocol or port has changed can still perform its own actions and those of its rules. To the
/// groups of rules it can forward whichever of its load balancer's protocols it has.
pub fn check_listener(cx: &Context, view: &View, listener: &Listener) -> Result<(), ApiError> {
    let (place, rules) = (place(listener), of(view, listener));
    let of_rules = rules.iter().flat_map(|rule| &rule.actions);
    listener.default_actions.iter().chain(of_rules).try_for_each(|action| action::check_place(action, place))?;
    listener.default_actions.iter().try_for_each(|action| protocol::check_groups(cx, view, place.protocol, action))
}

fn checked_priority(priority: Option<i32>) -> Result<u32, ApiError> {
    let priority = priority.ok_or_else(|| ApiError::validation("A rule priority must be specified"))?;
    let checked = u32::try_from(priority).ok().filter(|priority| (1..=PRIORITY_MAX).contains(priority));
    checked.ok_or_else(|| {
        ApiError::validation(format_args!("Rule priority '{priority}' must be between 1 and {PRIORITY_MAX}"))
    })
}

fn priority_in_use(priority: u32) -> ApiError {
    ApiError::new(ErrorKind::PriorityInUse, format_args!("Priority '{priority}' is currently in use"))
}

/// Deletes the rules of a listener that is deleted, as many as go with it.
pub fn delete_of_listener(view: &mut View, listener: &Listener) {
    let rules = of(view, listener);
    delete_some(view, &rules);
}

/// Deletes the rules of a load balancer that is deleted, as many as go with it.
pub fn delete_of_load_balancer(view: &mut View, load_balancer: &LoadBalancer) {
    let rules = view.list::<Rule>(&Prefix::rules_of_load_balancer(&load_balancer.scope, &load_balancer.name));
    delete_some(view, &rules);
}

fn delete_some(view: &mut View, rules: &[Arc<Rule>]) {
    for rule in rules.iter().take(DELETED_MAX) {
        view.delete::<Rule>(&key(rule));
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

fn shown_default(listener: &Listener) -> wire::Rule {
    wire::Rule {
        rule_arn: Some(default_arn(listener).into()),
        priority: Some(String::from("default")),
        conditions: Some(Vec::new()),
        actions: Some(action::shown(&listener.default_actions, &listener.action_orders)),
        is_default: Some(true),
        transforms: Some(Vec::new()),
    }
}

/// A rule as the wire shows it.
fn shown(rule: &Rule) -> wire::Rule {
    wire::Rule {
        rule_arn: Some(rule.arn().into()),
        priority: Some(rule.priority.to_string()),
        conditions: Some(rule.conditions.iter().map(condition::shown).collect()),
        actions: Some(action::shown(&rule.actions, &rule.action_orders)),
        is_default: Some(false),
        transforms: Some(rule.transforms.iter().map(transform::shown).collect()),
    }
}
