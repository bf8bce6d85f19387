//! What can be used up: memory of a container, of its task and of the node, and lines of a log. Who overdoes it is told, and
//! nobody else notices.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::definitions::{handler, program};
use super::http::{get, once};
use super::server::Server;
use super::wait::until;

const OUT_OF_MEMORY: &str = "OutOfMemoryError: Container killed due to memory usage";

/// A task that holds so many MiB of its 512.
async fn holder(server: &Server, mib: u32) -> String {
    let arn = server.run(program("holder", "hog", &["hold", &mib.to_string()])).await;
    server.task_in(&arn, "RUNNING").await;
    let said = format!("holding {mib} MiB");
    until("the memory to be touched", async || server.printed(&arn).await.contains(&said).then_some(())).await;
    arn
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_which_there_is_no_memory_wait_and_one_that_is_too_large_fails_alone() {
    let server = Server::start().await;
    let mut definition = handler("large", "hello");
    definition["cpu"] = json!("1024");
    definition["memory"] = json!("2048");
    definition["containerDefinitions"][0]["memory"] = json!(256);
    let service = server.balanced(definition, 1).await;
    // Two of them fit at once, and nothing is known of the handler when they come.
    let burst = join_all((0..16).map(|_| once(server.address, get(&service.host, "/grow/100")))).await;
    for answer in burst {
        assert_eq!((answer.status.as_u16(), answer.text().trim()), (200, "held 100 MiB"));
    }
    let too_large = once(server.address, get(&service.host, "/grow/300"));
    let beside = join_all((0..4).map(|_| once(server.address, get(&service.host, "/plain"))));
    let (too_large, beside) = tokio::join!(too_large, beside);
    assert_eq!(too_large.status, 502);
    assert!(beside.iter().all(|answer| answer.status == 200));
    let tasks = server.tasks_of(&service.name).await;
    assert_eq!(server.task(&tasks[0]).await["lastStatus"], "RUNNING");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_of_a_containers_memory_is_its_limit() {
    let server = Server::start().await;
    let definition = server.register(program("small", "hog", &["grow", "100"])).await;
    let run = async |overrides: Value| {
        let arn = server.run_with(json!({"taskDefinition": definition, "overrides": overrides})).await;
        server.task_in(&arn, "STOPPED").await["containers"][0].clone()
    };
    let container = run(json!({"containerOverrides": [{"name": "small", "memory": 64}]})).await;
    assert_eq!((&container["exitCode"], &container["reason"]), (&json!(137), &json!(OUT_OF_MEMORY)));
    let container = run(json!({})).await;
    assert_eq!(container["exitCode"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_short_of_memory_ends_the_task_furthest_over_and_lets_starts_wait() {
    let server = Server::start_with(&["--memory", "300"]).await;
    let mut holders = Vec::new();
    for _ in 0..2 {
        holders.push(holder(&server, 120).await);
    }
    // It holds more than they do once it is there, so it is the one that must go.
    let largest = server.run(program("largest", "hog", &["hold", "130"])).await;
    let ended = server.task_in(&largest, "STOPPED").await;
    assert_eq!(ended["stopCode"], "TerminationNotice", "{ended}");
    let reason = ended["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("OutOfMemoryError: The node is short of memory"), "{reason}");
    let container = &ended["containers"][0];
    assert_eq!((&container["exitCode"], &container["reason"]), (&json!(137), &json!(OUT_OF_MEMORY)));
    for holder in &holders {
        assert_eq!(server.task(holder).await["lastStatus"], "RUNNING");
    }

    // 280 of 300: the next one is accepted, and waits until there is room.
    holder(&server, 38).await;
    let waiting = server.run(program("waiting", "batch", &["print", "begun"])).await;
    server.task_in(&waiting, "PENDING").await;
    server.ecs("StopTask", json!({"task": holders[0]})).await;
    server.task_in(&waiting, "STOPPED").await;
    assert_eq!(server.printed(&waiting).await, ["begun"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_beyond_the_rate_are_dropped_and_counted() {
    let server = Server::start().await;
    let mut flood = program("flood", "hog", &["lines", "200000"]);
    flood["cpu"] = json!("1024");
    flood["memory"] = json!("2048");
    let arn = server.run(flood).await;
    let task = server.task_in(&arn, "STOPPED").await;
    assert_eq!(task["containers"][0]["exitCode"], 0, "{task}");
    let printed = server.printed(&arn).await;
    let said = printed.iter().filter(|line| line.starts_with("coracle: ") && line.contains("lines dropped")).count();
    assert!(said > 0 && said < 60, "{said} of {} lines", printed.len());
    // A second's worth is not too much.
    let arn = server.run(program("busy", "hog", &["lines", "5000"])).await;
    server.task_in(&arn, "STOPPED").await;
    assert_eq!(server.printed(&arn).await.len(), 5000);
}
