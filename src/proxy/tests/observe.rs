//! What is counted of requests, logged and traced.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn ask(path: &str) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("host", "web.elb.localhost").header("user-agent", "a test");
    request.body(Full::from("12345")).unwrap()
}

/// One target, which reads what it gets and answers as the path says.
fn obedient() -> RoutesSpec {
    let endpoint = local(|request: Request<Body>| {
        async move {
            let status = match request.uri().path() {
                "/redirects" => 302,
                "/refuses" => 404,
                "/fails" => 500,
                "/traps" => return Err(TargetError::Trapped("unreachable".into())),
                _ => 200,
            };
            request.into_body().collect().await.map_err(TargetError::Failed)?;
            Ok(Response::builder().status(status).body(full("six by")).unwrap())
        }
        .boxed()
    });
    forwarding(vec![target(1, endpoint)])
}

/// The files below a directory whose name ends so, decompressed.
fn files(root: &Path, suffix: &str) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.display().to_string().ends_with(suffix) {
                let mut text = String::new();
                GzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
                found.insert(path, text);
            }
        }
    }
    found
}

#[tokio::test]
async fn counts_add_up() {
    let proxy = new_proxy();
    publish_healthy(&proxy, &obedient(), 1).await;
    let client = client();
    for path in ["/", "/", "/redirects", "/refuses", "/fails", "/traps"] {
        text(proxy.forward(Entrance::Host, ask(path), &client).await).await;
    }
    let mut fixed = obedient();
    fixed.change_listener(|listener| listener.default_actions = vec![testing::fixed("fixed")]);
    proxy.publish(&fixed);
    text(proxy.forward(Entrance::Host, ask("/"), &client).await).await;

    let stats = proxy.balancer_stats();
    let [balancer] = stats.as_slice() else { panic!("{stats:?}") };
    assert_eq!((balancer.requests, balancer.in_flight, balancer.request_count), (7, 0, 6));
    let codes = CodeStats { of_2xx: 2, of_3xx: 1, of_4xx: 1, of_5xx: 1 };
    assert_eq!(balancer.target_codes, codes);
    assert_eq!((balancer.elb_codes.of_502, balancer.elb_codes.classes.of_5xx), (1, 1));
    assert_eq!((balancer.fixed_responses, balancer.redirects), (1, 0));
    assert_eq!(balancer.response_time.count, 5, "those that a target answered");
    assert_eq!((balancer.connections, balancer.connections_active), (1, 1));
    drop(client);
    assert_eq!(proxy.balancer_stats()[0].connections_active, 0);

    let groups = proxy.stats();
    assert_eq!((groups[0].requests, groups[0].codes, groups[0].errors), (6, codes, 1));
    let target = &groups[0].targets[0];
    assert_eq!((target.requests, target.codes, target.failures), (6, codes, 1));
    let metrics = proxy.metrics();
    let line = "ApplicationELB_HTTPCode_ELB_502_Count_total{LoadBalancer=\"app/web/0000000000000002\"} 1\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_as_460() {
    let proxy = new_proxy();
    let hanging = local(|_| std::future::pending().boxed());
    publish_healthy(&proxy, &forwarding(vec![target(1, hanging)]), 1).await;
    let gone = proxy.forward(Entrance::Host, get(), &client()).now_or_never();
    assert!(gone.is_none());
    let stats = &proxy.balancer_stats()[0];
    assert_eq!((stats.requests, stats.in_flight, stats.elb_codes.classes.of_4xx), (1, 0, 1));
}

