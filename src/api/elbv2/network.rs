//! What stands in for a VPC: ids that are made from the scope, always the same, where a caller gives none.
//!
//! There is no VPC here. Clients that read one back, or name their own subnets, get ids of the right form; AWS wants two
//! subnets in two zones, which a laptop does not have, so one is enough and none is as well.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::api::context::Context;
use crate::api::elbv2::never;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::Scope;
use crate::model::load_balancer::LoadBalancerKind;

/// Each subnet stands for a zone of its own, and zones have a letter each.
const SUBNETS_MAX: usize = 26;

/// ELB's own limit.
const SECURITY_GROUPS_MAX: usize = 5;

/// What an id has after its prefix: 8 or 17 hexadecimal digits at AWS. People who test locally write `subnet-a`.
const ID_CHARS_MAX: usize = 32;

/// The one VPC of an account in a region.
pub fn vpc(scope: &Scope) -> String {
    scope.vpc_id()
}

/// The zone of what is in no subnet: the region's first.
pub fn first_zone(scope: &Scope) -> String {
    format!("{}a", scope.region)
}

/// What Route 53 would know the region's load balancers by.
pub fn hosted_zone(scope: &Scope) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = scope.digest("hosted zone");
    let letters = digest.iter().take(13).map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    std::iter::once('Z').chain(letters).collect()
}

/// What decides which addresses the subnets of a load balancer may name.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub kind: LoadBalancerKind,
    pub scheme: &'a str,
    pub ip_address_type: &'a str,
}

/// What is bound here are addresses of this machine, whatever the type says; so only `ipv4` is more than kept.
pub fn ip_address_type(cx: &Context, kind: LoadBalancerKind, given: Option<String>) -> Result<String, ApiError> {
    let given = given.unwrap_or_else(|| String::from("ipv4"));
    if kind == LoadBalancerKind::Network && given == "dualstack-without-public-ipv4" {
        return Err(ApiError::new(
            ErrorKind::InvalidConfigurationRequest,
            "The IP address type 'dualstack-without-public-ipv4' is not supported for load balancers with type 'network'",
        ));
    }
    if given != "ipv4" {
        cx.without_effect.note(format!("IpAddressType={given}"));
    }
    Ok(given)
}

pub fn udp_needs_ipv4() -> ApiError {
    ApiError::new(
        ErrorKind::InvalidConfigurationRequest,
        "Listeners with the protocols UDP and TCP_UDP need a load balancer with the IP address type 'ipv4'",
    )
}

pub fn refuse_source_nat(given: Option<&str>) -> Result<(), ApiError> {
    match given {
        Some("on") => Err(never("EnablePrefixForIpv6SourceNat", "there are no IPv6 subnets here")),
        _ => Ok(()),
    }
}

/// The zones of the subnets that were given, or of one made up.
pub fn zones(
    scope: &Scope,
    place: &Place<'_>,
    subnets: Option<Vec<String>>,
    mappings: Option<Vec<wire::SubnetMapping>>,
) -> Result<Vec<wire::AvailabilityZone>, ApiError> {
    let mut mappings = match (subnets, mappings) {
        (Some(_), Some(_)) => {
            return Err(ApiError::validation("You must specify either subnets or subnet mappings, not both"));
        }
        (Some(subnets), None) => subnets.into_iter().map(subnet).collect(),
        (None, Some(mappings)) => mappings,
        (None, None) => Vec::new(),
    };
    if mappings.is_empty() {
        mappings.push(subnet(format!("subnet-{}", scope.hex17("subnet"))));
    }
    if mappings.len() > SUBNETS_MAX {
        return Err(ApiError::validation(format_args!("A load balancer can have at most {SUBNETS_MAX} subnets")));
    }
    if mappings.iter().any(|mapping| mapping.subnet_id.is_none()) {
        return Err(ApiError::validation("A subnet mapping must have a subnet ID"));
    }
    mappings.sort_by(|one, other| one.subnet_id.cmp(&other.subnet_id));
    if mappings.windows(2).any(|pair| pair[0].subnet_id == pair[1].subnet_id) {
        return Err(ApiError::new(
            ErrorKind::InvalidConfigurationRequest,
            "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
        ));
    }
    mappings
        .into_iter()
        .zip('a'..='z')
        .map(|(mapping, letter)| {
            let subnet = mapping.subnet_id.clone().unwrap_or_default();
            if !has_form(&subnet, "subnet-") {
                let message = format_args!("The subnet ID '{subnet}' is not valid");
                return Err(ApiError::new(ErrorKind::InvalidSubnet, message));
            }
            Ok(wire::AvailabilityZone {
                zone_name: Some(format!("{}{letter}", scope.region)),
                subnet_id: Some(subnet),
                load_balancer_addresses: Some(addresses(place, mapping)?),
                ..wire::AvailabilityZone::default()
            })
        })
        .collect()
}

fn subnet(id: String) -> wire::SubnetMapping {
    wire::SubnetMapping { subnet_id: Some(id), ..wire::SubnetMapping::default() }
}

