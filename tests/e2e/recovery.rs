//! `kill -9` at any moment: what was answered is still so, and nothing runs twice.

use std::collections::HashSet;

use serde_json::json;

use super::api::elements;
use super::definitions::{handler, program};
use super::http::{get, once};
use super::load::Load;
use super::server::Server;
use super::wait::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_answered_survives_a_kill_under_load() {
    let server = Server::start().await;
    let service = server.balanced(handler("survivor", "hello"), 2).await;
    let ended = server.run(program("ended", "batch", &["print", "once", "exit", "42"])).await;
    server.task_in(&ended, "STOPPED").await;
    let running = server.run(program("running", "batch", &["print", "once", "sleep", "600000"])).await;
    server.task_in(&running, "RUNNING").await;
    let before: HashSet<String> = server.tasks_of("survivor").await.into_iter().collect();
    let load = Load::start(server.address, &service.host, "/plain", 2);
    load.more(20).await;

    let server = server.kill_and_restart().await;
    // The load's failures are of no interest: its server was killed.
    load.stop().await;

    // What was shown is still shown.
    let task = server.task(&ended).await;
    assert_eq!(task["containers"][0]["exitCode"], 42, "{task}");
    assert_eq!(task["stoppedReason"], "Essential container in task exited");
    let described = server.ecs("DescribeTaskDefinition", json!({"taskDefinition": "running"})).await;
    assert_eq!(described["taskDefinition"]["containerDefinitions"][0]["command"][1], "once");
    let balancers = server.elb("DescribeLoadBalancers", &[("Names.member.1", "survivor")]).await;
    assert_eq!(elements(&balancers, "DNSName"), [service.host.as_str()]);

    // What was placed is stopped in the very first answer, with a reason, and is not run again.
    for arn in before.iter().chain([&running]) {
        let task = server.task(arn).await;
        assert_eq!((&task["lastStatus"], &task["desiredStatus"]), (&json!("STOPPED"), &json!("STOPPED")), "{task}");
        assert!(!task["stoppedReason"].as_str().unwrap().is_empty(), "{task}");
        assert!(!task["stopCode"].is_null(), "{task}");
    }
    // The service returns to its count, with new tasks.
    server.steady("survivor").await;
    let after: HashSet<String> = server.tasks_of("survivor").await.into_iter().collect();
    assert!(after.len() == 2 && after.is_disjoint(&before), "{before:?} {after:?}");
    until("the service to answer", async || {
        once(server.address, get(&service.host, "/plain")).await.status.is_success().then_some(())
    })
    .await;
    assert_eq!(server.task(&running).await["lastStatus"], "STOPPED");
}

/// Tasks are asked for without pause while the server is killed: each one that was answered is known afterwards, and
/// whatever it printed it printed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_were_answered_are_known_and_start_at_most_once() {
    let mut server = Server::start().await;
    let definition = server.register(program("asked", "batch", &["print", "once", "exit", "0"])).await;
    let mut asked = Vec::new();
    for _ in 0..3 {
        for _ in 0..5 {
            asked.push(server.run_with(json!({"taskDefinition": definition})).await);
        }
        server = server.kill_and_restart().await;
    }
    let end = async |arn: &String| {
        let task = server.task(arn).await;
        (task["lastStatus"] == "STOPPED").then_some(task)
    };
    for arn in &asked {
        let task = until("a task that was asked for to end", async || end(arn).await).await;
        let code = &task["containers"][0]["exitCode"];
        // Either it ran (before the kill or, not yet placed, after it), or it says why it did not end by itself.
        assert!(*code == 0 || task["stoppedReason"].as_str().is_some_and(|reason| !reason.is_empty()), "{task}");
        assert!(server.printed(arn).await.len() <= 1, "it ran twice");
    }
}

/// A scale-out that was answered is carried out by whoever comes next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intent_survives() {
    let server = Server::start().await;
    let service = server.balance(&handler("intent", "hello"), 1).await;
    server.ecs("UpdateService", json!({"service": "intent", "desiredCount": 3})).await;
    let server = server.kill_and_restart().await;
    assert_eq!(server.service("intent").await["desiredCount"], 3);
    server.steady("intent").await;
    assert_eq!(server.tasks_of("intent").await.len(), 3);
    let health = server.elb("DescribeTargetHealth", &[("TargetGroupArn", &service.target_group)]).await;
    let healthy = elements(&health, "State").into_iter().filter(|state| state == "healthy").count();
    assert_eq!(healthy, 3, "{health}");
}
