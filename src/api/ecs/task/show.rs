//! A task as the wire shows it.

use serde_json::Value;

use crate::api::ecs::reference::from_map;
use crate::api::ecs::tag;
use crate::api::wire::ecs as wire;
use crate::model::task::{LaunchType, NetworkBinding, NetworkInterface, TaskStatus};
use crate::model::volume::LaunchVolume;
use crate::model::{Arn, Container, ContainerDefinition, DesiredStatus, HealthStatus, Task, TaskDefinition, Timestamp};
use crate::store::{Key, View};

pub fn task(view: &mut View, task: &Task, with_tags: bool) -> wire::Task {
    let definition = view.get::<TaskDefinition>(&Key::task_definition(&task.scope, &task.definition));
    let seconds = |at: Option<Timestamp>| at.map(Timestamp::epoch_seconds);
    let node = task.placement.map(|placement| placement.node).or(task.requested_node);
    let mut overrides: wire::TaskOverride = from_map(&task.overrides);
    fill_overrides(&mut overrides, task);
    wire::Task {
        attachments: Some(
            task.interface
                .iter()
                .map(|interface| attachment(task, interface))
                .chain(task.volumes.iter().map(|volume| volume_attachment(task, volume)))
                .collect(),
        ),
        attributes: Some(vec![wire::Attribute {
            name: Some(String::from("ecs.cpu-architecture")),
            value: Some(String::from("x86_64")),
            ..wire::Attribute::default()
        }]),
        availability_zone: Some(format!("{}a", task.scope.region)),
        capacity_provider_name: task.capacity_provider.clone(),
        cluster_arn: Some(Arn::cluster(&task.scope, &task.cluster).into()),
        connectivity: task.connected_at.map(|_| String::from("CONNECTED")),
        connectivity_at: seconds(task.connected_at),
        container_instance_arn: node
            .filter(|_| task.launch_type != LaunchType::Fargate)
            .map(|node| Arn::container_instance(&task.scope, &task.cluster, node).into()),
        containers: Some(
            task.containers
                .iter()
                .map(|container| {
                    let asked = definition.as_ref().and_then(|definition| definition.container(&container.name));
                    self::container(task, container, asked)
                })
                .collect(),
        ),
        // ECS leaves the size out where none was given.
        cpu: task.cpu.clone(),
        memory: task.memory.clone(),
        created_at: Some(task.created_at.epoch_seconds()),
        desired_status: Some(String::from(match task.desired_status {
            DesiredStatus::Running => "RUNNING",
            DesiredStatus::Stopped => "STOPPED",
        })),
        enable_execute_command: Some(task.enable_execute_command),
        execution_stopped_at: seconds(task.execution_stopped_at),
        group: Some(task.group.clone()),
        health_status: health(task.health_status),
        inference_accelerators: Some(Vec::new()),
        last_status: Some(task.last_status.as_str().to_owned()),
        // A capacity provider is shown instead of the launch type only for EC2 providers; both FARGATE ones show it.
        launch_type: Some(task.launch_type.as_str().to_owned()),
        overrides: Some(overrides),
        platform_version: task.platform_version.clone(),
        platform_family: (task.launch_type == LaunchType::Fargate).then(|| String::from("Linux")),
        pull_started_at: seconds(task.pull_started_at),
        pull_stopped_at: seconds(task.pull_stopped_at),
        started_at: seconds(task.started_at),
        started_by: task.started_by.clone(),
        stop_code: task.stop_code.map(|code| code.as_str().to_owned()),
        stopped_at: seconds(task.stopped_at),
        stopped_reason: task.stopped_reason.clone(),
        stopping_at: seconds(task.stopping_at),
        tags: Some(if with_tags { tag::shown(&task.tags) } else { Vec::new() }),
        task_arn: Some(task.arn().into()),
        task_definition_arn: Some(
            Arn::task_definition(&task.scope, &task.definition.family, task.definition.revision).into(),
        ),
        version: Some(i64::try_from(task.version).unwrap_or(i64::MAX)),
        ephemeral_storage: (task.launch_type == LaunchType::Fargate)
            .then(|| wire::EphemeralStorage { size_in_gi_b: Some(storage_gib(task, definition.as_deref())) }),
        fargate_ephemeral_storage: None,
    }
}

/// What is not checked is UNKNOWN too.
fn health(status: Option<HealthStatus>) -> Option<String> {
    Some(status.unwrap_or(HealthStatus::Unknown).as_str().to_owned())
}

/// Fargate's scratch space where the definition says nothing.
const STORAGE_GIB_DEFAULT: i32 = 20;

fn storage_gib(task: &Task, definition: Option<&TaskDefinition>) -> i32 {
    let own = definition.and_then(|definition| definition.document.other.get("ephemeralStorage"));
    task.overrides
        .get("ephemeralStorage")
        .filter(|storage| storage["sizeInGiB"].is_number())
        .or(own)
        .and_then(|storage| storage["sizeInGiB"].as_i64())
        .and_then(|gib| i32::try_from(gib).ok())
        .unwrap_or(STORAGE_GIB_DEFAULT)
}

