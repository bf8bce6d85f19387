//! The server that is measured: the real binary, optimized, as a process of its own, driven through its API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

use super::Failure;
use super::wire::{Connection, get, post};

/// How long anything may take that is waited for: the longest is to compile an image.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something that takes its time and is not measured.
const POLL: Duration = Duration::from_millis(5);

/// A running server. It is killed when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub process: u32,
    child: Child,
    /// Closed, the server's next line would fail.
    _output: BufReader<ChildStdout>,
}

impl Server {
    /// With its data in `home`. `CORACLE_BIN` names another binary than the one that was built with this benchmark.
    pub async fn start(home: &Path) -> Result<Server, Failure> {
        let binary = std::env::var_os("CORACLE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_coracle").into());
        let log = std::fs::File::options().create(true).append(true).open(home.join("log"))?;
        let mut command = Command::new(binary);
        for variable in ["CORACLE_LISTEN", "CORACLE_DATA_DIR", "AWS_REGION", "AWS_DEFAULT_REGION", "RUST_BACKTRACE"] {
            command.env_remove(variable);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(home.join("data"));
        command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("the server has no output")?);
        let mut line = String::new();
        timeout(PATIENCE, output.read_line(&mut line)).await??;
        let address = line.trim_end().strip_prefix("listening on http://").and_then(|text| text.parse().ok());
        let address = address.ok_or_else(|| format!("the server's first line was {line:?}"))?;
        let process = child.id().ok_or("the server has ended")?;
        Ok(Server { address, process, child, _output: output })
    }

    /// `kill -9`.
    pub async fn kill(mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }

    pub async fn api(&self) -> Result<Api, Failure> {
        Api::open(self.address).await
    }
}

/// A client of the API, with a connection of its own.
pub struct Api {
    connection: Connection,
}

/// A service of handlers and where its listener's own port is.
pub struct Balanced {
    pub address: SocketAddr,
    pub host: String,
    /// The listener's ARN.
    pub listener: String,
}

impl Api {
    pub async fn open(address: SocketAddr) -> Result<Api, Failure> {
        Ok(Api { connection: Connection::open(address).await? })
    }

    pub async fn ecs(&mut self, operation: &str, input: Value) -> Result<Value, Failure> {
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        let answer = self.connection.exchange(&post(&headers, &input.to_string())).await?;
        match answer.status {
            200 => Ok(serde_json::from_slice(&answer.body)?),
            status => Err(format!("{operation}: {status}: {}", String::from_utf8_lossy(&answer.body)).into()),
        }
    }

    pub async fn elb(&mut self, operation: &str, parameters: &[(&str, &str)]) -> Result<String, Failure> {
        let form = {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("Action", operation).append_pair("Version", "2015-12-01").extend_pairs(parameters);
            form.finish()
        };
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = self.connection.exchange(&post(&headers, &form)).await?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status == 200 { Ok(body) } else { Err(format!("{operation}: {}: {body}", answer.status).into()) }
    }

    /// Registers a definition; its ARN.
    pub async fn register(&mut self, definition: &Value) -> Result<String, Failure> {
        let answer = self.ecs("RegisterTaskDefinition", definition.clone()).await?;
        Ok(answer["taskDefinition"]["taskDefinitionArn"].as_str().ok_or("no ARN")?.to_owned())
    }

    /// Makes a load balancer before a server that runs beside us, and waits until it answers.
    pub async fn balance_address(&mut self, name: &str, target: SocketAddr) -> Result<Balanced, Failure> {
        let (created, group, listener) = self.balancer(name).await?;
        let (address, port) = (target.ip().to_string(), target.port().to_string());
        let targets =
            [("TargetGroupArn", &*group), ("Targets.member.1.Id", &*address), ("Targets.member.1.Port", &*port)];
        self.elb("RegisterTargets", &targets).await?;
        self.answering(created, listener).await
    }

