//! Records for the tests of this module, with as little in them as can be.

use crate::model::service::{SchedulingStrategy, Throttle};
use crate::model::target::TargetTask;
use crate::model::task::{LaunchType, Placement, ServiceMembership};
use crate::model::{
    BootId, Cluster, ClusterName, ClusterStatus, DefinitionId, DesiredStatus, FamilyRecord, NodeId, Scope, Service,
    ServiceStatus, Target, TargetHealth, TargetState, Task, TaskId, TaskStatus, Timestamp,
};
use crate::store::{Key, Snapshot, Store, View};

pub fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "eu-central-1".parse().unwrap() }
}

pub fn default() -> ClusterName {
    "default".parse().unwrap()
}

pub fn cluster(name: &str) -> Cluster {
    Cluster {
        scope: scope(),
        name: name.parse().unwrap(),
        status: ClusterStatus::Active,
        created_at: Timestamp(0),
        tags: Vec::new(),
        document: serde_json::Map::new(),
    }
}

pub fn cluster_key(name: &str) -> Key {
    Key::cluster(&scope(), &name.parse().unwrap())
}

pub fn family(name: &str, last_revision: u32) -> FamilyRecord {
    FamilyRecord { scope: scope(), family: name.parse().unwrap(), last_revision }
}

pub fn task(id: u128, service: Option<&str>, status: TaskStatus) -> Task {
    Task {
        scope: scope(),
        cluster: default(),
        id: TaskId(id),
        definition: DefinitionId { family: "web".parse().unwrap(), revision: 1 },
        launch_type: LaunchType::Fargate,
        capacity_provider: None,
        platform_version: None,
        group: String::from("family:web"),
        started_by: None,
        service: service
            .map(|name| ServiceMembership { service: name.to_owned(), deployment: String::from("ecs-svc/1") }),
        tags: Vec::new(),
        overrides: serde_json::Map::new(),
        cpu: None,
        memory: None,
        enable_execute_command: false,
        desired_status: DesiredStatus::Running,
        last_status: status,
        requested_node: None,
        placement: None,
        interface: None,
        address: None,
        volumes: Vec::new(),
        containers: Vec::new(),
        health_status: None,
        version: 1,
        created_at: Timestamp(0),
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

pub fn task_key(id: u128) -> Key {
    Key::task(&scope(), &default(), TaskId(id))
}

pub fn placement(node: u128) -> Option<Placement> {
    Some(Placement { node: NodeId(node), boot: BootId(1) })
}

pub fn service(name: &str, status: ServiceStatus) -> Service {
    Service {
        scope: scope(),
        cluster: default(),
        name: name.to_owned(),
        status,
        scheduling_strategy: SchedulingStrategy::Replica,
        desired_count: 1,
        deployments: Vec::new(),
        minimum_healthy_percent: 100,
        maximum_percent: 200,
        health_check_grace_period_seconds: 0,
        load_balancers: Vec::new(),
        propagate_tags: None,
        enable_ecs_managed_tags: false,
        enable_execute_command: false,
        created_at: Timestamp(0),
        created_by: String::new(),
        tags: Vec::new(),
        events: Vec::new(),
        throttle: Throttle::default(),
        document: serde_json::Map::new(),
    }
}

pub fn target_of(task: u128, port: u16) -> Target {
    Target {
        scope: scope(),
        group: String::from("web"),
        address: "127.1.2.3".parse().unwrap(),
        port,
        task: Some(TargetTask { cluster: default(), task: TaskId(task), container: String::from("web") }),
        registered_at: Timestamp(0),
        draining_since: None,
        anomaly: Default::default(),
        health: TargetHealth { state: TargetState::Initial, reason: None, description: None },
    }
}

/// Commits what `write` does to a fresh view; nothing else is under way, so it succeeds.
pub async fn commit(store: &Store, write: impl FnOnce(&mut View)) {
    let mut view = store.view();
    write(&mut view);
    store.commit(view).await.unwrap();
}

pub fn ids(tasks: Vec<std::sync::Arc<Task>>) -> Vec<u128> {
    tasks.iter().map(|task| task.id.0).collect()
}

pub fn ids_of_service(snapshot: &Snapshot, service: &str) -> Vec<u128> {
    let mut ids = ids(snapshot.tasks_of_service(&scope(), &default(), service));
    ids.sort_unstable();
    ids
}
