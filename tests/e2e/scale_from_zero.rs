//! Scale from zero: a service at count 0 gets its first task when a request comes, and the request is answered.

use http::StatusCode;
use serde_json::json;

use super::definitions::handler;
use super::http::{get, once};
use super::server::Server;
use super::wait::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_starts_the_first_task() {
    let server = Server::start().await;
    let service = server.balanced(handler("sleeper", "hello"), 0).await;
    // Without the tag nobody waits.
    assert_eq!(once(server.address, get(&service.host, "/plain")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let arn = server.service("sleeper").await["serviceArn"].clone();
    let tags = json!([{"key": "coracle.scale-from-zero", "value": "true"}]);
    server.ecs("TagResource", json!({"resourceArn": arn, "tags": tags})).await;
    // The proxy may not know of the tag yet: the first that is held is answered, and so is everyone from then on.
    until("a request to be answered", async || {
        (once(server.address, get(&service.host, "/plain")).await.status == StatusCode::OK).then_some(())
    })
    .await;
    let described = server.service("sleeper").await;
    assert_eq!(described["desiredCount"], 1, "{described}");
    let events = described["events"].as_array().unwrap();
    let says =
        |text: &str| events.iter().any(|event| event["message"].as_str().is_some_and(|said| said.contains(text)));
    assert!(
        says("(service sleeper) set its desired count from 0 to 1: a request waits in (target-group arn:"),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once_start_one_task() {
    let server = Server::start().await;
    let service = server.balanced(handler("herd", "hello"), 1).await;
    let arn = server.service("herd").await["serviceArn"].clone();
    let tags = json!([{"key": "coracle.scale-from-zero", "value": "true"}]);
    server.ecs("TagResource", json!({"resourceArn": arn, "tags": tags})).await;
    let first = server.tasks_of("herd").await;
    server.ecs("UpdateService", json!({"service": "herd", "desiredCount": 0})).await;
    server.steady("herd").await;
    server.task_in(&first[0], "STOPPED").await;

    let requests = (0..50).map(|_| {
        let (address, host) = (server.address, service.host.clone());
        tokio::spawn(async move { once(address, get(&host, "/plain")).await.status })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap(), StatusCode::OK);
    }
    let described = server.service("herd").await;
    assert_eq!(described["desiredCount"], 1, "{described}");
    assert_eq!(server.tasks_of("herd").await.len(), 1);
}
