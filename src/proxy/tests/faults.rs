//! Targets that misbehave: what their clients are answered, that another group is not disturbed, and that no request stays
//! in flight.

use std::fmt::Write as _;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::model::Listener;

/// What a target does with each connection, once the request's head was read.
#[derive(Clone, Copy)]
enum Fault {
    /// Sends this, then closes.
    Sends(&'static [u8]),
    /// Sends this, then nothing more.
    Hangs(&'static [u8]),
    /// Sends this, then resets.
    Resets(&'static [u8]),
    /// Sends this once, and the second piece for ever.
    Floods(&'static [u8], &'static [u8]),
    /// Resets without having read anything.
    Slams,
}

async fn faulty(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(misbehave(stream, fault));
        }
    });
    address
}

async fn misbehave(mut stream: TcpStream, fault: Fault) {
    if matches!(fault, Fault::Slams) {
        return stream.set_zero_linger().unwrap();
    }
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            // A health check, which only connects.
            Err(_) => return,
        }
    }
    match fault {
        Fault::Sends(bytes) => {
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            // Until the proxy has read it all.
            let _ = stream.read(&mut [0; 64]).await;
        }
        Fault::Hangs(bytes) => {
            let _ = stream.write_all(bytes).await;
            // Until the proxy gives up.
            while let Ok(1..) = stream.read(&mut [0; 64]).await {}
        }
        Fault::Resets(bytes) => {
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
            stream.set_zero_linger().unwrap();
        }
        Fault::Floods(first, again) => {
            let _ = stream.write_all(first).await;
            while stream.write_all(again).await.is_ok() {}
        }
        Fault::Slams => {}
    }
}

