//! A server's control plane that can be crashed and started again on the same storage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{self, Instant};

use super::scripted::{MISSING, ScriptedBalancer, ScriptedHost, Witness};
use super::{definition, scope};
use crate::control::{Clock, Config, Control, Ids, start};
use crate::identity::{SealingKey, TaskRoles};
use crate::model::load_balancer::HealthCheck;
use crate::model::service::{RolloutState, SchedulingStrategy, ServiceLoadBalancer, Throttle};
use crate::model::task::{Container, ContainerStatus, LaunchType, NetworkInterface, StopCode};
use crate::model::{
    BootId, DefinitionId, Deployment, DesiredStatus, NodeId, Service, ServiceStatus, TargetGroup, Task, TaskDefinition,
    TaskId, Timestamp,
};
use crate::network::Table;
use crate::store::{Key, Memory, Prefix, Store, View};
use crate::telemetry::logs::Logs;

pub struct World {
    backend: Memory,
    pub store: Store,
    pub witness: Arc<Witness>,
    pub host: Arc<ScriptedHost>,
    pub balancer: Arc<ScriptedBalancer>,
    pub control: Option<Control>,
    boot: u128,
    began: Instant,
    drawn: Arc<AtomicU64>,
}

impl World {
    pub async fn new() -> World {
        let backend = Memory::default();
        let witness = Arc::new(Witness::default());
        let mut world = World {
            store: Store::open(backend.clone()).unwrap(),
            backend,
            host: Arc::new(ScriptedHost::new(Arc::clone(&witness))),
            witness,
            balancer: Arc::default(),
            control: None,
            boot: 0,
            began: Instant::now(),
            drawn: Arc::default(),
        };
        world.write(|view| {
            for (revision, image) in [(1, "web"), (2, "web"), (3, "web"), (9, MISSING)] {
                let mut definition = definition(serde_json::json!({
                    "containerDefinitions": [{"name": "web", "image": image, "portMappings": [{"containerPort": 80}]}],
                    "networkMode": "awsvpc", "cpu": "256", "memory": "512"
                }));
                definition.id.revision = revision;
                view.put(definition);
            }
            view.put(target_group());
        });
        world.boot().await;
        world
    }

    pub async fn boot(&mut self) {
        self.boot += 1;
        let control = start(self.config()).await.unwrap();
        self.control = Some(control);
    }

    fn config(&self) -> Config {
        let drawn = Arc::clone(&self.drawn);
        Config {
            store: self.store.clone(),
            host: Arc::<ScriptedHost>::clone(&self.host),
            balancer: Arc::<ScriptedBalancer>::clone(&self.balancer),
            network: Table::default(),
            logs: Logs::default(),
            node: NodeId(1),
            boot: BootId(self.boot),
            clock: self.clock(),
            ids: Ids::new(move || u128::from(drawn.fetch_add(1, Ordering::Relaxed)) << 64 | 0xabc),
            any_file_image: true,
            settings: Arc::default(),
            task_roles: TaskRoles::default(),
            sealing: Arc::new(SealingKey::from_bytes([3; 32])),
        }
    }

    /// The server is gone from one moment to the next, and another one is started on what was durable.
    pub async fn crash(&mut self) {
        drop(self.control.take());
        self.store = Store::open(self.backend.clone()).unwrap();
        self.host = Arc::new(ScriptedHost::new(Arc::clone(&self.witness)));
        self.balancer = Arc::default();
        self.boot().await;
    }

    fn clock(&self) -> Clock {
        let began = self.began;
        Arc::new(move || Timestamp(1_700_000_000_000) + (Instant::now() - began))
    }

    pub fn now(&self) -> Timestamp {
        (self.clock())()
    }

    pub fn write(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.store.view();
        change(&mut view);
        let commit = self.store.commit(view);
        futures_util::FutureExt::now_or_never(commit)
            .expect("memory commits in place")
            .expect("nobody else writes now");
    }

    pub fn create_service(&self, name: &str, desired: u32, revision: u32) {
        let now = self.now();
        let service = Service {
            scope: scope(),
            cluster: "default".parse().unwrap(),
            name: String::from(name),
            status: ServiceStatus::Active,
            scheduling_strategy: SchedulingStrategy::Replica,
            desired_count: desired,
            deployments: vec![self.deployment(revision)],
            minimum_healthy_percent: 100,
            maximum_percent: 200,
            health_check_grace_period_seconds: 0,
            load_balancers: vec![ServiceLoadBalancer {
                target_group_arn: target_group().arn().into(),
                container_name: String::from("web"),
                container_port: 80,
            }],
            propagate_tags: None,
            enable_ecs_managed_tags: true,
            enable_execute_command: false,
            created_at: now,
            created_by: String::new(),
            tags: vec![],
            events: vec![],
            throttle: Throttle::default(),
            document: serde_json::Map::new(),
        };
        self.write(|view| view.put(service));
    }

