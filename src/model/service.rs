//! A service: a number of tasks that are kept running, and the deployments that roll them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::task::LaunchType;
use crate::model::{Arn, ClusterName, DefinitionId, Scope, Tag, Timestamp};

/// How many events a service keeps, as ECS does.
pub const EVENTS_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServiceStatus {
    Active,
    /// Deleted; its tasks are still stopping.
    Draining,
    /// Deleted; still describable.
    Inactive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SchedulingStrategy {
    Replica,
    Daemon,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub scope: Scope,
    pub cluster: ClusterName,
    pub name: String,
    pub status: ServiceStatus,
    pub scheduling_strategy: SchedulingStrategy,
    pub desired_count: u32,
    /// The newest is PRIMARY and first; those before it are ACTIVE until their tasks are gone.
    pub deployments: Vec<Deployment>,
    pub minimum_healthy_percent: u32,
    pub maximum_percent: u32,
    pub health_check_grace_period_seconds: u32,
    pub load_balancers: Vec<ServiceLoadBalancer>,
    pub propagate_tags: Option<String>,
    pub enable_ecs_managed_tags: bool,
    pub enable_execute_command: bool,
    pub created_at: Timestamp,
    pub created_by: String,
    pub tags: Vec<Tag>,
    /// Newest first, at most `EVENTS_MAX`.
    pub events: Vec<ServiceEvent>,
    /// Back-off of a service whose tasks keep failing to start.
    pub throttle: Throttle,
    /// Members that nothing here acts on yet, in the wire's form (role, placement, service registries …).
    #[serde(default)]
    pub document: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RolloutState {
    InProgress,
    Completed,
    Failed,
}

impl RolloutState {
    pub fn as_str(self) -> &'static str {
        match self {
            RolloutState::InProgress => "IN_PROGRESS",
            RolloutState::Completed => "COMPLETED",
            RolloutState::Failed => "FAILED",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// `ecs-svc/` and 19 digits.
    pub id: String,
    pub definition: DefinitionId,
    pub launch_type: LaunchType,
    pub capacity_provider: Option<String>,
    pub platform_version: Option<String>,
    /// AwsVpcConfiguration in the wire's form, where given.
    pub network_configuration: Option<Value>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Tasks that ended without having reached RUNNING, or that failed their load balancer's checks, since the last success.
    pub failed_tasks: u32,
    pub rollout_state: RolloutState,
    pub rollout_state_reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceLoadBalancer {
    pub target_group_arn: String,
    pub container_name: String,
    pub container_port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEvent {
    /// A UUID.
    pub id: String,
    pub at: Timestamp,
    pub message: String,
}

/// How long a service waits before it starts its next task, because its last ones failed to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// Rounds of starts in a row of which some ended before RUNNING.
    pub failures: u32,
    pub not_before: Option<Timestamp>,
}

impl Service {
    pub fn arn(&self) -> Arn {
        Arn::service(&self.scope, &self.cluster, &self.name)
    }

    /// The deployment that new tasks belong to. A service always has one while it is ACTIVE.
    pub fn primary(&self) -> Option<&Deployment> {
        self.deployments.first()
    }

    /// Adds an event, newest first; a text equal to the newest is not repeated, as ECS suppresses duplicates.
    pub fn record_event(&mut self, id: String, at: Timestamp, message: String) {
        if self.events.first().is_some_and(|newest| newest.message == message) {
            return;
        }
        self.events.insert(0, ServiceEvent { id, at, message });
        self.events.truncate(EVENTS_MAX);
    }
}