/// Each with what the client gets: the status, and the body or that it was cut off. `any` where the kernel decides.
const FAULTS: &[(&str, Fault, &str)] = &[
    ("resets at once", Fault::Slams, "502"),
    ("closes before the head", Fault::Sends(b""), "502"),
    ("closes within the head", Fault::Sends(b"HTTP/1.1 200 OK\r\nX-"), "502"),
    ("resets before the head", Fault::Resets(b""), "502"),
    ("hangs before the head", Fault::Hangs(b""), "504"),
    ("hangs within the head", Fault::Hangs(b"HTTP/1.1 200 OK\r\nX-"), "504"),
    ("hangs within the body", Fault::Hangs(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "200 cut off"),
    ("closes within the body", Fault::Sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "200 cut off"),
    ("closes within a chunk", Fault::Sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"), "200 cut off"),
    ("resets within the body", Fault::Resets(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "any"),
    ("sends more than it said", Fault::Sends(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyHTTP/1.1 500 No\r\n\r\n"), "200 body"),
    ("gives no length, and closes", Fault::Sends(b"HTTP/1.1 200 OK\r\n\r\nbody"), "200 body"),
    ("answers as HTTP/1.0", Fault::Sends(b"HTTP/1.0 200 OK\r\n\r\nbody"), "200 body"),
    ("a body where none may be", Fault::Sends(b"HTTP/1.1 204 No Content\r\n\r\nbody"), "204 "),
    ("lengths that differ", Fault::Sends(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody"), "502"),
    ("a length that is none", Fault::Sends(b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nbody"), "502"),
    ("a chunk that is none", Fault::Sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "200 cut off"),
    ("another protocol", Fault::Sends(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "502"),
    ("bytes of nothing", Fault::Sends(&[0; 64]), "502"),
    ("a status that is none", Fault::Sends(b"HTTP/1.1 2x0 OK\r\n\r\n"), "502"),
    ("a folded header", Fault::Sends(b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"), "502"),
    ("NUL within a header", Fault::Sends(b"HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 0\r\n\r\n"), "502"),
    ("endless headers", Fault::Floods(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"), "502"),
    ("an endless header", Fault::Floods(b"HTTP/1.1 200 OK\r\nX-A: ", &[b'a'; 4096]), "502"),
    ("an endless status line", Fault::Floods(b"HTTP/1.1 200 ", &[b'a'; 4096]), "502"),
    ("continues a few times", Fault::Sends(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"), "200 body"),
    ("continues for ever", Fault::Floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "504"),
    ("switches protocols, unasked", Fault::Sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "502"),
];

/// `web` at port 80 has the faulty target, at port 81 one that is well.
fn beside_one_that_is_well(endpoint: Endpoint, change: impl FnOnce(&mut crate::model::TargetGroup)) -> RoutesSpec {
    let mut spec = forwarding(vec![target(1, endpoint)]);
    spec.change_group(|group| {
        group.health_check.protocol = "TCP".into();
        change(group);
    });
    let record = Arc::new(target_group("well"));
    let forward = Action::forward(vec![(record.arn().to_string(), 1)]);
    spec.target_groups.push(TargetGroupSpec {
        record,
        targets: vec![target(2, named("well"))],
        scales_from_zero: false,
    });
    let other = Listener { id: "0000000000000004".into(), ..listener(81, vec![forward]) };
    spec.load_balancers[0].listeners.push(listening(other));
    spec.change_balancer(|balancer| {
        balancer.attributes.insert("idle_timeout.timeout_seconds".into(), "1".into());
    });
    spec
}

/// What a client gets, in a line.
async fn outcome(proxy: &Proxy, request: Request<Full<Bytes>>) -> String {
    let response = proxy.forward(Entrance::Host, request, &client()).await;
    let mut line = response.status().as_u16().to_string();
    if response.status().is_success() {
        match response.into_body().collect().await {
            Ok(body) => write!(line, " {}", String::from_utf8_lossy(&body.to_bytes())).unwrap(),
            Err(_) => line += " cut off",
        }
    }
    line
}

fn get_well() -> Request<Full<Bytes>> {
    Request::get("/").header("host", "81.web.elb.localhost").body(Full::default()).unwrap()
}

/// The request to the faulty target, others to the one that is well meanwhile, and what stays of it.
async fn meet(
    endpoint: Endpoint,
    request: Request<Full<Bytes>>,
    change: impl FnOnce(&mut crate::model::TargetGroup),
) -> String {
    let proxy = new_proxy();
    proxy.publish(&beside_one_that_is_well(endpoint, change));
    let (outcome, others) = tokio::join!(tokio::time::timeout(WAIT_MAX, outcome(&proxy, request)), async {
        let mut others = String::new();
        for _ in 0..3 {
            others += &outcome(&proxy, get_well()).await;
        }
        others
    });
    assert_eq!(others, "200 well200 well200 well");
    let in_flight: usize = proxy.stats().iter().flat_map(|group| &group.targets).map(|target| target.in_flight).sum();
    assert_eq!(in_flight, 0, "requests in flight");
    outcome.expect("it ends in time")
}

#[tokio::test]
async fn what_targets_do_wrong_is_elbs_answer_and_nobody_elses_trouble() {
    let met = join_all(FAULTS.iter().map(|(name, fault, wanted)| async move {
        let found = meet(Endpoint::Tcp(faulty(*fault).await), get(), |_| {}).await;
        println!("| {name} | {found} |");
        let is_right = found == *wanted || (*wanted == "any" && (found == "502" || found == "200 cut off"));
        (!is_right).then(|| format!("{name}: {wanted} was wanted, {found} came"))
    }));
    let wrong: Vec<String> = met.await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn targets_that_speak_another_version_than_their_group_are_bad_gateways() {
    let over_http2 = || {
        let mut request = Request::get("http://web.elb.localhost/").body(Full::default()).unwrap();
        *request.version_mut() = http::Version::HTTP_2;
        request
    };
    let plain: &'static [u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let goaway: &'static [u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x02";
    for (name, fault, version, protocol) in [
        ("HTTP/1.1 where HTTP/2 is wanted", Fault::Sends(plain), "HTTP2", "HTTP"),
        ("HTTP/2 that ends at once", Fault::Sends(goaway), "HTTP2", "HTTP"),
        ("a reset within the handshake of TLS", Fault::Slams, "HTTP1", "HTTPS"),
    ] {
        let found = meet(Endpoint::Tcp(faulty(fault).await), over_http2(), |group| {
            group.protocol_version = version.into();
            group.protocol = protocol.into();
        });
        let found = found.await;
        println!("| {name} | {found} |");
        assert_eq!(found, "502", "{name}");
    }
}

#[tokio::test]
async fn a_request_that_was_written_is_never_written_twice() {
    let requests = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counted = Arc::clone(&requests);
    // Answers the first request of a connection, and closes it at the second without a word.
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                for number in 1.. {
                    match stream.read(&mut bytes).await {
                        Ok(1..) => counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
                        _ => return,
                    };
                    if number == 2 {
                        return;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    let proxy = new_proxy();
    proxy.publish(&beside_one_that_is_well(Endpoint::Tcp(address), |_| {}));
    assert_eq!(outcome(&proxy, get()).await, "200 ");
    assert_eq!(outcome(&proxy, get()).await, "502", "as ELB answers when a target closes a connection with a request");
    assert_eq!(requests.load(std::sync::atomic::Ordering::SeqCst), 2);
}
