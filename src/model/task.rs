//! A task: the containers of one definition, on one node, from the moment it was asked for to an hour after it ended.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::volume::LaunchVolume;
use crate::model::{
    Arn, BootId, ClusterName, ContainerDefinition, DefinitionId, HealthStatus, NodeId, Protection, Scope, Tag,
    TaskDefinition, TaskId, Timestamp, Usage,
};

/// Where a task is in its life. The order of the variants is the order of that life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskStatus {
    Provisioning,
    Pending,
    Activating,
    Running,
    Deactivating,
    Stopping,
    Deprovisioning,
    Stopped,
}

impl TaskStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            TaskStatus::Provisioning => "PROVISIONING",
            TaskStatus::Pending => "PENDING",
            TaskStatus::Activating => "ACTIVATING",
            TaskStatus::Running => "RUNNING",
            TaskStatus::Deactivating => "DEACTIVATING",
            TaskStatus::Stopping => "STOPPING",
            TaskStatus::Deprovisioning => "DEPROVISIONING",
            TaskStatus::Stopped => "STOPPED",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DesiredStatus {
    Running,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LaunchType {
    Ec2,
    Fargate,
    External,
}

impl LaunchType {
    pub fn as_str(self) -> &'static str {
        match self {
            LaunchType::Ec2 => "EC2",
            LaunchType::Fargate => "FARGATE",
            LaunchType::External => "EXTERNAL",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCode {
    TaskFailedToStart,
    EssentialContainerExited,
    UserInitiated,
    ServiceSchedulerInitiated,
    SpotInterruption,
    TerminationNotice,
}

impl StopCode {
    pub fn as_str(self) -> &'static str {
        match self {
            StopCode::TaskFailedToStart => "TaskFailedToStart",
            StopCode::EssentialContainerExited => "EssentialContainerExited",
            StopCode::UserInitiated => "UserInitiated",
            StopCode::ServiceSchedulerInitiated => "ServiceSchedulerInitiated",
            StopCode::SpotInterruption => "SpotInterruption",
            StopCode::TerminationNotice => "TerminationNotice",
        }
    }
}

/// The node that runs a task, durable before that node hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    pub node: NodeId,
    /// The run of the server that placed it: no other run may start it, and it cannot have outlived that run.
    pub boot: BootId,
}

/// The service that a task belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMembership {
    pub service: String,
    /// `ecs-svc/` and digits.
    pub deployment: String,
}

/// The virtual network interface of an `awsvpc` task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    pub attachment_id: String,
    pub interface_id: String,
    pub subnet_id: String,
    pub mac_address: String,
    /// Set when the task is placed.
    pub address: Option<Ipv4Addr>,
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// `assignPublicIp: ENABLED`.
    #[serde(default)]
    pub assign_public_ip: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub scope: Scope,
    pub cluster: ClusterName,
    pub id: TaskId,
    pub definition: DefinitionId,
    pub launch_type: LaunchType,
    /// `FARGATE` or `FARGATE_SPOT`, where a strategy chose it.
    pub capacity_provider: Option<String>,
    pub platform_version: Option<String>,
    /// `family:NAME` or `service:NAME`, or what the caller gave.
    pub group: String,
    pub started_by: Option<String>,
    pub service: Option<ServiceMembership>,
    pub tags: Vec<Tag>,
    /// TaskOverride, in the wire's form and checked against the model.
    pub overrides: Map<String, Value>,
    /// The task's size after overrides, as given back (`cpu` and `memory` of the wire).
    pub cpu: Option<String>,
    pub memory: Option<String>,
    pub enable_execute_command: bool,

    pub desired_status: DesiredStatus,
    pub last_status: TaskStatus,
    /// StartTask names a container instance; RunTask leaves it to placement.
    pub requested_node: Option<NodeId>,
    pub placement: Option<Placement>,
    pub interface: Option<NetworkInterface>,
    /// Where its node reaches it, in every network mode; set with the placement.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// What the launch said of volumes that are configured at launch.
    #[serde(default)]
    pub volumes: Vec<LaunchVolume>,
    pub containers: Vec<Container>,
    /// That of its essential containers which are checked, the worst first; absent where none is.
    #[serde(default)]
    pub health_status: Option<HealthStatus>,
    /// Counts every change, from 1.
    pub version: u64,

    pub created_at: Timestamp,
    pub connected_at: Option<Timestamp>,
    pub pull_started_at: Option<Timestamp>,
    pub pull_stopped_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub stopping_at: Option<Timestamp>,
    pub execution_stopped_at: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
    pub stop_code: Option<StopCode>,
    pub stopped_reason: Option<String>,
    /// What it used in all, once its host has let go of it.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// From scale-in and deployments.
    #[serde(default)]
    pub protection: Option<Protection>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContainerStatus {
    Pending,
    Running,
    Stopped,
}

