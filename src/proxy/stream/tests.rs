//! Connections and datagrams of a network load balancer, over loopback.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::Instant;

use super::*;
use crate::model::Arn;
use crate::model::load_balancer::LoadBalancerKind;
use crate::proxy::stream::join::Broken;
use crate::proxy::target::{Body, TargetError};
use crate::proxy::testing::forwarding;
use crate::proxy::{Proxy, RoutesSpec, TargetSpec, full};

const WAIT_MAX: Duration = Duration::from_secs(60);

/// A network load balancer before targets, with a socket that its listener's connections come in at.
struct Scene {
    proxy: Arc<Proxy>,
    spec: RoutesSpec,
    address: SocketAddr,
    closing: CancellationToken,
}

fn target(number: u8, endpoint: Endpoint) -> TargetSpec {
    TargetSpec {
        address: Ipv4Addr::new(127, 0, 1, number),
        port: 7000,
        task: None,
        endpoint,
        check: None,
        draining: false,
        unusable: None,
    }
}

async fn scene(protocol: &str, targets: Vec<TargetSpec>, attributes: &[(&str, &str)]) -> Scene {
    let mut spec = forwarding(targets);
    spec.change_balancer(|balancer| balancer.kind = LoadBalancerKind::Network);
    spec.change_listener(|listener| {
        listener.protocol = protocol.into();
        listener.certificates = vec!["arn:aws:acm:eu-west-1:123456789012:certificate/1".into()];
    });
    spec.change_group(|group| {
        group.protocol = if protocol == "UDP" { "UDP" } else { "TCP" }.into();
        // They stay in `initial`, which is served by all of them: here nothing is checked.
        group.health_check.enabled = false;
        for (name, value) in attributes {
            group.attributes.insert((*name).into(), (*value).into());
        }
    });
    let proxy = Proxy::new(&tokio::runtime::Handle::current());
    proxy.publish(&spec);
    let closing = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (arn, at, told) = (arn(&spec), Arc::clone(&proxy), closing.clone());
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let (arrival, local, closing) = (at.arrival(&arn).unwrap(), stream.local_addr().unwrap(), told.clone());
            tokio::spawn(async move {
                if arrival.is_tls() {
                    let (stream, _) = arrival.handshake(stream).await.unwrap();
                    return arrival.carry(Carried { stream, peer, local, closing }).await;
                }
                arrival.carry(Carried { stream, peer, local, closing }).await;
            });
        }
    });
    Scene { proxy, spec, address, closing }
}

fn arn(spec: &RoutesSpec) -> Arn {
    spec.load_balancers[0].listeners[0].record.arn()
}

impl Scene {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn until_in_flight(&self, count: usize) {
        let reached = async {
            while self.proxy.stats()[0].targets.iter().map(|target| target.in_flight).sum::<usize>() != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WAIT_MAX, reached).await.expect("so many are in flight");
    }
}

/// A server that says its name, then all that it was sent, once that has ended.
async fn repeating(name: &'static str) -> Endpoint {
    serving(move |mut stream: TcpStream| async move {
        stream.write_all(name.as_bytes()).await?;
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await?;
        stream.write_all(&heard).await
    })
    .await
}

async fn serving<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Endpoint
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    Endpoint::Tcp(address)
}

/// All that comes, after what is said and the end of it.
async fn exchange(mut stream: TcpStream, say: &[u8]) -> String {
    stream.write_all(say).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    tokio::time::timeout(WAIT_MAX, stream.read_to_string(&mut heard)).await.expect("it ends").unwrap();
    heard
}

#[tokio::test]
async fn bytes_go_both_ways_and_an_end_of_one_direction_leaves_the_other() {
    let scene = scene("TCP", vec![target(1, repeating("a").await)], &[]).await;
    let say = "x".repeat(300_000);
    assert_eq!(exchange(scene.connect().await, say.as_bytes()).await, format!("a{say}"));
    scene.until_in_flight(0).await;
    let stats = scene.proxy.balancer_stats();
    assert_eq!(stats[0].processed_bytes, 600_001);
}

#[tokio::test]
async fn new_connections_go_to_targets_in_turn_and_to_others_where_one_refuses() {
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (a, b) = (repeating("a").await, repeating("b").await);
    let scene = scene("TCP", vec![target(1, a), target(2, b), target(3, Endpoint::Tcp(refusing))], &[]).await;
    let mut heard = String::new();
    for _ in 0..6 {
        heard += &exchange(scene.connect().await, b"").await;
    }
    assert_eq!(heard, "ababab");
}

