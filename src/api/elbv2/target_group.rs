//! Target groups: what is behind a listener, and how it is judged to be healthy.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::context::Context;
use crate::api::elbv2::listener::Listeners;
use crate::api::elbv2::{load_balancer, name, network, never, page, reference, tag};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::load_balancer::{CHECK_INTERVAL_MS, CHECK_INTERVAL_TAG, checked_interval_ms};
use crate::model::{Tag, Target, TargetGroup};
use crate::store::{Key, Prefix, View};

pub mod attributes;
mod health_check;

use health_check::Settings;

/// Target groups of an account in a region: ELB's own quota.
pub const TARGET_GROUPS_MAX: usize = 3000;

/// Targets that are deleted together with their group: a transaction has at most 128 writes, and the group is one. Targets
/// of clients are at most `target::CLIENT_TARGETS_MAX`; what is left of services' tasks, `control` takes away as it does
/// with any target whose service does not want it.
const DELETED_TARGETS_MAX: usize = 120;

pub fn create(
    cx: &Context,
    view: &mut View,
    input: wire::CreateTargetGroupInput,
) -> Result<wire::CreateTargetGroupOutput, ApiError> {
    let group = wanted(cx, input)?;
    let group = match view.get::<TargetGroup>(&Key::target_group(&cx.scope, &group.name)) {
        // Idempotent by name, as at AWS.
        Some(existing) if is_same(&existing, &group) => existing,
        Some(_) => {
            return Err(ApiError::new(
                ErrorKind::DuplicateTargetGroupName,
                format_args!("A target group with the same name '{}' exists, but with different settings", group.name),
            ));
        }
        None if view.count(&Prefix::target_groups(&cx.scope)) >= TARGET_GROUPS_MAX => {
            return Err(ApiError::new(
                ErrorKind::TooManyTargetGroups,
                format_args!("At most {TARGET_GROUPS_MAX} target groups can exist in a region"),
            ));
        }
        None => {
            let group = Arc::new(group);
            view.put::<TargetGroup>(Arc::clone(&group));
            group
        }
    };
    let listeners = Listeners::all(cx, view);
    Ok(wire::CreateTargetGroupOutput { target_groups: Some(vec![shown(&group, &listeners)]) })
}

/// The record that a request asks for.
fn wanted(cx: &Context, input: wire::CreateTargetGroupInput) -> Result<TargetGroup, ApiError> {
    let name = name::target_group(input.name)?;
    let target_type = target_type(input.target_type)?;
    if input.ip_address_type.as_deref().is_some_and(|given| given != "ipv4") {
        return Err(never("The IP address type 'ipv6' of a target group", "targets are reached at IPv4 addresses"));
    }
    if input.target_control_port.is_some() {
        return Err(never("TargetControlPort", "there is no target control agent here"));
    }
    let protocol = protocol(input.protocol)?;
    let protocol_version = protocol_version(&protocol, input.protocol_version)?;
    let port = input.port.ok_or_else(|| ApiError::validation("A port must be specified"))?;
    let port = u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| ApiError::validation(format_args!("Port '{port}' must be between 1 and 65535")))?;
    let settings = Settings {
        enabled: input.health_check_enabled,
        protocol: input.health_check_protocol,
        port: input.health_check_port,
        path: input.health_check_path,
        interval_seconds: input.health_check_interval_seconds,
        timeout_seconds: input.health_check_timeout_seconds,
        healthy_threshold: input.healthy_threshold_count,
        unhealthy_threshold: input.unhealthy_threshold_count,
        matcher: input.matcher,
    };
    let kind = health_check::Kind { protocol: &protocol, protocol_version: &protocol_version };
    let health_check = settings.create(kind)?;
    let tags = tag::given(input.tags.as_deref())?;
    check_tags(&tags)?;
    Ok(TargetGroup {
        scope: cx.scope.clone(),
        name,
        id: cx.ids.hex16(),
        created_at: cx.now,
        protocol,
        protocol_version,
        port,
        target_type,
        vpc_id: Some(network::given_vpc(&cx.scope, input.vpc_id)?),
        health_check,
        attributes: BTreeMap::new(),
        tags,
    })
}

