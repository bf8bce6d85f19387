//! Scenes of one service behind one group.

use super::*;
use crate::model::load_balancer::HealthCheck;
use crate::model::service::ServiceLoadBalancer;
use crate::model::{Scope, TaskStatus};

const NOW: Timestamp = Timestamp(1_000_000);

fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "eu-central-1".parse().unwrap() }
}

fn group() -> Arc<TargetGroup> {
    Arc::new(TargetGroup {
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
        attributes: BTreeMap::from([(String::from("deregistration_delay.timeout_seconds"), String::from("10"))]),
        tags: vec![],
    })
}

struct Scene {
    service: Service,
    tasks: Vec<Arc<Task>>,
    groups: BTreeMap<String, Arc<TargetGroup>>,
    targets: Vec<Arc<Target>>,
}

impl Scene {
    /// One task for each letter: R runs, S is told to stop, D is stopped, p is pending.
    fn new(drawn: &str) -> Scene {
        let mut service = crate::plan::service::tests::scene::service(2);
        let arn = group().arn().to_string();
        service.load_balancers = vec![ServiceLoadBalancer {
            target_group_arn: arn.clone(),
            container_name: String::from("web"),
            container_port: 80,
        }];
        let tasks = drawn.chars().zip(1_u8..).map(|(letter, id)| Arc::new(drawn_task(letter, id))).collect();
        Scene { service, tasks, groups: BTreeMap::from([(arn, group())]), targets: vec![] }
    }

    fn plan(&self, now: Timestamp) -> Plan<Action> {
        let observed =
            Observed { service: &self.service, tasks: &self.tasks, groups: &self.groups, targets: &self.targets };
        plan_targets(&observed, now)
    }

    fn execute(&mut self, plan: Plan<Action>) {
        for action in plan.actions {
            match action {
                Action::Register(target) => self.targets.push(Arc::new(target)),
                Action::Drain { target, health } => {
                    let found = self.targets.iter_mut().find(|known| TargetName::of(known) == target).unwrap();
                    let found = Arc::make_mut(found);
                    found.draining_since = Some(NOW);
                    found.health = health;
                }
                Action::Remove { target } => self.targets.retain(|known| TargetName::of(known) != target),
                Action::Record { .. } => {}
            }
        }
    }
}

fn drawn_task(letter: char, id: u8) -> Task {
    let mut task = crate::plan::service::tests::scene::task(u128::from(id), "new");
    task.last_status = TaskStatus::Running;
    task.address = Some(Ipv4Addr::new(127, 1, 0, id));
    match letter {
        'R' => {}
        'p' => task.last_status = TaskStatus::Pending,
        'S' => task.desired_status = DesiredStatus::Stopped,
        'D' => task.last_status = TaskStatus::Stopped,
        other => panic!("no such letter: {other}"),
    }
    task
}

fn texts(plan: &Plan<Action>) -> Vec<&str> {
    plan.actions
        .iter()
        .filter_map(|action| match action {
            Action::Record { message } => Some(message.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_running_task_is_registered_once() {
    let mut scene = Scene::new("RpRSD");
    let plan = scene.plan(NOW);
    let arn = group().arn();
    assert_eq!(texts(&plan), [format!("(service web) registered 2 targets in (target-group {arn})")]);
    scene.execute(plan);
    assert_eq!(scene.targets.len(), 2);
    assert_eq!(scene.targets[0].address, Ipv4Addr::new(127, 1, 0, 1));
    assert!(scene.plan(NOW).is_empty());
}

#[test]
fn a_task_that_is_told_to_stop_drains_until_the_delay_is_over() {
    let mut scene = Scene::new("R");
    let plan = scene.plan(NOW);
    scene.execute(plan);
    Arc::make_mut(&mut scene.tasks[0]).desired_status = DesiredStatus::Stopped;
    let plan = scene.plan(NOW);
    assert!(texts(&plan).contains(&"(service web) has begun draining connections on 1 tasks."));
    scene.execute(plan);
    assert_eq!(scene.targets[0].health.state, TargetState::Draining);
    let waiting = scene.plan(NOW);
    let over = NOW + Duration::from_secs(10);
    assert_eq!((waiting.actions.len(), waiting.wake_at), (0, Some(over)));
    let plan = scene.plan(over);
    scene.execute(plan);
    assert!(scene.targets.is_empty());
}

#[test]
fn an_ended_task_loses_its_target_at_once() {
    let mut scene = Scene::new("R");
    let plan = scene.plan(NOW);
    scene.execute(plan);
    Arc::make_mut(&mut scene.tasks[0]).last_status = TaskStatus::Stopped;
    let plan = scene.plan(NOW);
    assert!(texts(&plan)[0].contains("deregistered 1 targets"));
    scene.execute(plan);
    assert!(scene.targets.is_empty());
}

#[test]
fn a_task_is_as_healthy_as_its_worst_target() {
    let mut scene = Scene::new("RR");
    let plan = scene.plan(NOW);
    scene.execute(plan);
    let set = |target: &mut Arc<Target>, state| Arc::make_mut(target).health.state = state;
    set(&mut scene.targets[0], TargetState::Healthy);
    set(&mut scene.targets[1], TargetState::Unhealthy);
    let health = health_of_tasks(&scene.service, &scene.groups, &scene.targets);
    assert_eq!(health[&TaskId(1)], TaskHealth::Healthy);
    assert!(matches!(health[&TaskId(2)], TaskHealth::Unhealthy { port: 80, .. }));
}
