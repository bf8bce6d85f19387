//! The services: for each one whose facts changed, plan, and carry the plan out in one transaction.
//!
//! A plan is made on a snapshot and carried out only if the service's record is still the one that was planned for; the
//! tasks that it stops are judged again when they are written. That is enough: nobody else makes tasks of services, and a
//! task that ended meanwhile wakes the next pass.

pub mod from_zero;
pub mod new_task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;

use crate::control::tasks::succeeded;
use crate::control::turn::{Concern, Passed, Turn};
use crate::control::{Phase, Shared};
use crate::model::task::LaunchType;
use crate::model::{
    ContainerInstance, DesiredStatus, Service, ServiceStatus, Target, TargetGroup, Task, TaskDefinition, TaskId,
    Timestamp,
};
use crate::plan::service::{Action, Observed, Room, plan_service};
use crate::plan::targets::health_of_tasks;
use crate::plan::task::reserve::{Remaining, of_definition, reservation};
use crate::plan::{Held, Plan};
use crate::store::{Key, Kind, Prefix, Snapshot, View};

/// Services whose plans are carried out at once, so that they share the store's flushes.
const AT_ONCE: usize = 32;

pub struct Services {
    shared: Arc<Shared>,
    /// When time alone changes the plan of a service.
    wakes: BTreeMap<Key, Timestamp>,
    /// Services whose starts find no room: any other task's end may make it.
    without_room: BTreeSet<Key>,
}

impl Concern for Services {
    async fn pass(&mut self, turn: Turn) -> Passed {
        if self.shared.phase() != Phase::Running {
            // Who shuts down stops tasks; here they would be replaced.
            return Passed::default();
        }
        let due = self.wakes.iter().filter(|(_, at)| **at <= turn.at).map(|(key, _)| key.clone());
        let mut keys: BTreeSet<Key> = due.chain(self.without_room.iter().cloned()).collect();
        match touched(&turn) {
            Some(touched) => keys.extend(touched),
            None => keys.extend(all_services(&turn.now)),
        }
        let mut executions = Vec::new();
        for key in keys {
            self.wakes.remove(&key);
            self.without_room.remove(&key);
            let Some(service) = turn.now.get::<Service>(&key) else { continue };
            let plan = plan_of(&self.shared, &turn.now, &service, turn.at);
            if let Some(at) = plan.wake_at {
                self.wakes.insert(key.clone(), at);
            }
            if plan.held.iter().any(|held| matches!(held, Held::NoRoom { .. })) {
                self.without_room.insert(key.clone());
            }
            if !plan.is_empty() {
                tracing::debug!(service = %service.name, plan = ?plan.actions, held = ?plan.held, "planned");
                executions.push(execute(Arc::clone(&self.shared), turn.now.clone(), key, plan.actions, turn.at));
            }
        }
        let results: Vec<bool> = futures_util::stream::iter(executions).buffer_unordered(AT_ONCE).collect().await;
        Passed { wake_at: self.wakes.values().min().copied(), failed: results.contains(&false) }
    }
}

impl Services {
    pub fn new(shared: Arc<Shared>) -> Services {
        Services { shared, wakes: BTreeMap::new(), without_room: BTreeSet::new() }
    }
}

fn all_services(now: &Snapshot) -> Vec<Key> {
    let services = now.list::<Service>(&Prefix::all_services());
    services
        .iter()
        .filter(|service| service.status != ServiceStatus::Inactive)
        .map(|service| Key::service(&service.scope, &service.cluster, &service.name))
        .collect()
}

