//! TLS at listeners and at the open port, and how connections end.

use rustls::pki_types::ServerName;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::proxy::testing::listener_arn;
use crate::proxy::tls_for_tests;

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

/// A scene whose listener is of HTTPS.
async fn secure() -> Scene {
    let mut scene = scene(0, None).await;
    scene.spec.change_listener(|listener| {
        listener.protocol = "HTTPS".into();
        listener.certificates = vec!["arn:aws:acm:eu-west-1:123456789012:certificate/1".into()];
    });
    scene.proxy.publish(&scene.spec);
    scene
}

async fn connect_tls(address: SocketAddr, name: &str, protocol: &str) -> io::Result<TlsStream<TcpStream>> {
    let config = tls_for_tests::unverified(&[protocol.as_bytes()]);
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(config).connect(name, stream).await
}

async fn http2(stream: TlsStream<TcpStream>) -> Sender {
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn until_open(front: &Front, count: usize) {
    let reached = async {
        while front.connections() != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DRAIN, reached).await.expect("so many connections are open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn https_is_spoken_at_a_listeners_port_in_both_versions() {
    let scene = secure().await;
    let own = bound(&scene.proxy).await;
    let stream = connect_tls(own, "any.example", "http/1.1").await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(Client(sender).get("any.example", "/").await.0, 200);
    let mut sender = http2(connect_tls(own, "any.example", "h2").await.unwrap()).await;
    let request = Request::get("https://any.example/").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);

    // What is no TLS fails there, and is counted.
    let mut plain = TcpStream::connect(own).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: any.example\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"));
    let counted = async {
        while scene.proxy.balancer_stats()[0].client_tls_errors != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DRAIN, counted).await.expect("it is counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_open_port_ends_tls_for_load_balancers_by_name() {
    let scene = secure().await;
    let address = scene.front.address();
    let host = "web.eu-west-1.elb.localhost";
    let mut sender = http2(connect_tls(address, host, "h2").await.unwrap()).await;
    for (uri, wanted) in [(format!("https://{host}:4566/"), 200), ("https://localhost/".to_owned(), 421)] {
        let request = Request::get(uri).body(Full::default()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), wanted);
    }
    for name in ["localhost", "other.elb.localhost"] {
        assert!(connect_tls(address, name, "h2").await.is_err(), "{name} is no load balancer of HTTPS");
    }
    // In the clear it is reached as behind something that ends TLS, where there is no listener of HTTP.
    assert_eq!(get(address, host, "/").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_that_ended_its_direction_is_answered() {
    let mut scene = scene(0, None).await;
    let mut stream = TcpStream::connect(scene.front.address()).await.unwrap();
    stream.write_all(b"GET /wait HTTP/1.1\r\nHost: web.elb.localhost\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    scene.called.recv().await.unwrap();
    scene.go.add_permits(1);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until_open(&scene.front, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_that_left_is_given_up() {
    let mut scene = scene(0, None).await;
    let mut stream = TcpStream::connect(scene.front.address()).await.unwrap();
    stream.write_all(b"GET /wait HTTP/1.1\r\nHost: web.elb.localhost\r\n\r\n").await.unwrap();
    scene.called.recv().await.unwrap();
    drop(stream);
    // Its handler is never let go.
    until_open(&scene.front, 0).await;
    assert_eq!(scene.proxy.stats()[0].targets[0].in_flight, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_connection_is_used_for_as_long_as_the_load_balancer_says() {
    let mut scene = secure().await;
    scene.spec.change_balancer(|balancer| {
        balancer.attributes.insert("client_keep_alive.seconds".into(), "0".into());
    });
    scene.proxy.publish(&scene.spec);
    let own = bound(&scene.proxy).await;
    let stream = connect_tls(own, "any.example", "http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "any.example").body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    drop(response);

    let mut sender = http2(connect_tls(own, "any.example", "h2").await.unwrap()).await;
    let request = Request::get("https://any.example/").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    let closed = async {
        while !sender.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DRAIN, closed).await.expect("it is told to go away");
    until_open(&scene.front, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_thousand_connections_at_once_leave_nothing_behind() {
    let scene = secure().await;
    let own = bound(&scene.proxy).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let address = if number % 2 == 0 { own } else { scene.front.address() };
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            // Some say nothing, some begin and leave, some ask.
            match number % 5 {
                0 | 1 => {}
                2 => stream.write_all(b"\x16\x03\x01").await?,
                3 => stream.write_all(b"GET / HT").await?,
                _ => {
                    stream.write_all(b"GET / HTTP/1.1\r\nHost: web.elb.localhost\r\nConnection: close\r\n\r\n").await?;
                    stream.read_to_end(&mut Vec::new()).await?;
                }
            }
            io::Result::Ok(())
        });
    }
    while tasks.join_next().await.is_some() {}
    until_open(&scene.front, 0).await;
    assert_eq!(scene.proxy.stats()[0].targets[0].in_flight, 0);
    assert_eq!(get(scene.front.address(), "web.elb.localhost", "/").await.0, 200);
    assert!(scene.proxy.bound().borrow().contains_key(&listener_arn()));
}
