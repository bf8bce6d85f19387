use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::model::{Exit, TaskId};
use crate::network::{MachinePorts, Policy, Protocol};
use crate::runtime::guest::http::{RequestBody, ResponseBody};
use crate::runtime::spec::Stream;
use crate::runtime::testing::{TestNode, container, guest};
use crate::runtime::{ContainerSpec, TaskEndpoint};

/// Says who asked for what.
struct Mirror;

impl TaskEndpoint for Mirror {
    fn call(&self, task: TaskId, request: Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let path = head.uri.path();
            let text = format!("{} {path} of {} {}", head.method, task.0, String::from_utf8_lossy(&body));
            Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync())
        })
    }
}

async fn said(node: &TestNode, containers: Vec<ContainerSpec>) -> Vec<String> {
    node.run(containers).await;
    node.logs.lines(Stream::Stdout)
}

#[tokio::test]
async fn the_task_endpoint_knows_who_asks_by_sockets_and_by_http() {
    let node = TestNode::answering(Arc::new(Mirror), |_| {});
    let ask = "GET /v4 HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n";
    let steps = ["get", "http://169.254.170.2/v3/x", "post", "http://169.254.170.2:80/p", "body", "connect"];
    let lines = said(&node, vec![guest("dial", &[&steps[..], &["169.254.170.2:80", ask]].concat())]).await;
    assert_eq!(lines[0], "get http://169.254.170.2/v3/x: 200 GET /v3/x of 1");
    assert_eq!(lines[1], "post http://169.254.170.2:80/p: 200 POST /p of 1 body");
    assert!(lines[2].starts_with("connect 169.254.170.2:80: HTTP/1.1 200 OK"), "{lines:?}");
    assert!(lines[2].contains("GET /v4 of 1 ") && lines[2].ends_with("to 169.254.170.2:80)"), "{lines:?}");
}

#[tokio::test]
async fn no_other_link_local_address_is_reached_in_any_form() {
    let node = TestNode::answering(Arc::new(Mirror), |_| {});
    let urls = [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://2852039166/",
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.170.2:8080/",
        "https://169.254.170.2/",
    ];
    let steps: Vec<&str> =
        urls.iter().flat_map(|url| ["get", url]).chain(["connect", "169.254.169.254:80", "x"]).collect();
    let exit = node.exit(guest("dial", &steps)).await;
    assert_eq!(exit, Exit::Returned { code: 1 });
    let lines = node.logs.lines(Stream::Stdout);
    assert_eq!(lines.len(), urls.len() + 1);
    assert!(lines.iter().all(|line| line.contains(": error ")), "{lines:?}");
}

#[tokio::test]
async fn a_connection_that_no_task_announced_is_dropped() {
    let guests = tokio::runtime::Handle::current();
    let gateway = super::Gateway::open(&guests, Arc::new(Mirror), Vec::new()).unwrap();
    let mut stranger = tokio::net::TcpStream::connect(gateway.callers().at()).await.unwrap();
    let mut answer = Vec::new();
    // Closed without a word, or reset.
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stranger, &mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let body = Full::from(vec![0; (64 << 10) + 1]);
    let response = super::endpoint::answer(Arc::new(Mirror), TaskId(1), Request::new(body)).await;
    assert_eq!(response.status(), 413);
}

/// Runs a task of its own with `dial`, which may reach what the policy says, and returns what it printed.
async fn dial(node: &TestNode, policy: Policy, steps: &[&str]) -> Vec<String> {
    let mut spec = node.spec(vec![guest("dial", steps)]);
    spec.address = node.network.attach_with(spec.id, policy).unwrap();
    let before = node.logs.lines(Stream::Stdout).len();
    let (_task, mut reports) = node.runtime.run(spec);
    crate::runtime::testing::reports(&mut reports).await;
    node.logs.lines(Stream::Stdout).split_off(before)
}

fn outside() -> Policy {
    Policy { outside: true, ..Policy::default() }
}

#[tokio::test]
async fn requests_reach_what_tasks_map_and_say_why_they_do_not() {
    let node = TestNode::start();
    let mut web = container("hello", &[]);
    web.ports = vec![(80, Protocol::Tcp)];
    let spec = node.spec(vec![web]);
    let ip = spec.address.ip();
    let running = node.task(spec).await;
    let (there, closed) = (format!("http://{ip}/status/404"), format!("http://{ip}:81/"));
    let urls = [
        there.as_str(),
        &closed,
        "http://localhost/",
        "http://[::1]:9/",
        "http://192.0.2.1/",
        "https://name.test/",
        "http://127.0.0.1:9/",
        "http://host.coracle.internal/",
    ];
    let steps: Vec<&str> = urls.iter().flat_map(|url| ["get", url]).collect();
    let lines = dial(&node, Policy::default(), &steps).await;
    let expected = [
        "404 404",
        "error ErrorCode::ConnectionRefused",
        "error ErrorCode::ConnectionRefused",
        "error ErrorCode::ConnectionRefused",
        "error ErrorCode::HttpRequestDenied",
        "error ErrorCode::HttpRequestDenied",
        "error ErrorCode::ConnectionRefused",
        "error ErrorCode::HttpRequestDenied",
    ];
    let expected: Vec<_> = urls.iter().zip(expected).map(|(url, answer)| format!("get {url}: {answer}")).collect();
    assert_eq!(lines, expected);
    running.stop().await;
}