    /// Makes a load balancer and a service of one task behind it, and waits until it answers.
    pub async fn balance(&mut self, name: &str, definition: &Value) -> Result<Balanced, Failure> {
        let (created, group, listener) = self.balancer(name).await?;
        let service = json!({
            "serviceName": name, "taskDefinition": self.register(definition).await?, "desiredCount": 1,
            "launchType": "FARGATE",
            "loadBalancers": [{"targetGroupArn": group, "containerName": "web", "containerPort": 80}],
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
        });
        self.ecs("CreateService", service).await?;
        self.answering(created, listener).await
    }

    /// A load balancer whose listener forwards to a new group: what its creation was answered, and both ARNs.
    async fn balancer(&mut self, name: &str) -> Result<(String, String, String), Failure> {
        let created = self.elb("CreateLoadBalancer", &[("Name", name), ("Subnets.member.1", "subnet-1")]).await?;
        let group = [("Name", name), ("Protocol", "HTTP"), ("Port", "80"), ("TargetType", "ip"), ("VpcId", "vpc-1")];
        let group = element(&self.elb("CreateTargetGroup", &group).await?, "TargetGroupArn")?;
        let listener = [
            ("LoadBalancerArn", &*element(&created, "LoadBalancerArn")?),
            ("Protocol", "HTTP"),
            ("Port", "80"),
            ("DefaultActions.member.1.Type", "forward"),
            ("DefaultActions.member.1.TargetGroupArn", &*group),
        ];
        let listener = element(&self.elb("CreateListener", &listener).await?, "ListenerArn")?;
        Ok((created, group, listener))
    }

    async fn answering(&mut self, created: String, listener: String) -> Result<Balanced, Failure> {
        let address = self.bound(&listener).await?;
        let balanced = Balanced { address, host: element(&created, "DNSName")?, listener };
        until_answers(balanced.address, &balanced.host, "/plain").await?;
        Ok(balanced)
    }

    /// What the server says of itself.
    pub async fn node(&mut self) -> Result<Value, Failure> {
        let answer = self.connection.exchange(&get("localhost", "/_coracle/node")).await?;
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Where a listener's own port really is.
    async fn bound(&mut self, listener: &str) -> Result<SocketAddr, Failure> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let node = self.node().await?;
            let known = node["listeners"].as_array().into_iter().flatten();
            let mut own = known.filter(|known| known["listenerArn"] == listener);
            if let Some(address) = own.next().and_then(|known| known["address"].as_str()) {
                return Ok(address.parse()?);
            }
            sleep(POLL).await;
        }
        Err("the listener has no port".into())
    }
}

pub async fn until_answers(address: SocketAddr, host: &str, path: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let request = get(host, path);
    while Instant::now() < deadline {
        if let Ok(mut connection) = Connection::open(address).await
            && connection.exchange(&request).await.is_ok_and(|answer| answer.status == 200)
        {
            return Ok(());
        }
        sleep(POLL).await;
    }
    Err(format!("{address} does not answer").into())
}

/// The text of the first XML element of this name.
pub fn element(xml: &str, name: &str) -> Result<String, Failure> {
    let found = xml.split(&format!("<{name}>")).nth(1).and_then(|rest| rest.split('<').next());
    found.map(str::to_owned).ok_or_else(|| format!("no {name} in {xml}").into())
}

/// The file of a guest.
pub fn guest_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("guest-examples/prebuilt/{name}.wasm"))
}

/// A guest as callers name it.
pub fn guest(name: &str) -> String {
    format!("file://{}", guest_file(name).display())
}

/// A definition of one container, `web`, which is a guest.
pub fn definition(family: &str, name: &str, command: &[&str], cpu: &str, memory: &str) -> Value {
    json!({
        "family": family, "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": cpu, "memory": memory,
        "containerDefinitions": [{
            "name": "web", "image": guest(name), "command": command, "essential": true, "stopTimeout": 2,
            "portMappings": [{"containerPort": 80}],
        }],
    })
}
