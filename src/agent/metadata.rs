//! The metadata of a task and of its containers: versions 2, 3 and 4 are one shape, of which the older leave members out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::agent::{Agent, Asker, Version};
use crate::model::health::HealthStatus;
use crate::model::task::{ContainerStatus, LaunchType, runtime_id};
use crate::model::task_definition::{ContainerDefinition, NetworkMode};
use crate::model::{Arn, Container, DesiredStatus, Tag, Task, TaskStatus, Timestamp, size};

/// Where tasks have their addresses, as a subnet; its first address stands for the machine.
const SUBNET: &str = "127.64.0.0/10";
/// Fargate's scratch space where the definition says nothing.
const STORAGE_GIB_DEFAULT: u64 = 20;
/// The least CPU that the agent gives a container.
const CPU_UNITS_MIN: u32 = 2;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskMetadata {
    cluster: String,
    #[serde(rename = "TaskARN")]
    task_arn: String,
    family: String,
    revision: String,
    desired_status: &'static str,
    known_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_stopped_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_stopped_at: Option<String>,
    availability_zone: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_tags: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_instance_tags: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_type: Option<&'static str>,
    containers: Vec<ContainerMetadata>,
    #[serde(rename = "VPCID", skip_serializing_if = "Option::is_none")]
    vpc_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_drift: Option<ClockDrift>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral_storage_metrics: Option<EphemeralStorage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault_injection_enabled: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limits {
    /// vCPUs of a task, CPU units of a container; whole numbers without a fraction, as Go writes them.
    #[serde(rename = "CPU", skip_serializing_if = "Option::is_none")]
    cpu: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u32>,
}

/// Of a task's clock against the machine's. They are one clock, so nothing drifts.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ClockDrift {
    clock_error_bound: f64,
    reference_timestamp: String,
    clock_synchronization_status: &'static str,
}

/// In MiB.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EphemeralStorage {
    utilized: u64,
    reserved: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerMetadata {
    docker_id: String,
    name: String,
    docker_name: String,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<Port>,
    labels: BTreeMap<String, String>,
    desired_status: &'static str,
    known_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    limits: Limits,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<Volume>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_driver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_options: Option<BTreeMap<String, String>>,
    #[serde(rename = "ContainerARN", skip_serializing_if = "Option::is_none")]
    container_arn: Option<String>,
    networks: Vec<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshotter: Option<&'static str>,
    /// Where it has a restart policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_count: Option<u32>,
}

/// Of a container whose health is checked. While it is not known the agent says nothing of it.
#[derive(Serialize)]
struct Health {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    container_port: u16,
    protocol: String,
    host_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_ip: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    docker_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    destination: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    network_mode: &'static str,
    #[serde(rename = "IPv4Addresses")]
    ipv4_addresses: Vec<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    interface: Option<Interface>,
}

/// What the fourth version says of an `awsvpc` interface.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Interface {
    attachment_index: u32,
    #[serde(rename = "MACAddress")]
    mac_address: String,
    #[serde(rename = "IPv4SubnetCIDRBlock")]
    subnet: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    domain_name_servers: Vec<String>,
    domain_name_search_list: Vec<String>,
    #[serde(rename = "PrivateDNSName")]
    private_dns_name: String,
    #[serde(rename = "SubnetGatewayIpv4Address")]
    gateway: &'static str,
}

pub(super) fn task(agent: &Agent, asker: &Asker, version: Version, with_tags: bool, now: Timestamp) -> TaskMetadata {
    let task = &asker.task;
    let is_fargate = task.launch_type == LaunchType::Fargate;
    let newest = version == Version::V4;
    let time = |at: Option<Timestamp>| at.map(Timestamp::rfc3339);
    TaskMetadata {
        cluster: cluster(task),
        task_arn: task.arn().into(),
        family: task.definition.family.to_string(),
        revision: task.definition.revision.to_string(),
        desired_status: desired(task),
        known_status: known(task),
        limits: limits_of_task(task),
        pull_started_at: time(task.pull_started_at),
        pull_stopped_at: time(task.pull_stopped_at),
        execution_stopped_at: time(task.execution_stopped_at),
        availability_zone: format!("{}a", task.scope.region),
        task_tags: with_tags.then(|| tags(&task.tags)),
        container_instance_tags: (with_tags && !is_fargate).then(BTreeMap::new),
        launch_type: newest.then(|| task.launch_type.as_str()),
        containers: task
            .containers
            .iter()
            .enumerate()
            .map(|(number, found)| container(asker, version, number, found))
            .collect(),
        vpc_id: (newest && task.interface.is_some()).then(|| task.scope.vpc_id()),
        service_name: task.service.as_ref().filter(|_| newest).map(|membership| membership.service.clone()),
        group: newest.then(|| task.group.clone()),
        clock_drift: (newest && is_fargate).then(|| ClockDrift {
            clock_error_bound: 0.0,
            reference_timestamp: now.rfc3339(),
            clock_synchronization_status: "SYNCHRONIZED",
        }),
        ephemeral_storage_metrics: (newest && is_fargate).then(|| EphemeralStorage {
            utilized: agent.usage.storage_bytes(task.id).unwrap_or(0) >> 20,
            reserved: storage_gib(asker) << 10,
        }),
        fault_injection_enabled: newest.then_some(false),
    }
}

