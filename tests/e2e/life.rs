//! Containers of one task that need each other: order, health, restarts, and the reversed order at the stop.

use serde_json::{Value, json};

use super::definitions::guest;
use super::server::Server;
use super::wait::until;

/// A Fargate definition of these containers.
fn definition(family: &str, containers: Value) -> Value {
    json!({
        "family": family, "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256",
        "memory": "512", "containerDefinitions": containers
    })
}

fn batch(name: &str, command: &[&str], members: Value) -> Value {
    let mut container = json!({"name": name, "image": guest("batch"), "command": command, "stopTimeout": 2});
    container.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    container
}

fn hello(name: &str, members: Value) -> Value {
    let mut container = json!({"name": name, "image": guest("hello"), "portMappings": [{"containerPort": 80}]});
    container.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    container
}

fn on(name: &str, condition: &str) -> Value {
    json!({"dependsOn": [{"containerName": name, "condition": condition}]})
}

/// A check that is made ten times a second.
fn checked(command: Value, retries: u32) -> Value {
    json!({
        "healthCheck": {"command": command, "interval": 5, "retries": retries},
        "dockerLabels": {"coracle.health.interval-ms": "100"}
    })
}

fn container<'a>(task: &'a Value, name: &str) -> &'a Value {
    task["containers"].as_array().unwrap().iter().find(|container| container["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_runs_before_the_web_server() {
    let server = Server::start().await;
    let migration = batch("migrate", &["print", "migrating", "sleep", "300", "exit", "0"], json!({"essential": false}));
    let mut log = batch("log", &["print", "after", "sleep", "600000"], on("migrate", "COMPLETE"));
    log["essential"] = json!(false);
    let containers = json!([hello("web", on("migrate", "SUCCESS")), migration, log]);
    let arn = server.run(definition("migrated", containers)).await;
    let early = until("the migration to run", async || {
        let task = server.task(&arn).await;
        (container(&task, "migrate")["lastStatus"] == "RUNNING").then_some(task)
    })
    .await;
    assert_eq!(container(&early, "web")["lastStatus"], "PENDING", "{early}");
    let task = server.task_in(&arn, "RUNNING").await;
    let migrated = container(&task, "migrate");
    assert_eq!((&migrated["lastStatus"], &migrated["exitCode"]), (&json!("STOPPED"), &json!(0)));
    assert_eq!(container(&task, "web")["lastStatus"], "RUNNING");
    assert_eq!(server.printed(&arn).await, ["migrating", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_fails_ends_the_task() {
    let server = Server::start().await;
    let migration = batch("migrate", &["exit", "3"], json!({"essential": false}));
    let arn = server.run(definition("failed", json!([hello("web", on("migrate", "SUCCESS")), migration]))).await;
    let task = server.task_in(&arn, "STOPPED").await;
    assert_eq!(task["stopCode"], "TaskFailedToStart", "{task}");
    let reason = task["stoppedReason"].as_str().unwrap();
    assert!(reason.contains("failed to resolve container ordering dependency [migrate("), "{reason}");
    assert!(reason.ends_with("as dependency did not exit successfully."), "{reason}");
    assert_eq!(container(&task, "web")["reason"], reason);
    assert_eq!(container(&task, "migrate")["exitCode"], 3);
    assert!(task["startedAt"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_starts_too_slowly_is_given_up() {
    let server = Server::start().await;
    let slow = batch("slow", &["sleep", "600000"], json!({"essential": false, "startTimeout": 2}));
    let arn = server.run(definition("late", json!([hello("web", on("slow", "COMPLETE")), slow]))).await;
    let task = server.task_in(&arn, "STOPPED").await;
    let reason = task["stoppedReason"].as_str().unwrap();
    assert!(reason.ends_with("has timed out."), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_waits_until_another_is_healthy() {
    let server = Server::start().await;
    let check = checked(json!(["CMD-SHELL", "curl -f http://localhost/plain || exit 1"]), 3);
    let next = batch("next", &["print", "healthy at last", "sleep", "600000"], on("web", "HEALTHY"));
    let arn = server.run(definition("gated", json!([hello("web", check), next]))).await;
    let task = server.task_in(&arn, "RUNNING").await;
    assert_eq!(
        (&task["healthStatus"], &container(&task, "web")["healthStatus"]),
        (&json!("HEALTHY"), &json!("HEALTHY"))
    );
    assert_eq!(container(&task, "next")["healthStatus"], "UNKNOWN", "it has no check");
    server.ecs("StopTask", json!({"task": arn})).await;
    server.task_in(&arn, "STOPPED").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_what_the_check_finds() {
    let server = Server::start().await;
    for (command, health) in [
        (json!(["CMD-SHELL", "curl -f http://localhost/status/503 || exit 1"]), "UNHEALTHY"),
        (json!(["CMD-SHELL", "curl -s http://localhost/status/503"]), "HEALTHY"),
        (json!(["CMD", "wget", "-q", "--spider", "http://127.0.0.1:80/plain"]), "HEALTHY"),
        (json!(["CMD-SHELL", "curl -f http://localhost:81/"]), "UNHEALTHY"),
        (json!(["CMD", "wasm:nothing"]), "UNHEALTHY"),
        (json!(["CMD-SHELL", "exit 0"]), "HEALTHY"),
    ] {
        let arn = server.run(definition("checked", json!([hello("web", checked(command.clone(), 2))]))).await;
        until(&format!("{command} to be {health}"), async || {
            let task = server.task(&arn).await;
            assert_ne!(task["lastStatus"], "STOPPED", "a task of nobody goes on");
            (task["healthStatus"] == health && task["containers"][0]["healthStatus"] == health).then_some(())
        })
        .await;
    }
    // What cannot be asked is not known, and that is said.
    let odd = definition("odd", json!([hello("web", checked(json!(["CMD", "pg_isready"]), 2))]));
    let arn = server.run(odd).await;
    let task = server.task_in(&arn, "RUNNING").await;
    assert_eq!(task["healthStatus"], "UNKNOWN");
    assert!(server.log().contains("pg_isready"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_restarted_by_its_policy() {
    let server = Server::start().await;
    let policy = json!({
        "restartPolicy": {"enabled": true, "ignoredExitCodes": [7], "restartAttemptPeriod": 60},
        "dockerLabels": {"coracle.restart.attempt-period-ms": "100"}
    });
    let again = batch("again", &["print", "alive", "sleep", "300", "exit", "1"], policy.clone());
    let arn = server.run(definition("again", json!([again]))).await;
    until("three lives", async || (server.printed(&arn).await.len() >= 3).then_some(())).await;
    let task = server.task(&arn).await;
    assert_eq!(task["lastStatus"], "RUNNING", "{task}");
    server.ecs("StopTask", json!({"task": arn})).await;
    server.task_in(&arn, "STOPPED").await;
    for (command, code) in [(["sleep", "300", "exit", "7"], 7), (["sleep", "0", "exit", "1"], 1)] {
        let arn = server.run(definition("once", json!([batch("once", &command, policy.clone())]))).await;
        let task = server.task_in(&arn, "STOPPED").await;
        assert_eq!(
            (&task["containers"][0]["exitCode"], &task["stopCode"]),
            (&json!(code), &json!("EssentialContainerExited"))
        );
    }
}

/// A program hears of the stop through the end of its standard input or not at all; here all are cut off, one after the
/// other, each after its own `stopTimeout`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_reverses_the_order() {
    let server = Server::start().await;
    let sleeping = ["print", "up", "sleep", "600000"];
    let containers = json!([batch("db", &sleeping, json!({})), batch("web", &sleeping, on("db", "START")),]);
    let arn = server.run(definition("ordered", containers)).await;
    server.task_in(&arn, "RUNNING").await;
    server.ecs("StopTask", json!({"task": arn})).await;
    until("web to be stopped before db", async || {
        let task = server.task(&arn).await;
        let status = |name: &str| container(&task, name)["lastStatus"].as_str().unwrap().to_owned();
        assert_ne!((status("db").as_str(), status("web").as_str()), ("STOPPED", "RUNNING"), "{task}");
        (status("web") == "STOPPED" && status("db") == "RUNNING").then_some(())
    })
    .await;
    let task = server.task_in(&arn, "STOPPED").await;
    assert_eq!(task["stopCode"], "UserInitiated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_replaces_what_is_unhealthy() {
    let server = Server::start().await;
    let check = checked(json!(["CMD-SHELL", "curl -f http://localhost/status/500"]), 2);
    let registered = server.register(definition("ill", json!([hello("web", check)]))).await;
    server
        .ecs(
            "CreateService",
            json!({
                "serviceName": "ill", "taskDefinition": registered, "desiredCount": 1, "launchType": "FARGATE",
                "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
            }),
        )
        .await;
    let event = until("the service to say so", async || {
        let service = server.service("ill").await;
        let events = service["events"].as_array()?.iter().filter_map(|event| event["message"].as_str());
        events.map(String::from).find(|message| message.ends_with("failed container health checks."))
    })
    .await;
    let id = event.split("(task ").nth(1).unwrap().split(')').next().unwrap().to_owned();
    let task = server.task_in(&id, "STOPPED").await;
    assert_eq!(task["stoppedReason"], "Task failed container health checks");
    assert_eq!(task["stopCode"], "ServiceSchedulerInitiated");
}
