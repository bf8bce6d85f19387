//! A service with its tasks, as scenes draw them, and the world that a plan is carried out in.

use crate::model::service::{Deployment, SchedulingStrategy, ServiceLoadBalancer};
use crate::model::task::{LaunchType, ServiceMembership};
use crate::model::{DesiredStatus, Protection, TaskStatus};
use crate::plan::service::*;

pub(crate) const NOW: Timestamp = Timestamp(10_000_000);
/// When the protection of P and Q ends.
pub(crate) const PROTECTED_UNTIL: Timestamp = Timestamp(11_000_000);
pub(crate) const GROUP: &str = "arn:tg";

pub(crate) fn deployment(id: &str, revision: u32, state: RolloutState) -> Deployment {
    Deployment {
        id: String::from(id),
        definition: DefinitionId { family: "web".parse().unwrap(), revision },
        launch_type: LaunchType::Fargate,
        capacity_provider: None,
        platform_version: None,
        network_configuration: None,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        failed_tasks: 0,
        rollout_state: state,
        rollout_state_reason: String::new(),
    }
}

pub(crate) fn service(desired: u32) -> Service {
    Service {
        scope: crate::model::Scope {
            account: "123456789012".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
        },
        cluster: "default".parse().unwrap(),
        name: String::from("web"),
        status: ServiceStatus::Active,
        scheduling_strategy: SchedulingStrategy::Replica,
        desired_count: desired,
        deployments: vec![
            deployment("new", 2, RolloutState::InProgress),
            deployment("old", 1, RolloutState::Completed),
        ],
        minimum_healthy_percent: 100,
        maximum_percent: 200,
        health_check_grace_period_seconds: 60,
        load_balancers: vec![ServiceLoadBalancer {
            target_group_arn: String::from(GROUP),
            container_name: String::from("web"),
            container_port: 80,
        }],
        propagate_tags: None,
        enable_ecs_managed_tags: false,
        enable_execute_command: false,
        created_at: Timestamp(0),
        created_by: String::new(),
        tags: vec![],
        events: vec![],
        throttle: Throttle::default(),
        document: serde_json::Map::new(),
    }
}

