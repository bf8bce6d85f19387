//! Which targets a service's tasks should have, and which should drain or be gone.
//!
//! A task is a target from RUNNING until it is told to stop. Then it drains: the proxy sends it nothing new, and its
//! target is removed when nothing is in flight any more (the proxy says so, the executor of that report removes it) or
//! when the deregistration delay is over. Only a task without targets is told to stop, so nothing is cut off.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::target::TargetTask;
use crate::model::{
    DesiredStatus, Service, ServiceStatus, Target, TargetAnomaly, TargetGroup, TargetHealth, TargetState, Task, TaskId,
    TaskStatus, Timestamp,
};
use crate::plan::Plan;
use crate::plan::service::{TaskHealth, events};

/// Changes of targets in one pass. A registration reads the target's place, its task and its group, so with the service's
/// own record this stays within the 128 comparisons of one transaction.
pub const PASS_CHANGES_MAX: usize = 40;

/// All that is known of a service's targets at one moment.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    pub service: &'a Service,
    pub tasks: &'a [Arc<Task>],
    /// The groups that the service names, and those that its tasks are still targets of; by ARN.
    pub groups: &'a BTreeMap<String, Arc<TargetGroup>>,
    /// The targets of this service's tasks, also of those that are no more.
    pub targets: &'a [Arc<Target>],
}

/// The name of a target within its account and region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName {
    pub group: String,
    pub address: Ipv4Addr,
    pub port: u16,
}