pub(super) fn container(asker: &Asker, version: Version, number: usize, container: &Container) -> ContainerMetadata {
    let task = &asker.task;
    let asked = asker.definition.as_ref().and_then(|definition| definition.container(&container.name));
    let newest = version == Version::V4;
    let time = |at: Option<Timestamp>| at.map(Timestamp::rfc3339);
    let log = asked.filter(|_| newest).and_then(|asked| asked.other.get("logConfiguration"));
    ContainerMetadata {
        docker_id: runtime_id(task.id, number),
        name: container.name.clone(),
        docker_name: docker_name(task, number, container),
        image: container.image.clone(),
        image_id: container.image_digest.clone().unwrap_or_default(),
        ports: ports(asker, container, asked, newest),
        labels: labels(task, container, asked),
        desired_status: desired(task),
        known_status: match container.last_status {
            ContainerStatus::Pending if container.image_digest.is_some() => "PULLED",
            ContainerStatus::Pending => "NONE",
            ContainerStatus::Running => "RUNNING",
            ContainerStatus::Stopped => "STOPPED",
        },
        exit_code: container.exit_code,
        limits: limits_of_container(task, container, asked),
        created_at: task.pull_stopped_at.unwrap_or(task.created_at).rfc3339(),
        started_at: time(container.started_at),
        finished_at: time(container.finished_at),
        r#type: "NORMAL",
        health: container
            .health_status
            .map(|status| Health { status: (status != HealthStatus::Unknown).then(|| status.as_str()) }),
        volumes: volumes(asker, asked),
        log_driver: log.and_then(|log| Some(log.get("logDriver")?.as_str()?.to_owned())),
        log_options: log.map(|log| log_options(log, task, container)),
        container_arn: newest.then(|| task.container_arn(container).into()),
        networks: vec![network(asker, asked, newest)],
        restart_count: asked
            .filter(|asked| newest && asked.restart_policy().is_some())
            .map(|_| container.restart_count),
        snapshotter: (newest && task.launch_type == LaunchType::Fargate).then_some("overlayfs"),
    }
}

/// Fargate's agent says the ARN, that of EC2 the name.
fn cluster(task: &Task) -> String {
    match task.launch_type {
        LaunchType::Fargate => Arn::cluster(&task.scope, &task.cluster).into(),
        LaunchType::Ec2 | LaunchType::External => task.cluster.to_string(),
    }
}

fn desired(task: &Task) -> &'static str {
    match task.desired_status {
        DesiredStatus::Running => "RUNNING",
        DesiredStatus::Stopped => "STOPPED",
    }
}

/// The agent's own words: a task that stops is RUNNING to it until it is STOPPED.
fn known(task: &Task) -> &'static str {
    match task.last_status {
        TaskStatus::Provisioning | TaskStatus::Pending => "NONE",
        TaskStatus::Activating => "CREATED",
        TaskStatus::Running | TaskStatus::Deactivating | TaskStatus::Stopping => "RUNNING",
        TaskStatus::Deprovisioning | TaskStatus::Stopped => "STOPPED",
    }
}

fn limits_of_task(task: &Task) -> Option<Limits> {
    let cpu = task.cpu.as_deref().and_then(size::cpu_units).map(|units| number(f64::from(units) / 1024.0));
    let memory = task.memory.as_deref().and_then(size::memory_mib);
    (cpu.is_some() || memory.is_some()).then_some(Limits { cpu, memory })
}

fn limits_of_container(task: &Task, container: &Container, asked: Option<&ContainerDefinition>) -> Limits {
    let overridden = |member: &str| {
        let list = task.overrides.get("containerOverrides")?.as_array()?;
        let own = list.iter().find(|entry| entry["name"].as_str() == Some(&container.name))?;
        u32::try_from(own.get(member)?.as_u64()?).ok()
    };
    let cpu = overridden("cpu").or(asked.map(|asked| asked.cpu)).unwrap_or(0).max(CPU_UNITS_MIN);
    let memory = overridden("memory").or_else(|| asked.and_then(|asked| asked.memory));
    Limits { cpu: Some(Value::from(cpu)), memory: Some(memory.unwrap_or(0)) }
}

/// As Go writes a float: without a fraction where there is none.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 { Value::from(value as u64) } else { Value::from(value) }
}

fn tags(tags: &[Tag]) -> BTreeMap<String, String> {
    tags.iter().map(|tag| (tag.key.clone(), tag.value.clone().unwrap_or_default())).collect()
}