impl ContainerStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            ContainerStatus::Pending => "PENDING",
            ContainerStatus::Running => "RUNNING",
            ContainerStatus::Stopped => "STOPPED",
        }
    }
}

/// One container of a task. What was asked of it is in the definition; this is what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// A UUID: the last part of its ARN.
    pub id: String,
    pub name: String,
    pub image: String,
    /// `sha256:…` of the component, once resolved.
    pub image_digest: Option<String>,
    /// 32 hexadecimal digits, a hyphen and ten digits, as on Fargate; known when it was started.
    pub runtime_id: Option<String>,
    pub last_status: ContainerStatus,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
    /// Absent where it is not checked: then UNKNOWN is shown, and nobody waits for more.
    #[serde(default)]
    pub health_status: Option<HealthStatus>,
    /// How often its restart policy started it again.
    #[serde(default)]
    pub restart_count: u32,
    /// What is bound: the port in the task, and the one on the node.
    #[serde(default)]
    pub network_bindings: Vec<NetworkBinding>,
    /// True where the image is a `wasi:http` handler, false for a program; unknown until resolved.
    #[serde(default)]
    pub is_handler: Option<bool>,
    /// When it last began to run, and when that ended.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkBinding {
    pub bind_ip: String,
    /// Ports from the first ones on: more than one where the mapping names a range.
    #[serde(default = "one")]
    pub count: u16,
    pub container_port: u16,
    pub host_port: u16,
    pub protocol: String,
}

/// The `runtimeId` of the container of this number in the definition: known before it starts, the same after a restart.
pub fn runtime_id(task: TaskId, number: usize) -> String {
    format!("{task}-{number:010}")
}

fn one() -> u16 {
    1
}

impl Container {
    fn wanted(id: String, asked: &ContainerDefinition) -> Container {
        Container {
            id,
            name: asked.name.clone(),
            image: asked.image.clone(),
            image_digest: None,
            runtime_id: None,
            last_status: ContainerStatus::Pending,
            exit_code: None,
            reason: None,
            health_status: asked.is_checked().then_some(HealthStatus::Unknown),
            restart_count: 0,
            network_bindings: Vec::new(),
            is_handler: None,
            started_at: None,
            finished_at: None,
        }
    }
}

impl Task {
    /// A new task: wanted, and not yet placed. `uuid` gives the containers their ids; what the caller knows beyond the
    /// definition is set on top.
    pub fn wanted(
        id: TaskId,
        cluster: ClusterName,
        definition: &TaskDefinition,
        created_at: Timestamp,
        uuid: impl Fn() -> String,
    ) -> Task {
        let document = &definition.document;
        Task {
            scope: definition.scope.clone(),
            cluster,
            id,
            definition: definition.id.clone(),
            launch_type: LaunchType::Ec2,
            capacity_provider: None,
            platform_version: None,
            group: format!("family:{}", definition.id.family),
            started_by: None,
            service: None,
            tags: Vec::new(),
            overrides: Map::new(),
            cpu: document.cpu.clone(),
            memory: document.memory.clone(),
            enable_execute_command: false,
            desired_status: DesiredStatus::Running,
            last_status: TaskStatus::Provisioning,
            requested_node: None,
            placement: None,
            interface: None,
            address: None,
            volumes: Vec::new(),
            containers: document.container_definitions.iter().map(|asked| Container::wanted(uuid(), asked)).collect(),
            health_status: HealthStatus::of_task(
                document
                    .container_definitions
                    .iter()
                    .filter(|asked| asked.essential && asked.is_checked())
                    .map(|_| HealthStatus::Unknown),
            ),
            version: 1,
            created_at,
            connected_at: None,
            pull_started_at: None,
            pull_stopped_at: None,
            started_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            stopped_at: None,
            stop_code: None,
            stopped_reason: None,
            usage: None,
            protection: None,
        }
    }

    pub fn arn(&self) -> Arn {
        Arn::task(&self.scope, &self.cluster, self.id)
    }

    pub fn is_stopped(&self) -> bool {
        self.last_status == TaskStatus::Stopped
    }

    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }

    pub fn container_arn(&self, container: &Container) -> Arn {
        Arn::container(&self.scope, &self.cluster, self.id, &container.id)
    }
}
