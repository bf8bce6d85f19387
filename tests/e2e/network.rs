//! Whom tasks reach: by their public address, their security groups, the operator's ports; and how bridge tasks are reached.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::definitions::{guest, handler, program};
use super::server::{Server, coracle};
use super::wait::until;

/// A server with a configuration file.
async fn configured(settings: Value) -> (Server, TempDir) {
    let home = TempDir::new().unwrap();
    let file = home.path().join("config.json");
    std::fs::write(&file, settings.to_string()).unwrap();
    (Server::start_with(&["--config", file.to_str().unwrap()]).await, home)
}

/// Runs one `awsvpc` task with this configuration of its network; its ARN.
async fn run_in(server: &Server, definition: Value, vpc: Value) -> String {
    let definition = server.register(definition).await;
    let task = json!({
        "taskDefinition": definition, "launchType": "FARGATE", "networkConfiguration": {"awsvpcConfiguration": vpc},
    });
    let answer = server.ecs("RunTask", task).await;
    assert_eq!(answer["failures"], json!([]), "{answer}");
    answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned()
}

async fn dialled(server: &Server, vpc: Value, steps: &[&str]) -> Vec<String> {
    let arn = run_in(server, program("dial", "dial", steps), vpc).await;
    server.task_in(&arn, "STOPPED").await;
    server.printed(&arn).await
}

