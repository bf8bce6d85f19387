//! Records for tests: a load balancer `web` with a listener and a target group.

#![allow(clippy::unwrap_used, reason = "all of it is tests, also what is not marked as one")]

use std::sync::Arc;

use crate::model::load_balancer::{Action, HealthCheck, LoadBalancerKind};
use crate::model::rule::Condition;
use crate::model::{Arn, Listener, LoadBalancer, Rule, Scope, TargetGroup, Timestamp};
use crate::proxy::spec::{ListenerSpec, LoadBalancerSpec, RoutesSpec, TargetGroupSpec, TargetSpec};

pub fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() }
}

pub fn load_balancer(name: &str) -> LoadBalancer {
    LoadBalancer {
        scope: scope(),
        name: name.into(),
        kind: LoadBalancerKind::Application,
        id: "0000000000000002".into(),
        created_at: Timestamp(0),
        scheme: "internet-facing".into(),
        ip_address_type: "ipv4".into(),
        attributes: Default::default(),
        tags: Vec::new(),
        document: Default::default(),
    }
}

/// A listener of `web`.
pub fn listener(port: u16, default_actions: Vec<Action>) -> Listener {
    Listener {
        scope: scope(),
        load_balancer: "web".into(),
        load_balancer_kind: LoadBalancerKind::Application,
        load_balancer_id: "0000000000000002".into(),
        id: "0000000000000003".into(),
        port,
        protocol: "HTTP".into(),
        certificates: Vec::new(),
        ssl_policy: None,
        alpn_policy: None,
        default_actions,
        action_orders: Vec::new(),
        attributes: Default::default(),
        tags: Vec::new(),
        created_at: Timestamp(0),
    }
}

/// A rule of the listener of `web`.
pub fn rule(priority: u32, conditions: Vec<Condition>, actions: Vec<Action>) -> Rule {
    Rule {
        scope: scope(),
        load_balancer: "web".into(),
        load_balancer_kind: LoadBalancerKind::Application,
        load_balancer_id: "0000000000000002".into(),
        listener: "0000000000000003".into(),
        id: format!("{priority:016x}"),
        priority,
        conditions,
        actions,
        action_orders: Vec::new(),
        transforms: Vec::new(),
        tags: Vec::new(),
        created_at: Timestamp(0),
    }
}

pub fn health_check() -> HealthCheck {
    HealthCheck {
        enabled: true,
        protocol: "HTTP".into(),
        port: "traffic-port".into(),
        path: "/health".into(),
        interval_seconds: 10,
        timeout_seconds: 2,
        healthy_threshold: 3,
        unhealthy_threshold: 2,
        matcher: "200".into(),
    }
}

pub fn target_group(name: &str) -> TargetGroup {
    TargetGroup {
        scope: scope(),
        name: name.into(),
        id: "0000000000000001".into(),
        created_at: Timestamp(0),
        protocol: "HTTP".into(),
        protocol_version: "HTTP1".into(),
        port: 80,
        target_type: "ip".into(),
        vpc_id: None,
        health_check: health_check(),
        attributes: Default::default(),
        tags: Vec::new(),
    }
}

pub fn group_arn() -> Arn {
    target_group("web").arn()
}

pub fn listener_arn() -> Arn {
    listener(80, Vec::new()).arn()
}

/// A fixed response.
pub fn fixed(body: &str) -> Action {
    Action::FixedResponse { status: 200, content_type: "text/plain".into(), body: body.into() }
}

pub fn listening(listener: Listener) -> ListenerSpec {
    ListenerSpec { record: Arc::new(listener), rules: Vec::new() }
}

pub fn balancer(name: &str, listeners: Vec<ListenerSpec>) -> LoadBalancerSpec {
    LoadBalancerSpec { record: Arc::new(load_balancer(name)), listeners }
}

/// `web` forwards what comes to port 80 to one group with these targets.
pub fn forwarding(targets: Vec<TargetSpec>) -> RoutesSpec {
    let forward = Action::forward(vec![(group_arn().to_string(), 1)]);
    RoutesSpec {
        load_balancers: vec![balancer("web", vec![listening(listener(80, vec![forward]))])],
        target_groups: vec![TargetGroupSpec {
            record: Arc::new(target_group("web")),
            targets,
            scales_from_zero: false,
        }],
    }
}

impl RoutesSpec {
    /// Changes the record of the first target group, which so becomes another one.
    pub fn change_group(&mut self, change: impl FnOnce(&mut TargetGroup)) {
        change(Arc::make_mut(&mut self.target_groups[0].record));
    }

    /// Changes the record of the first load balancer.
    pub fn change_balancer(&mut self, change: impl FnOnce(&mut LoadBalancer)) {
        change(Arc::make_mut(&mut self.load_balancers[0].record));
    }

    /// Changes the record of the first listener.
    pub fn change_listener(&mut self, change: impl FnOnce(&mut Listener)) {
        change(Arc::make_mut(&mut self.load_balancers[0].listeners[0].record));
    }
}
