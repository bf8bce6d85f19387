//! Load balancers. They are active at once: there is nothing to provision.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::api::context::Context;
use crate::api::elbv2::{attribute, listener, name, network, not_yet, page, reference, refuse, rule, tag};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::load_balancer::LoadBalancerKind;
use crate::model::{Listener, LoadBalancer};
use crate::store::{Key, Prefix, View};

/// Load balancers of an account in a region: ELB's own quota.
const LOAD_BALANCERS_MAX: usize = 50;

/// Names or ARNs of one describe call: ELB's own limit.
pub const REFERENCES_MAX: usize = 20;

pub fn create(
    cx: &Context,
    view: &mut View,
    input: wire::CreateLoadBalancerInput,
) -> Result<wire::CreateLoadBalancerOutput, ApiError> {
    let load_balancer = wanted(cx, input)?;
    let key = Key::load_balancer(&cx.scope, &load_balancer.name);
    let load_balancer = match view.get::<LoadBalancer>(&key) {
        // Idempotent by name, as at AWS.
        Some(existing) if is_same(&existing, &load_balancer) => existing,
        Some(_) => {
            return Err(ApiError::new(
                ErrorKind::DuplicateLoadBalancerName,
                format_args!(
                    "A load balancer with the same name '{}' exists, but with different settings",
                    load_balancer.name
                ),
            ));
        }
        None if is_taken(cx, view, &load_balancer) => {
            return Err(ApiError::new(
                ErrorKind::DuplicateLoadBalancerName,
                format_args!(
                    "A load balancer with the same name '{}' exists, but in other letter case: both would be '{}'",
                    load_balancer.name,
                    load_balancer.dns_name()
                ),
            ));
        }
        None if view.count(&Prefix::load_balancers(&cx.scope)) >= LOAD_BALANCERS_MAX => {
            return Err(ApiError::new(
                ErrorKind::TooManyLoadBalancers,
                format_args!("At most {LOAD_BALANCERS_MAX} load balancers can exist in a region"),
            ));
        }
        None => {
            let load_balancer = Arc::new(load_balancer);
            view.put::<LoadBalancer>(Arc::clone(&load_balancer));
            load_balancer
        }
    };
    Ok(wire::CreateLoadBalancerOutput { load_balancers: Some(vec![shown(&load_balancer)]) })
}

/// The record that a request asks for.
fn wanted(cx: &Context, input: wire::CreateLoadBalancerInput) -> Result<LoadBalancer, ApiError> {
    let name = name::load_balancer(input.name)?;
    match input.r#type.as_deref() {
        None | Some("application") => {}
        Some(other) => return Err(not_yet(format_args!("A load balancer of type '{other}'"))),
    }
    match input.ip_address_type.as_deref() {
        None | Some("ipv4") => {}
        Some(other) => return Err(not_yet(format_args!("The IP address type '{other}'"))),
    }
    refuse(&input.customer_owned_ipv4_pool, "CustomerOwnedIpv4Pool")?;
    refuse(&input.ipam_pools, "IpamPools")?;
    if input.enable_prefix_for_ipv6_source_nat.as_deref() == Some("on") {
        return Err(not_yet("EnablePrefixForIpv6SourceNat"));
    }
    let zones = network::zones(&cx.scope, input.subnets, input.subnet_mappings)?;
    if input.security_groups.as_ref().is_some_and(|groups| !groups.is_empty()) {
        cx.without_effect.note("SecurityGroups");
    }
    let security_groups = network::security_groups(&cx.scope, input.security_groups)?;
    let kept = wire::LoadBalancer {
        availability_zones: Some(zones),
        security_groups: Some(security_groups),
        ..wire::LoadBalancer::default()
    };
    let document = match serde_json::to_value(kept) {
        Ok(Value::Object(members)) => members,
        // A structure of the wire is an object of JSON.
        Ok(_) => Map::new(),
        Err(error) => return Err(ApiError::server(error)),
    };
    Ok(LoadBalancer {
        kind: LoadBalancerKind::Application,
        scope: cx.scope.clone(),
        name,
        id: cx.ids.hex16(),
        created_at: cx.now,
        scheme: input.scheme.unwrap_or_else(|| String::from("internet-facing")),
        ip_address_type: String::from("ipv4"),
        attributes: Default::default(),
        tags: tag::given(input.tags.as_deref())?,
        document,
    })
}

/// Whether another load balancer has the DNS name, in which case does not count.
fn is_taken(cx: &Context, view: &View, wanted: &LoadBalancer) -> bool {
    let existing = view.list::<LoadBalancer>(&Prefix::load_balancers(&cx.scope));
    existing.iter().any(|existing| existing.dns_name() == wanted.dns_name())
}