    fn deployment(&self, revision: u32) -> Deployment {
        let (now, number) = (self.now(), self.drawn.fetch_add(1, Ordering::Relaxed));
        Deployment {
            id: format!("ecs-svc/{number:019}"),
            definition: DefinitionId { family: "web".parse().unwrap(), revision },
            launch_type: LaunchType::Fargate,
            capacity_provider: None,
            platform_version: None,
            network_configuration: Some(serde_json::json!({"awsvpcConfiguration": {"subnets": ["subnet-1"]}})),
            created_at: now,
            updated_at: now,
            failed_tasks: 0,
            rollout_state: RolloutState::InProgress,
            rollout_state_reason: String::new(),
        }
    }

    pub fn change_service(&self, name: &str, change: impl FnOnce(&mut Service)) {
        let mut service = self.service(name);
        change(&mut service);
        self.write(|view| view.put(service));
    }

    /// As UpdateService with another definition does.
    pub fn deploy(&self, name: &str, revision: u32) {
        let deployment = self.deployment(revision);
        self.change_service(name, |service| {
            service.deployments.insert(0, deployment);
            service.throttle = Throttle::default();
        });
    }

    pub fn service(&self, name: &str) -> Service {
        let key = Key::service(&scope(), &"default".parse().unwrap(), name);
        Service::clone(&self.store.snapshot().get::<Service>(&key).unwrap())
    }

    /// As RunTask does.
    pub fn run_task(&self, revision: u32) -> TaskId {
        let id = TaskId(u128::from(self.drawn.fetch_add(1, Ordering::Relaxed)) << 64 | 0xdef);
        let task = Task {
            definition: DefinitionId { family: "web".parse().unwrap(), revision },
            created_at: self.now(),
            interface: Some(NetworkInterface {
                attachment_id: String::new(),
                interface_id: String::new(),
                subnet_id: String::new(),
                mac_address: String::new(),
                address: None,
                security_groups: Vec::new(),
                assign_public_ip: false,
            }),
            volumes: Vec::new(),
            containers: vec![Container {
                id: String::new(),
                name: String::from("web"),
                image: String::from("web"),
                image_digest: None,
                runtime_id: None,
                last_status: ContainerStatus::Pending,
                exit_code: None,
                reason: None,
                health_status: None,
                restart_count: 0,
                network_bindings: vec![],
                is_handler: None,
                started_at: None,
                finished_at: None,
            }],
            id,
            ..super::task(0)
        };
        self.write(|view| view.put(task));
        id
    }

    /// As RegisterTaskDefinition does, of these containers.
    pub fn define(&self, revision: u32, containers: serde_json::Value) -> TaskDefinition {
        let mut definition = definition(serde_json::json!({
            "containerDefinitions": containers, "networkMode": "awsvpc", "cpu": "256", "memory": "512"
        }));
        definition.id.revision = revision;
        self.write(|view| view.put(definition.clone()));
        definition
    }

    /// As RunTask does, of a definition of several containers.
    pub fn run_defined(&self, definition: &TaskDefinition) -> TaskId {
        let id = TaskId(u128::from(self.drawn.fetch_add(1, Ordering::Relaxed)) << 64 | 0xfed);
        let task = Task::wanted(id, "default".parse().unwrap(), definition, self.now(), String::new);
        self.write(|view| view.put(Task { launch_type: LaunchType::Fargate, ..task }));
        id
    }

    /// As StopTask does.
    pub fn stop_task(&self, id: TaskId) {
        let mut task = self.task(id);
        if task.desired_status == DesiredStatus::Running {
            task.desired_status = DesiredStatus::Stopped;
            task.stop_code = Some(StopCode::UserInitiated);
            task.stopped_reason = Some(String::from("Task stopped by user"));
            self.write(|view| view.put(task));
        }
    }

    pub fn task(&self, id: TaskId) -> Task {
        let key = Key::task(&scope(), &"default".parse().unwrap(), id);
        Task::clone(&self.store.snapshot().get::<Task>(&key).unwrap())
    }

    pub fn tasks(&self) -> Vec<Arc<Task>> {
        self.store.snapshot().list(&Prefix::all_tasks())
    }

    pub fn running(&self) -> Vec<Arc<Task>> {
        let running = |task: &Arc<Task>| task.last_status == crate::model::TaskStatus::Running;
        self.tasks().into_iter().filter(running).collect()
    }

    pub fn events(&self, name: &str) -> Vec<String> {
        self.service(name).events.iter().rev().map(|event| event.message.clone()).collect()
    }
}

/// Lets the world go on for a while: time is paused, so it costs none.
pub async fn pass(milliseconds: u64) {
    time::sleep(Duration::from_millis(milliseconds)).await;
}

pub fn target_group() -> TargetGroup {
    TargetGroup {
        scope: scope(),
        name: String::from("tg"),
        id: String::from("0123456789abcdef"),
        created_at: Timestamp(0),
        protocol: String::from("HTTP"),
        protocol_version: String::from("HTTP1"),
        port: 80,
        target_type: String::from("ip"),
        vpc_id: None,
        health_check: HealthCheck {
            enabled: true,
            protocol: String::from("HTTP"),
            port: String::from("traffic-port"),
            path: String::from("/"),
            interval_seconds: 30,
            timeout_seconds: 5,
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            matcher: String::from("200"),
        },
        attributes: std::collections::BTreeMap::new(),
        tags: vec![],
    }
}
