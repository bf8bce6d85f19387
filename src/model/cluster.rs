//! A cluster: a name under which services and tasks are grouped.

use serde::{Deserialize, Serialize};

use crate::model::{Arn, ClusterName, Scope, Tag, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClusterStatus {
    Active,
    /// Deleted; still describable.
    Inactive,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    pub scope: Scope,
    pub name: ClusterName,
    pub status: ClusterStatus,
    pub created_at: Timestamp,
    pub tags: Vec<Tag>,
    /// Settings, configuration, capacity providers and the like, as they were given (wire form, checked against the model).
    #[serde(default)]
    pub document: serde_json::Map<String, serde_json::Value>,
}

impl Cluster {
    pub fn arn(&self) -> Arn {
        Arn::cluster(&self.scope, &self.name)
    }
}