fn storage_gib(asker: &Asker) -> u64 {
    let of = |storage: Option<&Value>| storage.and_then(|storage| storage.get("sizeInGiB")?.as_u64());
    let defined = || of(asker.definition.as_ref()?.document.other.get("ephemeralStorage"));
    of(asker.task.overrides.get("ephemeralStorage")).or_else(defined).unwrap_or(STORAGE_GIB_DEFAULT)
}

/// On Fargate the container's name; on instances the name that the agent makes for Docker, with the container's own digits.
fn docker_name(task: &Task, number: usize, container: &Container) -> String {
    if task.launch_type == LaunchType::Fargate {
        return container.name.clone();
    }
    let id = runtime_id(task.id, number).replace('-', "");
    let (family, revision) = (&task.definition.family, task.definition.revision);
    format!("ecs-{family}-{revision}-{}-{}", container.name, &id[id.len() - 20..])
}

fn labels(task: &Task, container: &Container, asked: Option<&ContainerDefinition>) -> BTreeMap<String, String> {
    let mut labels = asked.map(|asked| asked.docker_labels.clone()).unwrap_or_default();
    labels.extend(
        [
            ("cluster", cluster(task)),
            ("container-name", container.name.clone()),
            ("task-arn", task.arn().into()),
            ("task-definition-family", task.definition.family.to_string()),
            ("task-definition-version", task.definition.revision.to_string()),
        ]
        .map(|(name, value)| (format!("com.amazonaws.ecs.{name}"), value)),
    );
    labels
}

fn network_mode(asker: &Asker) -> NetworkMode {
    let mode = asker.definition.as_ref().map(|definition| definition.document.network_mode());
    mode.unwrap_or(if asker.task.interface.is_some() { NetworkMode::Awsvpc } else { NetworkMode::Bridge })
}

/// With an interface of its own a task's ports are those of its containers; else they are where they were bound.
fn ports(asker: &Asker, container: &Container, asked: Option<&ContainerDefinition>, newest: bool) -> Vec<Port> {
    if network_mode(asker) == NetworkMode::Awsvpc {
        let mappings = asked.into_iter().flat_map(|asked| &asked.port_mappings);
        return mappings
            .filter_map(|mapping| {
                let container_port = mapping.container_port?;
                let protocol = mapping.protocol.clone();
                Some(Port { container_port, protocol, host_port: container_port, host_ip: None })
            })
            .collect();
    }
    let bindings = container.network_bindings.iter();
    bindings
        .map(|binding| Port {
            container_port: binding.container_port,
            protocol: binding.protocol.clone(),
            host_port: binding.host_port,
            host_ip: newest.then(|| binding.bind_ip.clone()),
        })
        .collect()
}

fn volumes(asker: &Asker, asked: Option<&ContainerDefinition>) -> Vec<Volume> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let mounts = list(asked.and_then(|asked| asked.other.get("mountPoints")));
    let defined = list(asker.definition.as_ref().and_then(|definition| definition.document.other.get("volumes")));
    let text = |value: &Value, member: &str| value.get(member).and_then(Value::as_str).map(str::to_owned);
    mounts
        .iter()
        .filter_map(|mount| {
            let name = text(mount, "sourceVolume")?;
            let volume = defined.iter().find(|volume| volume["name"].as_str() == Some(&name));
            let source = volume.and_then(|volume| text(volume.get("host")?, "sourcePath"));
            Some(Volume { destination: text(mount, "containerPath")?, docker_name: name, source })
        })
        .collect()
}

fn log_options(log: &Value, task: &Task, container: &Container) -> BTreeMap<String, String> {
    let given = log.get("options").and_then(Value::as_object).into_iter().flatten();
    let mut options: BTreeMap<String, String> =
        given.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    if log["logDriver"].as_str() == Some("awslogs")
        && let Some(prefix) = options.get("awslogs-stream-prefix")
    {
        options.insert(String::from("awslogs-stream"), format!("{prefix}/{}/{}", container.name, task.id));
    }
    options
}

fn network(asker: &Asker, asked: Option<&ContainerDefinition>, newest: bool) -> Network {
    let task = &asker.task;
    let address = task.interface.as_ref().and_then(|interface| interface.address).or(task.address);
    let servers = asked.and_then(|asked| asked.other.get("dnsServers")).and_then(Value::as_array);
    let interface = task.interface.as_ref().zip(address).filter(|_| newest).map(|(interface, address)| Interface {
        attachment_index: 0,
        mac_address: interface.mac_address.clone(),
        subnet: SUBNET,
        domain_name_servers: servers.into_iter().flatten().filter_map(|ip| Some(ip.as_str()?.to_owned())).collect(),
        domain_name_search_list: vec![format!("{}.compute.internal", task.scope.region)],
        private_dns_name: format!(
            "ip-{}.{}.compute.internal",
            address.to_string().replace('.', "-"),
            task.scope.region
        ),
        gateway: SUBNET,
    });
    Network {
        network_mode: network_mode(asker).as_str(),
        ipv4_addresses: address.iter().map(ToString::to_string).collect(),
        interface,
    }
}
