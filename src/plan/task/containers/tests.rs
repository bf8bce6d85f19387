//! Containers of one task: scenes, and random ones.

mod properties;

use serde_json::{Value, json};

use super::*;
use crate::model::exit::StartFailure;
use crate::model::task_definition::DefinitionStatus;

fn definition(containers: Value) -> TaskDefinition {
    TaskDefinition {
        scope: crate::plan::task::tests::task(1).scope,
        id: "web:1".parse().unwrap(),
        status: DefinitionStatus::Active,
        registered_at: Timestamp(0),
        deregistered_at: None,
        registered_by: String::new(),
        tags: vec![],
        document: serde_json::from_value(json!({"containerDefinitions": containers})).unwrap(),
    }
}

/// A container with these members besides its name and image.
fn named(name: &str, members: Value) -> Value {
    let mut container = json!({"name": name, "image": "i"});
    container.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    container
}

fn on(name: &str, condition: &str) -> Value {
    json!({"dependsOn": [{"containerName": name, "condition": condition}]})
}

/// Plans, and carries out.
struct Scene(Lives);

impl Scene {
    fn new(containers: &[Value]) -> Scene {
        let mut lives = Lives::new(&definition(Value::Array(containers.to_vec())));
        lives.pulled();
        Scene(lives)
    }

    /// What is done at this second, by name.
    fn act(&mut self, second: i64) -> Vec<String> {
        let plan = self.0.plan(at(second));
        let mut done = Vec::new();
        for action in plan.actions {
            self.0.carried_out(&action);
            let name = |container: usize| self.0.rule(container).unwrap().name.clone();
            done.push(match action {
                Action::Start { container } => format!("start {}", name(container)),
                Action::Restart { container } => format!("restart {}", name(container)),
                Action::Stop { container } => format!("stop {}", name(container)),
                Action::Probe { container } => format!("probe {}", name(container)),
                Action::GiveUp { container, reason } => format!("give up {}: {reason}", name(container)),
                Action::StopAll => String::from("stop all"),
                Action::Finish => String::from("finish"),
            });
        }
        done
    }

    fn started(&mut self, name: &str, second: i64) {
        self.0.started(self.0.number(name).unwrap(), at(second));
    }