#[tokio::test]
async fn containers_of_a_task_meet_on_localhost() {
    let node = TestNode::start();
    let mut web = container("hello", &[]);
    web.name = String::from("web");
    web.ports = vec![(8080, Protocol::Tcp)];
    let mut client = guest("dial", &["sleep", "300", "get", "http://localhost:8080/status/201"]);
    client.name = String::from("client");
    let (task, mut reports) = node.runtime.run(node.spec(vec![web, client]));
    while let Some(report) = reports.recv().await {
        if matches!(&report, crate::runtime::Report::ContainerStopped { container, .. } if container == "client") {
            task.stop();
        }
    }
    assert_eq!(node.logs.lines(Stream::Stdout), ["get http://localhost:8080/status/201: 201 201"]);
}

#[tokio::test]
async fn the_machine_is_reached_by_its_name_at_the_ports_that_are_opened() {
    let node = TestNode::start();
    let (open, shut) = (service().await, service().await);
    let echo = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let udp = echo.local_addr().unwrap().port();
    let echoing = tokio::spawn(async move {
        let mut buffer = [0; 64];
        let (length, from) = echo.recv_from(&mut buffer).await.unwrap();
        echo.send_to(&buffer[..length], from).await.unwrap();
    });
    let machine_ports = MachinePorts::compile(&[open.to_string(), format!("{udp}/udp")]).unwrap();
    let policy = Policy { machine_ports, ..Policy::default() };
    let (to_open, to_shut) = (format!("host.coracle.internal:{open}"), format!("host.coracle.internal:{shut}"));
    let (url, to_udp) = (format!("http://{to_open}/"), format!("host.coracle.internal:{udp}"));
    let local = format!("127.0.0.1:{open}");
    let secure = format!("https://{to_open}/");
    let steps = [
        "connect", &to_open, "x", "get", &url, "send", &to_udp, "ahoy", "connect", &to_shut, "x", "connect", &local,
        "x", "get", &secure,
    ];
    let lines = dial(&node, policy, &steps).await;
    assert!(lines[0].contains("HTTP/1.1 200 OK") && lines[0].ends_with(&format!("to 127.64.0.0:{open})")), "{lines:?}");
    assert_eq!(lines[1], format!("get {url}: 200 machine"));
    assert_eq!(lines[2], format!("send {to_udp}: ahoy (from 127.64.0.0:{udp})"));
    assert!(lines[3].contains("error PermissionDenied"), "{lines:?}");
    // Its own loopback is another.
    assert!(lines[4].contains("error ConnectionRefused"), "{lines:?}");
    // It speaks no TLS.
    assert!(lines[5].to_lowercase().contains("error errorcode::tls"), "{lines:?}");
    echoing.await.unwrap();
}

/// A server of the machine that answers every connection alike.
async fn service() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nmachine\n").await;
        }
    });
    port
}

/// A name server that has one address for each name it knows, and none for others.
async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&answer_of(&buffer[..length]), from).await;
        }
    });
    at
}

fn answer_of(question: &[u8]) -> Vec<u8> {
    // The name is labels up to an empty one, then type and class.
    let (mut at, mut name) = (12, String::new());
    while question[at] != 0 {
        let length = usize::from(question[at]);
        name += &String::from_utf8_lossy(&question[at + 1..at + 1 + length]).to_ascii_lowercase();
        name.push('.');
        at += 1 + length;
    }
    let end = at + 5;
    let ip: Option<[u8; 4]> = match name.as_str() {
        "good.test." => Some([192, 0, 2, 7]),
        "metadata.test." => Some([169, 254, 169, 254]),
        "inside.test." => Some([127, 0, 0, 1]),
        "endpoint.test." => Some([169, 254, 170, 2]),
        _ => None,
    };
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, if ip.is_some() { 0x80 } else { 0x83 }]);
    answer.extend([0, 1, 0, u8::from(ip.is_some()), 0, 0, 0, 0]);
    answer.extend(&question[12..end]);
    if let Some(ip) = ip {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(ip);
    }
    answer
}

#[tokio::test]
async fn names_are_looked_up_outside_and_no_answer_leads_back_in() {
    let server = name_server().await;
    let node = TestNode::answering(Arc::new(Mirror), |config| config.dns_servers = vec![server]);
    let names = ["good.test", "nobody.test", "metadata.test", "inside.test", "endpoint.test", "localhost"];
    let mut steps: Vec<&str> = names.iter().flat_map(|name| ["lookup", name]).collect();
    let urls = ["http://nobody.test/", "http://metadata.test/", "http://inside.test/", "http://endpoint.test/"];
    steps.extend(urls.iter().flat_map(|url| ["get", url]));
    let lines = dial(&node, outside(), &steps).await;
    assert_eq!(lines[0], "lookup good.test: 192.0.2.7");
    assert!(lines[1..5].iter().all(|line| line.contains(": error ")), "{lines:?}");
    assert_eq!(lines[5], "lookup localhost: 127.0.0.1");
    assert!(lines[6].contains("error ErrorCode::DnsError"), "{lines:?}");
    assert!(lines[7..].iter().all(|line| line.ends_with("error ErrorCode::HttpRequestDenied")), "{lines:?}");
    // Who may not go outside learns nothing.
    let lines = dial(&node, Policy::default(), &["lookup", "good.test"]).await;
    assert!(lines[0].contains("error"), "{lines:?}");
}
