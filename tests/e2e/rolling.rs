//! Updates under load: not one request may fail.

use serde_json::json;

use super::definitions::handler;
use super::http::{get, once};
use super::load::Load;
use super::server::Server;
use super::wait::until;

/// Each with one request in flight.
const CONNECTIONS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_drops_nothing() {
    let server = Server::start().await;
    let service = server.balanced(handler("rolled", "hello"), 2).await;
    let first = server.tasks_of("rolled").await;
    // Each request is under way for some time, so that draining has something to wait for.
    let load = Load::start(server.address, &service.host, "/sleep/30", CONNECTIONS);
    load.more(20).await;

    let mut second = handler("rolled", "hello");
    second["containerDefinitions"][0]["environment"] = json!([{"name": "VERSION", "value": "two"}]);
    let second = server.register(second).await;
    server.ecs("UpdateService", json!({"service": "rolled", "taskDefinition": second})).await;
    let steady = server.steady("rolled").await;
    assert_eq!(steady["taskDefinition"], second.as_str());
    until("the first tasks to be stopped", async || {
        let described = server.ecs("DescribeTasks", json!({"tasks": first})).await;
        let tasks = described["tasks"].as_array()?;
        tasks.iter().all(|task| task["lastStatus"] == "STOPPED").then_some(())
    })
    .await;
    load.more(20).await;
    let failures = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");

    let seen = once(server.address, get(&service.host, "/environment")).await.json();
    assert_eq!(seen["VERSION"], "two");
    let stopped = server.task(&first[0]).await;
    assert_eq!(stopped["stopCode"], "ServiceSchedulerInitiated", "{stopped}");
    let reason = stopped["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("Scaling activity initiated by (deployment ecs-svc/"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_in_drops_nothing() {
    let server = Server::start().await;
    let service = server.balanced(handler("shrunk", "hello"), 4).await;
    let load = Load::start(server.address, &service.host, "/sleep/30", CONNECTIONS);
    load.more(20).await;
    server.ecs("UpdateService", json!({"service": "shrunk", "desiredCount": 1})).await;
    server.steady("shrunk").await;
    load.more(20).await;
    let failures = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
}

/// A new version that cannot start takes nothing away from the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_version_leaves_the_old_one_serving() {
    let server = Server::start().await;
    let service = server.balanced(handler("guarded", "hello"), 2).await;
    let load = Load::start(server.address, &service.host, "/plain", CONNECTIONS);
    let mut broken = handler("guarded", "hello");
    broken["containerDefinitions"][0]["image"] = json!("file:///nowhere/at/all.wasm");
    let broken = server.register(broken).await;
    server.ecs("UpdateService", json!({"service": "guarded", "taskDefinition": broken})).await;
    until("tasks of the broken version to fail", async || {
        let service = server.service("guarded").await;
        (service["deployments"][0]["failedTasks"].as_u64()? >= 1).then_some(())
    })
    .await;
    load.more(50).await;
    let failures = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(server.service("guarded").await["deployments"][1]["runningCount"], 2);
}
