//! The whole front on free ports, with scripted services and real sockets.

mod conformance_h1;
mod conformance_h2;
mod faults;
mod frames;
mod raw;
mod secure;

use std::net::Ipv4Addr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::api::protocol::BODY_BYTES_MAX;
use crate::model::TargetState;
use crate::proxy::testing::*;
use crate::proxy::{Body, Endpoint, HealthChange, LocalTarget, RoutesSpec, TargetError, TargetSpec, full};

const DRAIN: Duration = Duration::from_secs(60);

struct FakeApi;

#[async_trait]
impl ApiService for FakeApi {
    async fn call(&self, request: Request<Bytes>) -> Response<Bytes> {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        Response::new(Bytes::from(format!("api {} bytes on {thread}", request.body().len())))
    }

    fn too_large(&self, _: &Parts) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from("too large, says the API"));
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        response
    }
}

#[async_trait]
impl LocalApi for FakeApi {
    async fn call(&self, request: Request<Bytes>) -> Response<Body> {
        Response::new(full(format!("local {}", request.uri().path())))
    }
}

/// Answers with its thread's name; on `/wait` it says that it was called, and waits to be let go.
struct Waiting {
    called: mpsc::Sender<()>,
    go: Arc<Semaphore>,
}

impl LocalTarget for Waiting {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TargetError>> {
        let (called, go) = (self.called.clone(), Arc::clone(&self.go));
        async move {
            if request.uri().path() == "/wait" {
                let _ = called.send(()).await;
                let _permit = go.acquire().await;
            }
            Ok(Response::new(full(std::thread::current().name().unwrap_or_default().to_owned())))
        }
        .boxed()
    }
}

struct Scene {
    front: Front,
    proxy: Arc<Proxy>,
    called: mpsc::Receiver<()>,
    go: Arc<Semaphore>,
    spec: RoutesSpec,
}

/// A front with the load balancer `web`, whose listener wants `port`, before one target.
async fn scene(port: u16, endpoint: Option<Endpoint>) -> Scene {
    let control = Handle::current();
    let proxy = Proxy::new(&control);
    let mut reports = proxy.health_reports();
    let (sender, called) = mpsc::channel(1);
    let go = Arc::new(Semaphore::new(0));
    let waiting = Endpoint::Local(Arc::new(Waiting { called: sender, go: Arc::clone(&go) }));
    let target = TargetSpec {
        address: Ipv4Addr::LOCALHOST,
        port: 80,
        task: None,
        endpoint: endpoint.unwrap_or(waiting),
        check: None,
        draining: false,
        unusable: None,
    };
    let mut spec = forwarding(vec![target]);
    spec.change_listener(|listener| listener.port = port);
    spec.change_group(|group| group.health_check.protocol = "TCP".into());
    let fake = Arc::new(FakeApi);
    let services = Services { proxy: Arc::clone(&proxy), api: fake.clone(), local: fake };
    let config = FrontConfig { hosts: Vec::new(), workers: 2, connections_max: 100 };
    let open = Front::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let front = Front::serve(open, &config, services, &control).unwrap();
    proxy.publish(&spec);
    let is_healthy = |change| matches!(change, HealthChange::Health(health) if health.state == TargetState::Healthy);
    while !is_healthy(reports.recv().await.unwrap().change) {}
    Scene { front, proxy, called, go, spec }
}

/// Where the listener's own port really is.
async fn bound(proxy: &Proxy) -> SocketAddr {
    let mut bound = proxy.bound();
    let bound = bound.wait_for(|bound| bound.contains_key(&listener_arn())).await.unwrap();
    bound[&listener_arn()]
}

struct Client(hyper::client::conn::http1::SendRequest<Full<Bytes>>);

