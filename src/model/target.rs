//! One registered target of a target group, and how it is.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::model::{ClusterName, Scope, TaskId, Timestamp};

/// States of `DescribeTargetHealth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
    Draining,
    Unused,
    /// Nobody asks, because health checks are off; requests come all the same.
    Unavailable,
    /// Unhealthy, with connections that may go on for a while.
    UnhealthyDraining,
}

impl TargetState {
    pub fn as_str(self) -> &'static str {
        match self {
            TargetState::Initial => "initial",
            TargetState::Healthy => "healthy",
            TargetState::Unhealthy => "unhealthy",
            TargetState::Draining => "draining",
            TargetState::Unused => "unused",
            TargetState::Unavailable => "unavailable",
            TargetState::UnhealthyDraining => "unhealthy.draining",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetHealth {
    pub state: TargetState,
    /// Such as `Elb.InitialHealthChecking` or `Target.ResponseCodeMismatch`; absent while healthy.
    pub reason: Option<String>,
    pub description: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub scope: Scope,
    /// Name of the target group.
    pub group: String,
    pub address: Ipv4Addr,
    pub port: u16,
    /// The task behind it and its container, where a service registered it; a client may register plain addresses.
    pub task: Option<TargetTask>,
    pub registered_at: Timestamp,
    /// When it began to drain.
    pub draining_since: Option<Timestamp>,
    pub health: TargetHealth,
    #[serde(default)]
    pub anomaly: TargetAnomaly,
}

/// Whether a target fails more often than the others of its group: `AnomalyDetection` of `DescribeTargetHealth`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetAnomaly {
    /// `Result`: `anomalous`, else `normal`.
    pub is_anomalous: bool,
    /// `MitigationInEffect`: it gets fewer requests than the others.
    pub is_mitigated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetTask {
    pub cluster: ClusterName,
    pub task: TaskId,
    pub container: String,
}
