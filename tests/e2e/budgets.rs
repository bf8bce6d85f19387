//! Budgets of instructions, runs that are the same every time, and the ledger of what was used.

use serde_json::{Value, json};

use super::command::coracle_prints;
use super::definitions::{handler, program};
use super::http::{get, once};
use super::server::Server;

fn labelled(mut definition: Value, labels: Value) -> Value {
    definition["containerDefinitions"][0]["dockerLabels"] = labels;
    definition
}

async fn usage(server: &Server, arguments: &[&str]) -> Value {
    let all: Vec<&str> = ["usage", "--output", "json"].iter().chain(arguments).copied().collect();
    serde_json::from_str(&coracle_prints(server, &all).await).unwrap()
}

/// What the ledger says of one task.
async fn used_by(server: &Server, arn: &str) -> Value {
    let ledger = usage(server, &[]).await;
    ledger["tasks"].as_array().unwrap().iter().find(|task| task["taskArn"] == arn).unwrap()["usage"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_beyond_its_budget_ends_and_the_ledger_outlives_it() {
    let server = Server::start().await;
    let budget = 100_000_000u64;
    let definition = program("spin", "hog", &["spin"]);
    let arn = server.run(labelled(definition, json!({"coracle.fuel.task": budget.to_string()}))).await;
    let task = server.task_in(&arn, "STOPPED").await;
    assert_eq!(task["containers"][0]["exitCode"], 137, "{task}");
    let reason = task["containers"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("FuelExhaustedError: "), "{reason}");

    let used = used_by(&server, &arn).await;
    let fuel = used["fuel"].as_u64().unwrap();
    assert!(fuel >= budget && fuel < budget + 1000, "{used}");
    assert!(used["cpuSeconds"].as_f64().unwrap() > 0.0 && used["gbSeconds"].as_f64().unwrap() > 0.0, "{used}");
    assert!(used["memoryPeakBytes"].as_u64().unwrap() > 1 << 16, "{used}");

    let server = server.kill_and_restart().await;
    assert_eq!(used_by(&server, &arn).await, used);
    let total = usage(&server, &["--cluster", "default"]).await["total"].clone();
    assert_eq!((&total["fuel"], &total["tasks"]), (&json!(fuel), &json!(1)));
    let table = coracle_prints(&server, &["usage"]).await;
    assert!(table.contains("CPU-S") && table.lines().last().unwrap().starts_with("total"), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_beyond_its_budget_gets_503_and_the_task_lives() {
    let server = Server::start().await;
    let definition = labelled(handler("limited", "hello"), json!({"coracle.fuel.request": "50000000"}));
    let service = server.balanced(definition, 1).await;
    assert_eq!(once(server.address, get(&service.host, "/spin/60000")).await.status, 503);
    assert_eq!(once(server.address, get(&service.host, "/plain")).await.status, 200);
    assert_eq!(server.tasks_of("limited").await.len(), 1);
    let requests = usage(&server, &["--service", "limited"]).await["total"]["requests"].as_u64().unwrap();
    assert!(requests >= 2, "{requests}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_input_uses_the_same_fuel_in_every_task() {
    let server = Server::start().await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let definition = program("same", "batch", &["lines", "50", "sleep", "5", "exit", "0"]);
        let arn = server.run(labelled(definition, json!({"coracle.deterministic": "true"}))).await;
        server.task_in(&arn, "STOPPED").await;
        seen.push(used_by(&server, &arn).await["fuel"].as_u64().unwrap());
    }
    assert!(seen[0] > 0 && seen.iter().all(|fuel| *fuel == seen[0]), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_says_nothing_fails_the_start_and_is_named() {
    let server = Server::start().await;
    let definition = labelled(program("bad", "batch", &["exit", "0"]), json!({"coracle.fuel.task": "plenty"}));
    let arn = server.run(definition).await;
    let task = server.task_in(&arn, "STOPPED").await;
    let reason = task["stoppedReason"].as_str().unwrap();
    assert_eq!(task["stopCode"], "TaskFailedToStart");
    assert!(reason.contains("coracle.fuel.task") && reason.contains("plenty"), "{reason}");
}