fn target_type(given: Option<String>) -> Result<String, ApiError> {
    let target_type = given.unwrap_or_else(|| String::from("instance"));
    let reason = match target_type.as_str() {
        "ip" | "instance" => return Ok(target_type),
        "lambda" => {
            "there are no functions here; run the code as a service of tasks, in a target group of the type 'ip'"
        }
        "alb" => {
            "register the address and port of the Application Load Balancer's listener in a target group of the type 'ip'"
        }
        other => return Err(ApiError::validation(format_args!("Target type '{other}' is not valid"))),
    };
    Err(never(format_args!("The target type '{target_type}'"), reason))
}

fn protocol(given: Option<String>) -> Result<String, ApiError> {
    let protocol = given.ok_or_else(|| ApiError::validation("A protocol must be specified"))?;
    let reason = match protocol.as_str() {
        "HTTP" | "HTTPS" | "TCP" | "TLS" | "UDP" | "TCP_UDP" => return Ok(protocol),
        "QUIC" | "TCP_QUIC" => "connections are not told apart by QUIC's server IDs; UDP carries QUIC as it is",
        "GENEVE" => "it is for gateway load balancers, which need a VPC, and there is none here",
        other => return Err(ApiError::validation(format_args!("Protocol '{other}' is not valid"))),
    };
    Err(never(format_args!("The target group protocol '{protocol}'"), reason))
}

/// Of the versions of HTTP; empty for what is not HTTP.
fn protocol_version(protocol: &str, given: Option<String>) -> Result<String, ApiError> {
    match (protocol, given) {
        ("HTTP" | "HTTPS", None) => Ok(String::from("HTTP1")),
        ("HTTP" | "HTTPS", Some(version)) if matches!(version.as_str(), "HTTP1" | "HTTP2" | "GRPC") => Ok(version),
        ("HTTP" | "HTTPS", Some(other)) => {
            Err(ApiError::validation(format_args!("Protocol version '{other}' must be one of HTTP1, HTTP2, GRPC")))
        }
        (_, None) => Ok(String::new()),
        (protocol, Some(_)) => Err(ApiError::new(
            ErrorKind::InvalidConfigurationRequest,
            format_args!("Protocol versions are not supported for target groups with the {protocol} protocol"),
        )),
    }
}

/// What a tag of ours must be, which changes how targets are checked.
pub fn check_tags(tags: &[Tag]) -> Result<(), ApiError> {
    let Some(tag) = tags.iter().find(|tag| tag.key == CHECK_INTERVAL_TAG) else { return Ok(()) };
    let value = tag.value.as_deref().unwrap_or_default();
    match checked_interval_ms(value) {
        Some(_) => Ok(()),
        None => Err(ApiError::validation(format_args!(
            "The value '{value}' of the tag '{CHECK_INTERVAL_TAG}' must be a whole number of milliseconds between {} and {}",
            CHECK_INTERVAL_MS.start(),
            CHECK_INTERVAL_MS.end()
        ))),
    }
}

fn is_same(existing: &TargetGroup, wanted: &TargetGroup) -> bool {
    existing.protocol == wanted.protocol
        && existing.protocol_version == wanted.protocol_version
        && existing.port == wanted.port
        && existing.target_type == wanted.target_type
        && existing.vpc_id == wanted.vpc_id
        && existing.health_check == wanted.health_check
        && tag::same(&existing.tags, &wanted.tags)
}

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeTargetGroupsInput,
) -> Result<wire::DescribeTargetGroupsOutput, ApiError> {
    let arns = input.target_group_arns.unwrap_or_default();
    let names = input.names.unwrap_or_default();
    let listeners = Listeners::all(cx, view);
    let mut found = match (input.load_balancer_arn.as_deref(), arns.as_slice(), names.as_slice()) {
        (None, [], []) => view.list::<TargetGroup>(&Prefix::target_groups(&cx.scope)),
        (Some(arn), [], []) => {
            let arn = reference::load_balancer(cx, view, Some(arn))?.arn();
            let mut groups = view.list::<TargetGroup>(&Prefix::target_groups(&cx.scope));
            groups.retain(|group| listeners.load_balancers_of(group).contains(&arn));
            groups
        }
        (None, arns, []) => {
            load_balancer::limit_references(arns)?;
            arns.iter().map(|arn| reference::target_group(cx, view, Some(arn))).collect::<Result<_, _>>()?
        }
        (None, [], names) => {
            load_balancer::limit_references(names)?;
            let named = |name: &String| view.get::<TargetGroup>(&Key::target_group(&cx.scope, name));
            let found = names.iter().map(named).collect::<Option<_>>();
            found.ok_or_else(reference::target_group_not_found)?
        }
        _ => {
            return Err(ApiError::validation(
                "You can specify only one of the following: the load balancer, target groups by ARN, target groups by name",
            ));
        }
    };
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found.dedup_by(|one, other| one.name == other.name);
    let (page, next_marker) = page::page(found, |found| found.name.clone(), input.marker.as_deref(), input.page_size)?;
    Ok(wire::DescribeTargetGroupsOutput {
        target_groups: Some(page.iter().map(|group| shown(group, &listeners)).collect()),
        next_marker,
    })
}