/// The static addresses of a mapping, which are for Network Load Balancers. They are kept and shown; what is bound is
/// where this machine listens.
fn addresses(place: &Place<'_>, mapping: wire::SubnetMapping) -> Result<Vec<wire::LoadBalancerAddress>, ApiError> {
    let invalid = |message: String| Err(ApiError::new(ErrorKind::InvalidConfigurationRequest, message));
    if mapping.source_nat_ipv6_prefix.is_some() {
        return Err(never("SourceNatIpv6Prefix", "there are no IPv6 subnets here"));
    }
    let address = wire::LoadBalancerAddress {
        ip_address: None,
        allocation_id: mapping.allocation_id,
        private_ipv4_address: mapping.private_ipv4_address,
        ipv6_address: mapping.ipv6_address,
    };
    if address == wire::LoadBalancerAddress::default() {
        return Ok(Vec::new());
    }
    if place.kind == LoadBalancerKind::Application {
        return invalid(String::from(
            "Addresses of subnet mappings are not supported for load balancers with type 'application'",
        ));
    }
    if let Some(id) = &address.allocation_id {
        if !has_form(id, "eipalloc-") {
            let message = format_args!("The allocation IDs '{id}' do not exist");
            return Err(ApiError::new(ErrorKind::AllocationIdNotFound, message));
        }
        if place.scheme == "internal" {
            return invalid(format!("The allocation ID '{id}' cannot be specified for an internal load balancer"));
        }
    }
    if let Some(given) = &address.private_ipv4_address {
        if place.scheme != "internal" {
            return invalid(format!(
                "The private IPv4 address '{given}' cannot be specified for an internet-facing load balancer"
            ));
        }
        if given.parse::<Ipv4Addr>().is_err() {
            return Err(ApiError::validation(format_args!("'{given}' is not a valid IPv4 address")));
        }
    }
    if let Some(given) = &address.ipv6_address {
        if place.ip_address_type != "dualstack" {
            return invalid(format!("The IPv6 address '{given}' needs the IP address type 'dualstack'"));
        }
        if given.parse::<Ipv6Addr>().is_err() {
            return Err(ApiError::validation(format_args!("'{given}' is not a valid IPv6 address")));
        }
    }
    Ok(vec![address])
}

/// The security groups that were given; or the VPC's own for an Application Load Balancer, and none for a Network Load
/// Balancer, as at AWS. The ingress rules of tasks may name them; what may reach a listener here is whoever can reach its
/// port.
pub fn security_groups(
    scope: &Scope,
    kind: LoadBalancerKind,
    groups: Option<Vec<String>>,
) -> Result<Vec<String>, ApiError> {
    let groups = groups.unwrap_or_default();
    if groups.is_empty() {
        return Ok(match kind {
            LoadBalancerKind::Application => vec![format!("sg-{}", scope.hex17("security group"))],
            LoadBalancerKind::Network => Vec::new(),
        });
    }
    if groups.len() > SECURITY_GROUPS_MAX {
        return Err(ApiError::new(
            ErrorKind::InvalidConfigurationRequest,
            format_args!("A load balancer can have at most {SECURITY_GROUPS_MAX} security groups"),
        ));
    }
    match groups.iter().find(|group| !has_form(group, "sg-")) {
        Some(wrong) => Err(ApiError::new(
            ErrorKind::InvalidSecurityGroup,
            format_args!("The security group ID '{wrong}' is not valid"),
        )),
        None => Ok(groups),
    }
}

/// The VPC that was given for a target group, or the one of the scope.
pub fn given_vpc(scope: &Scope, vpc_id: Option<String>) -> Result<String, ApiError> {
    match vpc_id {
        None => Ok(vpc(scope)),
        Some(given) if has_form(&given, "vpc-") => Ok(given),
        Some(given) => Err(ApiError::validation(format_args!("The VPC ID '{given}' is not valid"))),
    }
}

/// Ids are made up here, so names that people make up for local use are taken too: `subnet-public-a`.
fn has_form(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|rest| {
        (1..=ID_CHARS_MAX).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope { account: "123456789012".parse().unwrap(), region: "eu-central-1".parse().unwrap() }
    }

    #[test]
    fn what_is_made_up_is_stable_and_of_the_right_form() {
        let vpc = vpc(&scope());
        assert_eq!(vpc, super::vpc(&scope()));
        assert!(vpc.len() == 21 && has_form(&vpc, "vpc-"), "{vpc}");
        assert_eq!(hosted_zone(&scope()).len(), 14);
    }

    #[test]
    fn each_subnet_is_a_zone() {
        let names = |zones: Vec<wire::AvailabilityZone>| -> Vec<String> {
            zones.into_iter().filter_map(|zone| zone.zone_name).collect()
        };
        let place = Place { kind: LoadBalancerKind::Application, scheme: "internet-facing", ip_address_type: "ipv4" };
        let given =
            |subnets: &[&str]| zones(&scope(), &place, Some(subnets.iter().map(|id| id.to_string()).collect()), None);
        assert_eq!(names(zones(&scope(), &place, None, None).unwrap()), ["eu-central-1a"]);
        assert_eq!(names(given(&["subnet-b", "subnet-a"]).unwrap()), ["eu-central-1a", "eu-central-1b"]);
        assert_eq!(given(&["subnet-a", "subnet-a"]).unwrap_err().kind, ErrorKind::InvalidConfigurationRequest);
        assert_eq!(given(&["a"]).unwrap_err().message, "The subnet ID 'a' is not valid");
        assert_eq!(
            security_groups(&scope(), LoadBalancerKind::Network, Some(vec!["x".into()])).unwrap_err().kind,
            ErrorKind::InvalidSecurityGroup
        );
    }
}
