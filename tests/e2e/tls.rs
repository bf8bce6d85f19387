//! TLS and network load balancers with the real `aws` CLI and `curl`: what is configured is what clients meet.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Output;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::Command;

use super::command::aws;
use super::definitions::{handler, program};
use super::server::Server;
use super::wait::{bounded, until};

const CERTIFICATE: &str = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// `curl` that trusts the server's authority and finds `host` at `address`.
async fn curl(server: &Server, host: &str, address: SocketAddr, more: &[&str]) -> Output {
    let authority = server.data_dir().join("tls/ca.pem");
    let resolve = format!("{host}:{}:{}", address.port(), address.ip());
    let url = format!("https://{host}:{}/plain", address.port());
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60", "--resolve", &resolve, "--cacert"]);
    bounded("curl", command.arg(authority).args(more).arg(url).output()).await.unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_by_a_certificate_made_on_the_spot() {
    let server = Server::start().await;
    let service = server.balanced(handler("secure", "hello"), 1).await;
    let listener = format!(
        "elbv2 create-listener --load-balancer-arn {} --protocol HTTPS --port 443 --certificates CertificateArn={CERTIFICATE} \
         --ssl-policy ELBSecurityPolicy-TLS13-1-2-2021-06 --default-actions Type=forward,TargetGroupArn={}",
        service.load_balancer, service.target_group
    );
    let listener = text(&aws(&server, &listener).await["Listeners"][0]["ListenerArn"]);
    let own = server.bound(&listener).await;

    // At its own port and, by name, at the open one; each version of HTTP as the client asks.
    for address in [own, server.address] {
        for (version, wanted) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let more = [version, "--write-out", "|%{http_version}"];
            let answer = stdout(&curl(&server, &service.host, address, &more).await);
            assert!(answer.starts_with("Hello from ") && answer.ends_with(&format!("|{wanted}")), "{answer}");
        }
    }
    let refused = curl(&server, &service.host, own, &["--tls-max", "1.1"]).await;
    assert!(!refused.status.success());

    // The plain listener leads over to it.
    let redirect = format!(
        "elbv2 modify-listener --listener-arn {} --default-actions \
         Type=redirect,RedirectConfig={{Protocol=HTTPS,Port={},StatusCode=HTTP_301}}",
        service.listener,
        own.port()
    );
    aws(&server, &redirect).await;
    let plain = server.bound(&service.listener).await;
    let authority = server.data_dir().join("tls/ca.pem");
    let redirected = until("the redirect to be followed", async || {
        let mut command = Command::new("curl");
        command.args(["--silent", "--location", "--max-time", "60", "--cacert"]).arg(&authority);
        command
            .args(["--write-out", "|%{num_redirects} %{scheme}"])
            .arg(format!("http://localhost:{}/plain", plain.port()));
        let answer = String::from_utf8(command.output().await.unwrap().stdout).unwrap().to_lowercase();
        answer.ends_with("|1 https").then_some(answer)
    });
    assert!(redirected.await.starts_with("hello from "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_load_balancer_carries_bytes_and_datagrams() {
    let server = Server::start().await;
    let created = aws(&server, "elbv2 create-load-balancer --name wire --type network --subnets subnet-1").await;
    let balancer = text(&created["LoadBalancers"][0]["LoadBalancerArn"]);
    let group = async |name: &str, protocol: &str| {
        let created = format!(
            "elbv2 create-target-group --name {name} --protocol {protocol} --port 7000 --target-type ip --vpc-id vpc-1 \
             --health-check-protocol TCP --health-check-interval-seconds 5 --health-check-timeout-seconds 2"
        );
        text(&aws(&server, &created).await["TargetGroups"][0]["TargetGroupArn"])
    };
    let (streams, datagrams) = (group("streams", "TCP").await, group("datagrams", "UDP").await);
    let listener = async |protocol: &str, port: u16, group: &str, more: &str| {
        let created = format!(
            "elbv2 create-listener --load-balancer-arn {balancer} --protocol {protocol} --port {port} \
             --default-actions Type=forward,TargetGroupArn={group} {more}"
        );
        let arn = text(&aws(&server, &created).await["Listeners"][0]["ListenerArn"]);
        server.bound(&arn).await
    };
    let tcp = listener("TCP", 7000, &streams, "").await;
    let udp = listener("UDP", 7001, &datagrams, "").await;
    let mut definition = program("echo", "echo", &["7000", "udp"]);
    definition["containerDefinitions"][0]["portMappings"] =
        json!([{"containerPort": 7000, "protocol": "tcp"}, {"containerPort": 7000, "protocol": "udp"}]);
    let definition = server.register(definition).await;
    let behind = |group: &str| json!({"targetGroupArn": group, "containerName": "echo", "containerPort": 7000});
    let service = json!({
        "serviceName": "echo", "taskDefinition": definition, "desiredCount": 2, "launchType": "FARGATE",
        "loadBalancers": [behind(&streams), behind(&datagrams)],
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
    });
    server.ecs("CreateService", service).await;
    server.steady("echo").await;

    let say = vec![b'x'; 200_000];
    let stream = TcpStream::connect(tcp).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let mut heard = Vec::new();
    let exchange = async {
        tokio::try_join!(
            async {
                writing.write_all(&say).await?;
                writing.shutdown().await
            },
            reading.read_to_end(&mut heard)
        )
    };
    bounded("the echo", exchange).await.unwrap();
    assert_eq!(heard, say);

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(udp).await.unwrap();
    let answer = until("a datagram to come back", async || {
        socket.send(b"over UDP").await.ok()?;
        let mut datagram = [0; 64];
        let wait = std::time::Duration::from_secs(1);
        let length = tokio::time::timeout(wait, socket.recv(&mut datagram)).await.ok()?.ok()?;
        Some(datagram[..length].to_vec())
    });
    assert_eq!(answer.await, b"over UDP");
}
