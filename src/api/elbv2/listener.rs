//! Listeners: ports of a load balancer, and what happens to requests there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::context::Context;
use crate::api::elbv2::{load_balancer, page, reference, rule, tag};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::{Arn, Listener, LoadBalancer};
use crate::store::{Key, Prefix, View};

pub mod action;
pub mod attributes;
pub mod protocol;
mod secure;
mod users;

pub use users::Listeners;

/// Listeners of one load balancer: ELB's own quota, which also lets them be deleted with it in one transaction.
pub const LISTENERS_MAX: usize = 50;

pub fn create(
    cx: &Context,
    view: &mut View,
    input: wire::CreateListenerInput,
) -> Result<wire::CreateListenerOutput, ApiError> {
    let load_balancer = reference::load_balancer(cx, view, input.load_balancer_arn.as_deref())?;
    let protocol = input.protocol.ok_or_else(|| ApiError::validation("A listener protocol must be specified"))?;
    let port = input.port.ok_or_else(|| ApiError::validation("A listener port must be specified"))?;
    let port = checked_port(port)?;
    protocol::check(&load_balancer, &protocol)?;
    let settings = secure::Settings {
        ssl_policy: input.ssl_policy,
        certificates: input.certificates,
        alpn_policy: input.alpn_policy,
        mutual_authentication: input.mutual_authentication,
    };
    let place = action::Place { protocol: &protocol, port };
    let (default_actions, action_orders) = action::read(cx, view, input.default_actions, place)?;
    let tags = tag::given(input.tags.as_deref())?;

    let mut listener = Listener {
        scope: cx.scope.clone(),
        load_balancer: load_balancer.name.clone(),
        load_balancer_kind: load_balancer.kind,
        load_balancer_id: load_balancer.id.clone(),
        id: cx.ids.hex16(),
        port,
        protocol,
        certificates: Vec::new(),
        ssl_policy: None,
        alpn_policy: None,
        default_actions,
        action_orders,
        attributes: BTreeMap::new(),
        tags,
        created_at: cx.now,
    };
    settings.apply(&mut listener)?;
    let listeners = of(view, &load_balancer);
    if let Some(existing) = listeners.iter().find(|listener| listener.port == port) {
        // Idempotent, as at AWS: the same again is there already.
        return match is_same(existing, &listener) {
            true => Ok(wire::CreateListenerOutput { listeners: Some(vec![shown(existing)]) }),
            false => Err(duplicate(&load_balancer.arn())),
        };
    }
    if listeners.len() >= LISTENERS_MAX {
        return Err(ApiError::new(
            ErrorKind::TooManyListeners,
            format_args!("A load balancer can have at most {LISTENERS_MAX} listeners"),
        ));
    }
    Listeners::all(cx, view).check_association(&load_balancer.arn(), &listener.default_actions)?;
    let answer = shown(&listener);
    view.put(listener);
    Ok(wire::CreateListenerOutput { listeners: Some(vec![answer]) })
}

fn is_same(existing: &Listener, wanted: &Listener) -> bool {
    existing.protocol == wanted.protocol
        && existing.default_actions == wanted.default_actions
        && existing.certificates.first() == wanted.certificates.first()
        && existing.ssl_policy == wanted.ssl_policy
        && existing.alpn_policy == wanted.alpn_policy
        && tag::same(&existing.tags, &wanted.tags)
}