    fn stopped(&mut self, name: &str, code: u8, second: i64) -> Ending {
        self.0.stopped(self.0.number(name).unwrap(), &Exit::Returned { code }, at(second))
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp(second * 1000)
}

#[test]
fn only_tasks_whose_containers_need_each_other_need_this() {
    let needed = |members: Value| Lives::are_needed(&definition(json!([named("a", members), named("b", json!({}))])));
    assert!(!needed(json!({"startTimeout": 5, "restartPolicy": {"enabled": false}})));
    assert!(!needed(json!({"healthCheck": {"command": ["CMD", "pg_isready"]}})));
    assert!(needed(on("b", "START")));
    assert!(needed(json!({"links": ["b"]})));
    assert!(needed(json!({"restartPolicy": {"enabled": true}})));
    assert!(needed(json!({"healthCheck": {"command": ["CMD", "true"]}})));
}

#[test]
fn a_container_starts_when_what_it_depends_on_is_as_far() {
    let mut scene = Scene::new(&[
        named("init", json!({"essential": false})),
        named("log", json!({"dependsOn": [{"containerName": "init", "condition": "START"}], "essential": false})),
        named(
            "web",
            json!({"dependsOn": [
            {"containerName": "init", "condition": "SUCCESS"}, {"containerName": "log", "condition": "START"}]}),
        ),
    ]);
    assert!(scene.act(0).is_empty(), "who waits for nobody starts by itself");
    scene.started("init", 1);
    assert_eq!(scene.act(1), ["start log"]);
    assert!(scene.act(1).is_empty(), "what was done is not done again");
    scene.stopped("init", 0, 2);
    assert!(scene.act(2).is_empty(), "log was ordered, and does not run yet");
    scene.started("log", 3);
    assert_eq!(scene.act(3), ["start web"]);
}

#[test]
fn complete_takes_any_exit_and_success_only_zero() {
    for (condition, code, starts) in [("COMPLETE", 3, true), ("SUCCESS", 0, true), ("SUCCESS", 3, false)] {
        let mut scene = Scene::new(&[named("init", json!({"essential": false})), named("web", on("init", condition))]);
        scene.started("init", 1);
        assert!(scene.act(1).is_empty());
        scene.stopped("init", code, 2);
        let done = scene.act(2);
        if starts {
            assert_eq!(done, ["start web"]);
        } else {
            assert_eq!(
                done,
                ["give up web: dependency graph: failed to resolve container ordering dependency [init(i) \
                  (STOPPED->STOPPED) - Exit: 3] for target [web(i) (NONE->RUNNING)] as dependency did not exit \
                  successfully."]
            );
        }
    }
}

#[test]
fn what_never_ran_is_waited_for_by_nobody() {
    for condition in ["START", "COMPLETE", "SUCCESS"] {
        let mut scene = Scene::new(&[named("init", json!({"essential": false})), named("web", on("init", condition))]);
        let failure = Exit::CouldNotStart(StartFailure::CannotCreate(String::from("no")));
        scene.0.stopped(0, &failure, at(1));
        let done = scene.act(1);
        assert!(done[0].ends_with("because dependency will never start"), "{done:?}");
    }
}

#[test]
fn a_dependency_that_takes_too_long_is_given_up() {
    let mut scene = Scene::new(&[
        named("init", json!({"essential": false, "startTimeout": 10})),
        named("web", on("init", "COMPLETE")),
    ]);
    scene.started("init", 1);
    assert_eq!(scene.0.plan(at(1)).wake_at, Some(at(11)));
    assert!(scene.act(10).is_empty());
    assert_eq!(
        scene.act(11),
        ["give up web: dependency graph: container ordering dependency [init(i) (RUNNING->RUNNING)] for target \
          [web(i) (NONE->RUNNING)] has timed out."]
    );
}

#[test]
fn healthy_waits_for_the_probes() {
    let check = json!({"healthCheck": {"command": ["CMD", "true"], "interval": 5, "retries": 1}});
    let mut scene = Scene::new(&[named("db", check), named("web", on("db", "HEALTHY"))]);
    scene.started("db", 0);
    assert!(scene.act(4).is_empty());
    assert_eq!(scene.act(5), ["probe db"]);
    assert_eq!(scene.0.probed(0, false, at(6)), Some(HealthStatus::Unhealthy));
    assert!(scene.act(10).is_empty());
    assert_eq!(scene.act(11), ["probe db"]);
    assert_eq!(scene.0.probed(0, true, at(11)), Some(HealthStatus::Healthy));
    assert_eq!(scene.act(11), ["start web"]);
}

#[test]
fn a_health_that_is_never_known_is_not_waited_for() {
    let check = json!({"healthCheck": {"command": ["CMD", "pg_isready"]}});
    let mut scene = Scene::new(&[named("db", check), named("web", on("db", "HEALTHY"))]);
    let done = scene.act(0);
    assert!(done[0].contains("`pg_isready` cannot be run") && done[0].contains("wasm:EXPORT"), "{done:?}");
}

#[test]
fn a_container_is_restarted_by_its_policy() {
    let policy = json!({"restartPolicy": {"enabled": true, "ignoredExitCodes": [7], "restartAttemptPeriod": 60}});
    let mut scene = Scene::new(&[named("web", policy)]);
    scene.started("web", 0);
    assert_eq!(scene.stopped("web", 1, 60), Ending::Restarts { restarts: 1 });
    assert_eq!(scene.act(60), ["restart web"]);
    scene.started("web", 60);
    assert_eq!(scene.stopped("web", 0, 200), Ending::Restarts { restarts: 2 });
    scene.act(200);
    scene.started("web", 200);
    assert_eq!(scene.stopped("web", 1, 259), Ending::Over, "it ran for less than the period");
    let mut scene = Scene::new(&[named("web", json!({"restartPolicy": {"enabled": true, "ignoredExitCodes": [7]}}))]);
    scene.started("web", 0);
    assert_eq!(scene.stopped("web", 7, 1000), Ending::Over, "an exit code that is ignored");
}

#[test]
fn a_task_that_stops_restarts_nothing() {
    let mut scene = Scene::new(&[named("web", json!({"restartPolicy": {"enabled": true}}))]);
    scene.started("web", 0);
    scene.0.stop();
    assert_eq!(scene.act(1000), ["stop web"]);
    assert_eq!(scene.stopped("web", 0, 1000), Ending::Over);
    assert_eq!(scene.act(1000), ["finish"]);
    assert!(scene.act(1000).is_empty());
}

#[test]
fn containers_stop_in_the_reversed_order() {
    let mut scene = Scene::new(&[
        named("db", json!({})),
        named("web", on("db", "START")),
        named("proxy", on("web", "START")),
        named("side", json!({})),
        named("late", on("proxy", "START")),
    ]);
    for name in ["db", "side", "web", "proxy"] {
        scene.started(name, 1);
    }
    scene.0.stop();
    assert_eq!(scene.act(2), ["stop proxy", "stop side"], "what still waits is in nobody's way");
    assert!(scene.act(3).is_empty());
    scene.stopped("proxy", 0, 4);
    assert_eq!(scene.act(4), ["stop web"]);
    scene.stopped("side", 0, 5);
    scene.stopped("web", 0, 5);
    assert_eq!(scene.act(5), ["stop db"]);
    scene.stopped("db", 0, 6);
    assert_eq!(scene.act(6), ["finish"]);
}

#[test]
fn a_stop_before_the_images_are_there_has_no_order() {
    let mut lives = Lives::new(&definition(json!([named("db", json!({})), named("web", on("db", "START"))])));
    lives.stop();
    let plan = lives.plan(at(0));
    assert_eq!(plan.actions, [Action::StopAll]);
    lives.carried_out(&Action::StopAll);
    assert!(lives.plan(at(0)).is_empty());
}

#[test]
fn a_circle_that_got_into_a_record_ends_the_task() {
    let mut scene = Scene::new(&[named("a", on("b", "START")), named("b", on("a", "START"))]);
    let done = scene.act(0);
    assert!(done.len() == 2 && done[0].ends_with("because dependency will never start"), "{done:?}");
}