fn is_same(existing: &LoadBalancer, wanted: &LoadBalancer) -> bool {
    existing.scheme == wanted.scheme
        && existing.ip_address_type == wanted.ip_address_type
        && existing.document == wanted.document
        && tag::same(&existing.tags, &wanted.tags)
}

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeLoadBalancersInput,
) -> Result<wire::DescribeLoadBalancersOutput, ApiError> {
    let arns = input.load_balancer_arns.unwrap_or_default();
    let names = input.names.unwrap_or_default();
    let mut found = match (arns.as_slice(), names.as_slice()) {
        ([], []) => view.list::<LoadBalancer>(&Prefix::load_balancers(&cx.scope)),
        (arns, []) => {
            limit_references(arns)?;
            arns.iter().map(|arn| reference::load_balancer(cx, view, Some(arn))).collect::<Result<_, _>>()?
        }
        ([], names) => {
            limit_references(names)?;
            let named = |name: &String| view.get::<LoadBalancer>(&Key::load_balancer(&cx.scope, name));
            let found = names.iter().map(named).collect::<Option<_>>();
            found.ok_or_else(reference::load_balancer_not_found)?
        }
        _ => {
            return Err(ApiError::validation(
                "Load balancer names and load balancer ARNs cannot be specified together",
            ));
        }
    };
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found.dedup_by(|one, other| one.name == other.name);
    let (page, next_marker) = page::page(found, |found| found.name.clone(), input.marker.as_deref(), input.page_size)?;
    Ok(wire::DescribeLoadBalancersOutput {
        load_balancers: Some(page.iter().map(|found| shown(found)).collect()),
        next_marker,
    })
}

pub fn limit_references(references: &[String]) -> Result<(), ApiError> {
    match references.len() {
        count if count > REFERENCES_MAX => {
            Err(ApiError::validation(format_args!("At most {REFERENCES_MAX} names or ARNs can be specified")))
        }
        _ => Ok(()),
    }
}

/// Deletes a load balancer with its listeners. What does not exist is deleted already, as at AWS.
pub fn delete(
    cx: &Context,
    view: &mut View,
    input: wire::DeleteLoadBalancerInput,
) -> Result<wire::DeleteLoadBalancerOutput, ApiError> {
    let load_balancer = match reference::load_balancer(cx, view, input.load_balancer_arn.as_deref()) {
        Ok(load_balancer) => load_balancer,
        Err(error) if error.kind == ErrorKind::LoadBalancerNotFound => return Ok(Default::default()),
        Err(error) => return Err(error),
    };
    if attribute::LOAD_BALANCER.value(&load_balancer.attributes, "deletion_protection.enabled") == "true" {
        return Err(ApiError::new(
            ErrorKind::OperationNotPermitted,
            format_args!(
                "Load balancer '{}' cannot be deleted because deletion protection is enabled",
                load_balancer.arn()
            ),
        ));
    }
    // As many as `listener::LISTENERS_MAX`, which fits into one transaction with `rule::DELETED_MAX`.
    rule::delete_of_load_balancer(view, &load_balancer);
    for listener in listener::of(view, &load_balancer) {
        view.delete::<Listener>(&Key::listener(&cx.scope, &listener.load_balancer, &listener.id));
    }
    view.delete::<LoadBalancer>(&Key::load_balancer(&cx.scope, &load_balancer.name));
    Ok(wire::DeleteLoadBalancerOutput::default())
}

pub fn describe_attributes(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeLoadBalancerAttributesInput,
) -> Result<wire::DescribeLoadBalancerAttributesOutput, ApiError> {
    let load_balancer = reference::load_balancer(cx, view, input.load_balancer_arn.as_deref())?;
    Ok(wire::DescribeLoadBalancerAttributesOutput { attributes: Some(shown_attributes(&load_balancer)) })
}

pub fn modify_attributes(
    cx: &Context,
    view: &mut View,
    input: wire::ModifyLoadBalancerAttributesInput,
) -> Result<wire::ModifyLoadBalancerAttributesOutput, ApiError> {
    let load_balancer = reference::load_balancer(cx, view, input.load_balancer_arn.as_deref())?;
    let mut load_balancer = (*load_balancer).clone();
    let given = input.attributes.unwrap_or_default().into_iter().map(|attribute| (attribute.key, attribute.value));
    let without_effect = attribute::LOAD_BALANCER.set(&mut load_balancer.attributes, given)?;
    without_effect.into_iter().for_each(|setting| cx.without_effect.note(setting));
    attribute::note_logs(cx, &load_balancer.attributes);
    let attributes = shown_attributes(&load_balancer);
    view.put(load_balancer);
    Ok(wire::ModifyLoadBalancerAttributesOutput { attributes: Some(attributes) })
}

fn shown_attributes(load_balancer: &LoadBalancer) -> Vec<wire::LoadBalancerAttribute> {
    let pairs = attribute::LOAD_BALANCER.shown(&load_balancer.attributes).into_iter();
    pairs.map(|(key, value)| wire::LoadBalancerAttribute { key: Some(key), value: Some(value) }).collect()
}

/// A load balancer as the wire shows it.
fn shown(load_balancer: &LoadBalancer) -> wire::LoadBalancer {
    // It was written from this very structure; a member that a later version took away is not shown.
    let kept: wire::LoadBalancer =
        serde_json::from_value(Value::Object(load_balancer.document.clone())).unwrap_or_default();
    wire::LoadBalancer {
        load_balancer_arn: Some(load_balancer.arn().into()),
        dns_name: Some(load_balancer.dns_name()),
        canonical_hosted_zone_id: Some(network::hosted_zone(&load_balancer.scope)),
        created_time: Some(load_balancer.created_at.epoch_seconds()),
        load_balancer_name: Some(load_balancer.name.clone()),
        scheme: Some(load_balancer.scheme.clone()),
        vpc_id: Some(network::vpc(&load_balancer.scope)),
        state: Some(wire::LoadBalancerState { code: Some(String::from("active")), reason: None }),
        r#type: Some(String::from("application")),
        ip_address_type: Some(load_balancer.ip_address_type.clone()),
        ..kept
    }
}
