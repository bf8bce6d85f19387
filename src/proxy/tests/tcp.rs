//! Targets behind real sockets on loopback.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A server on a free port; counts its connections but for those of health checks.
async fn server(name: &'static str, requests_per_connection: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (counted, served) = (Arc::clone(&counted), Arc::new(AtomicUsize::new(0)));
            let service = service_fn(move |request: Request<Incoming>| {
                let (counted, served) = (Arc::clone(&counted), Arc::clone(&served));
                async move {
                    let count = served.fetch_add(1, Ordering::Relaxed) + 1;
                    if request.uri().path() != "/health" && count == 1 {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    let version = format!("{:?}", request.version());
                    let mut response = Response::new(Full::<Bytes>::from(name));
                    response.headers_mut().insert("x-version", version.parse().unwrap());
                    if count >= requests_per_connection {
                        response.headers_mut().insert("connection", "close".parse().unwrap());
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(async move {
                Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
            });
        }
    });
    (address, connections)
}

#[tokio::test]
async fn connections_are_used_again() {
    let proxy = new_proxy();
    let (address, connections) = server("a", usize::MAX).await;
    publish_healthy(&proxy, &forwarding(vec![target(1, Endpoint::Tcp(address))]), 1).await;
    assert_eq!(bodies(&proxy, 20).await, "a".repeat(20));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_that_the_target_closed_is_replaced() {
    let proxy = new_proxy();
    let (address, connections) = server("a", 2).await;
    publish_healthy(&proxy, &forwarding(vec![target(1, Endpoint::Tcp(address))]), 1).await;
    assert_eq!(bodies(&proxy, 6).await, "aaaaaa");
    assert_eq!(connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_refused_connection_is_another_targets_request() {
    let proxy = new_proxy();
    let (address, _) = server("a", usize::MAX).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = closed.local_addr().unwrap();
    let mut spec = forwarding(vec![target(1, Endpoint::Tcp(address)), target(2, Endpoint::Tcp(refusing))]);
    spec.change_group(|group| group.health_check.protocol = "TCP".into());
    publish_healthy(&proxy, &spec, 2).await;
    drop(closed);
    assert_eq!(bodies(&proxy, 6).await, "aaaaaa");
    proxy.publish(&forwarding(vec![target(2, Endpoint::Tcp(refusing))]));
    assert_eq!(status(&proxy, get()).await, 502);
}

#[tokio::test]
async fn a_group_of_version_http2_is_spoken_to_in_http2() {
    let proxy = new_proxy();
    let (address, connections) = server("a", usize::MAX).await;
    let mut spec = forwarding(vec![target(1, Endpoint::Tcp(address))]);
    spec.change_group(|group| group.protocol_version = "HTTP2".into());
    publish_healthy(&proxy, &spec, 1).await;
    for _ in 0..3 {
        let mut request = get();
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = "http://web.elb.localhost/".parse().unwrap();
        request.headers_mut().clear();
        let response = proxy.forward(Entrance::Host, request, &client()).await;
        assert_eq!(
            (response.status(), &response.headers()["x-version"]),
            (StatusCode::OK, &"HTTP/2.0".parse().unwrap())
        );
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    assert_eq!(status(&proxy, get()).await, 464, "a request over HTTP/1.1");
}

#[tokio::test]
async fn nonsense_of_a_target_is_a_bad_gateway() {
    let proxy = new_proxy();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"SSH-2.0-nonsense\r\n\r\n").await;
        }
    });
    let mut spec = forwarding(vec![target(1, Endpoint::Tcp(address))]);
    spec.change_group(|group| group.health_check.protocol = "TCP".into());
    publish_healthy(&proxy, &spec, 1).await;
    assert_eq!(status(&proxy, get()).await, 502);
}
