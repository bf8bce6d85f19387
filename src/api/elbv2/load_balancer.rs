//! Load balancers, of types application and network. They are active at once: there is nothing to provision.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::api::context::Context;
use crate::api::elbv2::{listener, name, network, never, page, reference, rule, tag};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::load_balancer::LoadBalancerKind;
use crate::model::{Listener, LoadBalancer};
use crate::store::{Key, Prefix, View};

pub mod attributes;
pub mod set;

/// Load balancers of one type of an account in a region: ELB's own quota.
pub const LOAD_BALANCERS_MAX: usize = 50;

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
        None if count(cx, view, load_balancer.kind) >= LOAD_BALANCERS_MAX => {
            return Err(ApiError::new(
                ErrorKind::TooManyLoadBalancers,
                format_args!(
                    "At most {LOAD_BALANCERS_MAX} load balancers of type '{}' can exist in a region",
                    load_balancer.kind.as_str()
                ),
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

fn count(cx: &Context, view: &View, kind: LoadBalancerKind) -> usize {
    let all = view.list::<LoadBalancer>(&Prefix::load_balancers(&cx.scope));
    all.iter().filter(|load_balancer| load_balancer.kind == kind).count()
}

/// The record that a request asks for.
fn wanted(cx: &Context, input: wire::CreateLoadBalancerInput) -> Result<LoadBalancer, ApiError> {
    let name = name::load_balancer(input.name)?;
    let kind = kind(input.r#type.as_deref())?;
    let scheme = input.scheme.unwrap_or_else(|| String::from("internet-facing"));
    let ip_address_type = network::ip_address_type(cx, kind, input.ip_address_type)?;
    if input.customer_owned_ipv4_pool.is_some() {
        return Err(never("CustomerOwnedIpv4Pool", "there are no Outposts here"));
    }
    if input.ipam_pools.is_some() {
        return Err(never("IpamPools", "addresses here are this machine's own"));
    }
    network::refuse_source_nat(input.enable_prefix_for_ipv6_source_nat.as_deref())?;
    let place = network::Place { kind, scheme: &scheme, ip_address_type: &ip_address_type };
    let zones = network::zones(&cx.scope, &place, input.subnets, input.subnet_mappings)?;
    let security_groups = network::security_groups(&cx.scope, kind, input.security_groups)?;
    let mut load_balancer = LoadBalancer {
        scope: cx.scope.clone(),
        name,
        kind,
        id: cx.ids.hex16(),
        created_at: cx.now,
        scheme,
        ip_address_type,
        attributes: Default::default(),
        tags: tag::given(input.tags.as_deref())?,
        document: Map::new(),
    };
    let kept = wire::LoadBalancer {
        availability_zones: Some(zones),
        security_groups: Some(security_groups).filter(|groups| !groups.is_empty()),
        ..wire::LoadBalancer::default()
    };
    keep(&mut load_balancer, kept)?;
    Ok(load_balancer)
}

fn kind(given: Option<&str>) -> Result<LoadBalancerKind, ApiError> {
    match given {
        None | Some("application") => Ok(LoadBalancerKind::Application),
        Some("network") => Ok(LoadBalancerKind::Network),
        Some(other) => Err(never(
            format_args!("A load balancer of type '{other}'"),
            "it passes packets through appliances of a VPC, and there is no VPC here",
        )),
    }
}

/// What is kept as the wire has it: zones, security groups and the like.
fn kept(load_balancer: &LoadBalancer) -> wire::LoadBalancer {
    // It was written from this very structure; a member that a later version took away is not shown.
    serde_json::from_value(Value::Object(load_balancer.document.clone())).unwrap_or_default()
}

fn keep(load_balancer: &mut LoadBalancer, kept: wire::LoadBalancer) -> Result<(), ApiError> {
    load_balancer.document = match serde_json::to_value(kept) {
        Ok(Value::Object(members)) => members,
        // A structure of the wire is an object of JSON.
        Ok(_) => Map::new(),
        Err(error) => return Err(ApiError::server(error)),
    };
    Ok(())
}

/// Whether another load balancer has the DNS name, in which case does not count.
fn is_taken(cx: &Context, view: &View, wanted: &LoadBalancer) -> bool {
    let existing = view.list::<LoadBalancer>(&Prefix::load_balancers(&cx.scope));
    existing.iter().any(|existing| existing.dns_name() == wanted.dns_name())
}

fn is_same(existing: &LoadBalancer, wanted: &LoadBalancer) -> bool {
    existing.kind == wanted.kind
        && existing.scheme == wanted.scheme
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
    if attributes::table(&load_balancer).value(&load_balancer.attributes, "deletion_protection.enabled") == "true" {
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

/// Capacity is never reserved: there is nothing but this machine.
pub fn describe_capacity_reservation(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeCapacityReservationInput,
) -> Result<wire::DescribeCapacityReservationOutput, ApiError> {
    reference::load_balancer(cx, view, input.load_balancer_arn.as_deref())?;
    Ok(wire::DescribeCapacityReservationOutput { capacity_reservation_state: Some(Vec::new()), ..Default::default() })
}

/// A load balancer as the wire shows it.
fn shown(load_balancer: &LoadBalancer) -> wire::LoadBalancer {
    wire::LoadBalancer {
        load_balancer_arn: Some(load_balancer.arn().into()),
        dns_name: Some(load_balancer.dns_name()),
        canonical_hosted_zone_id: Some(network::hosted_zone(&load_balancer.scope)),
        created_time: Some(load_balancer.created_at.epoch_seconds()),
        load_balancer_name: Some(load_balancer.name.clone()),
        scheme: Some(load_balancer.scheme.clone()),
        vpc_id: Some(network::vpc(&load_balancer.scope)),
        state: Some(wire::LoadBalancerState { code: Some(String::from("active")), reason: None }),
        r#type: Some(load_balancer.kind.as_str().to_owned()),
        ip_address_type: Some(load_balancer.ip_address_type.clone()),
        ..kept(load_balancer)
    }
}
