//! The routes: an immutable snapshot of which listener a request belongs to, and what that listener does.
//!
//! A load balancer is found by the Host of the request, as clients write its `DNSName`, with or without a port; the names
//! `PORT.NAME…` reach a listener that is not the lowest. Over TLS, which the open port takes too, they are the listeners of
//! HTTPS; in the clear those of HTTP, and by `PORT.NAME…`, or where there is no other, those of HTTPS as if something in
//! front had ended TLS: targets then see `X-Forwarded-Proto: http`, which is what the client speaks. Or by the listener,
//! for what arrives at its own port: there any Host is right, as people put their own domains in front.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Arn, Listener};
use crate::proxy::balancer::Balancer;
use crate::proxy::group::Group;
use crate::proxy::rules::Rules;
use crate::proxy::settings::ListenerSettings;
use crate::proxy::spec::RoutesSpec;
use crate::proxy::tls::{ListenerTls, Tls};

/// What every load balancer's name ends with.
const DOMAIN: &str = ".elb.localhost";

/// Which listener a request came to.
#[derive(Clone, Copy, Debug)]
pub enum Entrance<'a> {
    /// The open port, where its Host says which load balancer is meant.
    Host,
    /// The open port, over TLS: the same for the listeners of HTTPS.
    SecureHost,
    /// The listener's own port.
    Listener(&'a Arn),
}

#[derive(Default)]
pub struct Routes {
    by_host: HashMap<String, Arc<Route>>,
    by_secure_host: HashMap<String, Arc<Route>>,
    by_listener: HashMap<Arn, Arc<Route>>,
    balancers: HashMap<Arn, Arc<Balancer>>,
}

/// One listener, and what it does with requests or, of a network load balancer, with connections.
pub struct Route {
    pub listener: Arn,
    pub record: Arc<Listener>,
    pub balancer: Arc<Balancer>,
    /// Of listeners of HTTPS and TLS.
    pub tls: Option<Arc<ListenerTls>>,
    pub rules: Rules,
    pub settings: Arc<ListenerSettings>,
}

impl Routes {
    /// `groups` has every target group of `spec`, by its ARN.
    pub fn new(spec: &RoutesSpec, groups: &HashMap<String, Arc<Group>>, before: &Routes, tls: &Tls) -> Routes {
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
            for listener in &spec.listeners {
                let arn = listener.record.arn();
                let before = before.by_listener.get(&arn);
                let rules = Rules::next(&listener.record, &listener.rules, groups, before.map(|route| &route.rules));
                let settings = match before {
                    Some(before) if Arc::ptr_eq(&before.record, &listener.record) => Arc::clone(&before.settings),
                    _ => Arc::new(ListenerSettings::of(&listener.record)),
                };
                let (record, balancer) = (Arc::clone(&listener.record), Arc::clone(&balancer));
                let tls = tls.listener(&record, &spec.record);
                let route = Arc::new(Route { listener: arn, record, balancer, tls, rules, settings });
                routes.by_listener.insert(route.listener.clone(), Arc::clone(&route));
                if is_http(&route.record) {
                    listeners.push(route);
                }
            }
            for route in &listeners {
                port_names
                    .extend(names.iter().map(|name| (format!("{}.{name}", route.record.port), Arc::clone(route))));
            }
            let lowest = |is_secure: bool| {
                let of_kind = listeners.iter().filter(|route| route.tls.is_some() == is_secure);
                of_kind.min_by_key(|route| route.record.port)
            };
            // In the clear, a load balancer that has only listeners of HTTPS is reached as behind something that ends TLS.
            for (found, by_name) in
                [(lowest(false).or(lowest(true)), &mut routes.by_host), (lowest(true), &mut routes.by_secure_host)]
            {
                for (name, route) in names.iter().filter_map(|name| Some((name, found?))) {
                    by_name.entry(name.clone()).or_insert_with(|| Arc::clone(route));
                }
            }
            routes.balancers.insert(arn, balancer);
        }
        // After all plain names: a load balancer that is called `8080` must not hide behind another's port, nor hide one.
        for (name, route) in port_names {
            if route.tls.is_some() {
                routes.by_secure_host.entry(name.clone()).or_insert_with(|| Arc::clone(&route));
            }
            routes.by_host.entry(name).or_insert(route);
        }
        routes
    }

    /// Every load balancer, by its ARN.
    pub fn balancers(&self) -> &HashMap<Arn, Arc<Balancer>> {
        &self.balancers
    }

    /// What a connection at a listener's own port is for.
    pub fn of_listener(&self, arn: &Arn) -> Option<&Arc<Route>> {
        self.by_listener.get(arn)
    }

    pub fn find(&self, entrance: Entrance<'_>, host: Option<&str>) -> Option<Arc<Route>> {
        let route = match entrance {
            Entrance::Listener(arn) => self.by_listener.get(arn),
            Entrance::Host => self.by_host.get(balancer_name(host?)?.as_ref()),
            Entrance::SecureHost => self.by_secure_host.get(balancer_name(host?)?.as_ref()),
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
