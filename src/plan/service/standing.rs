//! Into which one bucket each task of a service falls.

use std::collections::BTreeMap;

use crate::model::service::SchedulingStrategy;
use crate::model::{DesiredStatus, HealthStatus, Service, ServiceStatus, Task, TaskId, TaskStatus, Timestamp};
use crate::plan::service::{Observed, TaskHealth};

/// Where a task stands in its service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// STOPPED.
    Gone,
    /// Told to stop: it counts no more, whatever it still does.
    Leaving,
    /// Unhealthy past the grace period.
    Failed(Failure<'a>),
    /// RUNNING, and healthy wherever it is a target and by its containers' own checks.
    Serving,
    /// Not yet RUNNING, or not yet healthy.
    Starting,
}

/// Who found a task unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure<'a> {
    /// Its essential containers' checks.
    Containers,
    LoadBalancer {
        target_group_arn: &'a str,
        port: u16,
        reason: &'a str,
    },
}

/// Arms are in order of precedence; the first match wins.
pub fn standing<'a>(service: &Service, task: &Task, health: Option<&'a TaskHealth>, now: Timestamp) -> Standing<'a> {
    // Until its grace period is over, a task is given time to become healthy.
    let failure = found_unhealthy(task, health).filter(|_| grace_end(service, task) <= now);
    let is_starting = !matches!(task.health_status, None | Some(HealthStatus::Healthy));
    match (task.last_status, failure, health) {
        (TaskStatus::Stopped, _, _) => Standing::Gone,
        _ if task.desired_status == DesiredStatus::Stopped => Standing::Leaving,
        // It ends by itself; a stop that nobody asked for does not make it a serving task again.
        (TaskStatus::Deactivating | TaskStatus::Stopping | TaskStatus::Deprovisioning, _, _) => Standing::Leaving,
        (TaskStatus::Provisioning | TaskStatus::Pending | TaskStatus::Activating, _, _) => Standing::Starting,
        (TaskStatus::Running, Some(failure), _) => Standing::Failed(failure),
        (TaskStatus::Running, None, _) if is_starting => Standing::Starting,
        (TaskStatus::Running, None, _) if service.load_balancers.is_empty() => Standing::Serving,
        (TaskStatus::Running, None, Some(TaskHealth::Healthy)) => Standing::Serving,
        (TaskStatus::Running, None, _) => Standing::Starting,
    }
}

fn found_unhealthy<'a>(task: &Task, health: Option<&'a TaskHealth>) -> Option<Failure<'a>> {
    match health {
        _ if task.health_status == Some(HealthStatus::Unhealthy) => Some(Failure::Containers),
        Some(TaskHealth::Unhealthy { target_group_arn, port, reason }) => {
            Some(Failure::LoadBalancer { target_group_arn, port: *port, reason })
        }
        _ => None,
    }
}

fn grace_end(service: &Service, task: &Task) -> Timestamp {
    let grace = std::time::Duration::from_secs(u64::from(service.health_check_grace_period_seconds));
    task.started_at.unwrap_or(task.created_at) + grace
}

/// The live tasks of one side of a rollout.
#[derive(Debug, Default)]
pub(super) struct Side<'a> {
    pub serving: Vec<&'a Task>,
    pub starting: Vec<&'a Task>,
    pub failed: Vec<(&'a Task, Standing<'a>)>,
}

impl Side<'_> {
    pub fn count(&self) -> usize {
        self.serving.len() + self.starting.len() + self.failed.len()
    }
}

/// All tasks of a service, each in its bucket, and the bounds that hold for them.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    /// How many tasks there should be.
    pub wanted: usize,
    /// As few healthy ones as there may be.
    pub minimum: usize,
    /// As many live ones as there may be.
    pub maximum: usize,
    /// Of the primary deployment.
    pub current: Side<'a>,
    /// Of the deployments before it.
    pub outdated: Side<'a>,
    pub leaving: usize,
    /// Tasks that are not gone yet, by deployment.
    pub present: BTreeMap<&'a str, usize>,
    /// Those that neither scaling in nor a deployment may stop, and until when.
    pub protected: BTreeMap<TaskId, Timestamp>,
    pub in_grace: usize,
    pub grace_ends_at: Option<Timestamp>,
}

