//! What listeners speak: which protocols each type of load balancer has, and to which target groups each can forward.

use crate::api::context::Context;
use crate::api::elbv2::{network, never, reference};
use crate::api::error::{ApiError, ErrorKind};
use crate::model::load_balancer::{Action, LoadBalancerKind};
use crate::model::{LoadBalancer, TargetGroup};
use crate::store::View;

/// Whether a load balancer may have a listener of that protocol.
pub fn check(load_balancer: &LoadBalancer, protocol: &str) -> Result<(), ApiError> {
    if let "QUIC" | "TCP_QUIC" = protocol {
        return Err(never(
            format_args!("The listener protocol '{protocol}'"),
            "connections are not told apart by QUIC's server IDs; UDP carries QUIC as it is",
        ));
    }
    let (allowed, shown): (&[&str], _) = match load_balancer.kind {
        LoadBalancerKind::Application => (&["HTTP", "HTTPS"], "HTTPS, HTTP"),
        LoadBalancerKind::Network => (&["TCP", "TLS", "UDP", "TCP_UDP"], "TLS, TCP, TCP_UDP, UDP"),
    };
    if !allowed.contains(&protocol) {
        return Err(ApiError::validation(format_args!("Listener protocol '{protocol}' must be one of '{shown}'")));
    }
    match protocol.contains("UDP") && load_balancer.ip_address_type != "ipv4" {
        true => Err(network::udp_needs_ipv4()),
        false => Ok(()),
    }
}

/// Whether a listener of that protocol can forward to the target groups of an action.
pub fn check_groups(cx: &Context, view: &View, protocol: &str, action: &Action) -> Result<(), ApiError> {
    for (arn, _) in action.groups() {
        let group = reference::target_group(cx, view, Some(arn))?;
        fits(protocol, &group)?;
    }
    Ok(())
}

/// HTTP/2 and gRPC behind a plain HTTP listener are refused
/// at AWS, because browsers speak HTTP/2 over TLS only; here a client that begins with HTTP/2 needs no certificate.
fn fits(protocol: &str, group: &TargetGroup) -> Result<(), ApiError> {
    let is_possible = match protocol {
        "HTTP" | "HTTPS" => !group.is_network(),
        "TCP" => matches!(group.protocol.as_str(), "TCP" | "TCP_UDP"),
        "TLS" => matches!(group.protocol.as_str(), "TCP" | "TLS"),
        "UDP" => group.is_udp(),
        // Of one port, so both must be served by the same targets.
        _ => group.protocol == "TCP_UDP",
    };
    match is_possible {
        true => Ok(()),
        false => Err(ApiError::new(
            ErrorKind::IncompatibleProtocols,
            format_args!(
                "The listener and its associated target group '{}' have incompatible protocols: '{protocol}' and '{}'",
                group.arn(),
                group.protocol
            ),
        )),
    }
}
