//! Targets: addresses behind a target group, and how they are. The tasks of a service come and go by themselves; clients
//! may register and deregister others, and those too.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::api::context::Context;
use crate::api::elbv2::listener::Listeners;
use crate::api::elbv2::{network, never, reference};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::container_instance::ec2_instance_id;
use crate::model::{Target, TargetAnomaly, TargetGroup, TargetHealth, TargetState};
use crate::store::{Key, Prefix, View};

/// Targets that clients may register in one group. AWS allows 1000; with this many, the group and all of them can be deleted
/// in one transaction (128 writes).
pub const CLIENT_TARGETS_MAX: usize = 100;

/// Targets of one call: each is a read and a write of the transaction.
const CALL_TARGETS_MAX: usize = 100;

pub fn register(
    cx: &Context,
    view: &mut View,
    input: wire::RegisterTargetsInput,
) -> Result<wire::RegisterTargetsOutput, ApiError> {
    let group = reference::target_group(cx, view, input.target_group_arn.as_deref())?;
    let places = places(cx, &group, input.targets)?;
    let registered = view.list::<Target>(&Prefix::targets(&cx.scope, &group.name));
    let mut of_clients = registered.iter().filter(|target| target.task.is_none()).count();
    for (address, port) in places {
        let existing = registered.iter().find(|target| (target.address, target.port) == (address, port));
        // Once more is as good as once; what is draining comes back, and must show that it is healthy.
        if existing.is_some_and(|target| target.draining_since.is_none()) {
            continue;
        }
        of_clients += usize::from(existing.is_none_or(|target| target.task.is_some()));
        if of_clients > CLIENT_TARGETS_MAX {
            return Err(ApiError::new(
                ErrorKind::TooManyTargets,
                format_args!("At most {CLIENT_TARGETS_MAX} targets can be registered with a target group by clients"),
            ));
        }
        view.put(Target {
            scope: cx.scope.clone(),
            group: group.name.clone(),
            address,
            port,
            task: None,
            registered_at: cx.now,
            draining_since: None,
            health: health(TargetState::Initial, "Elb.RegistrationInProgress", "Target registration is in progress"),
            anomaly: TargetAnomaly::default(),
        });
    }
    Ok(wire::RegisterTargetsOutput::default())
}

/// Lets targets drain; `control` takes them away when they have. Where no listener uses the group nothing can be in
/// flight, so they are gone at once. What is not registered is deregistered already, as at AWS.
pub fn deregister(
    cx: &Context,
    view: &mut View,
    input: wire::DeregisterTargetsInput,
) -> Result<wire::DeregisterTargetsOutput, ApiError> {
    let group = reference::target_group(cx, view, input.target_group_arn.as_deref())?;
    let places = places(cx, &group, input.targets)?;
    let is_used = Listeners::all(cx, view).use_group(&group);
    for (address, port) in places {
        let key = Key::target(&cx.scope, &group.name, address, port);
        let Some(target) = view.get::<Target>(&key) else { continue };
        if !is_used {
            view.delete::<Target>(&key);
        } else if target.draining_since.is_none() {
            let mut target = (*target).clone();
            target.draining_since = Some(cx.now);
            target.health = health(
                TargetState::Draining,
                "Target.DeregistrationInProgress",
                "Target deregistration is in progress",
            );
            view.put(target);
        }
    }
    Ok(wire::DeregisterTargetsOutput::default())
}

pub fn describe_health(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeTargetHealthInput,
) -> Result<wire::DescribeTargetHealthOutput, ApiError> {
    let group = reference::target_group(cx, view, input.target_group_arn.as_deref())?;
    let is_used = Listeners::all(cx, view).use_group(&group);
    let include = input.include.unwrap_or_default();
    let anomalies = include.iter().any(|part| part == "AnomalyDetection" || part == "All");
    let registered = view.list::<Target>(&Prefix::targets(&cx.scope, &group.name));
    let asked = input.targets.filter(|targets| !targets.is_empty());
    let places: BTreeSet<(Ipv4Addr, u16)> = match asked {
        None => registered.iter().map(|target| (target.address, target.port)).collect(),
        asked => places(cx, &group, asked)?,
    };
    let descriptions = places.into_iter().map(|(address, port)| {
        let target = registered.iter().find(|target| (target.address, target.port) == (address, port));
        let anomaly = anomalies.then(|| target.map(|target| target.anomaly).unwrap_or_default());
        describe(cx, &group, (address, port), state(target.map(|target| &**target), is_used), anomaly)
    });
    Ok(wire::DescribeTargetHealthOutput { target_health_descriptions: Some(descriptions.collect()) })
}

