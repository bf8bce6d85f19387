//! A handler that attacks while it answers, and clients that attack with it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ground::Ground;
use crate::e2e::definitions::handler;
use crate::e2e::http::{Answer, Connection, get, once};
use crate::e2e::wait::bounded;

/// Connections of one attack: each holds an instance, or waits for one.
const CONNECTIONS: usize = 200;

/// What the client may see of one misdeed.
enum Seen {
    /// This status, and this in the body.
    Status(u16, &'static str),
    /// The answer breaks off, so that nobody takes it for whole; or is 502, where nothing of it was sent yet.
    Broken,
}

const MISDEEDS: &[(&str, &str, Seen)] = &[
    ("trap in a request", "/trap", Seen::Status(502, "")),
    ("recurse in a request", "/recurse", Seen::Status(502, "")),
    ("grow beyond the task in a request", "/grow/600", Seen::Status(502, "")),
    ("return without an answer", "/silent", Seen::Status(502, "")),
    ("answer with an error of 100 KB", "/error/100000", Seen::Status(502, "")),
    ("a header of 1 MB", "/header/1000000", Seen::Status(502, "")),
    ("100,000 headers", "/headers/100000", Seen::Status(502, "")),
    ("headers that end the head", "/splitting", Seen::Status(200, "held")),
    ("status 99", "/status/99", Seen::Status(200, "held the status")),
    ("status 999", "/status/999", Seen::Status(502, "")),
    ("80,000 handles in a request", "/fork/40000", Seen::Status(502, "")),
    ("promise 1,000 bytes and send 5", "/short/1000", Seen::Broken),
    ("trap in the middle of the body", "/trap-in-body", Seen::Broken),
    ("exit in the middle of the body", "/exit-in-body", Seen::Broken),
    ("100,000 lines in a request", "/flood/100000", Seen::Status(200, "flooded")),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn misdeeds_in_a_request() {
    let mut ground = Ground::new().await;
    // Enough of a core that its health checks are answered in time beside its misdeeds.
    let mut definition = handler("attacker", "hostile-handler");
    definition["cpu"] = serde_json::json!("1024");
    definition["memory"] = serde_json::json!("2048");
    definition["containerDefinitions"][0]["memory"] = serde_json::json!(512);
    let attacker = ground.server.balanced(definition, 1).await;
    let tasks = ground.server.tasks_of("attacker").await;
    for (name, path, expected) in MISDEEDS {
        let answered = Connection::open(ground.server.address).await.try_send(get(&attacker.host, path)).await;
        match (expected, &answered) {
            (Seen::Status(status, words), Ok(answer)) => {
                assert_eq!(answer.status.as_u16(), *status, "{name}: {}", answer.text());
                assert!(
                    answer.text().contains(words) && !answer.text().contains("BREACH"),
                    "{name}: {}",
                    answer.text()
                );
                ground.row(name, &format!("{status}"), answer.text().lines().next().unwrap_or_default());
            }
            (Seen::Broken, Err(error)) => ground.row(name, "broken off", error),
            (Seen::Broken, Ok(answer)) if answer.status == 502 => ground.row(name, "502", ""),
            (_, answered) => panic!("{name}: {answered:?}"),
        }
        // The request paid, and nobody else did.
        assert_eq!(once(ground.server.address, get(&attacker.host, "/plain")).await.text(), "plain\n", "after {name}");
        ground.given_back(name).await;
    }
    assert_eq!(ground.server.tasks_of("attacker").await, tasks, "its task lives, for its other clients");
    ground.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_request_leaves_behind() {
    let mut ground = Ground::new().await;
    let attacker = ground.server.balanced(handler("attacker", "hostile-handler"), 1).await;
    for _ in 0..4 {
        let stained = once(ground.server.address, get(&attacker.host, "/stain/20")).await;
        assert!(stained.text().starts_with("stained"), "{}", stained.text());
        let searched = once(ground.server.address, get(&attacker.host, "/search/20")).await;
        assert_eq!(searched.text(), "held all zero\n");
    }
    ground.row("look for another request's bytes", "held", "all zero");
    ground.end().await;
}

/// Every client goes away in the end, without having got an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_that_never_end() {
    let mut ground = Ground::new().await;
    let attacker = ground.server.balanced(handler("attacker", "hostile-handler"), 1).await;
    let address = ground.server.address;
    for (name, path, count) in [
        ("no answer, ever, 200 times", "/late", CONNECTIONS),
        ("an answer whose body never comes, 200 times", "/never", CONNECTIONS),
        ("a body without an end that nobody reads, 200 times", "/endless", CONNECTIONS),
        ("spin in requests, 20 times", "/spin", 20),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", attacker.host);
        let open = all_send(address, count, request.as_bytes()).await;
        neighbour_answers(&ground).await;
        drop(open);
        ground.given_back(name).await;
        ground.row(name, "gone with their clients", "");
    }
    ground.end().await;
}

/// Requests of which the rest never comes, and heads that are too much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_attack() {
    let mut ground = Ground::new().await;
    let attacker = ground.server.balanced(handler("attacker", "hostile-handler"), 1).await;
    let (address, host) = (ground.server.address, &attacker.host);
    for (name, request) in [
        ("heads that never end, 200 times", format!("GET /plain HTTP/1.1\r\nhost: {host}\r\nx-slow: ")),
        (
            "bodies that never come, 200 times",
            format!("POST /slow-read HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1000000\r\n\r\nx"),
        ),
        (
            "chunks that never come, 200 times",
            format!("POST /slow-read HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\nx"),
        ),
    ] {
        let open = all_send(address, CONNECTIONS, request.as_bytes()).await;
        neighbour_answers(&ground).await;
        drop(open);
        ground.given_back(name).await;
        ground.row(name, "gone with their clients", "");
    }
    for (name, request) in [
        (
            "a header of 1 MB in a request",
            format!("GET / HTTP/1.1\r\nhost: {host}\r\nx-giant: {}\r\n\r\n", "g".repeat(1 << 20)),
        ),
        (
            "100,000 headers in a request",
            format!(
                "GET / HTTP/1.1\r\nhost: {host}\r\n{}\r\n",
                (0..100_000).map(|n| format!("x-{n}: 1\r\n")).collect::<String>()
            ),
        ),
        ("a path of 1 MB", format!("GET /{} HTTP/1.1\r\nhost: {host}\r\n\r\n", "p".repeat(1 << 20))),
        (
            "two lengths in a request",
            format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 4\r\ncontent-length: 40\r\n\r\nabcd"),
        ),
        (
            "a length and chunks in a request",
            format!(
                "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 4\r\ntransfer-encoding: chunked, identity\r\n\r\nabcd"
            ),
        ),
        ("a length that is none", format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: -1\r\n\r\n")),
    ] {
        let status = status_of(address, request.as_bytes()).await;
        assert!(["400", "414", "431", "closed"].contains(&status.as_str()), "{name}: {status}");
        ground.row(name, &status, "");
    }
    // A body that nobody wants: it is not read for ever.
    let upload = Request::post("/unread").header("host", host).body(Bytes::from(vec![b'u'; 20 << 20])).unwrap();
    let answered: Result<Answer, String> = Connection::open(address).await.try_send(upload).await;
    let outcome = answered.map_or_else(|error| error, |answer| answer.status.to_string());
    ground.row("20 MB that the guest does not read", "answered, or closed", &outcome);
    ground.given_back("an unread body").await;
    ground.end().await;
}

/// A handler of which no instance can be made does not become healthy, and hurts nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_trap() {
    let mut ground = Ground::new().await;
    let attacker = ground.server.balance(&handler("attacker", "attacks/handler-trap-at-start"), 1).await;
    let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", attacker.host);
    for _ in 0..50 {
        let status = status_of(ground.server.address, request.as_bytes()).await;
        assert!(["502", "503"].contains(&status.as_str()), "{status}");
    }
    neighbour_answers(&ground).await;
    ground.row("trap while an instance is made, 50 times", "502 or 503", "");
    ground.end().await;
}

/// A fresh instance for each request, as fast as clients can ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_instantiations() {
    let mut ground = Ground::new().await;
    let attacker = ground.server.balanced(handler("attacker", "hostile-handler"), 1).await;
    let load = crate::e2e::load::Load::start(ground.server.address, &attacker.host, "/plain", 64);
    load.more(5_000).await;
    neighbour_answers(&ground).await;
    assert_eq!(load.stop().await, Vec::<String>::new());
    ground.given_back("5,000 instantiations").await;
    ground.row("5,000 instances, 64 at a time", "all answered", "");
    ground.end().await;
}

async fn neighbour_answers(ground: &Ground) {
    for _ in 0..20 {
        let answer = once(ground.server.address, get(&ground.neighbour.host, "/plain")).await;
        assert!(answer.status.is_success(), "{}", answer.text());
    }
}

/// So many connections that have sent this, and wait.
async fn all_send(address: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        open.push(stream);
    }
    open
}

/// The status of what is answered to these bytes; "closed" where nothing is.
async fn status_of(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut receiver, mut sender) = stream.split();
    let mut head = [0; 12];
    // The server may answer, and close, before it has read all.
    let exchange = async {
        let (_, read) = tokio::join!(sender.write_all(bytes), receiver.read_exact(&mut head));
        read
    };
    match bounded("an answer", exchange).await {
        Ok(_) => String::from_utf8_lossy(&head[9..]).into_owned(),
        Err(_) => String::from("closed"),
    }
}
