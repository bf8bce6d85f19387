//! A node for tests: small pools, compilation in this process, logs kept, one directory of artifacts for all tests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::model::{Exit, TaskId};
use crate::network::Table;
use crate::runtime::guest::http::{BoxError, RequestBody, ResponseBody};
use crate::runtime::spec::{ContainerSpec, LogSink, Report, Stream, TaskSpec};
use crate::runtime::{CompileIn, NoEndpoint, RunningTask, Runtime, RuntimeConfig, TaskEndpoint};

/// Lines as they came, by container.
#[derive(Default)]
pub struct KeptLogs(Mutex<Vec<(String, Stream, String)>>);

impl LogSink for KeptLogs {
    fn write(&self, _: TaskId, container: &str, stream: Stream, line: &str) {
        self.0.lock().push((container.to_owned(), stream, line.to_owned()));
    }
}

impl KeptLogs {
    pub fn lines(&self, stream: Stream) -> Vec<String> {
        let kept = self.0.lock();
        kept.iter().filter(|(_, of, _)| *of == stream).map(|(_, _, line)| line.clone()).collect()
    }
}

pub struct TestNode {
    pub runtime: Runtime,
    pub logs: Arc<KeptLogs>,
    pub network: Table,
    next: AtomicU64,
}

impl TestNode {
    pub fn start() -> TestNode {
        TestNode::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut RuntimeConfig)) -> TestNode {
        TestNode::answering(Arc::new(NoEndpoint), change)
    }

    /// With somebody who answers at 169.254.170.2.
    pub fn answering(endpoint: Arc<dyn TaskEndpoint>, change: impl FnOnce(&mut RuntimeConfig)) -> TestNode {
        // Shared, so that each guest is compiled once for all tests and runs.
        let data_dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-runtime");
        let mut config = RuntimeConfig {
            data_dir,
            cores: 2,
            memory_bytes: 1 << 30,
            aliases: BTreeMap::new(),
            image_dir: None,
            instances_max: Some(64),
            compile: CompileIn::Process,
            isolate: None,
            only_task: None,
            dns_servers: Vec::new(),
        };
        change(&mut config);
        let logs = Arc::new(KeptLogs::default());
        let network = Table::default();
        let runtime = Runtime::start(config, logs.clone(), endpoint, network.clone()).unwrap();
        TestNode { runtime, logs, network, next: AtomicU64::new(1) }
    }

    pub fn spec(&self, containers: Vec<ContainerSpec>) -> TaskSpec {
        let id = TaskId(u128::from(self.next.fetch_add(1, Ordering::Relaxed)));
        TaskSpec {
            id,
            address: self.network.attach(id).unwrap(),
            cpu_units: 1024,
            cpu_capped: false,
            memory_bytes: None,
            fuel: None,
            held: false,
            files: Default::default(),
            containers,
        }
    }

    /// Runs a task to its end.
    pub async fn run(&self, containers: Vec<ContainerSpec>) -> Vec<Report> {
        let (_task, mut receiver) = self.runtime.run(self.spec(containers));
        reports(&mut receiver).await
    }

    /// Runs one container to its end.
    pub async fn exit(&self, container: ContainerSpec) -> Exit {
        exit_of(&self.run(vec![container]).await)
    }

    /// Starts a handler and waits until it can be called.
    pub async fn handler(&self, container: ContainerSpec) -> Running {
        self.task(self.spec(vec![container])).await
    }

    pub async fn task(&self, spec: TaskSpec) -> Running {
        let container = spec.containers[0].name.clone();
        let (task, mut receiver) = self.runtime.run(spec);
        let mut seen = Vec::new();
        loop {
            let report = receiver.recv().await.unwrap();
            seen.push(report.clone());
            match report {
                Report::ContainerStarted { .. } => break,
                Report::ContainerStopped { exit, .. } => panic!("it did not start: {exit:?}"),
                _ => {}
            }
        }
        Running { task, receiver, container, seen }
    }
}

/// A task with one handler.
pub struct Running {
    pub task: RunningTask,
    pub receiver: mpsc::Receiver<Report>,
    pub container: String,
    pub seen: Vec<Report>,
}

impl Running {
    pub async fn get(&self, path: &str) -> Result<(u16, String), crate::runtime::HandlerError> {
        let handler = self.task.handler(&self.container).unwrap();
        let response = handler.call(request("GET", path, Bytes::new())).await?;
        Ok((response.status().as_u16(), text(response).await.unwrap()))
    }

    /// Stops the task, and returns how its container ended.
    pub async fn stop(mut self) -> Exit {
        self.task.stop();
        exit_of(&reports(&mut self.receiver).await)
    }
}

pub fn request(method: &str, path: &str, body: Bytes) -> Request<RequestBody> {
    let body = Full::new(body).map_err(|never| -> BoxError { match never {} }).boxed_unsync();
    Request::builder().method(method).uri(path).header("host", "hello.test").body(body).unwrap()
}

pub async fn text(response: Response<ResponseBody>) -> Result<String, BoxError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub async fn reports(receiver: &mut mpsc::Receiver<Report>) -> Vec<Report> {
    let mut all = Vec::new();
    while let Some(report) = receiver.recv().await {
        all.push(report);
    }
    all
}

/// How the only container ended.
pub fn exit_of(reports: &[Report]) -> Exit {
    let mut exits = reports.iter().filter_map(|report| match report {
        Report::ContainerStopped { exit, .. } => Some(exit.clone()),
        _ => None,
    });
    let exit = exits.next().expect("the container did not stop");
    assert_eq!(exits.next(), None, "more than one end");
    assert_eq!(reports.last(), Some(&Report::Ended));
    exit
}

/// A container of a committed guest that is not built in.
pub fn guest(name: &str, args: &[&str]) -> ContainerSpec {
    let file = format!("file://{}/guest-examples/prebuilt/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    ContainerSpec { may_name_any_file: true, ..container(&file, args) }
}

/// A container of a built-in image with these arguments.
pub fn container(image: &str, args: &[&str]) -> ContainerSpec {
    ContainerSpec { args: args.iter().map(ToString::to_string).collect(), ..ContainerSpec::new("main", image) }
}
