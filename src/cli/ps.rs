//! `coracle ps`: the tasks of a server.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::client::{ServerArgs, ServerClient};
use crate::cli::{Failure, Output, find, output};

/// Characters of a task's id that are shown: enough to be told apart, and to be given to other commands.
const SHORT_ID_CHARS: usize = 8;

/// List the tasks of a server.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  coracle ps\n  coracle ps --all --cluster web --output json | jq '.[].lastStatus'")]
pub struct PsArgs {
    /// Also the tasks that have ended.
    #[arg(long, short)]
    all: bool,
    /// Only the tasks of this cluster.
    #[arg(long)]
    cluster: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub async fn run(arguments: PsArgs) -> Result<ExitCode, Failure> {
    let client = ServerClient::new(&arguments.server)?;
    let mut tasks = Vec::new();
    for cluster in find::clusters(&client, arguments.cluster.as_deref()).await? {
        let mut arns = find::task_arns(&client, &cluster, None, true).await?;
        if !arguments.all {
            arns = find::task_arns(&client, &cluster, None, false).await?;
        }
        tasks.extend(find::describe_tasks(&client, &cluster, &arns).await?);
    }
    tasks.sort_by(|one, other| created(one).total_cmp(&created(other)));
    if arguments.output == Output::Json {
        output::print_json(&Value::Array(tasks.iter().map(summary).collect()))?;
    } else {
        let rows: Vec<[String; 7]> = tasks.iter().map(|task| row(&summary(task))).collect();
        let heading = ["TASK", "GROUP", "DEFINITION", "STATUS", "ADDRESS", "CONTAINERS", "REASON"];
        output::print(&output::table(heading, &rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn created(task: &Value) -> f64 {
    task["createdAt"].as_f64().unwrap_or(0.0)
}

/// What is shown of a task, for scripts.
pub fn summary(task: &Value) -> Value {
    let last = |member: &str| task[member].as_str().and_then(|arn| arn.rsplit('/').next()).unwrap_or_default();
    let details = task["attachments"][0]["details"].as_array();
    let of_interface = details.into_iter().flatten().find(|detail| detail["name"] == "privateIPv4Address");
    // Outside of awsvpc a task has no interface, and its ports say where they are.
    let bound =
        || task["containers"].as_array()?.iter().find_map(|container| container["networkBindings"][0].get("bindIP"));
    let address = of_interface.map(|detail| &detail["value"]).or_else(bound);
    let containers = task["containers"].as_array().into_iter().flatten().map(|container| {
        json!({
            "name": container["name"], "image": container["image"], "lastStatus": container["lastStatus"],
            "exitCode": container["exitCode"], "reason": container["reason"],
        })
    });
    json!({
        "task": last("taskArn"),
        "taskArn": task["taskArn"],
        "cluster": last("clusterArn"),
        "group": task["group"],
        "taskDefinition": last("taskDefinitionArn"),
        "lastStatus": task["lastStatus"],
        "desiredStatus": task["desiredStatus"],
        "address": address.cloned(),
        "createdAt": task["createdAt"],
        "startedAt": task["startedAt"],
        "stoppedReason": task["stoppedReason"],
        "stopCode": task["stopCode"],
        "containers": containers.collect::<Vec<_>>(),
    })
}

fn row(task: &Value) -> [String; 7] {
    let text = |member: &str| task[member].as_str().unwrap_or("-").to_owned();
    let containers = task["containers"].as_array().into_iter().flatten().map(|container| {
        let name = container["name"].as_str().unwrap_or_default();
        match container["exitCode"].as_i64() {
            Some(code) => format!("{name} (exit {code})"),
            None => name.to_owned(),
        }
    });
    [
        text("task").chars().take(SHORT_ID_CHARS).collect(),
        text("group"),
        text("taskDefinition"),
        text("lastStatus"),
        text("address"),
        containers.collect::<Vec<_>>().join(", "),
        text("stoppedReason"),
    ]
}