#[tokio::test]
async fn a_client_stays_with_its_target_where_the_group_says_so() {
    let mut targets = Vec::new();
    for (number, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        targets.push(target(number, repeating(name).await));
    }
    let sticky = [("stickiness.enabled", "true"), ("stickiness.type", "source_ip")];
    let scene = scene("TCP", targets, &sticky).await;
    let first = exchange(scene.connect().await, b"").await;
    for _ in 0..5 {
        assert_eq!(exchange(scene.connect().await, b"").await, first);
    }
    // Many clients are spread over all of them.
    let group = group_of(scene.proxy.shared.routes.load().of_listener(&arn(&scene.spec)).unwrap()).unwrap();
    let settings = StreamSettings::of(&group.members.load().record);
    let chosen = (0..200).map(|last| IpAddr::from([10, 0, 0, last]));
    let mut ordinals: Vec<u64> =
        chosen.map(|client| choose(&group, &settings, client, &[]).unwrap().0.state.ordinal).collect();
    ordinals.sort_unstable();
    ordinals.dedup();
    assert_eq!(ordinals.len(), 4);
}

#[tokio::test]
async fn what_is_reset_on_one_side_is_reset_on_the_other() {
    let resetting = serving(|mut stream: TcpStream| async move {
        stream.read_u8().await?;
        stream.set_zero_linger()
    });
    let scene = scene("TCP", vec![target(1, resetting.await)], &[]).await;
    let mut stream = scene.connect().await;
    stream.write_all(b"x").await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    scene.until_in_flight(0).await;
    assert_eq!(scene.proxy.balancer_stats()[0].target_resets, 1);
}

#[tokio::test]
async fn without_a_target_a_client_is_reset() {
    let scene = scene("TCP", Vec::new(), &[]).await;
    let error = scene.connect().await.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_target_is_told_the_client_by_the_proxy_protocol() {
    let scene = scene("TCP", vec![target(1, repeating("").await)], &[("proxy_protocol_v2.enabled", "true")]).await;
    let mut stream = scene.connect().await;
    let client = stream.local_addr().unwrap();
    stream.write_all(b"after").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    let header = ppp::v2::Header::try_from(heard.as_slice()).unwrap();
    assert_eq!(header.addresses, ppp::v2::Addresses::from((client, scene.address)));
    assert_eq!(&heard[header.len()..], b"after");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_target_sees_the_clients_address_where_it_can_be_kept() {
    let saying_peer = serving(|mut stream: TcpStream| async move {
        let peer = stream.peer_addr()?.ip().to_string();
        stream.write_all(peer.as_bytes()).await
    });
    let targets = vec![target(1, saying_peer.await)];
    for (preserves, wanted) in [("true", "127.0.0.9"), ("false", "127.0.0.1")] {
        let scene = scene("TCP", targets.clone(), &[("preserve_client_ip.enabled", preserves)]).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
        assert_eq!(exchange(socket.connect(scene.address).await.unwrap(), b"").await, wanted);
    }
}

#[tokio::test]
async fn connections_end_with_their_target_where_the_group_says_so() {
    for (ends, attribute) in [(true, "true"), (false, "false")] {
        let attributes = [("deregistration_delay.connection_termination.enabled", attribute)];
        let mut scene = scene("TCP", vec![target(1, repeating("a").await)], &attributes).await;
        let mut stream = scene.connect().await;
        assert_eq!(stream.read_u8().await.unwrap(), b'a');
        scene.spec.target_groups[0].targets.clear();
        scene.proxy.publish(&scene.spec);
        if ends {
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "it is told to end");
        } else {
            assert_eq!(exchange(stream, b"on and on").await, "on and on");
        }
    }
}

#[tokio::test]
async fn a_listener_that_goes_ends_its_connections() {
    let scene = scene("TCP", vec![target(1, repeating("a").await)], &[]).await;
    let mut stream = scene.connect().await;
    assert_eq!(stream.read_u8().await.unwrap(), b'a');
    scene.closing.cancel();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    scene.until_in_flight(0).await;
}

#[tokio::test]
async fn a_listener_of_tls_ends_it_and_a_group_of_tls_begins_it_again() {
    use crate::proxy::tls::client::{Alpn, connect_tls};
    let scene = scene("TLS", vec![target(1, repeating("a").await)], &[]).await;
    let mut stream = connect_tls(scene.connect().await, Some("localhost"), Alpn::None).await.unwrap();
    stream.write_all(b"secret").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "asecret");

    // Its target is the first one's listener of TLS.
    let mut outer = self::scene("TCP", vec![target(1, Endpoint::Tcp(scene.address))], &[]).await;
    outer.spec.change_group(|group| group.protocol = "TLS".into());
    outer.proxy.publish(&outer.spec);
    assert_eq!(exchange(outer.connect().await, b"twice").await, "atwice");
}

