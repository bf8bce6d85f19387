//! What stands in for a VPC: ids that are made from the scope, always the same, where a caller gives none.
//!
//! There is no VPC here. Clients that read one back, or name their own subnets, get ids of the right form; AWS wants two
//! subnets in two zones, which a laptop does not have, so one is enough and none is as well.

use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::Scope;

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

/// The zones of the subnets that were given, or of one made up.
pub fn zones(
    scope: &Scope,
    subnets: Option<Vec<String>>,
    mappings: Option<Vec<wire::SubnetMapping>>,
) -> Result<Vec<wire::AvailabilityZone>, ApiError> {
    let mut subnets = match (subnets, mappings) {
        (Some(_), Some(_)) => {
            return Err(ApiError::validation("You must specify either subnets or subnet mappings, not both"));
        }
        (Some(subnets), None) => subnets,
        (None, Some(mappings)) => mappings.into_iter().map(mapped).collect::<Result<Vec<String>, ApiError>>()?,
        (None, None) => Vec::new(),
    };
    if subnets.is_empty() {
        subnets.push(format!("subnet-{}", scope.hex17("subnet")));
    }
    subnets.sort();
    let given = subnets.len();
    subnets.dedup();
    if subnets.len() < given {
        return Err(ApiError::new(
            ErrorKind::InvalidConfigurationRequest,
            "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
        ));
    }
    if subnets.len() > SUBNETS_MAX {
        return Err(ApiError::validation(format_args!("A load balancer can have at most {SUBNETS_MAX} subnets")));
    }
    subnets
        .into_iter()
        .zip('a'..='z')
        .map(|(subnet, letter)| match has_form(&subnet, "subnet-") {
            true => Ok(wire::AvailabilityZone {
                zone_name: Some(format!("{}{letter}", scope.region)),
                subnet_id: Some(subnet),
                load_balancer_addresses: Some(Vec::new()),
                ..wire::AvailabilityZone::default()
            }),
            false => {
                Err(ApiError::new(ErrorKind::InvalidSubnet, format_args!("The subnet ID '{subnet}' is not valid")))
            }
        })
        .collect()
}

/// The subnet of a mapping. Its addresses are for Network Load Balancers.
fn mapped(mapping: wire::SubnetMapping) -> Result<String, ApiError> {
    let has_address = mapping.allocation_id.is_some()
        || mapping.private_ipv4_address.is_some()
        || mapping.ipv6_address.is_some()
        || mapping.source_nat_ipv6_prefix.is_some();
    if has_address {
        return Err(ApiError::new(
            ErrorKind::InvalidConfigurationRequest,
            "Addresses of subnet mappings are not supported for load balancers with type 'application'",
        ));
    }
    mapping.subnet_id.ok_or_else(|| ApiError::validation("A subnet mapping must have a subnet ID"))
}

/// The security groups that were given, or the VPC's own. They are shown; what may reach a listener here is whoever can
/// reach its port.
pub fn security_groups(scope: &Scope, groups: Option<Vec<String>>) -> Result<Vec<String>, ApiError> {
    let groups = groups.unwrap_or_default();
    if groups.is_empty() {
        return Ok(vec![format!("sg-{}", scope.hex17("security group"))]);
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
        let given = |subnets: &[&str]| zones(&scope(), Some(subnets.iter().map(|id| id.to_string()).collect()), None);
        assert_eq!(names(zones(&scope(), None, None).unwrap()), ["eu-central-1a"]);
        assert_eq!(names(given(&["subnet-b", "subnet-a"]).unwrap()), ["eu-central-1a", "eu-central-1b"]);
        assert_eq!(given(&["subnet-a", "subnet-a"]).unwrap_err().kind, ErrorKind::InvalidConfigurationRequest);
        assert_eq!(given(&["a"]).unwrap_err().message, "The subnet ID 'a' is not valid");
        assert_eq!(
            security_groups(&scope(), Some(vec!["x".into()])).unwrap_err().kind,
            ErrorKind::InvalidSecurityGroup
        );
    }
}