impl<'a> Sorted<'a> {
    pub fn new(observed: &Observed<'a>, now: Timestamp) -> Sorted<'a> {
        let service = observed.service;
        let wanted = wanted(service);
        let mut sorted = Sorted {
            wanted,
            minimum: minimum(wanted, service.minimum_healthy_percent),
            maximum: maximum(wanted, service.maximum_percent),
            ..Sorted::default()
        };
        let primary = service.primary().map(|deployment| deployment.id.as_str());
        let balanced = !service.load_balancers.is_empty();
        for task in observed.tasks {
            let health = if balanced { observed.health.get(&task.id) } else { None };
            sorted.add(service, primary, task, health, now);
        }
        sorted
    }

    fn add(
        &mut self,
        service: &Service,
        primary: Option<&str>,
        task: &'a Task,
        health: Option<&'a TaskHealth>,
        now: Timestamp,
    ) {
        let standing = standing(service, task, health, now);
        if standing == Standing::Gone {
            return;
        }
        let deployment = task.service.as_ref().map_or("", |membership| membership.deployment.as_str());
        *self.present.entry(deployment).or_default() += 1;
        let side = if primary == Some(deployment) { &mut self.current } else { &mut self.outdated };
        // Protection is from the service, not from its end: whoever deletes that means all of it. What failed is replaced.
        if service.status == ServiceStatus::Active
            && matches!(standing, Standing::Serving | Standing::Starting)
            && let Some(until) = task.protected_until(now)
        {
            self.protected.insert(task.id, until);
        }
        match standing {
            Standing::Gone => {}
            Standing::Leaving => self.leaving += 1,
            Standing::Serving => side.serving.push(task),
            Standing::Failed(_) => side.failed.push((task, standing)),
            Standing::Starting => {
                side.starting.push(task);
                if found_unhealthy(task, health).is_some() && task.last_status == TaskStatus::Running {
                    self.in_grace += 1;
                    let end = grace_end(service, task);
                    self.grace_ends_at = Some(self.grace_ends_at.map_or(end, |earlier| earlier.min(end)));
                }
            }
        }
    }

    pub fn is_protected(&self, task: &Task) -> bool {
        self.protected.contains_key(&task.id)
    }

    pub fn live(&self) -> usize {
        self.current.count() + self.outdated.count()
    }

    pub fn serving(&self) -> usize {
        self.current.serving.len() + self.outdated.serving.len()
    }
}

/// A DAEMON service has one task on each container instance; here a cluster has one.
fn wanted(service: &Service) -> usize {
    match (service.status, service.scheduling_strategy) {
        (ServiceStatus::Active, SchedulingStrategy::Replica) => service.desired_count as usize,
        (ServiceStatus::Active, SchedulingStrategy::Daemon) => 1,
        (ServiceStatus::Draining | ServiceStatus::Inactive, _) => 0,
    }
}

/// Rounds up, as ECS does; never more than there should be, or nothing could ever stop.
fn minimum(wanted: usize, percent: u32) -> usize {
    (wanted * percent as usize).div_ceil(100).min(wanted)
}

/// Rounds down, as ECS does; never less than one task, or nothing could ever start.
fn maximum(wanted: usize, percent: u32) -> usize {
    (wanted * percent as usize / 100).max(usize::from(wanted > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_rounds_up_and_the_maximum_down() {
        assert_eq!((minimum(3, 50), maximum(3, 150)), (2, 4));
        assert_eq!((minimum(1, 100), maximum(1, 150)), (1, 1));
        assert_eq!((minimum(0, 100), maximum(0, 200)), (0, 0));
        assert_eq!((minimum(2, 200), maximum(1, 50)), (2, 1));
    }
}