/// ECS lists every container in the overrides, also those of which nothing is overridden.
fn fill_overrides(overrides: &mut wire::TaskOverride, task: &Task) {
    let listed = overrides.container_overrides.get_or_insert_default();
    for container in &task.containers {
        if !listed.iter().any(|known| known.name.as_deref() == Some(&container.name)) {
            listed.push(wire::ContainerOverride {
                name: Some(container.name.clone()),
                ..wire::ContainerOverride::default()
            });
        }
    }
    overrides.inference_accelerator_overrides.get_or_insert_default();
}

fn attachment(task: &Task, interface: &NetworkInterface) -> wire::Attachment {
    let mut details = vec![
        ("subnetId", interface.subnet_id.clone()),
        ("networkInterfaceId", interface.interface_id.clone()),
        ("macAddress", interface.mac_address.clone()),
    ];
    if let Some(address) = interface.address {
        let dashed = address.to_string().replace('.', "-");
        details.push(("privateDnsName", format!("ip-{dashed}.{}.compute.internal", task.scope.region)));
        details.push(("privateIPv4Address", address.to_string()));
    }
    attached(task, "ElasticNetworkInterface", &interface.attachment_id, details)
}

fn volume_attachment(task: &Task, volume: &LaunchVolume) -> wire::Attachment {
    let details = vec![
        ("volumeId", volume.volume_id.clone()),
        ("volumeName", volume.name.clone()),
        ("sizeInGiB", volume.size_gib.to_string()),
        ("deleteOnTermination", volume.delete_on_termination.to_string()),
    ];
    attached(task, "AmazonElasticBlockStorage", &volume.attachment_id, details)
}

fn attached(task: &Task, kind: &str, id: &str, details: Vec<(&str, String)>) -> wire::Attachment {
    let status = match task.last_status {
        TaskStatus::Provisioning => "PRECREATED",
        TaskStatus::Pending | TaskStatus::Activating => "ATTACHING",
        TaskStatus::Running | TaskStatus::Deactivating | TaskStatus::Stopping => "ATTACHED",
        TaskStatus::Deprovisioning => "DETACHING",
        TaskStatus::Stopped => "DELETED",
    };
    wire::Attachment {
        id: Some(id.to_owned()),
        r#type: Some(kind.to_owned()),
        status: Some(String::from(status)),
        details: Some(
            details
                .into_iter()
                .map(|(name, value)| wire::KeyValuePair { name: Some(name.to_owned()), value: Some(value) })
                .collect(),
        ),
    }
}

fn container(task: &Task, container: &Container, asked: Option<&ContainerDefinition>) -> wire::Container {
    let overridden = |member: &str| {
        let list = task.overrides.get("containerOverrides")?.as_array()?;
        let own = list.iter().find(|entry| entry["name"].as_str() == Some(&container.name))?;
        own.get(member).and_then(Value::as_i64).map(|number| number.to_string())
    };
    let text = |number: Option<u32>| number.map(|number| number.to_string());
    wire::Container {
        container_arn: Some(task.container_arn(container).into()),
        task_arn: Some(task.arn().into()),
        name: Some(container.name.clone()),
        image: Some(container.image.clone()),
        image_digest: container.image_digest.clone(),
        runtime_id: container.runtime_id.clone(),
        last_status: Some(container.last_status.as_str().to_owned()),
        exit_code: container.exit_code,
        reason: container.reason.clone(),
        network_bindings: Some(container.network_bindings.iter().map(network_binding).collect()),
        network_interfaces: Some(
            task.interface
                .iter()
                .map(|interface| wire::NetworkInterface {
                    attachment_id: Some(interface.attachment_id.clone()),
                    private_ipv4_address: interface.address.map(|address| address.to_string()),
                    ipv6_address: None,
                })
                .collect(),
        ),
        health_status: health(container.health_status),
        cpu: Some(
            overridden("cpu").or_else(|| text(asked.map(|asked| asked.cpu))).unwrap_or_else(|| String::from("0")),
        ),
        memory: overridden("memory").or_else(|| text(asked.and_then(|asked| asked.memory))),
        memory_reservation: overridden("memoryReservation")
            .or_else(|| text(asked.and_then(|asked| asked.memory_reservation))),
        ..wire::Container::default()
    }
}

/// CPU units and MiB that EC2-style placement reserves for a task of this definition.
pub fn reservation(definition: &TaskDefinition) -> (u32, u32) {
    let containers = &definition.document.container_definitions;
    let cpu = definition.document.cpu_units().unwrap_or_else(|| containers.iter().map(|one| one.cpu).sum());
    let of_container = |one: &ContainerDefinition| one.memory_reservation.or(one.memory).unwrap_or(0);
    let memory = definition.document.memory_mib().unwrap_or_else(|| containers.iter().map(of_container).sum());
    (cpu, memory)
}

/// One port, or a range of them, as the mapping named it.
fn network_binding(binding: &NetworkBinding) -> wire::NetworkBinding {
    let shown = wire::NetworkBinding {
        bind_ip: Some(binding.bind_ip.clone()),
        protocol: Some(binding.protocol.clone()),
        ..wire::NetworkBinding::default()
    };
    if binding.count == 1 {
        let (container_port, host_port) = (Some(i32::from(binding.container_port)), Some(i32::from(binding.host_port)));
        return wire::NetworkBinding { container_port, host_port, ..shown };
    }
    let range = |first: u16| Some(format!("{first}-{}", first.saturating_add(binding.count.saturating_sub(1))));
    wire::NetworkBinding {
        container_port_range: range(binding.container_port),
        host_port_range: range(binding.host_port),
        ..shown
    }
}
