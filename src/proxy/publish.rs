//! Turns what is wanted into the next snapshot, keeping by key what is known already.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::load_balancer::Action;
use crate::model::{Arn, TargetGroup};
use crate::proxy::connect::{Pool, Speech};
use crate::proxy::group::{Group, Members};
use crate::proxy::routes::Routes;
use crate::proxy::settings::GroupSettings;
use crate::proxy::spec::{Endpoint, LoadBalancerSpec, RoutesSpec, TargetGroupSpec, TargetSpec};
use crate::proxy::target::{Target, TargetKey, TargetStanding};
use crate::proxy::{Shared, Transport, WantedListener};

/// What is kept between publications. Only publishers and the health loop lock it, never a request.
#[derive(Default)]
pub struct Registry {
    /// By ARN.
    pub groups: HashMap<String, Arc<Group>>,
    /// As they were published last: which groups belong to which of them is read here.
    pub load_balancers: Vec<LoadBalancerSpec>,
    /// The last ordinal given to a target, in any group.
    ordinal: u64,
}

impl Shared {
    pub fn publish(&self, spec: &RoutesSpec) {
        let mut registry = self.registry.lock();
        let used = used_groups(spec);
        let mut groups = HashMap::with_capacity(spec.target_groups.len());
        for group in &spec.target_groups {
            let arn = group.record.arn();
            let is_used = used.contains(arn.as_str());
            groups.insert(String::from(arn.clone()), self.next_group(&mut registry, arn, group, is_used));
        }
        for (arn, gone) in std::mem::replace(&mut registry.groups, groups) {
            if !registry.groups.contains_key(&arn) {
                // Whoever still has it finds no target, and nothing to wait for.
                let members = gone.members.load();
                let (record, settings) = (Arc::clone(&members.record), Arc::clone(&members.settings));
                cut_off_gone(&members, &[]);
                gone.replace(Members::new(record, settings, false, Vec::new()));
            }
        }
        registry.load_balancers.clone_from(&spec.load_balancers);
        let before = self.routes.load();
        let routes = Arc::new(Routes::new(spec, &registry.groups, &before, &self.tls));
        for (arn, balancer) in routes.balancers() {
            self.observers.published(balancer, before.balancers().get(arn).map(|before| &**before));
        }
        self.routes.store(routes);
        drop(registry);

        let wanted = wanted_listeners(spec);
        self.wanted.send_if_modified(|current| {
            let changed = *current != wanted;
            if changed {
                *current = wanted;
            }
            changed
        });
        self.changed.notify_one();
    }

    fn next_group(&self, registry: &mut Registry, arn: Arn, spec: &TargetGroupSpec, is_used: bool) -> Arc<Group> {
        let known = registry.groups.get(arn.as_str()).cloned();
        let before = known.as_ref().map(|group| group.members.load_full());
        let by_key: HashMap<&TargetKey, &Arc<Target>> = match &before {
            Some(members) => members.all.iter().map(|target| (&target.state.key, target)).collect(),
            None => HashMap::new(),
        };
        let settings = settings(&spec.record, before.as_deref());
        let mut all = Vec::with_capacity(spec.targets.len());
        for target in &spec.targets {
            let key = TargetKey { group: arn.clone(), address: target.address, port: target.port, task: target.task };
            let earlier = by_key.get(&key).copied();
            let state = earlier.map_or_else(
                || {
                    registry.ordinal += 1;
                    Arc::new(TargetStanding::new(key, registry.ordinal, Arc::clone(&self.changed)))
                },
                |earlier| Arc::clone(&earlier.state),
            );
            let pool = pool(target, settings.speech(), earlier);
            if state.is_draining() != target.draining {
                state.set_draining(target.draining);
                pool.iter().for_each(|pool| pool.set_draining(target.draining));
            }
            all.push(Arc::new(Target {
                pool,
                endpoint: target.endpoint.clone(),
                check: target.check.clone(),
                unusable: target.unusable,
                state,
            }));
        }
        all.sort_by_key(|target| target.state.ordinal);
        if let Some(before) = &before {
            cut_off_gone(before, &all);
        }
        let members = Members::new(Arc::clone(&spec.record), settings, is_used, all);
        let members = members.scaling_from_zero(spec.scales_from_zero);
        match known {
            Some(group) => {
                group.replace(members);
                tell_deregistered(before.as_deref(), &group);
                group
            }
            None => Arc::new(Group::new(arn, members).waiting_in(Arc::clone(&self.held))),
        }
    }
}

/// Wakes what is carried to targets that are no longer registered.
fn tell_deregistered(before: Option<&Members>, group: &Group) {
    let now: HashSet<u64> = group.members.load().all.iter().map(|target| target.state.ordinal).collect();
    let all = before.map(|before| before.all.as_slice()).unwrap_or_default();
    for target in all.iter().filter(|target| !now.contains(&target.state.ordinal)) {
        target.state.told.notify_waiters();
    }
}

/// What is not registered any more has drained, or had its time to: what it still has in flight ends here.
fn cut_off_gone(before: &Members, all: &[Arc<Target>]) {
    let is_there = |ordinal| all.binary_search_by_key(&ordinal, |target| target.state.ordinal).is_ok();
    for gone in before.all.iter().filter(|target| !is_there(target.state.ordinal)) {
        gone.cut_off();
    }
}

/// The pool of the same address, or a new one.
fn pool(target: &TargetSpec, speech: Speech, earlier: Option<&Arc<Target>>) -> Option<Arc<Pool>> {
    let Endpoint::Tcp(address) = target.endpoint else { return None };
    let earlier = earlier.and_then(|target| target.pool.as_ref());
    match earlier {
        Some(pool) if pool.is_for(address, speech) => Some(Arc::clone(pool)),
        _ => Some(Arc::new(Pool::new(address, speech))),
    }
}

fn settings(record: &Arc<TargetGroup>, before: Option<&Members>) -> Arc<GroupSettings> {
    match before {
        Some(before) if Arc::ptr_eq(&before.record, record) => Arc::clone(&before.settings),
        _ => Arc::new(GroupSettings::of(record)),
    }
}

fn used_groups(spec: &RoutesSpec) -> HashSet<&str> {
    let listeners = spec.load_balancers.iter().flat_map(|balancer| &balancer.listeners);
    let actions = listeners.flat_map(|listener| {
        listener.record.default_actions.iter().chain(listener.rules.iter().flat_map(|rule| &rule.actions))
    });
    actions.flat_map(Action::groups).map(|(group, _)| group.as_str()).collect()
}

fn wanted_listeners(spec: &RoutesSpec) -> Vec<WantedListener> {
    let mut wanted = Vec::new();
    for balancer in &spec.load_balancers {
        for listener in &balancer.listeners {
            let (arn, load_balancer) = (listener.record.arn(), balancer.record.name.clone());
            let transport = Transport::of(&listener.record.protocol);
            wanted.push(WantedListener { arn, port: listener.record.port, transport, load_balancer });
        }
    }
    wanted
}
