//! Scenes: one letter for each task, oldest first. H healthy, s starting, X unhealthy past its grace, g unhealthy within
//! it, L leaving, D ended before it ran, E ended after it ran; O, o and Z are healthy, starting and failed of the old
//! revision, l is leaving of it.

use proptest::prelude::*;

use super::*;
use crate::model::service::{Deployment, SchedulingStrategy, ServiceEvent, ServiceLoadBalancer};
use crate::model::task::{LaunchType, ServiceMembership};
use crate::model::{DesiredStatus, TaskStatus};
use crate::plan::Held;

const NOW: Timestamp = Timestamp(10_000_000);
const GROUP: &str = "arn:tg";

fn deployment(id: &str, revision: u32, state: RolloutState) -> Deployment {
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
        containers: vec![],
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
    }
}

/// A service's tasks as they are drawn, with what the load balancer says of them.
#[derive(Clone)]
struct Scene {
    service: Service,
    tasks: Vec<Arc<Task>>,
    health: HashMap<TaskId, TaskHealth>,
    room: Room,
    next_id: u128,
}

impl Scene {
    fn new(desired: u32, drawn: &str) -> Scene {
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

    fn add(&mut self, id: u128, letter: char) {
        let mut task = task(id, if "OoZl".contains(letter) { "old" } else { "new" });
        let ran = Timestamp(id as i64 + 1);
        let unhealthy =
            || TaskHealth::Unhealthy { target_group_arn: String::from(GROUP), port: 80, reason: String::from("503") };
        match letter {
            's' | 'o' => {}
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

    fn plan(&self) -> Plan<Action> {
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
    fn execute(&mut self, plan: &Plan<Action>) {
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
                Action::SetFailedTasks { failed_tasks, .. } => self.service.deployments[0].failed_tasks = failed_tasks,
                Action::SetRollout { state, .. } => self.service.deployments[0].rollout_state = state,
                Action::RemoveDeployment { deployment } => self.service.deployments.retain(|one| one.id != deployment),
                Action::Deactivate => self.service.status = ServiceStatus::Inactive,
                Action::Record { message } => self.service.record_event(String::new(), NOW, message),
            }
        }
    }

    fn change(&mut self, id: TaskId, change: impl FnOnce(&mut Task)) {
        let task = self.tasks.iter_mut().find(|task| task.id == id).unwrap();
        change(Arc::make_mut(task));
    }

    /// What the world does meanwhile: what was told to stop is gone, what starts runs and is healthy.
    fn settle(&mut self) {
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

fn drawn(plan: &Plan<Action>) -> String {
    let mut parts: Vec<String> = vec![];
    let mut starts = 0;
    for action in &plan.actions {
        match action {
            Action::Start { .. } => starts += 1,
            Action::Stop { task, reason, .. } => {
                let why = if reason.starts_with(events::FAILED_ELB_CHECKS) { "unhealthy" } else { "scaling" };
                parts.push(format!("stop {} ({why})", task.0));
            }
            Action::Deactivate => parts.push(String::from("inactive")),
            Action::RemoveDeployment { deployment } => parts.push(format!("remove {deployment}")),
            Action::SetRollout { .. } => parts.push(String::from("completed")),
            Action::SetThrottle(_) | Action::SetFailedTasks { .. } | Action::Record { .. } => {}
        }
    }
    if starts > 0 {
        parts.push(format!("start {starts}"));
    }
    parts.extend(plan.held.iter().map(|held| format!("held: {held}")));
    parts.join(", ")
}

/// With both deployments on record; without `remove old`, which nearly every scene would end with.
fn check(desired: u32, tasks: &str, expected: &str) {
    check_with(desired, tasks, 100, 200, expected);
}

fn check_with(desired: u32, tasks: &str, minimum: u32, maximum: u32, expected: &str) {
    let mut scene = Scene::new(desired, tasks);
    scene.service.minimum_healthy_percent = minimum;
    scene.service.maximum_percent = maximum;
    if !tasks.contains(['O', 'o', 'Z', 'l']) {
        scene.service.deployments.truncate(1);
    }
    assert_eq!(drawn(&scene.plan()), expected, "{desired} wanted, {tasks}");
}

#[test]
fn keeps_the_count() {
    check(0, "", "completed");
    check(3, "", "start 3");
    check(3, "HsL", "start 1");
    check(2, "HHE", "completed");
    check(3, "sss", "");
}

#[test]
fn replaces_a_failed_task_before_it_stops_it() {
    check(3, "HHX", "start 1, held: 1 stops: not replaced yet");
    check(3, "HHXs", "held: 1 stops: not replaced yet");
    check(3, "HHXH", "stop 2 (unhealthy)");
    check(3, "HHg", "held: 1 stops: grace period");
}

#[test]
fn stops_a_failed_task_first_where_the_maximum_leaves_no_room() {
    check_with(3, "HHX", 100, 100, "stop 2 (unhealthy), start 1");
    check_with(3, "HXX", 50, 100, "stop 1 (unhealthy), stop 2 (unhealthy), start 2");
}

#[test]
fn scales_down_what_does_not_run_yet_and_then_the_newest() {
    check(1, "HHs", "stop 2 (scaling), stop 1 (scaling)");
    check(2, "Hss", "stop 2 (scaling)");
    check(0, "HX", "stop 0 (scaling), stop 1 (unhealthy)");
}

#[test]
fn rolls_old_tasks_without_dipping_below_the_minimum() {
    check(2, "OO", "start 2, held: 2 stops: healthy minimum");
    check(2, "OOsH", "stop 0 (scaling), held: 1 stops: healthy minimum");
    check(2, "OOHH", "stop 0 (scaling), stop 1 (scaling)");
    check(2, "lHH", "");
    check(2, "oOs", "stop 0 (scaling), start 1, held: 1 stops: healthy minimum");
    check(2, "ZOs", "stop 0 (unhealthy), start 1, held: 1 stops: healthy minimum");
}

#[test]
fn makes_room_below_the_count_where_the_minimum_allows_it() {
    check_with(
        4,
        "OOOO",
        50,
        100,
        "stop 0 (scaling), stop 1 (scaling), start 2, held: 2 stops: healthy minimum, held: 2 starts: running maximum",
    );
    check_with(2, "OO", 0, 100, "stop 0 (scaling), stop 1 (scaling), start 2");
    check_with(3, "OOO", 100, 150, "start 1, held: 3 stops: healthy minimum, held: 2 starts: running maximum");
    check_with(2, "OO", 100, 100, "held: 2 stops: healthy minimum, held: 2 starts: running maximum");
}

#[test]
fn a_deployment_that_can_never_move_says_so() {
    let mut scene = Scene::new(2, "OO");
    scene.service.maximum_percent = 100;
    let plan = scene.plan();
    scene.execute(&plan);
    assert!(scene.service.events[0].message.contains("because of the service deployment configuration"));
    assert!(scene.plan().is_empty());
}

#[test]
fn a_deleted_service_ends_when_its_last_task_is_gone() {
    let mut scene = Scene::new(2, "HOs");
    scene.service.status = ServiceStatus::Draining;
    assert_eq!(drawn(&scene.plan()), "stop 2 (scaling), stop 0 (scaling), stop 1 (scaling)");
    let plan = scene.plan();
    scene.execute(&plan);
    assert!(scene.plan().is_empty());
    scene.settle();
    assert_eq!(drawn(&scene.plan()), "inactive");
}

#[test]
fn events_have_the_texts_of_ecs() {
    let mut scene = Scene::new(1, "O");
    for _ in 0..4 {
        let plan = scene.plan();
        scene.execute(&plan);
        scene.settle();
    }
    let texts: Vec<&str> = scene.service.events.iter().rev().map(|event| event.message.as_str()).collect();
    let (new, old) = (TaskId(1), TaskId(0));
    assert_eq!(
        texts,
        [
            format!("(service web) has started 1 tasks: (task {new})."),
            format!("(service web) has stopped 1 running tasks: (task {old})."),
            String::from("(service web) (deployment new) deployment completed."),
            String::from("(service web) has reached a steady state."),
        ]
    );
    assert_eq!(scene.service.deployments.len(), 1);
    assert_eq!(scene.tasks[0].stopped_reason.as_deref(), Some("Scaling activity initiated by (deployment new)"));
}

#[test]
fn a_steady_service_says_so_once_after_each_change() {
    let mut scene = Scene::new(1, "H");
    let steady = || ServiceEvent {
        id: String::new(),
        at: NOW,
        message: String::from("(service web) has reached a steady state."),
    };
    scene.service.deployments.truncate(1);
    scene.service.deployments[0].rollout_state = RolloutState::Completed;
    scene.service.events = vec![steady()];
    assert!(scene.plan().is_empty());
    scene.service.events.insert(0, ServiceEvent { message: String::from("(service web) has started"), ..steady() });
    assert_eq!(scene.plan().actions, [Action::Record { message: steady().message }]);
}

#[test]
fn only_repeated_failures_to_start_wait() {
    let mut scene = Scene::new(2, "DD");
    scene.service.deployments.truncate(1);
    let mut waits = vec![];
    for _ in 0..4 {
        let plan = scene.plan();
        scene.execute(&plan);
        waits.push(scene.service.throttle.not_before.unwrap().0 - NOW.0);
        // Planning the same facts again counts nothing twice.
        let throttle = scene.service.throttle;
        let again = scene.plan();
        assert_eq!((scene.service.throttle, again.is_empty()), (throttle, true));
        // The next round was started when the back-off was over, and fails too.
        let next = scene.next_id;
        for id in [next, next + 1] {
            let mut failed = task(id, "new");
            failed.created_at = scene.service.throttle.not_before.unwrap().max(NOW);
            failed.last_status = TaskStatus::Stopped;
            failed.stopped_at = Some(NOW);
            failed.stop_code = Some(StopCode::TaskFailedToStart);
            scene.tasks.retain(|task| task.is_stopped());
            scene.tasks.push(Arc::new(failed));
        }
        scene.next_id += 2;
    }
    assert_eq!(waits[2..], [10_000, 20_000]);
    assert!(scene.service.events.iter().any(|event| event.message.contains("unable to consistently start")));
    // A new definition is tried at once.
    scene.service.deployments[0].definition.revision = 3;
    assert_eq!(drawn(&scene.plan()), "start 2");
}

#[test]
fn one_replica_that_cannot_start_waits_beside_those_that_run() {
    let mut scene = Scene::new(2, "H");
    scene.service.deployments.truncate(1);
    for round in 1..=3 {
        let mut failed = task(scene.next_id, "new");
        failed.created_at = scene.service.throttle.not_before.unwrap_or(Timestamp(5));
        failed.last_status = TaskStatus::Stopped;
        failed.stopped_at = Some(NOW);
        failed.stop_code = Some(StopCode::TaskFailedToStart);
        scene.tasks.push(Arc::new(failed));
        scene.next_id += 1;
        let plan = scene.plan();
        scene.execute(&plan);
        assert_eq!(scene.service.throttle.failures, round);
        scene.tasks.retain(|task| task.created_at < NOW);
    }
    assert_eq!(drawn(&scene.plan()).split(':').nth(1), Some(" 1 starts"));
}

#[test]
fn a_program_that_returns_at_once_is_not_restarted_without_end() {
    let mut scene = Scene::new(1, "");
    scene.service.deployments.truncate(1);
    scene.service.load_balancers.clear();
    let mut starts = 0;
    for _ in 0..100 {
        let plan = scene.plan();
        starts += plan.actions.iter().filter(|action| matches!(action, Action::Start { .. })).count();
        scene.execute(&plan);
        for task in &mut scene.tasks {
            let task = Arc::make_mut(task);
            task.last_status = TaskStatus::Stopped;
            task.started_at = Some(NOW);
            task.stop_code = Some(StopCode::EssentialContainerExited);
        }
    }
    assert_eq!(starts, 12);
    assert_eq!(scene.plan().wake_at, Some(Timestamp(NOW.0 + 1000)));
}

#[test]
fn a_service_without_room_says_what_lacks() {
    let mut scene = Scene::new(3, "H");
    scene.service.deployments.truncate(1);
    scene.room = Room::Tasks { count: 1, lacking: "memory" };
    assert_eq!(drawn(&scene.plan()), "start 1, held: 1 starts: no room, memory");
    let plan = scene.plan();
    assert!(format!("{plan:?}").contains("has insufficient memory available"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn passes_converge_within_the_bounds(
        desired in 0_u32..6,
        tasks in "[HsXgLDEOoZl]{0,12}",
        minimum in prop::sample::select(vec![0_u32, 34, 50, 100]),
        maximum in prop::sample::select(vec![100_u32, 125, 150, 200]),
    ) {
        let mut scene = Scene::new(desired, &tasks);
        scene.service.minimum_healthy_percent = minimum;
        scene.service.maximum_percent = maximum;
        let mut passes = 0;
        loop {
            let before = standing::Sorted::new(&observed(&scene), NOW).serving();
            let live_before = standing::Sorted::new(&observed(&scene), NOW).live();
            let plan = scene.plan();
            let mut after = scene.clone();
            after.execute(&plan);
            let sorted = standing::Sorted::new(&observed(&after), NOW);
            // No pass takes the healthy tasks below the minimum, nor the live ones over the maximum.
            prop_assert!(sorted.serving() >= before.min(sorted.minimum), "{}", drawn(&plan));
            prop_assert!(sorted.live() <= live_before.max(sorted.maximum), "{}", drawn(&plan));
            let mut settled = after;
            let unchanged = settled.clone();
            settled.settle();
            let in_grace = plan.held.iter().any(|held| matches!(held, Held::GracePeriod { .. }));
            if plan.is_empty() && settled.tasks == unchanged.tasks && !in_grace {
                break;
            }
            // A task within its grace period becomes healthy in this world.
            for health in settled.health.values_mut() {
                if matches!(health, TaskHealth::Unhealthy { .. }) && passes > 3 {
                    *health = TaskHealth::Healthy;
                }
            }
            scene = settled;
            passes += 1;
            prop_assert!(passes < 40, "does not converge: {}", drawn(&scene.plan()));
        }
        // A deployment whose minimum is its maximum cannot move; every other one arrives.
        let sorted = standing::Sorted::new(&observed(&scene), NOW);
        if sorted.minimum < sorted.maximum || sorted.outdated.count() == 0 {
            prop_assert_eq!(sorted.current.serving.len(), sorted.wanted);
            prop_assert_eq!(sorted.live(), sorted.wanted);
        }
    }
}

fn observed(scene: &Scene) -> Observed<'_> {
    Observed {
        service: &scene.service,
        tasks: &scene.tasks,
        health: &scene.health,
        room: scene.room,
        closest_instance: "node",
    }
}
