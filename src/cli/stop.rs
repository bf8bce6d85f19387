//! `coracle stop`: a task ends, or a service is scaled to 0.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::cli::client::{ServerArgs, ServerClient};
use crate::cli::find::{self, Found};
use crate::cli::{Failure, Output, output};

/// Between two looks at what is stopping.
const POLL: Duration = Duration::from_millis(100);

/// Stop a task, or scale a service to 0, and wait until it has stopped.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  coracle stop 3f2a9c10\n  coracle stop web --timeout 60")]
pub struct StopArgs {
    /// A task (its id, the beginning of it, or its ARN) or a service (its name or ARN).
    #[arg(value_name = "TASK|SERVICE")]
    what: String,
    /// Only look in this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// The reason to record with a task.
    #[arg(long, default_value = "Task stopped by user")]
    reason: String,
    /// Seconds to wait until it has stopped.
    #[arg(long, default_value_t = 150)]
    timeout: u64,
    #[command(flatten)]
    server: ServerArgs,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub async fn run(arguments: StopArgs) -> Result<ExitCode, Failure> {
    let client = ServerClient::new(&arguments.server)?;
    let deadline = Instant::now() + Duration::from_secs(arguments.timeout);
    let (cluster, arns, what) = match find::find(&client, &arguments.what, arguments.cluster.as_deref()).await? {
        Found::Task { cluster, arn } => {
            let input = json!({"cluster": cluster, "task": arn, "reason": arguments.reason});
            client.ecs("StopTask", input).await?;
            let what = arn.clone();
            (cluster, vec![arn], what)
        }
        Found::Service { cluster, name } => {
            let arns = find::task_arns(&client, &cluster, Some(&name), false).await?;
            client.ecs("UpdateService", json!({"cluster": cluster, "service": name, "desiredCount": 0})).await?;
            (cluster, arns, name)
        }
    };
    loop {
        let tasks = find::describe_tasks(&client, &cluster, &arns).await?;
        let left = tasks.iter().filter(|task| task["lastStatus"] != "STOPPED").count();
        if left == 0 {
            break;
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!(
                "{left} tasks of {what} have not stopped within {} s",
                arguments.timeout
            ))
            .next("They are being stopped still; `coracle ps --all` shows how far they are."));
        }
        tokio::time::sleep(POLL).await;
    }
    match arguments.output {
        Output::Json => output::print_json(&json!({"stopped": arns}))?,
        Output::Text => output::print(&format!("stopped {what} ({} tasks)\n", arns.len()))?,
    }
    Ok(ExitCode::SUCCESS)
}