impl Client {
    async fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Client(sender)
    }

    /// Waits until the server has closed the connection.
    async fn closed(&self) {
        while !self.0.is_closed() {
            tokio::task::yield_now().await;
        }
    }

    async fn get(&mut self, host: &str, path: &str) -> (StatusCode, String) {
        self.send(Request::get(path).header("host", host).body(Full::default()).unwrap()).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> (StatusCode, String) {
        // Its connection is driven by another thread, which may not have seen the end of the last response yet.
        self.0.ready().await.unwrap();
        let response = self.0.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

async fn get(address: SocketAddr, host: &str, path: &str) -> (StatusCode, String) {
    Client::connect(address).await.get(host, path).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_go_where_their_host_says() {
    let scene = scene(0, None).await;
    let address = scene.front.address();
    let mut client = Client::connect(address).await;
    let (status, thread) = client.get("web.eu-west-1.elb.localhost", "/").await;
    assert!(status == 200 && thread.starts_with("front-"), "the data path is polled in place: {thread}");
    assert_eq!(client.get("web.elb.localhost:4566", "/").await.0, 200);
    assert_eq!(client.get("other.elb.localhost", "/").await.0, 404);
    let (status, answer) = client.get("localhost:4566", "/").await;
    assert!(status == 200 && answer.starts_with("api 0 bytes") && !answer.contains("front-"), "{answer}");
    assert_eq!(client.get("127.0.0.1", "/_coracle/logs").await, (StatusCode::OK, "local /_coracle/logs".into()));
    let (status, answer) = client.get("evil.example", "/").await;
    assert!(status == 403 && answer.contains("evil.example"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_foreign_origin_drives_no_api_but_may_use_a_load_balancer() {
    let scene = scene(0, None).await;
    let with_origin = |host: &str| {
        let request = Request::get("/").header("host", host).header("origin", "https://evil.example");
        request.body(Full::default()).unwrap()
    };
    let mut client = Client::connect(scene.front.address()).await;
    assert_eq!(client.send(with_origin("localhost")).await.0, 403);
    assert_eq!(client.send(with_origin("web.elb.localhost")).await.0, 200);
    let mut own = Client::connect(bound(&scene.proxy).await).await;
    assert_eq!(own.send(with_origin("any.example")).await.0, 200, "on its own port any Host is right");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn connections_are_dealt_out_in_turn() {
    let scene = scene(0, None).await;
    let mut threads = Vec::new();
    for _ in 0..4 {
        threads.push(get(scene.front.address(), "web.elb.localhost", "/").await.1);
    }
    assert!(threads[0] != threads[1] && threads[..2] == threads[2..], "{threads:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn http2_is_spoken_with_prior_knowledge() {
    let scene = scene(0, None).await;
    let stream = TcpStream::connect(scene.front.address()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    for (uri, wanted) in [("http://web.elb.localhost/", 200), ("http://localhost/", 200), ("http://evil.example/", 403)]
    {
        let request = Request::get(uri).body(Full::<Bytes>::default()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), wanted, "{uri}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_body_over_the_limit_is_refused_in_the_protocols_own_form() {
    let scene = scene(0, None).await;
    let send = async |bytes: usize| {
        let body = Full::from(vec![b'x'; bytes]);
        let request = Request::post("/").header("host", "localhost").body(body).unwrap();
        Client::connect(scene.front.address()).await.send(request).await
    };
    assert!(send(BODY_BYTES_MAX).await.1.starts_with(&format!("api {BODY_BYTES_MAX} bytes")));
    assert_eq!(send(BODY_BYTES_MAX + 1).await, (StatusCode::PAYLOAD_TOO_LARGE, "too large, says the API".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_listeners_port_that_is_busy_is_opened_elsewhere_and_closed_with_it() {
    let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wanted = busy.local_addr().unwrap();
    let scene = scene(wanted.port(), None).await;
    let own = bound(&scene.proxy).await;
    assert_ne!(own, wanted);
    let mut client = Client::connect(own).await;
    assert_eq!(client.get("any.example", "/").await.0, 200);

    scene.proxy.publish(&RoutesSpec { load_balancers: Vec::new(), target_groups: scene.spec.target_groups.clone() });
    scene.proxy.bound().wait_for(|bound| bound.is_empty()).await.unwrap();
    // The connection ends too, and whoever comes now is refused.
    client.closed().await;
    while TcpStream::connect(own).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_port_in_use_says_what_to_do() {
    let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = Front::bind(busy.local_addr().unwrap()).err().unwrap();
    assert!(matches!(error, BindError::InUse { .. }) && error.to_string().contains("--listen"), "{error}");
    let error = Front::bind("192.0.2.1:0".parse().unwrap()).err().unwrap();
    assert!(matches!(error, BindError::NotOurs { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn shutting_down_lets_requests_end() {
    let mut scene = scene(0, None).await;
    let address = scene.front.address();
    let mut idle = Client::connect(address).await;
    assert_eq!(idle.get("web.elb.localhost", "/").await.0, 200);
    let waiting = tokio::spawn(async move { get(address, "web.elb.localhost", "/wait").await.0 });
    scene.called.recv().await.unwrap();
    let shutdown = tokio::spawn(scene.front.shutdown(DRAIN));
    idle.closed().await;
    assert!(!shutdown.is_finished());
    scene.go.add_permits(1);
    assert_eq!(waiting.await.unwrap(), 200);
    tokio::time::timeout(DRAIN / 2, shutdown).await.expect("it ends with the last request").unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn shutting_down_is_bounded() {
    let mut scene = scene(0, None).await;
    let address = scene.front.address();
    let mut client = Client::connect(address).await;
    let request = Request::get("/wait").header("host", "web.elb.localhost").body(Full::default()).unwrap();
    let cut_off = tokio::spawn(async move { client.0.send_request(request).await.is_err() });
    scene.called.recv().await.unwrap();
    scene.front.shutdown(Duration::ZERO).await;
    assert!(cut_off.await.unwrap());
}

/// A server that switches protocols and then sends back what it gets, in capitals.
async fn shouting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut bytes = vec![0; 4096];
                let read = stream.read(&mut bytes).await.unwrap();
                if read == 0 {
                    return;
                }
                let head = String::from_utf8_lossy(&bytes[..read]).to_lowercase();
                assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
                let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                stream.write_all(switched.as_bytes()).await.unwrap();
                while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                    stream.write_all(&bytes[..read].to_ascii_uppercase()).await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_websocket_passes_through_to_a_program() {
    let scene = scene(0, Some(Endpoint::Tcp(shouting().await))).await;
    let mut stream = TcpStream::connect(scene.front.address()).await.unwrap();
    let request = "GET /chat HTTP/1.1\r\nHost: web.elb.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"HELLO");
    assert_eq!(scene.proxy.stats()[0].targets[0].in_flight, 1, "it is in flight as long as it is open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn framing_is_never_ambiguous() {
    let scene = scene(0, None).await;
    for (request, wanted) in [
        // The length does not count, and does not go on to the target.
        (
            "POST / HTTP/1.1\r\nHost: web.elb.localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "200",
        ),
        ("POST / HTTP/1.1\r\nHost: web.elb.localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400"),
        ("POST / HTTP/1.1\r\nHost: web.elb.localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "403"),
    ] {
        let mut stream = TcpStream::connect(scene.front.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {wanted}"), "{request}");
    }
}
