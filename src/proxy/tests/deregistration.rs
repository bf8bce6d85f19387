//! Targets that are deregistered while something is in flight, behind raw sockets: what the target sees is in our hands.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// A target that answers health checks, and hands over every other connection after its request's head was read.
async fn target_of_sockets() -> (Endpoint, mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
    let (sender, asked) = mpsc::channel(10);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                if head.starts_with("GET /health ") {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                } else if !head.is_empty() {
                    let _ = sender.send(stream).await;
                }
            });
        }
    });
    (endpoint, asked)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

/// Waits until the proxy has closed the connection.
async fn closed(stream: &mut TcpStream) {
    let read = tokio::time::timeout(WAIT_MAX, stream.read(&mut [0])).await.expect("the connection is closed");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

fn ask(proxy: &Arc<Proxy>) -> tokio::task::JoinHandle<Response<Body>> {
    let proxy = Arc::clone(proxy);
    tokio::spawn(async move { proxy.forward(Entrance::Host, get(), &client()).await })
}

/// What the proxy is told while the target drains, and when it is gone.
fn draining(endpoint: &Endpoint) -> RoutesSpec {
    let mut only = target(1, endpoint.clone());
    only.draining = true;
    forwarding(vec![only])
}

fn gone() -> RoutesSpec {
    forwarding(Vec::new())
}

#[tokio::test]
async fn what_is_in_flight_ends_with_the_delay_and_not_as_if_it_were_whole() {
    let proxy = new_proxy();
    let (endpoint, mut asked) = target_of_sockets().await;
    publish_healthy(&proxy, &forwarding(vec![target(1, endpoint.clone())]), 1).await;
    let (begun, silent) = (ask(&proxy), ask(&proxy));
    let (mut one, mut other) = (asked.recv().await.unwrap(), asked.recv().await.unwrap());
    one.write_all(format!("{HEAD}4\r\npart\r\n").as_bytes()).await.unwrap();
    // Whichever of both has its head now has the first connection.
    let (response, silent) = match futures_util::future::select(begun, silent).await {
        futures_util::future::Either::Left((response, silent)) => (response.unwrap(), silent),
        futures_util::future::Either::Right((response, silent)) => (response.unwrap(), silent),
    };
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "part");

    // While it drains, what was begun goes on.
    proxy.publish(&draining(&endpoint));
    one.write_all(b"4\r\nmore\r\n").await.unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "more");
    // Then it is cut off.
    proxy.publish(&gone());
    let rest = tokio::time::timeout(WAIT_MAX, body.frame()).await.expect("it does not last");
    assert!(rest.unwrap().is_err());
    assert_eq!(silent.await.unwrap().status(), StatusCode::BAD_GATEWAY);
    closed(&mut one).await;
    closed(&mut other).await;
}

#[tokio::test]
async fn a_draining_target_loses_its_idle_connections_and_those_that_become_idle() {
    let proxy = new_proxy();
    let (endpoint, mut asked) = target_of_sockets().await;
    publish_healthy(&proxy, &forwarding(vec![target(1, endpoint.clone())]), 1).await;
    let (first, second) = (ask(&proxy), ask(&proxy));
    let (mut idle, mut busy) = (asked.recv().await.unwrap(), asked.recv().await.unwrap());
    idle.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nidle").await.unwrap();
    let (response, second) = match futures_util::future::select(first, second).await {
        futures_util::future::Either::Left((response, rest)) => (response.unwrap(), rest),
        futures_util::future::Either::Right((response, rest)) => (response.unwrap(), rest),
    };
    assert_eq!(text(response).await, "idle");
    proxy.publish(&draining(&endpoint));
    closed(&mut idle).await;
    busy.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbusy").await.unwrap();
    assert_eq!(text(second.await.unwrap()).await, "busy");
    closed(&mut busy).await;
}

#[tokio::test]
async fn a_switched_connection_ends_with_the_delay() {
    let proxy = new_proxy();
    let (endpoint, mut asked) = target_of_sockets().await;
    publish_healthy(&proxy, &forwarding(vec![target(1, endpoint.clone())]), 1).await;
    let in_flight =
        || proxy.stats().iter().flat_map(|group| &group.targets).map(|target| target.in_flight).sum::<usize>();

    // A client's connection as `front` serves it.
    let (near, far) = tokio::io::duplex(1024);
    let served = Arc::clone(&proxy);
    let service = hyper::service::service_fn(move |request| {
        let proxy = Arc::clone(&served);
        async move { Ok::<_, std::convert::Infallible>(proxy.forward(Entrance::Host, request, &client()).await) }
    });
    let io = hyper_util::rt::TokioIo::new(far);
    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades());
    let mut near = near;
    let request = "GET / HTTP/1.1\r\nhost: web.elb.localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    near.write_all(request.as_bytes()).await.unwrap();
    let mut target = asked.recv().await.unwrap();
    target
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await.unwrap());
    }
    target.write_all(b"x").await.unwrap();
    assert_eq!(near.read_u8().await.unwrap(), b'x');
    assert_eq!(in_flight(), 1);
    proxy.publish(&draining(&endpoint));
    target.write_all(b"y").await.unwrap();
    assert_eq!(near.read_u8().await.unwrap(), b'y');
    proxy.publish(&gone());
    closed(&mut target).await;
    let end = tokio::time::timeout(WAIT_MAX, near.read(&mut [0])).await.expect("the client is told");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}
