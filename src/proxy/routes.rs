//! The routes: an immutable snapshot of which listener a request belongs to, and what that listener does.
//!
//! A load balancer is found by the Host of the request, as clients write its `DNSName`, with or without a port; the names
//! `PORT.NAME…` reach a listener that is not the lowest. Or by the listener, for what arrives at its own port: there any
//! Host is right, as people put their own domains in front.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::Arn;
use crate::model::load_balancer::Action;
use crate::proxy::group::Group;
use crate::proxy::spec::{ForwardedFor, ListenerSpec, LoadBalancerSpec, RoutesSpec};

/// What every load balancer's name ends with.
const DOMAIN: &str = ".elb.localhost";

/// Which listener a request came to.
#[derive(Clone, Copy, Debug)]
pub enum Entrance<'a> {
    /// The open port, where its Host says which load balancer is meant.
    Host,
    /// The listener's own port.
    Listener(&'a Arn),
}

#[derive(Default)]
pub struct Routes {
    by_host: HashMap<String, Arc<Route>>,
    by_listener: HashMap<Arn, Arc<Route>>,
}

/// One listener and what it does with a request.
pub struct Route {
    pub listener: Arn,
    pub port: u16,
    pub idle_timeout: Duration,
    pub forwarded_for: ForwardedFor,
    pub action: RouteAction,
}

pub enum RouteAction {
    Forward(Split),
    FixedResponse {
        status: u16,
        content_type: String,
        body: String,
    },
    Redirect(Redirect),
    /// A listener without an action: the API refuses that, so only a damaged store has it.
    Nothing,
}

pub struct Redirect {
    pub status: u16,
    pub protocol: String,
    pub host: String,
    pub port: String,
    pub path: String,
    pub query: String,
}

/// Target groups with their weights.
pub struct Split {
    groups: Vec<(Arc<Group>, u64)>,
    weight_total: u64,
    turn: AtomicU64,
}

impl Split {
    fn new(groups: Vec<(Arc<Group>, u64)>, turn: u64) -> Split {
        let weight_total = groups.iter().map(|(_, weight)| weight).sum();
        Split { groups, weight_total, turn: AtomicU64::new(turn) }
    }

    /// The group for one more request. Without any weight there is none: ELB then answers 503.
    pub fn choose(&self) -> Option<&Arc<Group>> {
        if self.weight_total == 0 {
            return None;
        }
        if let [(group, _)] = self.groups.as_slice() {
            return Some(group);
        }
        let mut point = golden(self.turn.fetch_add(1, Ordering::Relaxed), self.weight_total);
        for (group, weight) in &self.groups {
            if point < *weight {
                return Some(group);
            }
            point -= weight;
        }
        None
    }
}

/// The `count`th point of the golden-ratio sequence on `0..total`: after any number of requests each group has had its
/// share within about one, and no group gets its share in one burst.
fn golden(count: u64, total: u64) -> u64 {
    let fraction = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let point = (u128::from(fraction) * u128::from(total)) >> 64;
    u64::try_from(point).unwrap_or(0)
}

impl Routes {
    /// `groups` has every target group of `spec`, by its ARN.
    pub fn new(spec: &RoutesSpec, groups: &HashMap<String, Arc<Group>>, before: &Routes) -> Routes {
        let mut routes = Routes::default();
        let mut short_names: HashMap<String, usize> = HashMap::new();
        for balancer in &spec.load_balancers {
            *short_names.entry(balancer.name.to_ascii_lowercase()).or_default() += 1;
        }
        let mut port_names = Vec::new();
        for balancer in &spec.load_balancers {
            let short = balancer.name.to_ascii_lowercase();
            let mut names = vec![format!("{short}.{}", balancer.region)];
            if short_names.get(&short) == Some(&1) {
                names.push(short);
            }
            let listeners = route_listeners(balancer, groups, before);
            for route in &listeners {
                routes.by_listener.insert(route.listener.clone(), Arc::clone(route));
                port_names.extend(names.iter().map(|name| (format!("{}.{name}", route.port), Arc::clone(route))));
            }
            if let Some(lowest) = listeners.iter().min_by_key(|route| route.port) {
                for name in names {
                    routes.by_host.entry(name).or_insert_with(|| Arc::clone(lowest));
                }
            }
        }
        // After all plain names: a load balancer that is called `8080` must not hide behind another's port, nor hide one.
        for (name, route) in port_names {
            routes.by_host.entry(name).or_insert(route);
        }
        routes
    }

    pub fn find(&self, entrance: Entrance<'_>, host: Option<&str>) -> Option<Arc<Route>> {
        let route = match entrance {
            Entrance::Listener(arn) => self.by_listener.get(arn),
            Entrance::Host => self.by_host.get(balancer_name(host?)?.as_ref()),
        };
        route.cloned()
    }
}

fn route_listeners(
    balancer: &LoadBalancerSpec,
    groups: &HashMap<String, Arc<Group>>,
    before: &Routes,
) -> Vec<Arc<Route>> {
    let http = balancer.listeners.iter().filter(|listener| listener.protocol.eq_ignore_ascii_case("HTTP"));
    let route = |listener: &ListenerSpec| {
        // The split goes on where it was, or each publication would favour the first group.
        let turn = match before.by_listener.get(&listener.arn).map(|route| &route.action) {
            Some(RouteAction::Forward(split)) => split.turn.load(Ordering::Relaxed),
            _ => 0,
        };
        Route {
            listener: listener.arn.clone(),
            port: listener.port,
            idle_timeout: balancer.idle_timeout,
            forwarded_for: balancer.forwarded_for,
            // The last action is the one that answers; what may come before it only authenticates.
            action: listener.actions.last().map_or(RouteAction::Nothing, |action| route_action(action, groups, turn)),
        }
    };
    http.map(|listener| Arc::new(route(listener))).collect()
}

fn route_action(action: &Action, groups: &HashMap<String, Arc<Group>>, turn: u64) -> RouteAction {
    match action {
        Action::Forward { groups: wanted } => {
            let found = wanted.iter().filter_map(|(name, weight)| {
                let group = groups.get(name)?;
                Some((Arc::clone(group), u64::from(*weight)))
            });
            RouteAction::Forward(Split::new(found.collect(), turn))
        }
        Action::FixedResponse { status, content_type, body } => {
            RouteAction::FixedResponse { status: *status, content_type: content_type.clone(), body: body.clone() }
        }
        Action::Redirect { status, protocol, host, port, path, query } => RouteAction::Redirect(Redirect {
            status: *status,
            protocol: protocol.clone(),
            host: host.clone(),
            port: port.clone(),
            path: path.clone(),
            query: query.clone(),
        }),
    }
}

/// Whether a Host names a load balancer, known or not.
pub fn is_balancer_host(host: &str) -> bool {
    balancer_name(host).is_some()
}

/// `web.eu-west-1` of `Web.eu-west-1.elb.localhost:4566`.
fn balancer_name(host: &str) -> Option<Cow<'_, str>> {
    let (name, _port) = split_port(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    let at = name.len().checked_sub(DOMAIN.len())?;
    let (labels, domain) = name.split_at_checked(at)?;
    if labels.is_empty() || !domain.eq_ignore_ascii_case(DOMAIN) {
        return None;
    }
    if labels.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Some(Cow::Owned(labels.to_ascii_lowercase()))
    } else {
        Some(Cow::Borrowed(labels))
    }
}

/// Host and port of `host:port`, `host`, `[::1]:port` and `[::1]`.
pub fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') && (!host.contains(':') || host.ends_with(']')) => {
            (host, port.parse().ok())
        }
        _ => (authority, None),
    }
}
