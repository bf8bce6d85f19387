//! The targets: which tasks of a service are registered, what the proxy is told, and what it tells.
//!
//! The store holds what is registered; the proxy gets all of it as routes and answers with health. A target of a task that
//! is to stop drains first: only when its record is gone does the loop of tasks tell the host.

mod of_clients;
mod reports;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;

use crate::control::Shared;
use crate::control::services::{groups_of, targets_of, touched};
use crate::control::tasks::succeeded;
use crate::control::turn::{Concern, Passed, Turn};
use crate::model::{DesiredStatus, Service, Target, TargetGroup, Task, TaskStatus, Timestamp};
use crate::plan::Plan;
use crate::plan::targets::{Action, Observed, TargetName, plan_targets};
use crate::store::{Key, Prefix, Snapshot, View};

pub use of_clients::OfClients;
pub use reports::record_reports;
pub use routes::Routes;

/// Services whose plans are carried out at once, so that they share the store's flushes.
const AT_ONCE: usize = 32;

pub struct Targets {
    shared: Arc<Shared>,
    /// When time alone changes the plan of a service: a deregistration delay is over.
    wakes: BTreeMap<Key, Timestamp>,
}

impl Concern for Targets {
    async fn pass(&mut self, turn: Turn) -> Passed {
        let mut keys: BTreeSet<Key> =
            self.wakes.iter().filter(|(_, at)| **at <= turn.at).map(|(key, _)| key.clone()).collect();
        match touched(&turn) {
            Some(touched) => keys.extend(touched),
            None => {
                let services = turn.now.list::<Service>(&Prefix::all_services());
                keys.extend(
                    services.iter().map(|service| Key::service(&service.scope, &service.cluster, &service.name)),
                );
            }
        }
        let mut executions = Vec::new();
        for key in keys {
            self.wakes.remove(&key);
            let Some(service) = turn.now.get::<Service>(&key) else { continue };
            let plan = plan_of(&turn.now, &service, turn.at);
            if let Some(at) = plan.wake_at {
                self.wakes.insert(key.clone(), at);
            }
            if !plan.is_empty() {
                executions.push(execute(Arc::clone(&self.shared), key, plan.actions, turn.at));
            }
        }
        let results: Vec<bool> = futures_util::stream::iter(executions).buffer_unordered(AT_ONCE).collect().await;
        Passed { wake_at: self.wakes.values().min().copied(), failed: results.contains(&false) }
    }
}

impl Targets {
    pub fn new(shared: Arc<Shared>) -> Targets {
        Targets { shared, wakes: BTreeMap::new() }
    }
}

/// The plan for the targets of a service by what is on record in `now`.
pub fn plan_of(now: &Snapshot, service: &Service, at: Timestamp) -> Plan<Action> {
    let tasks = now.tasks_of_service(&service.scope, &service.cluster, &service.name);
    let targets = targets_of(now, &tasks);
    if targets.is_empty() && service.load_balancers.is_empty() {
        return Plan::default();
    }
    let mut groups = groups_of(now, service);
    // A group that the service no longer names still says how long its targets drain.
    for target in &targets {
        if let Some(group) = now.get::<TargetGroup>(&Key::target_group(&target.scope, &target.group)) {
            groups.entry(group.arn().into()).or_insert(group);
        }
    }
    plan_targets(&Observed { service, tasks: &tasks, groups: &groups, targets: &targets }, at)
}

/// Carries a plan out, all or nothing. What is not so any more is left out: that wakes the next pass.
async fn execute(shared: Arc<Shared>, key: Key, actions: Vec<Action>, at: Timestamp) -> bool {
    let done = shared.store.transact(|view| {
        let Some(found) = view.get::<Service>(&key) else { return Ok(()) };
        let mut service = Service::clone(&found);
        let mut changed = false;
        for action in &actions {
            match action {
                // The events come last, and only where something happened that they tell of.
                Action::Record { message } if changed => {
                    service.record_event(shared.ids.uuid(), at, message.clone());
                }
                Action::Record { .. } => {}
                action => changed |= apply(view, &service, action, at),
            }
        }
        if service != *found {
            view.put(service);
        }
        Ok(())
    });
    succeeded("change the targets of a service", done.await).is_some()
}

fn apply(view: &mut View, service: &Service, action: &Action, at: Timestamp) -> bool {
    match action {
        Action::Register(target) => register(view, service, target),
        Action::Drain { target, health } => {
            let key = key_of(service, target);
            let Some(found) = view.get::<Target>(&key).filter(|found| found.draining_since.is_none()) else {
                return false;
            };
            let mut draining = Target::clone(&found);
            draining.draining_since = Some(at);
            draining.health = health.clone();
            view.put(draining);
            true
        }
        Action::Remove { target } => {
            let key = key_of(service, target);
            let there = view.exists(&key);
            if there {
                view.delete::<Target>(&key);
            }
            there
        }
        Action::Record { .. } => false,
    }
}

/// Only for a task that is still wanted when this is written: one that was told to stop meanwhile would else be stopped
/// without having drained.
fn register(view: &mut View, service: &Service, target: &Target) -> bool {
    let Some(of) = &target.task else { return false };
    let task = view.get::<Task>(&Key::task(&service.scope, &of.cluster, of.task));
    let wanted = task
        .is_some_and(|task| task.desired_status == DesiredStatus::Running && task.last_status == TaskStatus::Running);
    let key = Key::target(&target.scope, &target.group, target.address, target.port);
    let free = !view.exists(&key);
    let group_is_there = view.exists(&Key::target_group(&target.scope, &target.group));
    let register = wanted && free && group_is_there;
    if register {
        view.put(target.clone());
    }
    register
}

fn key_of(service: &Service, target: &TargetName) -> Key {
    Key::target(&service.scope, &target.group, target.address, target.port)
}