/// The services of which a fact changed since the last pass; `None` where all are to be planned.
pub fn touched(turn: &Turn) -> Option<BTreeSet<Key>> {
    let before = turn.before.as_ref()?;
    let mut touched = BTreeSet::new();
    for change in turn.changes()? {
        match change.key.kind() {
            Kind::Service => {
                touched.insert(change.key);
            }
            Kind::Task => {
                let task = turn.now.get::<Task>(&change.key).or_else(|| before.get(&change.key));
                touched.extend(task.as_deref().and_then(service_of));
            }
            Kind::Target => {
                let target = turn.now.get::<Target>(&change.key).or_else(|| before.get(&change.key));
                let task = target.and_then(|target| {
                    let of = target.task.as_ref()?;
                    let key = Key::task(&target.scope, &of.cluster, of.task);
                    turn.now.get::<Task>(&key).or_else(|| before.get(&key))
                });
                touched.extend(task.as_deref().and_then(service_of));
            }
            Kind::TargetGroup => {
                let group = turn.now.get::<TargetGroup>(&change.key).or_else(|| before.get(&change.key));
                if let Some(group) = group {
                    touched.extend(services_behind(&turn.now, &group));
                }
            }
            _ => {}
        }
    }
    Some(touched)
}

fn service_of(task: &Task) -> Option<Key> {
    task.service.as_ref().map(|membership| Key::service(&task.scope, &task.cluster, &membership.service))
}

/// Groups change rarely, so those that name one are looked for.
fn services_behind(now: &Snapshot, group: &TargetGroup) -> Vec<Key> {
    let arn = group.arn();
    now.iter::<Service>(&Prefix::services_in(&group.scope))
        .filter(|service| service.load_balancers.iter().any(|balancer| balancer.target_group_arn == arn.as_str()))
        .map(|service| Key::service(&service.scope, &service.cluster, &service.name))
        .collect()
}

/// The plan for a service by what is on record in `now`.
pub fn plan_of(shared: &Shared, now: &Snapshot, service: &Service, at: Timestamp) -> Plan<Action> {
    let tasks = now.tasks_of_service(&service.scope, &service.cluster, &service.name);
    let groups = groups_of(now, service);
    let targets = targets_of(now, &tasks);
    let health = health_of_tasks(service, &groups, &targets);
    let instance = Key::container_instance(&service.scope, &service.cluster, shared.placement.node);
    let instance = now.get::<ContainerInstance>(&instance);
    let observed = Observed {
        service,
        tasks: &tasks,
        health: &health,
        room: room(now, service, instance.as_deref()),
        closest_instance: &shared.placement.node.to_string(),
    };
    plan_service(&observed, at, &mut std::iter::repeat_with(|| shared.ids.task()))
}

/// The target groups that a service names and that are there, by ARN.
pub fn groups_of(now: &Snapshot, service: &Service) -> BTreeMap<String, Arc<TargetGroup>> {
    let named = |arn: &str| {
        let group = now.get::<TargetGroup>(&Key::target_group(&service.scope, group_name(arn)?))?;
        // A group of the same name that was made after the one that is meant was deleted is another one.
        (group.arn().as_str() == arn).then_some(group)
    };
    let arns = service.load_balancers.iter().map(|balancer| &balancer.target_group_arn);
    arns.filter_map(|arn| Some((arn.clone(), named(arn)?))).collect()
}

/// `…:targetgroup/NAME/ID`.
pub fn group_name(arn: &str) -> Option<&str> {
    arn.rsplit(':').next()?.strip_prefix("targetgroup/")?.split('/').next()
}

pub fn targets_of(now: &Snapshot, tasks: &[Arc<Task>]) -> Vec<Arc<Target>> {
    tasks.iter().flat_map(|task| now.targets_of_task(&task.scope, &task.cluster, task.id)).collect()
}

