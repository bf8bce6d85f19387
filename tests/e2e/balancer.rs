//! The load balancer: rotation, routes, what a trap does, what replaces a task.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::json;

use super::api::elements;
use super::definitions::handler;
use super::http::{Connection, get, once};
use super::server::Server;
use super::wait::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_answer_in_strict_rotation() {
    let server = Server::start().await;
    let service = server.balanced(handler("rotation", "hello"), 2).await;
    let own = server.bound(&service.listener).await;

    // Over one kept-alive connection, by Host on the one port.
    let mut kept = Connection::open(server.address).await;
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(kept.get(&service.host, "/plain").await.text());
    }
    strictly_alternate(&answers);
    // Over a connection for each, at the listener's own port, where no Host matters.
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(once(own, get("whatever.example", "/plain")).await.text());
    }
    strictly_alternate(&answers);
    // Over HTTP/2.
    let mut two = Connection::open_http2(server.address).await;
    let mut answers = Vec::new();
    for _ in 0..8 {
        let uri = format!("http://{}/plain", service.host);
        answers.push(two.send(Request::get(uri).body(Bytes::new()).unwrap()).await.text());
    }
    strictly_alternate(&answers);
}

fn strictly_alternate(answers: &[String]) {
    assert!(answers[0].starts_with("Hello from "), "{answers:?}");
    assert_ne!(answers[0], answers[1], "{answers:?}");
    for pair in answers.windows(3) {
        assert_eq!(pair[0], pair[2], "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_arrive_whole_and_with_the_headers_of_a_proxy() {
    let server = Server::start().await;
    let service = server.balanced(handler("whole", "hello"), 1).await;
    let body = Bytes::from(vec![b'x'; 300_000]);
    let request = Request::post("/echo").header("host", &service.host).body(body.clone()).unwrap();
    let echoed = once(server.address, request).await;
    assert!(echoed.body == body, "{} bytes came back", echoed.body.len());

    let seen = once(server.address, get(&service.host, "/some/path?with=query")).await.json();
    assert_eq!((&seen["path"], &seen["method"]), (&json!("/some/path?with=query"), &json!("GET")));
    assert_eq!(seen["headers"]["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["headers"]["x-forwarded-proto"], "http");
    assert!(seen["headers"]["x-amzn-trace-id"].as_str().unwrap().starts_with("Root=1-"), "{seen}");
    // A task inherits nothing of the host.
    let environment = seen["environment"].as_object().unwrap();
    for name in ["PATH", "HOME", "USER", "AWS_ACCESS_KEY_ID", "CORACLE_VENV"] {
        assert!(!environment.contains_key(name), "{environment:?}");
    }
    // By the short name, while it is unique, and with a port.
    for host in ["whole.elb.localhost", "80.whole.us-east-1.elb.localhost", "whole.elb.localhost:4566"] {
        assert_eq!(once(server.address, get(host, "/plain")).await.status, StatusCode::OK, "{host}");
    }
    let nobody = once(server.address, get("nobody.us-east-1.elb.localhost", "/")).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND, "{}", nobody.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_answers_one_request_with_502() {
    let server = Server::start().await;
    let service = server.balanced(handler("panics", "hello"), 1).await;
    let before = server.tasks_of("panics").await;
    let mut connection = Connection::open(server.address).await;
    for _ in 0..3 {
        assert_eq!(connection.get(&service.host, "/panic").await.status, StatusCode::BAD_GATEWAY);
        assert_eq!(connection.get(&service.host, "/plain").await.status, StatusCode::OK);
    }
    assert_eq!(server.tasks_of("panics").await, before, "the task lives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_fresh_unless_kept() {
    let server = Server::start().await;
    let fresh = server.balanced(handler("fresh", "hello"), 1).await;
    let mut definition = handler("kept", "hello");
    definition["containerDefinitions"][0]["dockerLabels"] = json!({"coracle.instances.keep": "true"});
    let kept = server.balanced(definition, 1).await;
    let mut connection = Connection::open(server.address).await;
    let mut count = async |host: &str| connection.get(host, "/count").await.text().trim().parse::<u64>().unwrap();
    for _ in 0..5 {
        assert_eq!(count(&fresh.host).await, 1);
    }
    let counted = [count(&kept.host).await, count(&kept.host).await, count(&kept.host).await];
    assert!(counted[2] > 1, "{counted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_task_is_replaced_and_its_target_leaves() {
    let server = Server::start().await;
    let service = server.balanced(handler("replaced", "hello"), 2).await;
    let before: HashSet<String> = server.tasks_of("replaced").await.into_iter().collect();
    let victim = before.iter().next().unwrap();
    server.ecs("StopTask", json!({"task": victim, "reason": "a test"})).await;
    server.task_in(victim, "STOPPED").await;
    until("the replacement to serve", async || {
        let service = server.service("replaced").await;
        let tasks: HashSet<String> = server.tasks_of("replaced").await.into_iter().collect();
        (service["runningCount"] == 2 && tasks.len() == 2 && !tasks.contains(victim)).then_some(())
    })
    .await;
    until("two healthy targets", async || {
        let health = server.elb("DescribeTargetHealth", &[("TargetGroupArn", &service.target_group)]).await;
        (elements(&health, "State") == ["healthy", "healthy"]).then_some(())
    })
    .await;
    let mut answers = HashSet::new();
    for _ in 0..4 {
        answers.insert(once(server.address, get(&service.host, "/plain")).await.text());
    }
    assert_eq!(answers.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_scales_and_is_deleted() {
    let server = Server::start().await;
    let service = server.balanced(handler("scaled", "hello"), 1).await;
    server.ecs("UpdateService", json!({"service": "scaled", "desiredCount": 4})).await;
    server.steady("scaled").await;
    until("four to answer", async || {
        let mut answers = HashSet::new();
        for _ in 0..8 {
            answers.insert(once(server.address, get(&service.host, "/plain")).await.text());
        }
        (answers.len() == 4).then_some(())
    })
    .await;
    server.ecs("UpdateService", json!({"service": "scaled", "desiredCount": 0})).await;
    server.steady("scaled").await;
    let nobody = once(server.address, get(&service.host, "/plain")).await;
    assert_eq!(nobody.status, StatusCode::SERVICE_UNAVAILABLE, "{}", nobody.text());
    server.ecs("DeleteService", json!({"service": "scaled"})).await;
    until("the service to be gone", async || (server.service("scaled").await["status"] == "INACTIVE").then_some(()))
        .await;

    server.elb("DeleteLoadBalancer", &[("LoadBalancerArn", &service.load_balancer)]).await;
    server.elb("DeleteTargetGroup", &[("TargetGroupArn", &service.target_group)]).await;
    until("the name to be unknown", async || {
        let answer = once(server.address, get(&service.host, "/")).await;
        (answer.status == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}

/// Two load balancers want port 80: each has a port of its own all the same, and says where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_that_want_one_port_get_two() {
    let server = Server::start().await;
    let (one, other) = (handler("one", "hello"), handler("other", "hello"));
    let (one, other) = (server.balanced(one, 1).await, server.balanced(other, 1).await);
    let (first, second) = (server.bound(&one.listener).await, server.bound(&other.listener).await);
    assert_ne!(first, second);
    let answers = [once(first, get("x", "/plain")).await.text(), once(second, get("x", "/plain")).await.text()];
    assert_ne!(answers[0], answers[1]);
    for (balanced, answer) in [(&one, &answers[0]), (&other, &answers[1])] {
        assert_eq!(once(server.address, get(&balanced.host, "/plain")).await.text(), *answer);
    }
}
