//! Clients that misbehave: what they are answered, that nobody else is disturbed, and that nothing of them stays.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::frames::*;
use super::raw::{converse, echoing, settled, statuses};
use super::*;

const LAST: &[u8] = b"GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// That a request of somebody else is answered, and nothing of what was before is in flight.
async fn is_well(scene: &Scene, address: SocketAddr, fault: &str, outcome: &str) {
    println!("| {fault} | {outcome} |");
    assert_eq!(settled(scene).await, 0, "{fault}: requests in flight");
    assert_eq!(statuses(&converse(address, LAST).await), "200", "{fault}: somebody else's request");
}

/// Sends, and goes away in the middle of it.
async fn vanish(address: SocketAddr, sent: &[u8], resets: bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    if resets {
        // The kernel then resets it instead of waiting until all has arrived.
        stream.set_zero_linger().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn clients_that_go_away_leave_nothing_behind() {
    let (scene, address) = echoing().await;
    for (fault, sent) in [
        ("gone before a word", &b""[..]),
        ("gone within the request line", b"GET /ha"),
        ("gone within the headers", b"GET / HTTP/1.1\r\nHost: a\r\nX-"),
        ("gone before the answer", b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("gone within a body", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf"),
        ("gone within a chunk", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf"),
    ] {
        for resets in [false, true] {
            vanish(address, sent, resets).await;
            is_well(&scene, address, fault, if resets { "forgotten after a reset" } else { "forgotten" }).await;
        }
    }
    let waiting = frame(HEADERS, END_HEADERS | END_STREAM, 1, &asking("GET", "/hang", &[]));
    vanish(address, &[PREFACE, &settings(&[]), &waiting].concat(), false).await;
    is_well(&scene, address, "gone with a stream of HTTP/2 open", "forgotten").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_that_closes_its_half_is_answered_or_gone() {
    let (scene, address) = echoing().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    // Whoever closes its half counts as gone, as with nginx; unless the answer was there already.
    assert!(["200", ""].contains(&statuses(&heard).as_str()), "{}", statuses(&heard));
    is_well(&scene, address, "half-closed after the request", "200, or forgotten").await;

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    // It can tell that its request was not whole, where it still listens.
    assert!(["400", ""].contains(&statuses(&heard).as_str()), "{}", statuses(&heard));
    is_well(&scene, address, "half-closed within the body", "400, or forgotten").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_body_that_comes_slowly_is_waited_for_as_long_as_the_idle_timeout() {
    let (mut scene, address) = echoing().await;
    scene.spec.change_balancer(|balancer| {
        balancer.attributes.insert("idle_timeout.timeout_seconds".into(), "1".into());
    });
    scene.proxy.publish(&scene.spec);
    let heard = converse(address, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc").await;
    assert_eq!(statuses(&heard), "408", "{}", String::from_utf8_lossy(&heard));
    is_well(&scene, address, "silent within a body", "408").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn floods_of_http2_end_their_own_connection_only() {
    let (scene, address) = echoing().await;
    let calm = &["goaway ENHANCE_YOUR_CALM", "goaway PROTOCOL_ERROR", "goaway COMPRESSION_ERROR", "closed"];
    let hang = |stream: u32| frame(HEADERS, END_HEADERS | END_STREAM, stream, &asking("GET", "/hang", &[]));
    // CVE-2023-44487: streams that are reset as soon as they were opened.
    let rapid: Vec<u8> =
        (0..20_000).flat_map(|at| [hang(2 * at + 1), number(RST_STREAM, 2 * at + 1, 8)].concat()).collect();
    let long = "a".repeat(100);
    // CVE-2024-27316: a header block that never ends.
    let endless: Vec<u8> = std::iter::once(frame(HEADERS, END_STREAM, 1, &asking("GET", "/", &[])))
        .chain((0..20_000).map(|_| frame(CONTINUATION, 0, 1, &block(&[("x-name", long.as_str())]))))
        .flatten()
        .collect();
    // A small block that names a large field of the table again and again.
    let bomb =
        [&asking("GET", "/", &[])[..], &[0x40, 1, b'x', 126], "a".repeat(126).as_bytes(), &[0xbe; 4000]].concat();
    for (fault, frames, wanted) in [
        ("rapid reset", rapid, &calm[..]),
        ("endless CONTINUATION", endless, &calm[..]),
        (
            "a bomb of HPACK",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb),
            &["status 431", "reset PROTOCOL_ERROR", "goaway ENHANCE_YOUR_CALM", "goaway PROTOCOL_ERROR"],
        ),
    ] {
        let seen = events(address, &[PREFACE, &settings(&[]), &frames].concat(), &[]).await;
        let last = seen.last().unwrap();
        assert!(wanted.contains(&last.as_str()), "{fault}: {last}");
        is_well(&scene, address, fault, last).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_smuggled_request_is_never_seen() {
    let (scene, address) = echoing().await;
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (fault, request) in [
        (
            "CL.TE",
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
                inner.len() + 5
            ),
        ),
        (
            "TE.CL",
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n",
                inner.len()
            ),
        ),
        ("a body of GET", format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}", inner.len())),
        ("a refused target", format!("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n{inner}")),
        ("a refused coding", format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n{inner}")),
    ] {
        let heard = converse(address, request.as_bytes()).await;
        assert!(!String::from_utf8_lossy(&heard).contains("/smuggled"), "{fault}");
        assert_eq!(statuses(&heard).len(), 3, "{fault}: one answer");
        is_well(&scene, address, fault, &statuses(&heard)).await;
    }
}