fn address_of(task: &Value) -> String {
    task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_groups_say_who_reaches_whom() {
    let (server, _home) = configured(json!({"securityGroups": {
        "sg-web": {"ingress": [{"protocol": "tcp", "ports": "80", "peers": ["sg-client"]}]},
        "sg-client": {"egress": [{"protocol": "tcp", "ports": "80", "peers": ["sg-web"]}]},
    }}))
    .await;
    let of = |group: &str| json!({"subnets": ["subnet-1"], "securityGroups": [group]});
    let web = run_in(&server, handler("web", "hello"), of("sg-web")).await;
    let web = address_of(&server.task_in(&web, "RUNNING").await);
    let open = run_in(&server, handler("open", "hello"), of("sg-none")).await;
    let open = address_of(&server.task_in(&open, "RUNNING").await);
    let (to_web, to_open) = (format!("http://{web}/status/200"), format!("http://{open}/status/200"));
    let steps = ["get", &to_web, "get", &to_open];
    let client = dialled(&server, of("sg-client"), &steps).await;
    assert_eq!(client[0], format!("get {to_web}: 200 200"));
    assert_eq!(client[1], format!("get {to_open}: error ErrorCode::HttpRequestDenied"));
    let other = dialled(&server, of("sg-none"), &steps).await;
    assert_eq!(other[0], format!("get {to_web}: error ErrorCode::HttpRequestDenied"));
    assert_eq!(other[1], format!("get {to_open}: 200 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outside_is_there_for_tasks_with_a_public_address() {
    let names = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = names.local_addr().unwrap();
    let (server, _home) = configured(json!({"network": {"dnsServers": [at.to_string()]}})).await;
    let steps = ["lookup", "somewhere.test"];
    let private = json!({"subnets": ["subnet-1"], "assignPublicIp": "DISABLED"});
    let printed = dialled(&server, private, &steps).await;
    assert!(printed[0].starts_with("lookup somewhere.test: error"), "{printed:?}");
    // Only the one with a public address asks the name server.
    let public = json!({"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"});
    let arn = run_in(&server, program("dial", "dial", &steps), public).await;
    let mut question = [0; 512];
    names.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let received = tokio::task::spawn_blocking(move || names.recv_from(&mut question).map(|_| question)).await.unwrap();
    assert!(received.unwrap().windows(9).any(|window| window.eq_ignore_ascii_case(b"somewhere")));
    server.ecs("StopTask", json!({"task": arn})).await;
    server.task_in(&arn, "STOPPED").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_is_reached_where_the_operator_opens_it() {
    let service = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = service.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = service.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.write_all(b"welcome").unwrap();
        text
    });
    let (server, _home) = configured(json!({"network": {"machinePorts": [port.to_string()]}})).await;
    let (opened, api) = (format!("host.coracle.internal:{port}"), format!("127.0.0.1:{}", server.address.port()));
    let to_api = format!("host.coracle.internal:{}", server.address.port());
    let steps = ["connect", &opened, "ahoy", "connect", &to_api, "x", "connect", &api, "x"];
    let printed = dialled(&server, json!({"subnets": ["subnet-1"]}), &steps).await;
    assert!(printed[0].starts_with(&format!("connect {opened}: welcome")), "{printed:?}");
    assert!(printed[1].contains("error PermissionDenied"), "{printed:?}");
    assert!(printed[2].contains("error ConnectionRefused"), "{printed:?}");
    assert_eq!(serving.join().unwrap(), "ahoy");
}

/// A definition outside of `awsvpc`.
fn bridged(family: &str, containers: Value) -> Value {
    json!({"family": family, "networkMode": "bridge", "containerDefinitions": containers})
}

async fn run_bridged(server: &Server, definition: Value) -> String {
    let definition = server.register(definition).await;
    let answer = server.ecs("RunTask", json!({"taskDefinition": definition, "launchType": "EC2"})).await;
    assert_eq!(answer["failures"], json!([]), "{answer}");
    answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bridge_tasks_have_ports_of_the_machine() {
    let server = Server::start().await;
    let containers = json!([
        {"name": "web", "image": guest("hello"), "memory": 128, "portMappings": [{"containerPort": 80}]},
        {"name": "echo", "image": guest("echo"), "command": ["7000"], "memory": 128, "portMappings": [
            {"containerPortRange": "7000-7002"}
        ]},
    ]);
    let arn = run_bridged(&server, bridged("ports", containers)).await;
    let task = server.task_in(&arn, "RUNNING").await;
    let bindings = |name: &str| {
        let container = task["containers"].as_array().unwrap().iter().find(|container| container["name"] == name);
        container.unwrap()["networkBindings"][0].clone()
    };
    let web = bindings("web");
    let port = web["hostPort"].as_u64().unwrap() as u16;
    assert!((49_153..=65_535).contains(&port) && web["containerPort"] == 80, "{task}");
    let answer =
        super::http::once((Ipv4Addr::LOCALHOST, port).into(), super::http::get("localhost", "/status/203")).await;
    assert_eq!(answer.status, 203);
    let echo = bindings("echo");
    assert_eq!(echo["containerPortRange"], "7000-7002", "{task}");
    let first: u16 = echo["hostPortRange"].as_str().unwrap().split('-').next().unwrap().parse().unwrap();
    let echoed = until("the echo", async || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, first)).ok()?;
        stream.write_all(b"ahoy").ok()?;
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        (!text.is_empty()).then_some(text)
    })
    .await;
    assert_eq!(echoed, "ahoy");
    server.ecs("StopTask", json!({"task": arn})).await;
    server.task_in(&arn, "STOPPED").await;
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_port_that_is_taken_fails_the_start() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let server = Server::start().await;
    let containers = json!([{
        "name": "web", "image": guest("hello"), "memory": 128, "portMappings": [{"containerPort": 80, "hostPort": port}],
    }]);
    let arn = run_bridged(&server, bridged("taken", containers)).await;
    let task = server.task_in(&arn, "STOPPED").await;
    assert_eq!(task["stopCode"], "TaskFailedToStart", "{task}");
    let reason = task["containers"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("CannotStartContainerError") && reason.contains("port is already allocated"), "{task}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_means_nothing_is_named() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("config.json");
    let settings = json!({"securityGroups": {"sg-a": {"ingress": [{"protocol": "tcp", "peers": ["10.0.0.1/8"]}]}}});
    std::fs::write(&file, settings.to_string()).unwrap();
    let mut command = coracle();
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file).arg("--data-dir").arg(home.path());
    let output = super::wait::bounded("the server to refuse", command.output()).await.unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("securityGroups.sg-a.ingress[0].peers[0]: '10.0.0.1/8'"), "{said}");
}
