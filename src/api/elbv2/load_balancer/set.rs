//! What is changed of a load balancer by a call of its own: security groups, subnets and the type of its addresses.

use std::sync::Arc;

use crate::api::context::Context;
use crate::api::elbv2::load_balancer::{keep, kept};
use crate::api::elbv2::{listener, network, reference};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::LoadBalancer;
use crate::model::load_balancer::LoadBalancerKind;
use crate::store::View;

/// They are what the ingress rules of tasks know a load balancer by.
pub fn security_groups(
    cx: &Context,
    view: &mut View,
    input: wire::SetSecurityGroupsInput,
) -> Result<wire::SetSecurityGroupsOutput, ApiError> {
    let mut load_balancer = found(cx, view, input.load_balancer_arn.as_deref())?;
    let given = input.security_groups.unwrap_or_default();
    let mut kept = kept(&load_balancer);
    let enforce = input.enforce_security_group_inbound_rules_on_private_link_traffic;
    if given.is_empty() {
        return Err(ApiError::validation("At least one security group must be specified"));
    }
    match load_balancer.kind {
        LoadBalancerKind::Network if kept.security_groups.is_none() => {
            return Err(ApiError::new(
                ErrorKind::InvalidConfigurationRequest,
                "You cannot set security groups on a Network Load Balancer which was created without any security groups.",
            ));
        }
        LoadBalancerKind::Network => {
            if let Some(enforce) = enforce {
                if enforce == "off" {
                    cx.without_effect.note("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic=off");
                }
                kept.enforce_security_group_inbound_rules_on_private_link_traffic = Some(enforce);
            }
        }
        LoadBalancerKind::Application if enforce.is_some() => {
            return Err(ApiError::new(
                ErrorKind::InvalidConfigurationRequest,
                "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic is not supported for load balancers with type 'application'",
            ));
        }
        LoadBalancerKind::Application => {}
    }
    let groups = network::security_groups(&cx.scope, load_balancer.kind, Some(given))?;
    kept.security_groups = Some(groups.clone());
    let enforced = kept.enforce_security_group_inbound_rules_on_private_link_traffic.clone();
    keep(&mut load_balancer, kept)?;
    view.put(load_balancer);
    Ok(wire::SetSecurityGroupsOutput {
        security_group_ids: Some(groups),
        enforce_security_group_inbound_rules_on_private_link_traffic: enforced,
    })
}

pub fn subnets(
    cx: &Context,
    view: &mut View,
    input: wire::SetSubnetsInput,
) -> Result<wire::SetSubnetsOutput, ApiError> {
    let mut load_balancer = found(cx, view, input.load_balancer_arn.as_deref())?;
    if input.subnets.is_none() && input.subnet_mappings.is_none() {
        return Err(ApiError::validation("You must specify either subnets or subnet mappings"));
    }
    network::refuse_source_nat(input.enable_prefix_for_ipv6_source_nat.as_deref())?;
    if let Some(given) = input.ip_address_type {
        change_ip_address_type(cx, view, &mut load_balancer, given)?;
    }
    let place = network::Place {
        kind: load_balancer.kind,
        scheme: &load_balancer.scheme,
        ip_address_type: &load_balancer.ip_address_type,
    };
    let zones = network::zones(&cx.scope, &place, input.subnets, input.subnet_mappings)?;
    let mut kept = kept(&load_balancer);
    kept.availability_zones = Some(zones.clone());
    keep(&mut load_balancer, kept)?;
    let answer = wire::SetSubnetsOutput {
        availability_zones: Some(zones),
        ip_address_type: Some(load_balancer.ip_address_type.clone()),
        enable_prefix_for_ipv6_source_nat: None,
    };
    view.put(load_balancer);
    Ok(answer)
}

pub fn ip_address_type(
    cx: &Context,
    view: &mut View,
    input: wire::SetIpAddressTypeInput,
) -> Result<wire::SetIpAddressTypeOutput, ApiError> {
    let mut load_balancer = found(cx, view, input.load_balancer_arn.as_deref())?;
    let given = input.ip_address_type.ok_or_else(|| ApiError::validation("An IP address type must be specified"))?;
    change_ip_address_type(cx, view, &mut load_balancer, given)?;
    let answer = wire::SetIpAddressTypeOutput { ip_address_type: Some(load_balancer.ip_address_type.clone()) };
    view.put(load_balancer);
    Ok(answer)
}

fn change_ip_address_type(
    cx: &Context,
    view: &View,
    load_balancer: &mut LoadBalancer,
    given: String,
) -> Result<(), ApiError> {
    let wanted = network::ip_address_type(cx, load_balancer.kind, Some(given))?;
    if wanted != "ipv4" && listener::of(view, load_balancer).iter().any(|listener| listener.protocol.contains("UDP")) {
        return Err(network::udp_needs_ipv4());
    }
    load_balancer.ip_address_type = wanted;
    Ok(())
}

fn found(cx: &Context, view: &View, arn: Option<&str>) -> Result<LoadBalancer, ApiError> {
    reference::load_balancer(cx, view, arn).map(Arc::unwrap_or_clone)
}