pub fn modify(
    cx: &Context,
    view: &mut View,
    input: wire::ModifyListenerInput,
) -> Result<wire::ModifyListenerOutput, ApiError> {
    let mut listener = (*reference::listener(cx, view, input.listener_arn.as_deref())?).clone();
    let changes_protocol = input.protocol.is_some();
    if let Some(protocol) = input.protocol {
        let load_balancer = reference::load_balancer(cx, view, Some(load_balancer_arn(&listener).as_str()))?;
        protocol::check(&load_balancer, &protocol)?;
        listener.protocol = protocol;
        attributes::keep_those_of_the_protocol(&mut listener);
    }
    let settings = secure::Settings {
        ssl_policy: input.ssl_policy,
        certificates: input.certificates,
        alpn_policy: input.alpn_policy,
        mutual_authentication: input.mutual_authentication,
    };
    settings.apply(&mut listener)?;
    let all = Listeners::all(cx, view);
    if let Some(port) = input.port {
        listener.port = checked_port(port)?;
        let is_taken = |other: &&Arc<Listener>| {
            other.load_balancer == listener.load_balancer && other.id != listener.id && other.port == listener.port
        };
        if all.iter().any(|other| is_taken(&other)) {
            return Err(duplicate(&load_balancer_arn(&listener)));
        }
    }
    if let Some(actions) = input.default_actions {
        let place = action::Place { protocol: &listener.protocol, port: listener.port };
        (listener.default_actions, listener.action_orders) = action::read(cx, view, Some(actions), place)?;
        all.check_association(&load_balancer_arn(&listener), &listener.default_actions)?;
    }
    if input.port.is_some() || changes_protocol {
        rule::check_listener(cx, view, &listener)?;
    }
    let answer = shown(&listener);
    view.put(listener);
    Ok(wire::ModifyListenerOutput { listeners: Some(vec![answer]) })
}

fn checked_port(port: i32) -> Result<u16, ApiError> {
    let port_in_range = u16::try_from(port).ok().filter(|port| *port > 0);
    port_in_range
        .ok_or_else(|| ApiError::validation(format_args!("Listener port '{port}' must be between '1-65535' inclusive")))
}

fn duplicate(load_balancer: &Arn) -> ApiError {
    ApiError::new(
        ErrorKind::DuplicateListener,
        format_args!("A listener already exists on this port for this load balancer '{load_balancer}'"),
    )
}

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeListenersInput,
) -> Result<wire::DescribeListenersOutput, ApiError> {
    let arns = input.listener_arns.unwrap_or_default();
    let mut found = match (input.load_balancer_arn.as_deref(), arns.as_slice()) {
        (Some(arn), []) => {
            let load_balancer = reference::load_balancer(cx, view, Some(arn))?;
            of(view, &load_balancer)
        }
        (None, arns @ [_, ..]) => {
            load_balancer::limit_references(arns)?;
            arns.iter().map(|arn| reference::listener(cx, view, Some(arn))).collect::<Result<_, _>>()?
        }
        _ => return Err(ApiError::validation("You must specify either listener ARNs or a load balancer ARN")),
    };
    // A port is one listener's, so by port is an order, and the one that people expect.
    let place = |listener: &Arc<Listener>| format!("{}/{:05}", listener.load_balancer, listener.port);
    found.sort_by_key(place);
    found.dedup_by(|one, other| one.id == other.id);
    let (page, next_marker) = page::page(found, place, input.marker.as_deref(), input.page_size)?;
    Ok(wire::DescribeListenersOutput {
        listeners: Some(page.iter().map(|listener| shown(listener)).collect()),
        next_marker,
    })
}

pub fn delete(
    cx: &Context,
    view: &mut View,
    input: wire::DeleteListenerInput,
) -> Result<wire::DeleteListenerOutput, ApiError> {
    let listener = reference::listener(cx, view, input.listener_arn.as_deref())?;
    rule::delete_of_listener(view, &listener);
    view.delete::<Listener>(&Key::listener(&cx.scope, &listener.load_balancer, &listener.id));
    Ok(wire::DeleteListenerOutput::default())
}

/// The listeners of a load balancer.
pub fn of(view: &View, load_balancer: &LoadBalancer) -> Vec<Arc<Listener>> {
    view.list::<Listener>(&Prefix::listeners(&load_balancer.scope, &load_balancer.name))
}

/// A listener as the wire shows it.
fn shown(listener: &Listener) -> wire::Listener {
    wire::Listener {
        listener_arn: Some(listener.arn().into()),
        load_balancer_arn: Some(load_balancer_arn(listener).into()),
        port: Some(i32::from(listener.port)),
        protocol: Some(listener.protocol.clone()),
        default_actions: Some(action::shown(&listener.default_actions, &listener.action_orders)),
        ..secure::shown(listener)
    }
}

fn load_balancer_arn(listener: &Listener) -> Arn {
    let kind = listener.load_balancer_kind.in_arns();
    Arn::load_balancer(&listener.scope, kind, &listener.load_balancer, &listener.load_balancer_id)
}
