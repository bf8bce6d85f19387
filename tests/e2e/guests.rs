//! Every kind of guest: WASI 0.1 modules, handlers of WASI 0.3, programs that listen.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::definitions::{handler, program};
use super::http::{get, once};
use super::server::Server;
use super::wait::{bounded, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_c_program_of_wasi_0_1() {
    let server = Server::start().await;
    let mut definition = program("c", "c-hello", &["one", "two"]);
    definition["containerDefinitions"][0]["environment"] = json!([{"name": "EXIT_CODE", "value": "42"}]);
    let arn = server.run(definition).await;
    let task = server.task_in(&arn, "STOPPED").await;
    assert_eq!(task["containers"][0]["exitCode"], 42, "{task}");
    let printed = server.printed(&arn).await.join("\n");
    assert!(printed.contains("one") && printed.contains("two") && printed.contains("EXIT_CODE=42"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_of_wasi_0_3() {
    let server = Server::start().await;
    let service = server.balanced(handler("three", "hello-p3"), 2).await;
    let mut tasks = std::collections::HashSet::new();
    for _ in 0..4 {
        tasks.insert(once(server.address, get(&service.host, "/plain")).await.text());
    }
    assert_eq!(tasks.len(), 2, "{tasks:?}");
    assert_eq!(once(server.address, get(&service.host, "/panic")).await.status, 502);
    assert_eq!(once(server.address, get(&service.host, "/count")).await.text().trim(), "1");
}

/// The task's address and port are real on this machine, where the port is free there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_listens_at_its_tasks_address() {
    let server = Server::start().await;
    let mut definition = program("echo", "echo", &["7000"]);
    definition["containerDefinitions"][0]["portMappings"] = json!([{"containerPort": 7000}]);
    let arn = server.run(definition).await;
    let task = server.task_in(&arn, "RUNNING").await;
    until("the program to listen", async || {
        server.printed(&arn).await.iter().any(|line| line.contains("listening on")).then_some(())
    })
    .await;
    let details = task["attachments"][0]["details"].as_array().unwrap();
    let address = details.iter().find(|detail| detail["name"] == "privateIPv4Address").unwrap();
    let address: SocketAddr = format!("{}:7000", address["value"].as_str().unwrap()).parse().unwrap();
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"over the task's own address").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).await.unwrap();
        back
    };
    assert_eq!(bounded("the echo", talk).await, "over the task's own address");
    server.ecs("StopTask", json!({"task": arn})).await;
    server.task_in(&arn, "STOPPED").await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens there any more");
}