#[tokio::test]
async fn requests_are_in_the_access_log_and_their_bytes_are_counted() {
    let root = tempfile::tempdir().unwrap();
    let observers = ObserverConfig { object_directory: Some(root.path().to_owned()), ..ObserverConfig::default() };
    let proxy = Proxy::observed(&tokio::runtime::Handle::current(), &observers);
    let mut spec = obedient();
    spec.change_balancer(|balancer| {
        for (key, value) in [("enabled", "true"), ("bucket", "logs"), ("prefix", "web")] {
            balancer.attributes.insert(format!("access_logs.s3.{key}"), value.into());
        }
    });
    publish_healthy(&proxy, &spec, 1).await;
    for path in ["/a?b=c", "/traps"] {
        text(proxy.forward(Entrance::Host, ask(path), &client()).await).await;
    }
    proxy.close_observers().await;

    let logs = files(root.path(), ".log.gz");
    assert_eq!(logs.len(), 1, "{logs:?}");
    let lines: Vec<Vec<&str>> = logs.values().next().unwrap().lines().map(|line| line.split(' ').collect()).collect();
    let [answered, trapped] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((answered[0], answered[2], answered[4]), ("http", "app/web/0000000000000002", "127.0.1.1:80"));
    assert_eq!(answered[8..10], ["200", "200"]);
    // What came: the request's line, two headers, an empty line and five bytes.
    let head = "POST /a?b=c HTTP/1.1\r\nhost: web.elb.localhost\r\nuser-agent: a test\r\n\r\n";
    assert_eq!(answered[10], (head.len() + 5).to_string());
    assert!(answered[11].parse::<usize>().unwrap() > 6, "{answered:?}");
    assert_eq!(answered[12..16], ["\"POST", "http://web.elb.localhost:80/a?b=c", "HTTP/1.1\"", "\"a"]);
    assert!(answered.iter().any(|field| field.starts_with("\"Root=1-")), "{answered:?}");
    assert_eq!(trapped[5..10], ["-1", "-1", "-1", "502", "-"]);
    let place = "logs/web/AWSLogs/123456789012/ELBAccessLogTestFile";
    assert!(root.path().join(place).is_file());
    assert_eq!(proxy.log_lines_lost(), 0);
}

#[tokio::test]
async fn connections_are_in_the_connection_log() {
    let root = tempfile::tempdir().unwrap();
    let observers = ObserverConfig { object_directory: Some(root.path().to_owned()), ..ObserverConfig::default() };
    let proxy = Proxy::observed(&tokio::runtime::Handle::current(), &observers);
    let mut spec = obedient();
    spec.change_balancer(|balancer| {
        for (key, value) in [("enabled", "true"), ("bucket", "logs")] {
            balancer.attributes.insert(format!("connection_logs.s3.{key}"), value.into());
        }
    });
    proxy.publish(&spec);
    let client = client();
    proxy.arrival(&listener_arn()).unwrap().connected(&client);
    assert_eq!(proxy.balancer_stats()[0].connections_active, 1);
    proxy.close_observers().await;

    let logs = files(root.path(), ".log.gz");
    let [(path, text)] = logs.iter().collect::<Vec<_>>()[..] else { panic!("{logs:?}") };
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with("conn_log.123456789012_elasticloadbalancing_eu-west-1_app.web."), "{name}");
    let fields: Vec<_> = text.trim_end().split(' ').skip(1).collect();
    let connection = client.connection.to_string();
    assert_eq!(fields, ["10.1.2.3", "5000", "80", "-", "-", "-", "\"-\"", "-", "-", "-", connection.as_str(), "-"]);
}

/// A collector that takes one batch of spans, and what it was sent.
async fn collector() -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let batch = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        let is_whole = |read: &[u8]| {
            let end = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
            (read.len() >= end + length).then_some(())
        };
        while is_whole(&read).is_none() {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the whole batch comes");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        read
    });
    (url, batch)
}

#[tokio::test]
async fn a_collector_gets_a_span_for_a_request_and_the_target_its_parent() {
    let (url, batch) = collector().await;
    let observers = ObserverConfig { traces_url: Some(url), ..ObserverConfig::default() };
    let proxy = Proxy::observed(&tokio::runtime::Handle::current(), &observers);
    let echo = local(|request: Request<Body>| {
        let parent = request.headers()["traceparent"].to_str().unwrap().to_owned();
        std::future::ready(Ok(Response::new(full(parent)))).boxed()
    });
    publish_healthy(&proxy, &forwarding(vec![target(1, echo)]), 1).await;
    let mut request = get();
    let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.headers_mut().insert("traceparent", sent.parse().unwrap());
    let parent = text(proxy.forward(Entrance::Host, request, &client()).await).await;
    proxy.close_observers().await;

    assert!(parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && parent != sent, "{parent}");
    let batch = tokio::time::timeout(WAIT_MAX, batch).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&batch);
    for part in
        ["POST /v1/traces", "application/x-protobuf", "service.name", "coracle", "http.request.method", "Root=1-"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let trace: Vec<u8> =
        vec![0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c];
    assert!(batch.windows(16).any(|window| window == trace), "the client's trace goes on");
    assert_eq!(proxy.spans_lost(), 0);
}
