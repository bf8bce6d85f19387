//! A runtime within this process, and tasks on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coracle::model::{Exit, TaskId, Usage};
use coracle::network::Table;
use coracle::runtime::{
    CompileIn, ContainerSpec, LogSink, NoEndpoint, Report, RunningTask, Runtime, RuntimeConfig, Stream, TaskSpec,
};
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

use crate::support::Failure;
use crate::support::server::{PATIENCE, guest};

const MEMORY_BYTES: u64 = 8 << 30;

struct Silence;

impl LogSink for Silence {
    fn write(&self, _: TaskId, _: &str, _: Stream, _: &str) {}
}

pub struct Node {
    pub runtime: Runtime,
    network: Table,
    next: AtomicU64,
    _home: tempfile::TempDir,
}

/// A task, and what it has yet to report.
pub struct Task {
    pub task: RunningTask,
    reports: mpsc::Receiver<Report>,
}

impl Node {
    pub fn start() -> Result<Node, Failure> {
        let home = tempfile::tempdir()?;
        let cores = std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
        let config = RuntimeConfig {
            data_dir: home.path().to_owned(),
            cores,
            memory_bytes: MEMORY_BYTES,
            aliases: BTreeMap::new(),
            image_dir: None,
            instances_max: Some(64),
            compile: CompileIn::Process,
            isolate: None,
            only_task: None,
            dns_servers: Vec::new(),
        };
        let network = Table::default();
        let runtime = Runtime::start(config, Arc::new(Silence), Arc::new(NoEndpoint), network.clone())?;
        Ok(Node { runtime, network, next: AtomicU64::new(1), _home: home })
    }

    /// A task of one container with a core to itself and more where it is idle.
    pub fn spec(&self, image: &str, args: &[&str]) -> Result<TaskSpec, Failure> {
        let id = TaskId(u128::from(self.next.fetch_add(1, Ordering::Relaxed)));
        let container = ContainerSpec {
            args: args.iter().map(ToString::to_string).collect(),
            may_name_any_file: true,
            stop_timeout: Duration::ZERO,
            ..ContainerSpec::new("main", guest(image))
        };
        Ok(TaskSpec {
            id,
            address: self.network.attach(id)?,
            cpu_units: 1024,
            cpu_capped: false,
            fuel: None,
            memory_bytes: None,
            held: false,
            files: Default::default(),
            containers: vec![container],
        })
    }

    pub async fn begin(&self, spec: TaskSpec) -> Result<Task, Failure> {
        let (task, reports) = self.runtime.run(spec);
        let mut task = Task { task, reports };
        task.until(|report| matches!(report, Report::ContainerStarted { .. })).await?;
        Ok(task)
    }

    /// Runs a task to its end.
    pub async fn run(&self, spec: TaskSpec) -> Result<(Exit, Usage), Failure> {
        let mut task = self.begin(spec).await?;
        let exit = task.exit().await?;
        task.until(|report| matches!(report, Report::Ended)).await?;
        Ok((exit, task.task.usage()))
    }
}

impl Task {
    /// How its container ends.
    pub async fn exit(&mut self) -> Result<Exit, Failure> {
        loop {
            let report = timeout(PATIENCE, self.reports.recv()).await?.ok_or("the task ended early")?;
            if let Report::ContainerStopped { exit, .. } = report {
                return Ok(exit);
            }
        }
    }

    pub async fn kill(mut self) -> Result<(), Failure> {
        self.task.kill();
        self.until(|report| matches!(report, Report::Ended)).await
    }

    pub async fn until(&mut self, wanted: impl Fn(&Report) -> bool) -> Result<(), Failure> {
        loop {
            let report = timeout(PATIENCE, self.reports.recv()).await?.ok_or("the task ended early")?;
            if wanted(&report) {
                return Ok(());
            }
        }
    }
}
