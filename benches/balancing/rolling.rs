//! Rolling deployments under load: not one request may be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::Failure;
use crate::support::server::{Api, PATIENCE, Server, definition};
use crate::support::table::{Row, Wanted, number};
use crate::support::wire::{Connection, get};

/// Each with one request under way, which takes long enough that tasks have something to finish when they drain.
const CONNECTIONS: usize = 16;
const PATH: &str = "/sleep/5";
/// Between two looks at the service.
const POLL: Duration = Duration::from_millis(5);

pub async fn measure(quick: bool) -> Result<Row, Failure> {
    let deployments = if quick { 5 } else { 100 };
    let home = tempfile::tempdir()?;
    let server = Server::start(home.path()).await?;
    let mut api = server.api().await?;
    let balanced = api.balance("rolled", &definition("rolled", "hello", &[], "512", "1024")).await?;
    api.ecs("UpdateService", json!({"service": "rolled", "desiredCount": 3})).await?;
    steady(&mut api).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
        let (address, request) = (balanced.address, get(&balanced.host, PATH));
        clients.spawn(async move {
            let mut lost: Vec<String> = Vec::new();
            let mut kept = None;
            while !stop.load(Ordering::Relaxed) && lost.len() < 100 {
                let exchanged = async {
                    let connection: &mut Connection = match &mut kept {
                        Some(connection) => connection,
                        None => kept.insert(Connection::open(address).await?),
                    };
                    connection.exchange(&request).await
                };
                match exchanged.await {
                    Ok(answer) if answer.status == 200 => _ = answered.fetch_add(1, Ordering::Relaxed),
                    Ok(answer) => lost.push(format!("status {}", answer.status)),
                    Err(error) => {
                        kept = None;
                        lost.push(error.to_string());
                    }
                }
            }
            lost
        });
    }
    let begun = Instant::now();
    for round in 1..=deployments {
        let mut next = definition("rolled", "hello", &[], "512", "1024");
        next["containerDefinitions"][0]["environment"] = json!([{"name": "ROUND", "value": round.to_string()}]);
        let next = api.register(&next).await?;
        api.ecs("UpdateService", json!({"service": "rolled", "taskDefinition": next})).await?;
        steady(&mut api).await?;
        if round % 10 == 0 {
            eprintln!("deployment {round} of {deployments}");
        }
    }
    let each = begun.elapsed().as_secs_f64() / f64::from(deployments);
    stop.store(true, Ordering::Relaxed);
    let mut lost = Vec::new();
    while let Some(ended) = clients.join_next().await {
        lost.extend(ended?);
    }
    server.kill().await?;
    if let Some(first) = lost.first() {
        eprintln!("lost {}, such as: {first}", lost.len());
    }
    let detail = format!(
        "{} answered over {deployments} deployments of 3 tasks, {} s each",
        answered.load(Ordering::Relaxed),
        number(each)
    );
    Ok(Row::new("requests lost", Wanted::AtMost, lost.len() as f64, "requests", (Some(0.0), 0.0), &detail))
}

/// Waits until only the newest deployment is there, and runs all that is wanted.
async fn steady(api: &mut Api) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let described = api.ecs("DescribeServices", json!({"services": ["rolled"]})).await?;
        let service = &described["services"][0];
        let alone = service["deployments"].as_array().is_some_and(|deployments| deployments.len() == 1);
        if alone && service["runningCount"] == service["desiredCount"] {
            return Ok(());
        }
        sleep(POLL).await;
    }
    Err("the service did not become steady".into())
}
