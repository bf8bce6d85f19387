//! What the proxy is told: all load balancers, listeners, target groups and targets, whenever one of them changes.
//!
//! A target of a task is where its task is: a handler is called in process, a program at the real socket behind its
//! address, as the network's table says. A program that is RUNNING may not listen yet, and the table wakes nobody, so
//! while a target is not to be reached it is looked up again soon.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::control::Shared;
use crate::control::services::from_zero::hopeful_groups;
use crate::control::turn::{Concern, Passed, Turn};
use crate::model::load_balancer::Action;
use crate::model::target::TargetTask;
use crate::model::{Listener, LoadBalancer, Rule, Scope, Target, TargetGroup, Task, Timestamp};
use crate::network::Protocol;
use crate::proxy::{Endpoint, ListenerSpec, LoadBalancerSpec, RoutesSpec, TargetGroupSpec, TargetSpec, Unusable};
use crate::store::{Change, Key, Kind, Prefix, Snapshot};

/// How soon a target that cannot be reached yet is looked up again. A person does not notice it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A program that never listens is looked up ever less often, down to this: a publication costs a walk of all targets.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(1);

pub struct Routes {
    shared: Arc<Shared>,
    /// Targets of the last publication that could not be reached yet.
    unreachable: usize,
    /// Doubles while nothing else changes.
    look_again: Duration,
    next_look: Timestamp,
    /// The groups whose services scale from zero, as they were last published.
    hopeful: Vec<String>,
}

impl Concern for Routes {
    async fn pass(&mut self, turn: Turn) -> Passed {
        let changed = turn.changes().is_none_or(|changes| {
            changes.iter().any(|change| {
                matches!(
                    change.key.kind(),
                    Kind::LoadBalancer | Kind::Listener | Kind::Rule | Kind::TargetGroup | Kind::Target
                )
            })
        });
        let changed = self.hope(&turn) || changed;
        if changed {
            self.look_again = LOOK_AGAIN;
        } else if self.unreachable == 0 || turn.at < self.next_look {
            return Passed { wake_at: (self.unreachable > 0).then_some(self.next_look), failed: false };
        }
        self.publish(&turn.now);
        self.next_look = turn.at + self.look_again;
        self.look_again = (self.look_again * 2).min(LOOK_AGAIN_MAX);
        Passed { wake_at: (self.unreachable > 0).then_some(self.next_look), failed: false }
    }
}

impl Routes {
    pub fn new(shared: Arc<Shared>) -> Routes {
        Routes { shared, unreachable: 0, look_again: LOOK_AGAIN, next_look: Timestamp(0), hopeful: Vec::new() }
    }

    /// Looks for the groups whose services scale from zero; whether they are others than before.
    fn hope(&mut self, turn: &Turn) -> bool {
        let is_service = |change: &Change| change.key.kind() == Kind::Service;
        if turn.changes().is_some_and(|changes| !changes.iter().any(is_service)) {
            return false;
        }
        let hopeful = hopeful_groups(&turn.now);
        let changed = hopeful != self.hopeful;
        self.hopeful = hopeful;
        changed
    }

    fn publish(&mut self, now: &Snapshot) {
        let routes = RoutesSpec {
            load_balancers: load_balancers(now),
            target_groups: now
                .list::<TargetGroup>(&Prefix::all_target_groups())
                .iter()
                .map(|group| self.group(now, group))
                .collect(),
        };
        let targets = routes.target_groups.iter().flat_map(|group| &group.targets);
        self.unreachable =
            targets.filter(|target| !target.draining && matches!(target.endpoint, Endpoint::NotListening)).count();
        self.shared.balancer.publish(&routes);
    }

    fn group(&self, now: &Snapshot, group: &Arc<TargetGroup>) -> TargetGroupSpec {
        let balancers = groups_of_balancers(now, group);
        let check_port: Option<u16> = group.health_check.port.parse().ok();
        let targets = now.list::<Target>(&Prefix::targets(&group.scope, &group.name));
        let targets = targets.iter().map(|target| {
            let is_udp = group.protocol == "UDP";
            // Checks are never over UDP.
            let check = match check_port {
                None if is_udp => Some(target.port),
                port => port.filter(|port| *port != target.port || is_udp),
            };
            let endpoint = |port, protocol| {
                // What a task's security groups keep out is a port that does not answer.
                if !self.shared.network.lets_in(target.address, port, &balancers) {
                    return Endpoint::NotListening;
                }
                self.endpoint(now, target, port, protocol)
            };
            let traffic = if is_udp { Protocol::Udp } else { Protocol::Tcp };
            TargetSpec {
                address: target.address,
                port: target.port,
                task: target.task.as_ref().map(|of| of.task),
                endpoint: endpoint(target.port, traffic),
                check: check.map(|port| endpoint(port, Protocol::Tcp)),
                draining: target.draining_since.is_some(),
                unusable: self.unusable(now, target),
            }
        });
        let scales_from_zero = self.hopeful.binary_search_by(|arn| arn.as_str().cmp(group.arn().as_str())).is_ok();
        TargetGroupSpec { record: Arc::clone(group), targets: targets.collect(), scales_from_zero }
    }

