//! Bodies that flow both ways at once, with trailers, to targets over HTTP/2 and in process; and targets behind TLS.

use std::convert::Infallible;

use http::HeaderMap;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

type Frames = mpsc::Receiver<Result<Frame<Bytes>, BoxError>>;

fn streamed(mut frames: Frames) -> Body {
    Body::new(StreamBody::new(futures_util::stream::poll_fn(move |cx| frames.poll_recv(cx))))
}

/// Sends back each message as it comes, in capitals, then trailers that say what the request's were.
fn echo<B>(body: B) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Debug + Send,
{
    let (sender, frames) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut body = std::pin::pin!(body);
        let mut sum = String::from("none");
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(data) => sender.send(Ok(Frame::data(data.to_ascii_uppercase().into()))).await.unwrap(),
                Err(frame) => sum = frame.into_trailers().unwrap()["x-sum"].to_str().unwrap().to_owned(),
            }
        }
        let trailers = [("grpc-status", "0"), ("x-seen", &sum)].map(|(name, value)| {
            (name.parse::<http::HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
        });
        let _ = sender.send(Ok(Frame::trailers(HeaderMap::from_iter(trailers)))).await;
    });
    let mut response = Response::new(streamed(frames));
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    response
}

/// A target that echoes over a socket, behind TLS where a configuration is given.
async fn server(tls: Option<Arc<rustls::ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = tls.clone();
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| async {
                    if request.uri().path() == "/health" {
                        return Ok::<_, Infallible>(ok("fine"));
                    }
                    let version = format!("{:?}", request.version());
                    let mut response = echo(request.into_body());
                    response.headers_mut().insert("x-version", version.parse().unwrap());
                    Ok(response)
                });
                let builder = Builder::new(TokioExecutor::new());
                let _ended = match tls {
                    None => builder.serve_connection(TokioIo::new(stream), service).await,
                    Some(tls) => {
                        let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await else { return };
                        builder.serve_connection(TokioIo::new(stream), service).await
                    }
                };
            });
        }
    });
    address
}

fn self_signed() -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["target.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A call of gRPC whose messages go one after the other, each only when the one before came back.
async fn converse(endpoint: Endpoint, protocol: &str) {
    let proxy = new_proxy();
    let mut spec = forwarding(vec![target(1, endpoint)]);
    spec.change_group(|group| {
        group.health_check.protocol = "TCP".into();
        group.protocol = protocol.into();
        group.protocol_version = "GRPC".into();
    });
    publish_healthy(&proxy, &spec, 1).await;
    let (sender, frames) = mpsc::channel(1);
    let request = Request::post("http://web.elb.localhost/echo.Echo/Talk")
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(streamed(frames))
        .unwrap();
    // The head of the answer may need no message.
    let response = proxy.forward(Entrance::Host, request, &client()).await;
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::OK, &"application/grpc".parse().unwrap())
    );
    let mut body = Read(response.into_body());
    for message in ["one", "two", "three"] {
        sender.send(Ok(Frame::data(Bytes::from(message)))).await.unwrap();
        assert_eq!(body.data().await, message.to_ascii_uppercase());
    }
    assert_eq!(proxy.stats()[0].targets[0].in_flight, 1);
    let sum = HeaderMap::from_iter([(
        "x-sum".parse::<http::HeaderName>().unwrap(),
        "3".parse::<http::HeaderValue>().unwrap(),
    )]);
    sender.send(Ok(Frame::trailers(sum))).await.unwrap();
    drop(sender);
    let trailers = body.trailers().await;
    assert_eq!((&trailers["grpc-status"], &trailers["x-seen"]), (&"0".parse().unwrap(), &"3".parse().unwrap()));
    drop(body);
    assert_eq!(proxy.stats()[0].targets[0].in_flight, 0);
}

/// Reads a body frame by frame.
struct Read(Body);

impl Read {
    async fn data(&mut self) -> String {
        let frame = tokio::time::timeout(WAIT_MAX, self.0.frame()).await.expect("it comes at once").unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    }

    async fn trailers(&mut self) -> HeaderMap {
        let frame = tokio::time::timeout(WAIT_MAX, self.0.frame()).await.expect("it comes at once").unwrap().unwrap();
        let trailers = frame.into_trailers().unwrap();
        assert!(self.0.frame().await.is_none());
        trailers
    }
}

#[tokio::test]
async fn grpc_flows_both_ways_over_http2() {
    tokio::time::timeout(WAIT_MAX, converse(Endpoint::Tcp(server(None).await), "HTTP")).await.unwrap();
}

#[tokio::test]
async fn grpc_flows_both_ways_over_tls() {
    tokio::time::timeout(WAIT_MAX, converse(Endpoint::Tcp(server(Some(self_signed())).await), "HTTPS")).await.unwrap();
}

#[tokio::test]
async fn grpc_flows_both_ways_to_a_handler() {
    let handler = local(|request| std::future::ready(Ok(echo(request.into_body()))).boxed());
    tokio::time::timeout(WAIT_MAX, converse(handler, "HTTP")).await.unwrap();
}

#[tokio::test]
async fn a_group_of_https_is_spoken_to_over_tls() {
    let proxy = new_proxy();
    let mut spec = forwarding(vec![target(1, Endpoint::Tcp(server(Some(self_signed())).await))]);
    spec.change_group(|group| {
        group.health_check.protocol = "TCP".into();
        group.protocol = "HTTPS".into();
    });
    publish_healthy(&proxy, &spec, 1).await;
    for _ in 0..3 {
        let request = Request::post("/").header("host", "web.elb.localhost").body(Full::<Bytes>::from("abc")).unwrap();
        let response = proxy.forward(Entrance::Host, request, &client()).await;
        assert_eq!(response.headers()["x-version"], "HTTP/1.1");
        assert_eq!(text(response).await, "ABC");
    }
}

#[tokio::test]
async fn more_streams_than_one_connection_takes_share_several() {
    let proxy = new_proxy();
    let mut spec = forwarding(vec![target(1, Endpoint::Tcp(server(None).await))]);
    spec.change_group(|group| {
        group.health_check.protocol = "TCP".into();
        group.protocol_version = "HTTP2".into();
    });
    publish_healthy(&proxy, &spec, 1).await;
    // Each stays open: hyper's servers allow 200 on one connection.
    let (mut open, from) = (Vec::new(), client());
    for _ in 0..300 {
        let (sender, frames) = mpsc::channel(1);
        let request =
            Request::post("http://web.elb.localhost/").version(http::Version::HTTP_2).body(streamed(frames)).unwrap();
        let asked = proxy.forward(Entrance::Host, request, &from);
        let response = tokio::time::timeout(WAIT_MAX, asked).await.expect("none waits for another");
        assert_eq!(response.status(), 200);
        open.push((sender, response));
    }
    assert_eq!(proxy.stats()[0].targets[0].in_flight, 300);
    drop(open);
    assert_eq!(proxy.stats()[0].targets[0].in_flight, 0);
}
