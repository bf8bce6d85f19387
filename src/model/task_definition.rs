//! A registered task definition.
//!
//! What we act on has typed fields; every other member is kept in `other` as it came, so that a definition comes back
//! whole, and a later version that acts on one more member needs no migration. The names are those of the wire.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{Arn, Family, InvalidName, Scope, Tag, Timestamp, size};

/// `FAMILY:REVISION`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DefinitionId {
    pub family: Family,
    pub revision: u32,
}

impl fmt::Display for DefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.family, self.revision)
    }
}

impl FromStr for DefinitionId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<DefinitionId, InvalidName> {
        let invalid = || InvalidName {
            what: "task definition",
            text: text.chars().take(300).collect(),
            rule: "FAMILY:REVISION, where REVISION is a positive number",
        };
        let (family, revision) = text.rsplit_once(':').ok_or_else(invalid)?;
        let revision = revision.parse().ok().filter(|revision| *revision > 0).ok_or_else(invalid)?;
        Ok(DefinitionId { family: family.parse()?, revision })
    }
}

/// The last revision of a family that was given out. Never goes back, whatever is deregistered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyRecord {
    pub scope: Scope,
    pub family: Family,
    pub last_revision: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DefinitionStatus {
    Active,
    Inactive,
    DeleteInProgress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    Awsvpc,
    Bridge,
    Host,
    None,
}

impl NetworkMode {
    pub fn as_str(self) -> &'static str {
        match self {
            NetworkMode::Awsvpc => "awsvpc",
            NetworkMode::Bridge => "bridge",
            NetworkMode::Host => "host",
            NetworkMode::None => "none",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinition {
    pub scope: Scope,
    pub id: DefinitionId,
    pub status: DefinitionStatus,
    pub registered_at: Timestamp,
    pub deregistered_at: Option<Timestamp>,
    pub registered_by: String,
    pub tags: Vec<Tag>,
    pub document: TaskDocument,
}

/// What was registered, with ECS's defaults filled in. Serializes to the wire's form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDocument {
    pub container_definitions: Vec<ContainerDefinition>,
    /// Absent: `bridge`, as on Linux instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<NetworkMode>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires_compatibilities: Vec<String>,
    /// CPU units of the task, as a number in text: the form in which ECS gives it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// MiB of the task, as a number in text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Members that nothing here acts on yet.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerDefinition {
    pub name: String,
    pub image: String,
    /// Share of the task's CPU among its containers; 0 where not given.
    #[serde(default)]
    pub cpu: u32,
    /// Hard limit in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// What placement counts, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<u32>,
    #[serde(default)]
    pub port_mappings: Vec<PortMapping>,
    #[serde(default = "yes")]
    pub essential: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entry_point: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    #[serde(default)]
    pub environment: Vec<KeyValue>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub docker_labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Seconds between being told to stop and being cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_networking: Option<bool>,
    /// Members that nothing here acts on yet.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    #[serde(default = "tcp")]
    pub protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    /// `FROM-TO`; never together with `container_port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_port_range: Option<String>,
}

fn tcp() -> String {
    String::from("tcp")
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    pub name: String,
    #[serde(default)]
    pub value: String,
}

impl TaskDefinition {
    pub fn arn(&self) -> Arn {
        Arn::task_definition(&self.scope, &self.id.family, self.id.revision)
    }

    pub fn container(&self, name: &str) -> Option<&ContainerDefinition> {
        self.document.container_definitions.iter().find(|container| container.name == name)
    }
}

impl TaskDocument {
    /// The task's own CPU units, where given.
    pub fn cpu_units(&self) -> Option<u32> {
        self.cpu.as_deref().and_then(size::cpu_units)
    }

    /// The task's own memory in MiB, where given.
    pub fn memory_mib(&self) -> Option<u32> {
        self.memory.as_deref().and_then(size::memory_mib)
    }

    pub fn network_mode(&self) -> NetworkMode {
        self.network_mode.unwrap_or(NetworkMode::Bridge)
    }
}

impl ContainerDefinition {
    /// The label `coracle.instances.keep`: instances of a handler are kept between requests.
    pub fn keeps_instances(&self) -> bool {
        self.docker_labels.get("coracle.instances.keep").is_some_and(|value| value == "true")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_comes_back_whole() {
        let given = serde_json::json!({
            "containerDefinitions": [{
                "name": "web", "image": "nginx", "cpu": 99, "memory": 100, "essential": true,
                "portMappings": [{"containerPort": 80, "protocol": "tcp"}], "environment": [],
                "healthCheck": {"command": ["CMD", "true"]}
            }],
            "networkMode": "awsvpc", "cpu": "256", "memory": "512", "volumes": [{"name": "v"}]
        });
        let document: TaskDocument = serde_json::from_value(given.clone()).unwrap();
        assert_eq!(document.cpu_units(), Some(256));
        assert_eq!(serde_json::to_value(&document).unwrap(), given);
    }

    #[test]
    fn an_id_is_family_and_revision() {
        let id: DefinitionId = "web:3".parse().unwrap();
        assert_eq!((id.family.as_str(), id.revision), ("web", 3));
        assert!("web".parse::<DefinitionId>().is_err());
        assert!("web:0".parse::<DefinitionId>().is_err());
    }
}
