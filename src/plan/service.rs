//! What to do next for one service: keep its count, replace what failed, roll what is outdated.
//!
//! The order of the steps is the policy. Failures are counted first, because they decide whether anything may start;
//! then what must go goes, because that makes room under the maximum; then what is missing starts; what is left over is
//! about the deployments and about what the service says of itself.

mod backoff;
mod deployment;
pub mod events;
pub mod from_zero;
mod rolling;
mod standing;

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::service::{RolloutState, Throttle};
use crate::model::task::StopCode;
use crate::model::{DefinitionId, Service, ServiceStatus, Task, TaskId, Timestamp};
use crate::plan::Plan;

pub use backoff::BACK_OFF_MAX;
pub use standing::{Failure, Standing, standing};

/// Starts and stops in one pass: with the service's own record they stay within the operations of one transaction.
pub const PASS_STARTS_MAX: usize = 40;
/// A stop rewrites one task.
pub const PASS_STOPS_MAX: usize = 40;

/// How the load balancers see a task. A task that is in no table of targets yet is `Initial`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskHealth {
    Initial,
    Healthy,
    Unhealthy { target_group_arn: String, port: u16, reason: String },
}

/// How many more tasks of the primary deployment have a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// FARGATE reserves nothing.
    Unlimited,
    /// EC2 and EXTERNAL reserve; `lacking` is what runs out first, in ECS's words (`CPU units`, `memory`).
    Tasks { count: usize, lacking: &'static str },
}

/// All that is known of a service at one moment.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    pub service: &'a Service,
    /// Every task of the service that is still on record, the ended ones too.
    pub tasks: &'a [Arc<Task>],
    /// Only read where the service has load balancers.
    pub health: &'a HashMap<TaskId, TaskHealth>,
    pub room: Room,
    /// Names the container instance where `room` is short, for the event.
    pub closest_instance: &'a str,
}

/// One idempotent step. It carries every detail: execution makes no choices.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Start {
        task: TaskId,
        /// The deployment's id.
        deployment: String,
        definition: DefinitionId,
    },
    Stop {
        task: TaskId,
        code: StopCode,
        reason: String,
    },
    SetThrottle(Throttle),
    SetDesiredCount(u32),
    SetFailedTasks {
        deployment: String,
        failed_tasks: u32,
    },
    SetRollout {
        deployment: String,
        state: RolloutState,
        reason: String,
    },
    /// Its last task is gone and it is not the primary one.
    RemoveDeployment {
        deployment: String,
    },
    /// The service was deleted and its last task is gone.
    Deactivate,
    Record {
        message: String,
    },
}

/// What to do next for one service, and why nothing more is being done. `ids` gives the ids of new tasks.
pub fn plan_service(observed: &Observed<'_>, now: Timestamp, ids: &mut dyn Iterator<Item = TaskId>) -> Plan<Action> {
    let mut plan = Plan::default();
    if observed.service.status == ServiceStatus::Inactive {
        return plan;
    }
    let sorted = standing::Sorted::new(observed, now);
    let throttle = backoff::plan_throttle(&mut plan, observed);
    backoff::plan_failed_tasks(&mut plan, observed);
    let stops = rolling::plan_stops(&mut plan, observed, &sorted);
    let starts = rolling::plan_starts(&mut plan, observed, &sorted, &stops, throttle, now, ids);
    deployment::plan_deployments(&mut plan, observed, &sorted, &stops, &starts);
    if let Some(at) = sorted.grace_ends_at {
        plan.wake_at(at);
    }
    plan
}

#[cfg(test)]
pub(crate) mod tests;