/// How a target is, as a client sees it. Arms are in order of precedence.
fn state(target: Option<&Target>, is_used: bool) -> TargetHealth {
    match target {
        None => health(TargetState::Unused, "Target.NotRegistered", "Target is not registered to the target group"),
        Some(target) if target.draining_since.is_some() => target.health.clone(),
        Some(_) if !is_used => health(
            TargetState::Unused,
            "Target.NotInUse",
            "Target group is not configured to receive traffic from the load balancer",
        ),
        // It was not in use until now, and no check has been made since.
        Some(target) if target.health.reason.as_deref() == Some("Target.NotInUse") => {
            health(TargetState::Initial, "Elb.InitialHealthChecking", "Initial health checks in progress")
        }
        Some(target) => target.health.clone(),
    }
}

fn health(state: TargetState, reason: &str, description: &str) -> TargetHealth {
    TargetHealth { state, reason: Some(reason.to_owned()), description: Some(description.to_owned()) }
}

fn describe(
    cx: &Context,
    group: &TargetGroup,
    (address, port): (Ipv4Addr, u16),
    health: TargetHealth,
    anomaly: Option<TargetAnomaly>,
) -> wire::TargetHealthDescription {
    let is_instance = group.target_type == "instance";
    let id = match address {
        Ipv4Addr::LOCALHOST if is_instance => ec2_instance_id(cx.config.node),
        address => address.to_string(),
    };
    wire::TargetHealthDescription {
        target: Some(wire::TargetDescription {
            id: Some(id),
            port: Some(i32::from(port)),
            // An instance's zone is known, and not shown.
            availability_zone: Some(network::first_zone(&group.scope)).filter(|_| !is_instance),
            quic_server_id: None,
        }),
        health_check_port: Some(match group.health_check.port.as_str() {
            "traffic-port" => port.to_string(),
            other => other.to_owned(),
        }),
        target_health: Some(wire::TargetHealth {
            state: Some(health.state.as_str().to_owned()),
            reason: health.reason,
            description: health.description,
        }),
        anomaly_detection: anomaly.map(|anomaly| wire::AnomalyDetection {
            result: Some(String::from(if anomaly.is_anomalous { "anomalous" } else { "normal" })),
            mitigation_in_effect: Some(String::from(if anomaly.is_mitigated { "yes" } else { "no" })),
        }),
        administrative_override: None,
    }
}

/// The addresses and ports that a request names, checked. Without a port of its own a target has the group's.
fn places(
    cx: &Context,
    group: &TargetGroup,
    targets: Option<Vec<wire::TargetDescription>>,
) -> Result<BTreeSet<(Ipv4Addr, u16)>, ApiError> {
    let targets = targets.unwrap_or_default();
    if targets.is_empty() {
        return Err(ApiError::validation("At least one target must be specified"));
    }
    if targets.len() > CALL_TARGETS_MAX {
        return Err(ApiError::new(
            ErrorKind::TooManyTargets,
            format_args!("At most {CALL_TARGETS_MAX} targets can be specified in one call"),
        ));
    }
    targets.into_iter().map(|target| place(cx, group, target)).collect()
}

fn place(cx: &Context, group: &TargetGroup, target: wire::TargetDescription) -> Result<(Ipv4Addr, u16), ApiError> {
    if target.quic_server_id.is_some() {
        return Err(never("QuicServerId", "no target group here has the protocol QUIC"));
    }
    let zone = target.availability_zone.as_deref();
    if zone.is_some_and(|zone| zone != "all" && !zone.starts_with(cx.scope.region.as_str())) {
        return Err(ApiError::validation(format_args!(
            "Availability zone '{}' must be 'all' or one of the region",
            zone.unwrap_or_default()
        )));
    }
    let id = target.id.unwrap_or_default();
    let address = match group.target_type.as_str() {
        "instance" if id == ec2_instance_id(cx.config.node) => Ipv4Addr::LOCALHOST,
        "instance" => {
            return Err(ApiError::new(
                ErrorKind::InvalidTarget,
                format_args!(
                    "The following targets are not valid instances: '{id}'. The only one here is this node, '{}'",
                    ec2_instance_id(cx.config.node)
                ),
            ));
        }
        _ => checked_address(&id)?,
    };
    let port = match target.port {
        None => group.port,
        Some(port) => u16::try_from(port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| ApiError::validation(format_args!("Port '{port}' must be between 1 and 65535")))?,
    };
    Ok((address, port))
}

/// An address that a load balancer may send to: of this machine, or of a private network, as at AWS; never a public one, nor
/// one where a cloud keeps credentials.
fn checked_address(id: &str) -> Result<Ipv4Addr, ApiError> {
    let address: Ipv4Addr = id
        .parse()
        .map_err(|_| ApiError::validation(format_args!("The IP address '{id}' is not a valid IPv4 address")))?;
    let is_shared = address.octets()[0] == 100 && (64..128).contains(&address.octets()[1]);
    match address.is_loopback() || address.is_private() || is_shared {
        true => Ok(address),
        false => Err(ApiError::new(
            ErrorKind::InvalidTarget,
            format_args!(
                "The IP address '{id}' is not within 127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10"
            ),
        )),
    }
}
