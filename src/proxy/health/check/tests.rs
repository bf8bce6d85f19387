//! One check at a time, against servers on loopback and handlers.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::{Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use tokio::net::TcpListener;

use super::*;
use crate::proxy::spec::Endpoint;
use crate::proxy::target::LocalTarget;
use crate::proxy::testing::health_check;

struct Silent;

impl LocalTarget for Silent {
    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TargetError>> {
        std::future::pending().boxed()
    }

    fn admit(&self) -> BoxFuture<'static, Result<(), TargetError>> {
        std::future::ready(Err(TargetError::NotStarted)).boxed()
    }
}

/// A check of a handler that never answers.
pub fn never_answering(timeout: Duration) -> Check {
    Check { timeout, ..of(Endpoint::Local(Arc::new(Silent))) }
}

/// A check of what nobody listens at.
pub fn not_listening() -> Check {
    of(Endpoint::NotListening)
}

fn of(endpoint: Endpoint) -> Check {
    Check {
        endpoint,
        host: "10.0.0.1:80".into(),
        version: ProtocolVersion::Http1,
        settings: health_check(),
        timeout: Duration::from_secs(20),
        proxy_protocol: false,
    }
}

/// A server that answers one connection with `answer`, over HTTP of this version.
async fn server<F, B>(version: ProtocolVersion, answer: F) -> Endpoint
where
    F: Fn(Request<Incoming>) -> Response<B> + Send + Sync + 'static,
    B: hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service_fn(move |request| std::future::ready(Ok::<_, std::convert::Infallible>(answer(request))));
    tokio::spawn(async move {
        let io = TokioIo::new(listener.accept().await.unwrap().0);
        // A check ends its connection as soon as it knows.
        let _ = match version {
            ProtocolVersion::Http1 => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
            _ => hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
        };
    });
    Endpoint::Tcp(address)
}

fn failed(reason: &'static str, description: &str) -> Outcome {
    Outcome::failed(reason, description)
}

#[test]
fn matchers_are_codes_lists_and_ranges() {
    for (matcher, code, wanted) in [
        ("200", 200, true),
        ("200", 201, false),
        ("200,202", 202, true),
        ("200-299, 404", 404, true),
        ("200-299", 299, true),
        ("200-299", 300, false),
        ("", 200, false),
    ] {
        assert_eq!(matches(matcher, code), wanted, "{matcher} {code}");
    }
}

#[tokio::test]
async fn a_server_is_asked_as_elb_asks() {
    for version in [ProtocolVersion::Http1, ProtocolVersion::Http2] {
        let endpoint = server(version, |request| {
            let agent = request.headers()["user-agent"] == "ELB-HealthChecker/2.0";
            let path = request.uri().path_and_query().unwrap() == "/health?deep=1";
            let host =
                request.uri().host().map(str::to_owned).unwrap_or_else(|| {
                    request.headers()["host"].to_str().unwrap().split(':').next().unwrap().to_owned()
                });
            let status = if agent && path && host == "10.0.0.1" { 200 } else { 400 };
            Response::builder().status(status).body(Full::<Bytes>::default()).unwrap()
        })
        .await;
        let mut check = Check { version, ..of(endpoint) };
        check.settings.path = "/health?deep=1".into();
        assert_eq!(check.run().await, Outcome::Passed, "{version:?}");
    }
}

#[tokio::test]
async fn another_code_is_a_mismatch() {
    let endpoint =
        server(ProtocolVersion::Http1, |_| Response::builder().status(503).body(Full::<Bytes>::default()).unwrap());
    let wanted = failed(MISMATCH, "Health checks failed with these codes: [503]");
    assert_eq!(of(endpoint.await).run().await, wanted);
}

/// A response that has nothing but its status.
fn grpc(status: &str) -> Response<Full<Bytes>> {
    let head = Response::builder().header("content-type", "application/grpc").header("grpc-status", status);
    head.body(Full::default()).unwrap()
}

#[tokio::test]
async fn grpc_is_judged_by_its_own_status() {
    for (matcher, status, passes) in [("12", "12", true), ("0-99", "0", true), ("0", "12", false)] {
        let endpoint = server(ProtocolVersion::Grpc, move |request| {
            let is_asked = request.method() == Method::POST && request.uri().path() == "/AWS.ALB/healthcheck";
            grpc(if is_asked { status } else { "77" })
        });
        let mut check = Check { version: ProtocolVersion::Grpc, ..of(endpoint.await) };
        check.settings.path = String::new();
        check.settings.matcher = matcher.into();
        assert_eq!(check.run().await == Outcome::Passed, passes, "{matcher} {status}");
    }
}

#[tokio::test]
async fn grpc_trailers_are_waited_for_but_not_for_ever() {
    for (bytes, wanted) in [(5, Outcome::Passed), (BODY_BYTES_MAX + 2, failed(FAILED, "Health checks failed"))] {
        let endpoint = server(ProtocolVersion::Grpc, move |_| {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let data = [Frame::data(Bytes::from(vec![0; bytes])), Frame::data(Bytes::from_static(&[0; 5]))];
            let frames = data.into_iter().chain([Frame::trailers(trailers)]).map(Ok::<_, std::convert::Infallible>);
            Response::new(StreamBody::new(futures_util::stream::iter(frames)))
        });
        let mut check = Check { version: ProtocolVersion::Grpc, ..of(endpoint.await) };
        check.settings.matcher = "0".into();
        assert_eq!(check.run().await, wanted, "{bytes}");
    }
}

#[tokio::test]
async fn a_head_without_end_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        while stream.write_all(&head).await.is_ok() {
            head = b"x-more: and more\r\n".repeat(100);
        }
    });
    assert_eq!(of(endpoint).run().await, failed(FAILED, "Health checks failed"));
}

#[tokio::test]
async fn tcp_asks_for_a_connection_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = |endpoint| {
        let mut check = of(endpoint);
        check.settings.protocol = "TCP".into();
        check.run()
    };
    assert_eq!(tcp(Endpoint::Tcp(address)).await, Outcome::Passed);
    drop(listener);
    assert_eq!(tcp(Endpoint::Tcp(address)).await, failed(FAILED, "Health checks failed"));
    // A handler is asked whether it could begin.
    assert_eq!(tcp(Endpoint::Local(Arc::new(Silent))).await, failed(FAILED, "Health checks failed"));
}

#[tokio::test]
async fn https_is_not_spoken_in_the_clear() {
    let endpoint = server(ProtocolVersion::Http1, |_| Response::new(Full::<Bytes>::default()));
    let mut check = of(endpoint.await);
    check.settings.protocol = "HTTPS".into();
    assert_eq!(check.run().await, failed(FAILED, "Health checks failed"));
}