impl TargetName {
    pub fn of(target: &Target) -> TargetName {
        TargetName { group: target.group.clone(), address: target.address, port: target.port }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Register(Target),
    Drain { target: TargetName, health: TargetHealth },
    Remove { target: TargetName },
    Record { message: String },
}

/// What to change about the targets of one service.
pub fn plan_targets(observed: &Observed<'_>, now: Timestamp) -> Plan<Action> {
    let mut plan = Plan::default();
    let wanted = wanted(observed, now);
    let mut changes = Changes::default();
    let have: BTreeSet<TargetName> = observed.targets.iter().map(|target| TargetName::of(target)).collect();
    let tasks: HashMap<TaskId, &Task> = observed.tasks.iter().map(|task| (task.id, &**task)).collect();
    for target in observed.targets {
        plan_leaving(&mut plan, &mut changes, observed, &tasks, &wanted, target, now);
    }
    for (name, target) in wanted {
        if !have.contains(&name) && changes.count < PASS_CHANGES_MAX {
            changes.count += 1;
            *changes.registered.entry(name.group).or_default() += 1;
            plan.actions.push(Action::Register(target));
        }
    }
    changes.record(&mut plan, observed);
    plan
}

/// What is counted, for the service's events.
#[derive(Debug, Default)]
struct Changes {
    /// Of all kinds: what a pass leaves undone, the changes that it makes wake the next one for.
    count: usize,
    registered: BTreeMap<String, usize>,
    deregistered: BTreeMap<String, usize>,
    draining: BTreeSet<TaskId>,
}

impl Changes {
    fn record(&self, plan: &mut Plan<Action>, observed: &Observed<'_>) {
        let arn = |group: &String| {
            let of_name = observed.groups.iter().find(|(_, known)| known.name == *group);
            of_name.map_or_else(|| group.clone(), |(arn, _)| arn.clone())
        };
        let mut record = |text: String| {
            plan.actions.push(Action::Record { message: events::message(observed.service, &text) });
        };
        for (group, count) in &self.registered {
            record(events::registered(*count, &arn(group)));
        }
        for (group, count) in &self.deregistered {
            record(events::deregistered(*count, &arn(group)));
        }
        if !self.draining.is_empty() {
            record(events::draining(self.draining.len()));
        }
    }
}

fn wanted(observed: &Observed<'_>, now: Timestamp) -> BTreeMap<TargetName, Target> {
    let service = observed.service;
    let mut wanted = BTreeMap::new();
    if service.status == ServiceStatus::Inactive {
        return wanted;
    }
    for task in observed.tasks {
        if task.last_status != TaskStatus::Running || task.desired_status != DesiredStatus::Running {
            continue;
        }
        let Some(address) = task.address else { continue };
        for balancer in &service.load_balancers {
            // A group that was deleted under the service takes no targets; the service keeps its tasks.
            let Some(group) = observed.groups.get(&balancer.target_group_arn) else { continue };
            let target = Target {
                scope: service.scope.clone(),
                group: group.name.clone(),
                address,
                port: balancer.container_port,
                task: Some(TargetTask {
                    cluster: service.cluster.clone(),
                    task: task.id,
                    container: balancer.container_name.clone(),
                }),
                registered_at: now,
                draining_since: None,
                health: initial(),
                anomaly: TargetAnomaly::default(),
            };
            wanted.insert(TargetName::of(&target), target);
        }
    }
    wanted
}

/// Arms are in order of precedence; the first match wins.
fn plan_leaving(
    plan: &mut Plan<Action>,
    changes: &mut Changes,
    observed: &Observed<'_>,
    tasks: &HashMap<TaskId, &Task>,
    wanted: &BTreeMap<TargetName, Target>,
    target: &Target,
    now: Timestamp,
) {
    let name = TargetName::of(target);
    let Some(of) = &target.task else { return };
    let ended = tasks.get(&of.task).is_none_or(|task| task.is_stopped());
    let ours = wanted.get(&name).is_some_and(|wanted| wanted.task == target.task);
    if changes.count >= PASS_CHANGES_MAX {
        return;
    }
    let before = plan.actions.len();
    match target.draining_since {
        _ if ended => {
            if target.draining_since.is_none() {
                *changes.deregistered.entry(name.group.clone()).or_default() += 1;
            }
            plan.actions.push(Action::Remove { target: name });
        }
        Some(since) => {
            let over = since + delay(observed, &name.group);
            if over <= now {
                plan.actions.push(Action::Remove { target: name });
            } else {
                plan.wake_at(over);
            }
        }
        None if ours => {}
        None => {
            *changes.deregistered.entry(name.group.clone()).or_default() += 1;
            changes.draining.insert(of.task);
            plan.actions.push(Action::Drain { target: name, health: draining() });
        }
    }
    changes.count += plan.actions.len() - before;
}

/// What to do about a target that a client registered. What it deregistered is gone when the deregistration delay of its
/// group is over, or before that when the proxy finds nothing in flight.
pub fn plan_target_of_client(target: &Target, group: Option<&TargetGroup>, now: Timestamp) -> Plan<Action> {
    let mut plan = Plan::default();
    let (Some(since), None) = (target.draining_since, &target.task) else { return plan };
    let over = since + group.map_or(Duration::ZERO, delay_of);
    if over <= now {
        plan.actions.push(Action::Remove { target: TargetName::of(target) });
    } else {
        plan.wake_at(over);
    }
    plan
}

fn delay(observed: &Observed<'_>, group: &str) -> Duration {
    let group = observed.groups.values().find(|known| known.name == group);
    group.map_or(Duration::ZERO, |group| delay_of(group))
}

fn delay_of(group: &TargetGroup) -> Duration {
    Duration::from_secs(u64::from(group.deregistration_delay_seconds()))
}

/// A target that was just registered.
pub fn initial() -> TargetHealth {
    TargetHealth {
        state: TargetState::Initial,
        reason: Some(String::from("Elb.RegistrationInProgress")),
        description: Some(String::from("Target registration is in progress")),
    }
}

/// A target that is being deregistered.
pub fn draining() -> TargetHealth {
    TargetHealth {
        state: TargetState::Draining,
        reason: Some(String::from("Target.DeregistrationInProgress")),
        description: Some(String::from("Target deregistration is in progress")),
    }
}

/// How the load balancers see each task: unhealthy where any of them says so, healthy where all of them do. A group that
/// no listener uses is not checked, and so says nothing against its targets.
pub fn health_of_tasks(
    service: &Service,
    groups: &BTreeMap<String, Arc<TargetGroup>>,
    targets: &[Arc<Target>],
) -> HashMap<TaskId, TaskHealth> {
    let arns: HashMap<&str, &str> = groups.iter().map(|(arn, group)| (group.name.as_str(), arn.as_str())).collect();
    let needed =
        service.load_balancers.iter().filter(|balancer| groups.contains_key(&balancer.target_group_arn)).count();
    let mut passed: HashMap<TaskId, usize> = HashMap::new();
    let mut health: HashMap<TaskId, TaskHealth> = HashMap::new();
    for target in targets {
        let Some(of) = &target.task else { continue };
        let entry = health.entry(of.task).or_insert(TaskHealth::Initial);
        match target.health.state {
            TargetState::Unhealthy | TargetState::UnhealthyDraining => {
                *entry = TaskHealth::Unhealthy {
                    target_group_arn: String::from(*arns.get(target.group.as_str()).unwrap_or(&target.group.as_str())),
                    port: target.port,
                    reason: target.health.description.clone().unwrap_or_else(|| String::from("Health checks failed")),
                };
            }
            TargetState::Healthy | TargetState::Unused | TargetState::Unavailable => {
                let count = passed.entry(of.task).or_default();
                *count += 1;
                if *count >= needed && *entry == TaskHealth::Initial {
                    *entry = TaskHealth::Healthy;
                }
            }
            TargetState::Initial | TargetState::Draining => {}
        }
    }
    health
}

#[cfg(test)]
mod tests;
