//! How clients refer to things: by name, by short id, or by full ARN. All three are accepted everywhere.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::model::arn::ArnParts;
use crate::model::task_definition::DefinitionStatus;
use crate::model::{
    Cluster, ClusterName, ClusterStatus, ContainerInstance, DefinitionId, Family, NodeId, TaskDefinition, TaskId,
};
use crate::store::{Key, Prefix, View};

/// The cluster that is meant where none is named. It is there on first use.
const DEFAULT_CLUSTER: &str = "default";

/// The name of the cluster that `text` refers to: a name, an ARN, or the default one.
pub fn cluster_name(cx: &Context, text: Option<&str>) -> Result<ClusterName, ApiError> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or(DEFAULT_CLUSTER);
    let name = match ArnParts::parse(text) {
        Some(parts) if parts.service == "ecs" && parts.is_in(&cx.scope) => {
            parts.resource.strip_prefix("cluster/").ok_or_else(|| identifier_invalid("cluster"))?
        }
        Some(_) => return Err(ApiError::cluster_not_found()),
        None => text,
    };
    name.parse().map_err(|_| identifier_invalid("cluster"))
}

/// The active cluster that `text` refers to; the default cluster is made if it is not there yet.
pub fn cluster(cx: &Context, view: &mut View, text: Option<&str>) -> Result<Arc<Cluster>, ApiError> {
    let name = cluster_name(cx, text)?;
    match view.get::<Cluster>(&Key::cluster(&cx.scope, &name)) {
        Some(cluster) if cluster.status == ClusterStatus::Active => Ok(cluster),
        None if name.as_str() == DEFAULT_CLUSTER => Ok(put_cluster(cx, view, blank_cluster(cx, name))),
        _ => Err(ApiError::cluster_not_found()),
    }
}

pub fn blank_cluster(cx: &Context, name: ClusterName) -> Cluster {
    Cluster {
        scope: cx.scope.clone(),
        name,
        status: ClusterStatus::Active,
        created_at: cx.now,
        tags: Vec::new(),
        document: Map::new(),
    }
}

/// Records a cluster, with this node as its container instance.
pub fn put_cluster(cx: &Context, view: &mut View, cluster: Cluster) -> Arc<Cluster> {
    view.put(ContainerInstance {
        scope: cx.scope.clone(),
        cluster: cluster.name.clone(),
        node: cx.config.node,
        registered_at: cx.now,
        cpu_units: cx.config.cores * crate::model::size::UNITS_PER_CORE,
        memory_mib: u32::try_from(cx.config.memory_bytes >> 20).unwrap_or(u32::MAX),
    });
    view.put(cluster.clone());
    Arc::new(cluster)
}

/// The id of the task that `text` refers to, within `cluster`.
pub fn task_id(cx: &Context, cluster: &ClusterName, text: &str) -> Result<TaskId, ApiError> {
    let id = in_cluster(cx, cluster, text, "task")?;
    id.parse().map_err(|_| ApiError::invalid_parameter("taskId length should be one of [32,36]"))
}

/// The name of the service that `text` refers to, within `cluster`.
pub fn service_name(cx: &Context, cluster: &ClusterName, text: &str) -> Result<String, ApiError> {
    if text.is_empty() {
        return Err(ApiError::invalid_parameter("Service name cannot be empty."));
    }
    in_cluster(cx, cluster, text, "service").map(str::to_owned)
}

pub fn node_id(cx: &Context, cluster: &ClusterName, text: &str) -> Result<NodeId, ApiError> {
    let id = in_cluster(cx, cluster, text, "container-instance")?;
    id.parse().map_err(|_| ApiError::invalid_parameter("Identifier is not a valid container instance."))
}

/// The last part of `text`, which is a bare id or an ARN `KIND/CLUSTER/ID` (or the old form `KIND/ID`).
fn in_cluster<'a>(cx: &Context, cluster: &ClusterName, text: &'a str, kind: &str) -> Result<&'a str, ApiError> {
    let Some(parts) = ArnParts::parse(text) else { return Ok(text) };
    if parts.service != "ecs" || !parts.is_in(&cx.scope) {
        return Err(ApiError::invalid_parameter(format!(
            "Invalid identifier: '{text}' is not of account {} and region {}.",
            cx.scope.account, cx.scope.region
        )));
    }
    let rest = parts.resource.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/'));
    let rest = rest.ok_or_else(|| identifier_invalid(kind))?;
    match rest.split_once('/') {
        Some((other, _)) if other != cluster.as_str() => {
            Err(ApiError::invalid_parameter(format!("Identifier is for cluster {other}. Your cluster is {cluster}")))
        }
        Some((_, id)) => Ok(id),
        None => Ok(rest),
    }
}

fn identifier_invalid(kind: &str) -> ApiError {
    ApiError::invalid_parameter(format!("Invalid identifier: Unexpected format for resource {kind}"))
}

/// A family, or one revision of it.
pub enum DefinitionReference {
    Latest(Family),
    Exact(DefinitionId),
}

pub fn definition_reference(cx: &Context, text: &str) -> Option<DefinitionReference> {
    let name = match ArnParts::parse(text) {
        Some(parts) if parts.service == "ecs" && parts.is_in(&cx.scope) => {
            parts.resource.strip_prefix("task-definition/")?
        }
        Some(_) => return None,
        None => text,
    };
    if name.contains(':') {
        name.parse().ok().map(DefinitionReference::Exact)
    } else {
        name.parse().ok().map(DefinitionReference::Latest)
    }
}

/// The definition that `text` refers to; of a family the newest ACTIVE revision.
pub fn definition(cx: &Context, view: &mut View, text: &str) -> Option<Arc<TaskDefinition>> {
    match definition_reference(cx, text)? {
        DefinitionReference::Exact(id) => view.get::<TaskDefinition>(&Key::task_definition(&cx.scope, &id)),
        DefinitionReference::Latest(family) => view
            .list::<TaskDefinition>(&Prefix::task_definitions_of(&cx.scope, &family))
            .into_iter()
            .rev()
            .find(|definition| definition.status == DefinitionStatus::Active),
    }
}

/// The definition that a task or a service is to run: it must be there and ACTIVE.
pub fn runnable_definition(cx: &Context, view: &mut View, text: &str) -> Result<Arc<TaskDefinition>, ApiError> {
    let definition = definition(cx, view, text).ok_or_else(|| ApiError::client("TaskDefinition not found."))?;
    if definition.status != DefinitionStatus::Active {
        return Err(ApiError::client("TaskDefinition is inactive"));
    }
    Ok(definition)
}

/// What tells a request from another with the same token or name: SHA-256 of it, in hexadecimal.
pub fn digest<T: Serialize>(request: &T) -> String {
    let text = serde_json::to_vec(request).unwrap_or_default();
    Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A wire value as the JSON object that records keep. Wire types always serialize, and to an object.
pub fn to_map<T: Serialize>(wire: &T) -> Map<String, Value> {
    match serde_json::to_value(wire) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// The reverse of `to_map`: what was checked when it was stored.
pub fn from_map<T: DeserializeOwned + Default>(map: &Map<String, Value>) -> T {
    T::deserialize(map).unwrap_or_default()
}
