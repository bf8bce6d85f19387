//! The routes: an immutable snapshot of which listener a request belongs to, and what that listener does.
//!
//! A load balancer is found by the Host of the request, as clients write its `DNSName`, with or without a port; the names
//! `PORT.NAME…` reach a listener that is not the lowest. Or by the listener, for what arrives at its own port: there any
//! Host is right, as people put their own domains in front.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Arn, Listener};
use crate::proxy::balancer::Balancer;
use crate::proxy::group::Group;
use crate::proxy::rules::Rules;
use crate::proxy::settings::ListenerSettings;
use crate::proxy::spec::RoutesSpec;

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
    balancers: HashMap<Arn, Arc<Balancer>>,
}

/// One listener of an application load balancer, and what it does with requests.
pub struct Route {
    pub listener: Arn,
    pub record: Arc<Listener>,
    pub balancer: Arc<Balancer>,
    pub rules: Rules,
    pub settings: Arc<ListenerSettings>,
}

impl Routes {
    /// `groups` has every target group of `spec`, by its ARN.
    pub fn new(spec: &RoutesSpec, groups: &HashMap<String, Arc<Group>>, before: &Routes) -> Routes {
        let mut routes = Routes::default();
        let mut short_names: HashMap<String, usize> = HashMap::new();
        for spec in &spec.load_balancers {
            *short_names.entry(spec.record.name.to_ascii_lowercase()).or_default() += 1;
        }
        let mut port_names = Vec::new();
        for spec in &spec.load_balancers {
            let arn = spec.record.arn();
            let balancer = Balancer::next(&spec.record, before.balancers.get(&arn));
            let short = spec.record.name.to_ascii_lowercase();
            let mut names = vec![format!("{short}.{}", spec.record.scope.region)];
            if short_names.get(&short) == Some(&1) {
                names.push(short);
            }
            let mut listeners = Vec::new();
            for listener in spec.listeners.iter().filter(|listener| is_http(&listener.record)) {
                let arn = listener.record.arn();
                let before = before.by_listener.get(&arn);
                let rules = Rules::next(&listener.record, &listener.rules, groups, before.map(|route| &route.rules));
                let settings = match before {
                    Some(before) if Arc::ptr_eq(&before.record, &listener.record) => Arc::clone(&before.settings),
                    _ => Arc::new(ListenerSettings::of(&listener.record)),
                };
                let (record, balancer) = (Arc::clone(&listener.record), Arc::clone(&balancer));
                listeners.push(Arc::new(Route { listener: arn, record, balancer, rules, settings }));
            }
            for route in &listeners {
                routes.by_listener.insert(route.listener.clone(), Arc::clone(route));
                port_names
                    .extend(names.iter().map(|name| (format!("{}.{name}", route.record.port), Arc::clone(route))));
            }
            // What comes to the open port comes in the clear.
            let plain = listeners.iter().filter(|route| route.record.protocol == "HTTP");
            if let Some(lowest) = plain.min_by_key(|route| route.record.port) {
                for name in names {
                    routes.by_host.entry(name).or_insert_with(|| Arc::clone(lowest));
                }
            }
            routes.balancers.insert(arn, balancer);
        }
        // After all plain names: a load balancer that is called `8080` must not hide behind another's port, nor hide one.
        for (name, route) in port_names {
            routes.by_host.entry(name).or_insert(route);
        }
        routes
    }

    /// Every load balancer, by its ARN.
    pub fn balancers(&self) -> &HashMap<Arn, Arc<Balancer>> {
        &self.balancers
    }

    pub fn find(&self, entrance: Entrance<'_>, host: Option<&str>) -> Option<Arc<Route>> {
        let route = match entrance {
            Entrance::Listener(arn) => self.by_listener.get(arn),
            Entrance::Host => self.by_host.get(balancer_name(host?)?.as_ref()),
        };
        route.cloned()
    }
}

fn is_http(listener: &Listener) -> bool {
    matches!(listener.protocol.as_str(), "HTTP" | "HTTPS")
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