    fn unusable(&self, now: &Snapshot, target: &Target) -> Option<Unusable> {
        match &target.task {
            Some(of) => {
                let task = now.get::<Task>(&Key::task(&target.scope, &of.cluster, of.task));
                task.is_none_or(|task| task.is_stopped()).then_some(Unusable::Stopped)
            }
            None => {
                let address = SocketAddr::from((target.address, target.port));
                self.shared.balancer.is_own(address).then_some(Unusable::ReservedAddress)
            }
        }
    }

    /// How a port of a target is reached.
    fn endpoint(&self, now: &Snapshot, target: &Target, port: u16, protocol: Protocol) -> Endpoint {
        match &target.task {
            Some(of) => self.endpoint_of_task(now, target, of, port, protocol),
            // Registered by a client: an address of a task, or anything else that this machine reaches.
            None => {
                let real = self.shared.network.resolve(target.address, port, protocol);
                Endpoint::Tcp(real.unwrap_or(SocketAddr::from((target.address, port))))
            }
        }
    }

    fn endpoint_of_task(
        &self,
        now: &Snapshot,
        target: &Target,
        of: &TargetTask,
        port: u16,
        protocol: Protocol,
    ) -> Endpoint {
        let task = now.get::<Task>(&Key::task(&target.scope, &of.cluster, of.task));
        let is_handler = task.as_ref().and_then(|task| task.container(&of.container)?.is_handler);
        if is_handler == Some(true) {
            let local = self.shared.host.local_target(of.task, &of.container);
            return local.map_or(Endpoint::NotListening, Endpoint::Local);
        }
        let real = self.shared.network.resolve(target.address, port, protocol);
        real.map_or(Endpoint::NotListening, Endpoint::Tcp)
    }
}

/// The security groups of the load balancers that forward to a target group.
fn groups_of_balancers(now: &Snapshot, group: &TargetGroup) -> Vec<String> {
    let arn = group.arn();
    let forwards = |actions: &[Action]| actions.iter().flat_map(Action::groups).any(|(to, _)| to == arn.as_str());
    let (listeners, rules) = (Prefix::listeners_in(&group.scope), Prefix::rules_in(&group.scope));
    let listeners = now.iter::<Listener>(&listeners).filter(|listener| forwards(&listener.default_actions));
    // A rule whose listener was deleted is nobody's until it is swept.
    let there =
        |rule: &Rule| now.get::<Listener>(&Key::listener(&rule.scope, &rule.load_balancer, &rule.listener)).is_some();
    let rules = now.iter::<Rule>(&rules).filter(|rule| forwards(&rule.actions) && there(rule));
    let balancers: BTreeSet<&String> =
        listeners.map(|listener| &listener.load_balancer).chain(rules.map(|rule| &rule.load_balancer)).collect();
    let mut found = Vec::new();
    for name in balancers {
        let balancer = now.get::<LoadBalancer>(&Key::load_balancer(&group.scope, name));
        let groups = balancer.as_ref().and_then(|balancer| balancer.document.get("SecurityGroups")?.as_array());
        found.extend(groups.into_iter().flatten().filter_map(|id| id.as_str().map(String::from)));
    }
    found
}

fn load_balancers(now: &Snapshot) -> Vec<LoadBalancerSpec> {
    let mut listeners: BTreeMap<(Scope, String), Vec<ListenerSpec>> = BTreeMap::new();
    for listener in now.iter::<Listener>(&Prefix::all_listeners()) {
        let of = (listener.scope.clone(), listener.load_balancer.clone());
        let rules = now.list::<Rule>(&Prefix::rules(&listener.scope, &listener.load_balancer, &listener.id));
        listeners.entry(of).or_default().push(ListenerSpec { record: Arc::clone(listener), rules });
    }
    now.iter::<LoadBalancer>(&Prefix::all_load_balancers())
        .map(|balancer| {
            let own = listeners.remove(&(balancer.scope.clone(), balancer.name.clone())).unwrap_or_default();
            LoadBalancerSpec { record: Arc::clone(balancer), listeners: own }
        })
        .collect()
}
