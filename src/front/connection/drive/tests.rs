//! A connection in memory, whose server is parked and woken.

use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::front::connection::pulse::Busy;
use crate::front::stream::Patient;
use crate::proxy::full;

const IDLE: Duration = Duration::from_secs(60);

struct Scene {
    client: DuplexStream,
    closing: CancellationToken,
    served: JoinHandle<Result<(), BoxError>>,
}

/// Answers with the request's path and the length of its body.
fn scene() -> Scene {
    let (client, ours) = tokio::io::duplex(4096);
    let closing = CancellationToken::new();
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    let terms = Terms { idle: IDLE, closing: closing.clone(), parks: true };
    let pulse = Pulse::new();
    let of_requests = Arc::clone(&pulse);
    let service = service_fn(move |request: Request<Incoming>| {
        let pulse = Arc::clone(&of_requests);
        async move {
            let busy = Busy::begin(&pulse, true);
            pulse.unread.store(!request.body().is_end_stream(), Ordering::Relaxed);
            let path = request.uri().path().to_owned();
            // Told to leave the body alone, it does.
            let length = match path.as_str() {
                "/hang" => std::future::pending().await,
                "/early" => 0,
                _ => request.into_body().collect().await?.to_bytes().len(),
            };
            let body = full(format!("{path} {length}"));
            Ok::<_, hyper::Error>(Response::new(Answered { body, _busy: busy }))
        }
    });
    let ours = Patient::new(ours, IDLE, Arc::clone(&pulse));
    let served = tokio::spawn(async move { drive(ours, builder, service, &pulse, terms).await });
    Scene { client, closing, served }
}

impl Scene {
    async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next response, which ends with this text.
    async fn receive(&mut self, end: &str) -> String {
        let mut received = Vec::new();
        while !received.ends_with(end.as_bytes()) {
            match self.client.read_u8().await {
                Ok(byte) => received.push(byte),
                Err(error) => {
                    let received = String::from_utf8_lossy(&received);
                    panic!("{error} after {received:?}, before {end:?}: {:?}", (&mut self.served).await)
                }
            }
        }
        String::from_utf8(received).unwrap()
    }

    async fn quiet(&self) {
        tokio::time::sleep(PARK_AFTER * 5).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_connection_goes_on_with_its_next_request() {
    let mut scene = scene();
    for path in ["/one", "/two", "/three"] {
        scene.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let answer = scene.receive(&format!("{path} 0")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("connection: close"), "{answer}");
        scene.quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_ahead_is_never_lost() {
    let mut scene = scene();
    // The first half of the second request comes with the first one.
    scene.send("GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTT").await;
    scene.receive("/one 0").await;
    scene.quiet().await;
    scene.send("P/1.1\r\nhost: a\r\n\r\n").await;
    scene.receive("/two 0").await;
    scene.quiet().await;
    // Heads that come byte by byte, and empty lines between requests.
    for byte in "\r\n\r\nGET /three HTTP/1.1\r\nhost: a\r\n\r\n".chars() {
        scene.send(&byte.to_string()).await;
        tokio::time::sleep(PARK_AFTER * 2).await;
    }
    scene.receive("/three 0").await;
}

#[tokio::test(start_paused = true)]
async fn a_body_never_becomes_a_request() {
    let mut scene = scene();
    scene.send("POST /whole HTTP/1.1\r\nhost: a\r\ncontent-length: 40\r\n\r\n").await;
    scene.quiet().await;
    scene.send("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").await;
    scene.quiet().await;
    scene.send("12345").await;
    scene.receive("/whole 40").await;
    scene.quiet().await;
    scene.send("GET /after HTTP/1.1\r\nhost: a\r\n\r\n").await;
    scene.receive("/after 0").await;
    // Answered before its body came, and that looks like a request: the connection ends instead.
    scene.send("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 35\r\n\r\n").await;
    scene.receive("/early 0").await;
    scene.quiet().await;
    let _ = scene.client.write_all(b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut rest = String::new();
    let _ = scene.client.read_to_string(&mut rest).await;
    assert!(!rest.contains("smuggled"), "{rest}");
}

#[tokio::test(start_paused = true)]
async fn parked_or_not_it_ends_when_told_and_when_silent() {
    for is_parked in [false, true] {
        let mut scene = scene();
        scene.send("GET /one HTTP/1.1\r\nhost: a\r\n\r\n").await;
        scene.receive("/one 0").await;
        if is_parked {
            scene.quiet().await;
        }
        scene.closing.cancel();
        assert_eq!(scene.client.read(&mut [0; 8]).await.unwrap(), 0);
        scene.served.await.unwrap().unwrap();
    }
    let mut scene = scene();
    let started = Instant::now();
    assert_eq!(scene.client.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(started.elapsed(), IDLE);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_left_takes_its_request_with_it() {
    for is_parked in [false, true] {
        let mut scene = scene();
        if is_parked {
            scene.send("GET /one HTTP/1.1\r\nhost: a\r\n\r\n").await;
            scene.receive("/one 0").await;
            scene.quiet().await;
        }
        scene.send("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await;
        scene.quiet().await;
        drop(scene.client);
        let ended = tokio::time::timeout(IDLE, scene.served).await.expect("it is given up");
        assert!(ended.unwrap().is_err());
    }
}