pub(crate) fn task(id: u128, deployment: &str) -> Task {
    let revision = if deployment == "new" { 2 } else { 1 };
    Task {
        scope: service(0).scope,
        cluster: "default".parse().unwrap(),
        id: TaskId(id),
        definition: DefinitionId { family: "web".parse().unwrap(), revision },
        launch_type: LaunchType::Fargate,
        capacity_provider: None,
        platform_version: None,
        group: String::from("service:web"),
        started_by: Some(String::from(deployment)),
        service: Some(ServiceMembership { service: String::from("web"), deployment: String::from(deployment) }),
        tags: vec![],
        overrides: serde_json::Map::new(),
        cpu: None,
        memory: None,
        enable_execute_command: false,
        desired_status: DesiredStatus::Running,
        last_status: TaskStatus::Pending,
        requested_node: None,
        placement: None,
        interface: None,
        address: None,
        volumes: Vec::new(),
        containers: vec![],
        health_status: None,
        version: 1,
        created_at: Timestamp(id as i64),
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

/// A service's tasks as they are drawn, with what the load balancer says of them.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) service: Service,
    pub(crate) tasks: Vec<Arc<Task>>,
    pub(crate) health: HashMap<TaskId, TaskHealth>,
    pub(crate) room: Room,
    pub(crate) next_id: u128,
}

impl Scene {
    pub(crate) fn new(desired: u32, drawn: &str) -> Scene {
        let mut scene = Scene {
            service: service(desired),
            tasks: vec![],
            health: HashMap::new(),
            room: Room::Unlimited,
            next_id: drawn.len() as u128,
        };
        for (id, letter) in drawn.chars().enumerate() {
            scene.add(id as u128, letter);
        }
        scene
    }

    pub(crate) fn add(&mut self, id: u128, letter: char) {
        let mut task = task(id, if "OoZlQ".contains(letter) { "old" } else { "new" });
        let ran = Timestamp(id as i64 + 1);
        let unhealthy =
            || TaskHealth::Unhealthy { target_group_arn: String::from(GROUP), port: 80, reason: String::from("503") };
        match letter {
            's' | 'o' => {}
            'P' | 'Q' => {
                task.last_status = TaskStatus::Running;
                task.started_at = Some(ran);
                task.protection = Some(Protection { expires_at: PROTECTED_UNTIL });
                self.health.insert(task.id, TaskHealth::Healthy);
            }
            'H' | 'O' | 'X' | 'Z' | 'g' => {
                task.last_status = TaskStatus::Running;
                task.started_at = Some(if letter == 'g' { NOW } else { ran });
                let health = if "HO".contains(letter) { TaskHealth::Healthy } else { unhealthy() };
                self.health.insert(task.id, health);
            }
            'L' | 'l' => task.desired_status = DesiredStatus::Stopped,
            'D' | 'E' => {
                task.last_status = TaskStatus::Stopped;
                task.desired_status = DesiredStatus::Stopped;
                task.stopped_at = Some(ran);
                task.started_at = (letter == 'E').then_some(ran);
                task.stop_code = Some(StopCode::EssentialContainerExited);
            }
            other => panic!("no such letter: {other}"),
        }
        self.tasks.push(Arc::new(task));
    }

    pub(crate) fn plan(&self) -> Plan<Action> {
        let observed = Observed {
            service: &self.service,
            tasks: &self.tasks,
            health: &self.health,
            room: self.room,
            closest_instance: "node",
        };
        plan_service(&observed, NOW, &mut (self.next_id..).map(TaskId))
    }

    /// Does what the plan says, as the executor does.
    pub(crate) fn execute(&mut self, plan: &Plan<Action>) {
        for action in &plan.actions {
            match action.clone() {
                Action::Start { task: id, deployment, .. } => {
                    self.next_id = self.next_id.max(id.0 + 1);
                    self.tasks.push(Arc::new(Task { created_at: NOW, ..task(id.0, &deployment) }));
                }
                Action::Stop { task: id, code, reason } => self.change(id, |task| {
                    task.desired_status = DesiredStatus::Stopped;
                    task.stop_code = Some(code);
                    task.stopped_reason = Some(reason);
                }),
                Action::SetThrottle(throttle) => self.service.throttle = throttle,
                Action::SetDesiredCount(count) => self.service.desired_count = count,
                Action::SetFailedTasks { failed_tasks, .. } => self.service.deployments[0].failed_tasks = failed_tasks,
                Action::SetRollout { state, .. } => self.service.deployments[0].rollout_state = state,
                Action::RemoveDeployment { deployment } => self.service.deployments.retain(|one| one.id != deployment),
                Action::Deactivate => self.service.status = ServiceStatus::Inactive,
                Action::Record { message } => self.service.record_event(String::new(), NOW, message),
            }
        }
    }

    pub(crate) fn change(&mut self, id: TaskId, change: impl FnOnce(&mut Task)) {
        let task = self.tasks.iter_mut().find(|task| task.id == id).unwrap();
        change(Arc::make_mut(task));
    }

    /// What the world does meanwhile: what was told to stop is gone, what starts runs and is healthy.
    pub(crate) fn settle(&mut self) {
        let ids: Vec<TaskId> = self.tasks.iter().map(|task| task.id).collect();
        for id in ids {
            self.change(id, |task| match (task.last_status, task.desired_status) {
                (TaskStatus::Stopped, _) => {}
                (_, DesiredStatus::Stopped) => {
                    task.last_status = TaskStatus::Stopped;
                    task.stopped_at = Some(NOW);
                }
                _ => {
                    task.last_status = TaskStatus::Running;
                    task.started_at.get_or_insert(NOW);
                }
            });
            self.health.entry(id).or_insert(TaskHealth::Healthy);
        }
    }
}

pub(crate) fn drawn(plan: &Plan<Action>) -> String {
    let mut parts: Vec<String> = vec![];
    let mut starts = 0;
    for action in &plan.actions {
        match action {
            Action::Start { .. } => starts += 1,
            Action::Stop { task, reason, .. } => {
                let why = if reason.starts_with("Task failed") { "unhealthy" } else { "scaling" };
                parts.push(format!("stop {} ({why})", task.0));
            }
            Action::Deactivate => parts.push(String::from("inactive")),
            Action::RemoveDeployment { deployment } => parts.push(format!("remove {deployment}")),
            Action::SetRollout { .. } => parts.push(String::from("completed")),
            Action::SetDesiredCount(count) => parts.push(format!("desired {count}")),
            Action::SetThrottle(_) | Action::SetFailedTasks { .. } | Action::Record { .. } => {}
        }
    }
    if starts > 0 {
        parts.push(format!("start {starts}"));
    }
    parts.extend(plan.held.iter().map(|held| format!("held: {held}")));
    parts.join(", ")
}
