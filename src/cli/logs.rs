//! `coracle logs`: what a task, or all tasks of a service, printed.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use clap::Args;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cli::client::{ServerArgs, ServerClient};
use crate::cli::find::{self, Found};
use crate::cli::{Failure, Output, output};

/// How often a service is asked for tasks that have come since.
const NEW_TASKS_POLL: Duration = Duration::from_millis(500);
/// Lines on their way from the readers of several tasks to standard output.
const LINES_QUEUED_MAX: usize = 1024;
const SHORT_ID_CHARS: usize = 8;

/// Show what a task or a service printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  coracle logs -f web\n  coracle logs 3f2a9c10 --output json | jq -r .message")]
pub struct LogsArgs {
    /// A task (its id, the beginning of it, or its ARN) or a service (its name or ARN).
    #[arg(value_name = "TASK|SERVICE")]
    what: String,
    /// Go on with what is printed from now on, and with the service's new tasks; ends with the task.
    #[arg(long, short)]
    follow: bool,
    /// Only the last lines of each task.
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// Only look in this cluster.
    #[arg(long)]
    cluster: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// `json`: one object a line, with task, container, stream, timestamp and message.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub async fn run(arguments: LogsArgs) -> Result<ExitCode, Failure> {
    let client = std::sync::Arc::new(ServerClient::new(&arguments.server)?);
    let found = find::find(&client, &arguments.what, arguments.cluster.as_deref()).await?;
    let (sender, mut lines) = mpsc::channel::<Value>(LINES_QUEUED_MAX);
    let query = match arguments.tail {
        Some(tail) => format!("follow={}&tail={tail}", arguments.follow),
        None => format!("follow={}", arguments.follow),
    };
    let follow = arguments.follow;
    let reading = tokio::spawn(async move {
        match found {
            Found::Task { arn, .. } => read_task(client, arn, query, sender).await,
            Found::Service { cluster, name } => read_service(client, &cluster, &name, query, follow, sender).await,
        }
    });
    while let Some(line) = lines.recv().await {
        output::print(&match arguments.output {
            Output::Json => format!("{line}\n"),
            Output::Text => text(&line),
        })?;
    }
    reading.await.map_err(|error| Failure::new("reading the logs failed").caused_by(error))??;
    Ok(ExitCode::SUCCESS)
}

/// A line for people, with its task and container.
pub fn text(line: &Value) -> String {
    let task: String = line["task"].as_str().unwrap_or_default().chars().take(SHORT_ID_CHARS).collect();
    let container = line["container"].as_str().unwrap_or_default();
    let message = line["message"].as_str().unwrap_or_default();
    format!("{task} {container} | {message}\n")
}

async fn read_service(
    client: std::sync::Arc<ServerClient>,
    cluster: &str,
    name: &str,
    query: String,
    follow: bool,
    sender: mpsc::Sender<Value>,
) -> Result<(), Failure> {
    let mut known = BTreeSet::new();
    let mut readers = JoinSet::new();
    loop {
        for arn in find::task_arns(&client, cluster, Some(name), true).await? {
            if known.insert(arn.clone()) {
                readers.spawn(read_task(std::sync::Arc::clone(&client), arn, query.clone(), sender.clone()));
            }
        }
        if !follow {
            break;
        }
        tokio::time::sleep(NEW_TASKS_POLL).await;
    }
    while let Some(ended) = readers.join_next().await {
        ended.map_err(|error| Failure::new("reading the logs failed").caused_by(error))??;
    }
    Ok(())
}

/// Reads the lines of one task to their end, or for as long as it runs.
async fn read_task(
    client: std::sync::Arc<ServerClient>,
    arn: String,
    query: String,
    sender: mpsc::Sender<Value>,
) -> Result<(), Failure> {
    let id = arn.rsplit('/').next().unwrap_or_default();
    let mut body = client.get(&format!("/_coracle/logs/{id}?{query}")).await?.into_body();
    let mut pending = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::new("the logs broke off: the server went away").caused_by(error))?;
        pending.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line = pending.split_to(end);
            pending.advance(1);
            let line: Value = serde_json::from_slice(&line)
                .map_err(|error| Failure::new("a line of the logs is not JSON").caused_by(error))?;
            if sender.send(line).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