fn room(now: &Snapshot, service: &Service, instance: Option<&ContainerInstance>) -> Room {
    let (Some(primary), Some(instance)) = (service.primary(), instance) else { return Room::Unlimited };
    let definition = now.get::<TaskDefinition>(&Key::task_definition(&service.scope, &primary.definition));
    let (Some(definition), LaunchType::Ec2 | LaunchType::External) = (definition, primary.launch_type) else {
        return Room::Unlimited;
    };
    let live = now.tasks_of_cluster(&service.scope, &service.cluster);
    let reserved = live.iter().filter(|task| !task.is_stopped()).map(|task| {
        reservation(task, now.get::<TaskDefinition>(&Key::task_definition(&task.scope, &task.definition)).as_deref())
    });
    let remaining = Remaining::of(instance, reserved);
    let wanted = of_definition(&definition);
    let count = remaining.count(wanted);
    let mut after = remaining;
    after.0.cpu_units = after.0.cpu_units.saturating_sub(wanted.cpu_units.saturating_mul(count as u64));
    after.0.memory_mib = after.0.memory_mib.saturating_sub(wanted.memory_mib.saturating_mul(count as u64));
    Room::Tasks { count, lacking: after.lacking(wanted).unwrap_or("memory") }
}

/// Carries a plan out, all or nothing. True also where the service changed meanwhile: that wakes the next pass.
async fn execute(shared: Arc<Shared>, planned: Snapshot, key: Key, actions: Vec<Action>, at: Timestamp) -> bool {
    let revision = planned.revision_of(&key);
    let done = shared.store.transact(|view| {
        let Some(found) = view.get::<Service>(&key) else { return Ok(()) };
        if view.base().revision_of(&key) != revision {
            return Ok(());
        }
        let mut service = Service::clone(&found);
        for action in &actions {
            apply(&shared, view, &mut service, action, at);
        }
        if service != *found {
            view.put(service);
        }
        Ok(())
    });
    succeeded("carry out the plan of a service", done.await).is_some()
}

fn apply(shared: &Shared, view: &mut View, service: &mut Service, action: &Action, at: Timestamp) {
    match action {
        Action::Start { task, deployment, definition } => {
            start(shared, view, service, *task, deployment, definition, at)
        }
        Action::Stop { task, code, reason } => {
            let key = Key::task(&service.scope, &service.cluster, *task);
            let running = view.get::<Task>(&key).filter(|task| task.desired_status == DesiredStatus::Running);
            let Some(running) = running else { return };
            let mut stopped = Task::clone(&running);
            stopped.desired_status = DesiredStatus::Stopped;
            stopped.stop_code.get_or_insert(*code);
            stopped.stopped_reason.get_or_insert_with(|| reason.clone());
            stopped.version += 1;
            view.put(stopped);
        }
        Action::SetThrottle(throttle) => service.throttle = *throttle,
        Action::SetDesiredCount(count) => service.desired_count = *count,
        Action::SetFailedTasks { deployment, failed_tasks } => {
            change_deployment(service, deployment, at, |deployment| deployment.failed_tasks = *failed_tasks);
        }
        Action::SetRollout { deployment, state, reason } => change_deployment(service, deployment, at, |deployment| {
            deployment.rollout_state = *state;
            deployment.rollout_state_reason.clone_from(reason);
        }),
        Action::RemoveDeployment { deployment } => service.deployments.retain(|known| known.id != *deployment),
        Action::Deactivate => service.status = ServiceStatus::Inactive,
        Action::Record { message } => service.record_event(shared.ids.uuid(), at, message.clone()),
    }
}

fn change_deployment(
    service: &mut Service,
    id: &str,
    at: Timestamp,
    change: impl FnOnce(&mut crate::model::Deployment),
) {
    if let Some(deployment) = service.deployments.iter_mut().find(|deployment| deployment.id == id) {
        change(deployment);
        deployment.updated_at = at;
    }
}

fn start(
    shared: &Shared,
    view: &mut View,
    service: &Service,
    task: TaskId,
    deployment: &str,
    definition: &crate::model::DefinitionId,
    at: Timestamp,
) {
    // Definitions never change, so this read is not one that could make the commit conflict.
    let definition = view.base().get::<TaskDefinition>(&Key::task_definition(&service.scope, definition));
    let deployment = service.deployments.iter().find(|known| known.id == deployment);
    if let (Some(definition), Some(deployment)) = (definition, deployment) {
        let node = shared.placement.node;
        view.put(new_task::new_task(&shared.ids, service, deployment, &definition, node, task, at));
    }
}
