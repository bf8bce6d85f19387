//! A new task of a service, as it is first recorded: wanted, and not placed.

use serde_json::Value;

use crate::control::Ids;
use crate::model::task::{LaunchType, NetworkInterface, ServiceMembership};
use crate::model::task_definition::NetworkMode;
use crate::model::volume::{self, LaunchVolume};
use crate::model::{Deployment, NodeId, Service, Tag, Task, TaskDefinition, TaskId, Timestamp};

pub fn new_task(
    ids: &Ids,
    service: &Service,
    deployment: &Deployment,
    definition: &TaskDefinition,
    node: NodeId,
    id: TaskId,
    at: Timestamp,
) -> Task {
    Task {
        launch_type: deployment.launch_type,
        capacity_provider: deployment.capacity_provider.clone(),
        platform_version: deployment.platform_version.clone(),
        group: format!("service:{}", service.name),
        started_by: Some(deployment.id.clone()),
        service: Some(ServiceMembership { service: service.name.clone(), deployment: deployment.id.clone() }),
        tags: tags(service, definition),
        enable_execute_command: service.enable_execute_command,
        // What reserves does so on an instance, and there is one.
        requested_node: (deployment.launch_type != LaunchType::Fargate).then_some(node),
        interface: interface(ids, deployment, definition),
        volumes: volumes(ids, service, definition),
        ..Task::wanted(id, service.cluster.clone(), definition, at, || ids.uuid())
    }
}

fn tags(service: &Service, definition: &TaskDefinition) -> Vec<Tag> {
    let mut tags = match service.propagate_tags.as_deref() {
        Some("TASK_DEFINITION") => definition.tags.clone(),
        Some("SERVICE") => service.tags.clone(),
        _ => Vec::new(),
    };
    if service.enable_ecs_managed_tags {
        let managed = [("aws:ecs:clusterName", service.cluster.as_str()), ("aws:ecs:serviceName", &service.name)];
        tags.extend(managed.map(|(key, value)| Tag { key: String::from(key), value: Some(String::from(value)) }));
    }
    tags
}

/// The service's volumes, as far as this definition asks for them: what is missing fails the start of the task, and says so.
fn volumes(ids: &Ids, service: &Service, definition: &TaskDefinition) -> Vec<LaunchVolume> {
    let given = service.document.get("volumeConfigurations");
    let volume_id = || ids.eni().replacen("eni", "vol", 1);
    volume::at_launch(&definition.document, given, || ids.uuid(), volume_id).unwrap_or_default()
}

/// The interface of an `awsvpc` task. Its address comes with its placement.
fn interface(ids: &Ids, deployment: &Deployment, definition: &TaskDefinition) -> Option<NetworkInterface> {
    if definition.document.network_mode() != NetworkMode::Awsvpc {
        return None;
    }
    let network = deployment.network_configuration.as_ref();
    let vpc = network.and_then(|network| network.get("awsvpcConfiguration")).or(network);
    let subnet = vpc.and_then(|vpc| vpc.get("subnets")?.get(0)?.as_str());
    let groups = vpc.and_then(|vpc| vpc.get("securityGroups")?.as_array()).into_iter().flatten();
    Some(NetworkInterface {
        attachment_id: ids.uuid(),
        interface_id: ids.eni(),
        subnet_id: subnet.map(String::from).unwrap_or_default(),
        mac_address: ids.mac(),
        address: None,
        security_groups: groups.filter_map(Value::as_str).map(String::from).collect(),
        assign_public_ip: vpc.and_then(|vpc| vpc.get("assignPublicIp")?.as_str()) == Some("ENABLED"),
    })
}