pub fn modify(
    cx: &Context,
    view: &mut View,
    input: wire::ModifyTargetGroupInput,
) -> Result<wire::ModifyTargetGroupOutput, ApiError> {
    let mut group = (*reference::target_group(cx, view, input.target_group_arn.as_deref())?).clone();
    let settings = Settings {
        enabled: input.health_check_enabled,
        protocol: input.health_check_protocol,
        port: input.health_check_port,
        path: input.health_check_path,
        interval_seconds: input.health_check_interval_seconds,
        timeout_seconds: input.health_check_timeout_seconds,
        healthy_threshold: input.healthy_threshold_count,
        unhealthy_threshold: input.unhealthy_threshold_count,
        matcher: input.matcher,
    };
    let kind = health_check::Kind { protocol: &group.protocol, protocol_version: &group.protocol_version };
    group.health_check = settings.apply(group.health_check.clone(), kind)?;
    let answer = shown(&group, &Listeners::all(cx, view));
    view.put(group);
    Ok(wire::ModifyTargetGroupOutput { target_groups: Some(vec![answer]) })
}

/// Deletes a target group that no listener uses. What does not exist is deleted already, as at AWS.
pub fn delete(
    cx: &Context,
    view: &mut View,
    input: wire::DeleteTargetGroupInput,
) -> Result<wire::DeleteTargetGroupOutput, ApiError> {
    let group = match reference::target_group(cx, view, input.target_group_arn.as_deref()) {
        Ok(group) => group,
        Err(error) if error.kind == ErrorKind::TargetGroupNotFound => return Ok(Default::default()),
        Err(error) => return Err(error),
    };
    if Listeners::all(cx, view).use_group(&group) {
        return Err(ApiError::new(
            ErrorKind::ResourceInUse,
            format_args!("Target group '{}' is currently in use by a listener or a rule", group.arn()),
        ));
    }
    let mut targets = view.list::<Target>(&Prefix::targets(&cx.scope, &group.name));
    // Those of clients first: nobody else would ever take them away.
    targets.sort_by_key(|target| target.task.is_some());
    for target in targets.iter().take(DELETED_TARGETS_MAX) {
        view.delete::<Target>(&Key::target(&cx.scope, &group.name, target.address, target.port));
    }
    view.delete::<TargetGroup>(&Key::target_group(&cx.scope, &group.name));
    Ok(wire::DeleteTargetGroupOutput::default())
}

/// A target group as the wire shows it.
fn shown(group: &TargetGroup, listeners: &Listeners) -> wire::TargetGroup {
    let check = &group.health_check;
    let number = |value: u32| Some(i32::try_from(value).unwrap_or(i32::MAX));
    wire::TargetGroup {
        target_group_arn: Some(group.arn().into()),
        target_group_name: Some(group.name.clone()),
        protocol: Some(group.protocol.clone()),
        port: Some(i32::from(group.port)),
        vpc_id: group.vpc_id.clone(),
        health_check_protocol: Some(check.protocol.clone()),
        health_check_port: Some(check.port.clone()),
        health_check_enabled: Some(check.enabled),
        health_check_interval_seconds: number(check.interval_seconds),
        health_check_timeout_seconds: number(check.timeout_seconds),
        healthy_threshold_count: number(check.healthy_threshold),
        unhealthy_threshold_count: number(check.unhealthy_threshold),
        health_check_path: Some(check.path.clone()).filter(|path| !path.is_empty()),
        matcher: health_check::shown_matcher(check, &group.protocol_version),
        load_balancer_arns: Some(listeners.load_balancers_of(group).into_iter().map(String::from).collect()),
        target_type: Some(group.target_type.clone()),
        protocol_version: Some(group.protocol_version.clone()).filter(|version| !version.is_empty()),
        ip_address_type: Some(String::from("ipv4")),
        target_control_port: None,
    }
}
