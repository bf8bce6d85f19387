//! Seeing into load balancers: access logs, metrics, traces, and the command that shows them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::api::element;
use super::definitions::handler;
use super::http::{Connection, get, once};
use super::server::{Server, coracle};
use super::wait::{bounded, until};

/// Lines of all access logs below a directory, from files whose names are those of ELB.
fn logged(root: &Path, balancer: &str) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                directories.push(path);
            } else if name.starts_with(&format!("123456789012_elasticloadbalancing_us-east-1_app.{balancer}."))
                && name.ends_with(".log.gz")
            {
                let mut text = String::new();
                flate2::read::GzDecoder::new(File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
                found.insert(name, text.lines().map(str::to_owned).collect());
            }
        }
    }
    found
}

/// A collector of traces: each batch that it gets, as it came.
async fn collector() -> (String, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (send, batches) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let send = send.clone();
            tokio::spawn(async move {
                let mut read = Vec::new();
                while stream.read_buf(&mut read).await.is_ok_and(|read| read > 0) {
                    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
                        continue;
                    };
                    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
                    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                    let whole = end + length.unwrap().parse::<usize>().unwrap();
                    if read.len() < whole {
                        continue;
                    }
                    send.send(read.drain(..whole).collect()).await.unwrap();
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    (endpoint, batches)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_logged_counted_and_traced() {
    let files = TempDir::new().unwrap();
    let objects = files.path().join("objects");
    fs::create_dir(&objects).unwrap();
    let (endpoint, mut batches) = collector().await;
    let config = files.path().join("config.json");
    let settings = json!({"files": {"objectDirectory": objects}, "telemetry": {"otlpEndpoint": endpoint}});
    fs::write(&config, settings.to_string()).unwrap();
    let server = Server::start_with(&["--config", config.to_str().unwrap()]).await;
    let service = server.balanced(handler("seen", "hello"), 1).await;
    let balancer = service.load_balancer.as_str();
    let tags = [
        ("ResourceArns.member.1", balancer),
        ("Tags.member.1.Key", "coracle.access-logs.interval-ms"),
        ("Tags.member.1.Value", "100"),
    ];
    server.elb("AddTags", &tags).await;
    let attributes = [
        ("LoadBalancerArn", balancer),
        ("Attributes.member.1.Key", "access_logs.s3.enabled"),
        ("Attributes.member.1.Value", "true"),
        ("Attributes.member.2.Key", "access_logs.s3.bucket"),
        ("Attributes.member.2.Value", "logs"),
        ("Attributes.member.3.Key", "access_logs.s3.prefix"),
        ("Attributes.member.3.Value", "team"),
    ];
    server.elb("ModifyLoadBalancerAttributes", &attributes).await;
    let shown = objects.join("logs/team/AWSLogs/123456789012/ELBAccessLogTestFile");
    until("the test file of the log", async || shown.is_file().then_some(())).await;

    let mut connection = Connection::open(server.address).await;
    assert_eq!(connection.get(&service.host, "/plain").await.status, StatusCode::OK);
    assert_eq!(connection.get(&service.host, "/panic").await.status, StatusCode::BAD_GATEWAY);
    let rule = [
        ("ListenerArn", service.listener.as_str()),
        ("Priority", "7"),
        ("Conditions.member.1.Field", "path-pattern"),
        ("Conditions.member.1.Values.member.1", "/fixed"),
        ("Actions.member.1.Type", "fixed-response"),
        ("Actions.member.1.FixedResponseConfig.StatusCode", "418"),
    ];
    let rule = element(&server.elb("CreateRule", &rule).await, "RuleArn");
    assert!(rule.contains(":listener-rule/"), "{rule}");
    until("the rule to hold", async || {
        let status = connection.get(&service.host, "/fixed").await.status;
        (status == StatusCode::IM_A_TEAPOT).then_some(())
    })
    .await;

    let all = until("all requests to be logged", async || {
        let files = logged(&objects, "seen");
        let lines: Vec<String> = files.into_values().flatten().collect();
        lines.iter().any(|line| line.contains("\"fixed-response\"")).then_some(lines)
    })
    .await;
    let line = |path: &str| {
        let found = all.iter().find(|line| line.contains(path)).unwrap_or_else(|| panic!("{path} in {all:?}"));
        found.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    let plain = line("/plain");
    assert_eq!((plain[0].as_str(), plain[8].as_str(), plain[9].as_str()), ("http", "200", "200"));
    assert!(plain[2].starts_with("app/seen/") && plain[4].ends_with(":80"), "{plain:?}");
    let panicked = line("/panic");
    assert_eq!(panicked[5..10], ["-1", "-1", "-1", "502", "-"]);
    let fixed = all.iter().find(|line| line.contains("\"fixed-response\"")).unwrap();
    assert!(fixed.contains(" - -1 -1 -1 418 - ") && fixed.contains(" 7 20"), "{fixed}");

    metrics_tell(&server, &service.name).await;
    let mut spans = Vec::new();
    bounded("the spans", async {
        while !spans.windows(6).any(|window| window == b"/panic") {
            spans.extend(batches.recv().await.expect("the collector is there"));
        }
    })
    .await;
    let text = String::from_utf8_lossy(&spans);
    assert!(text.contains("POST /v1/traces") && text.contains("http.response.status_code"), "{text}");
    assert!(server.terminate().await.success());
}

/// The same numbers as OpenMetrics, and by the command.
async fn metrics_tell(server: &Server, name: &str) {
    let metrics = once(server.address, get("localhost", "/_coracle/metrics")).await;
    assert!(metrics.text().ends_with("# EOF\n"), "{}", metrics.text());
    let value = |family: &str| {
        let text = metrics.text();
        let wanted = format!("ApplicationELB_{family}{{LoadBalancer=\"app/{name}/");
        let line = text.lines().find(|line| line.starts_with(&wanted)).unwrap_or_else(|| panic!("{family} in {text}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(value("RequestCount_total") >= 2.0);
    assert!((value("HTTPCode_ELB_502_Count_total") - 1.0).abs() < f64::EPSILON);
    assert!(value("HTTP_Fixed_Response_Count_total") >= 1.0);
    assert!(value("TargetResponseTime_count") >= 1.0);
    let shown = coracle().args(["balancers", "--output", "json", "--endpoint", &server.endpoint()]).output();
    let shown = bounded("coracle balancers", shown).await.unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown[0]["loadBalancerName"], &shown[0]["healthyHosts"]), (&json!(name), &json!(1)), "{shown}");
    assert_eq!(shown[0]["metrics"]["HTTPCode_ELB_502_Count"], 1, "{shown}");
    assert!(shown[0]["latencyMs"]["p99"].as_f64().unwrap() > 0.0, "{shown}");
    let table = coracle().args(["balancers", "--targets", "--endpoint", &server.endpoint()]).output();
    let table = String::from_utf8(bounded("coracle balancers", table).await.unwrap().stdout).unwrap();
    assert!(table.contains("P99-MS") && table.contains(name) && table.contains("healthy"), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_logs_without_a_directory_are_accepted_and_said_to_be_without_effect() {
    let server = Server::start().await;
    let created = server.elb("CreateLoadBalancer", &[("Name", "unseen"), ("Subnets.member.1", "subnet-1")]).await;
    let balancer = element(&created, "LoadBalancerArn");
    let attributes = [
        ("LoadBalancerArn", balancer.as_str()),
        ("Attributes.member.1.Key", "access_logs.s3.enabled"),
        ("Attributes.member.1.Value", "true"),
        ("Attributes.member.2.Key", "access_logs.s3.bucket"),
        ("Attributes.member.2.Value", "logs"),
    ];
    server.elb("ModifyLoadBalancerAttributes", &attributes).await;
    assert!(server.log().contains("files.objectDirectory"), "{}", server.log());
}