struct Handler;

impl LocalTarget for Handler {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TargetError>> {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        std::future::ready(Ok(Response::new(full(format!("{host} {}", request.uri()))))).boxed()
    }
}

#[tokio::test]
async fn a_handler_behind_it_is_served_as_http() {
    let scene = scene("TCP", vec![target(1, Endpoint::Local(Arc::new(Handler)))], &[]).await;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(scene.connect().await)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = || Request::get("/path?query").header("host", "any.example").body(Full::<Bytes>::default()).unwrap();
    for _ in 0..2 {
        sender.ready().await.unwrap();
        let body = sender.send_request(request()).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "any.example /path?query");
    }
    scene.until_in_flight(1).await;
    // It is told to close when its target drains.
    let mut spec = scene.spec.clone();
    spec.target_groups[0].targets[0].draining = true;
    scene.proxy.publish(&spec);
    tokio::time::timeout(WAIT_MAX, driver).await.expect("the connection ends").unwrap().unwrap();
    scene.until_in_flight(0).await;

    scene.proxy.publish(&scene.spec);
    let io = TokioIo::new(scene.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://two.example/path").body(Full::<Bytes>::default()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "two.example /path");
}

#[tokio::test]
async fn datagrams_go_to_a_target_of_each_client_and_back() {
    let mut targets = Vec::new();
    for (number, name) in [(1, "a"), (2, "b")] {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        targets.push(target(number, Endpoint::Tcp(server.local_addr().unwrap())));
        tokio::spawn(async move {
            let mut datagram = [0; 64];
            while let Ok((length, from)) = server.recv_from(&mut datagram).await {
                let answer = [name.as_bytes(), &datagram[..length]].concat();
                let _ = server.send_to(&answer, from).await;
            }
        });
    }
    let scene = scene("UDP", targets, &[]).await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let (proxy, arn, closing) = (Arc::clone(&scene.proxy), arn(&scene.spec), scene.closing.clone());
    let served = tokio::spawn(async move { proxy.carry_datagrams(&arn, socket, closing).await });
    let mut heard = Vec::new();
    for _ in 0..2 {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        for say in ["one", "two"] {
            client.send(say.as_bytes()).await.unwrap();
            let mut datagram = [0; 64];
            let length = tokio::time::timeout(WAIT_MAX, client.recv(&mut datagram)).await.unwrap().unwrap();
            heard.push(String::from_utf8(datagram[..length].to_vec()).unwrap());
        }
    }
    assert_eq!(heard, ["aone", "atwo", "bone", "btwo"]);
    scene.until_in_flight(2).await;
    scene.closing.cancel();
    served.await.unwrap();
    scene.until_in_flight(0).await;
}

impl Socket for tokio::io::DuplexStream {
    fn abort(&self) {}
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_which_nothing_moves_ends() {
    let ((mut client, mut theirs), (mut target, _other)) = (tokio::io::duplex(8), tokio::io::duplex(8));
    let started = Instant::now();
    let idle = Duration::from_secs(350);
    let moved = AtomicU64::new(0);
    let says = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        theirs.write_all(b"x").await.unwrap();
        std::future::pending::<()>().await;
    };
    let broken = tokio::select! {
        joined = join(&mut client, &mut target, idle, &moved) => joined.unwrap_err(),
        () = says => unreachable!("it waits for ever"),
    };
    assert!(matches!(broken, Broken::Idle), "{broken:?}");
    assert_eq!((started.elapsed().as_secs(), moved.into_inner()), (450, 1));
}

#[test]
fn attributes_have_elbs_defaults() {
    let mut record = crate::proxy::testing::target_group("web");
    let settings = StreamSettings::of(&record);
    assert!(!settings.proxy_protocol && !settings.is_sticky && !settings.ends_deregistered && settings.ends_unhealthy);
    assert!(!settings.preserves_client);
    record.target_type = "instance".into();
    assert!(StreamSettings::of(&record).preserves_client);
    let mut listener = crate::proxy::testing::listener(80, Vec::new());
    assert_eq!(idle_timeout(&listener), Duration::from_secs(350));
    listener.attributes.insert("tcp.idle_timeout.seconds".into(), "60".into());
    assert_eq!(idle_timeout(&listener), Duration::from_secs(60));
}
