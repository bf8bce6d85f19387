//! `coracle usage`: what tasks use, and what those that ended used.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::client::{ServerArgs, ServerClient};
use crate::cli::{Failure, Output, output};

/// Characters of a task's id that are shown, as `coracle ps` does.
const SHORT_ID_CHARS: usize = 8;
const MIB: f64 = (1u64 << 20) as f64;
/// The members that add up. A sum of peaks says what all could have held at once, and is no total.
const SUMS: [&str; 6] = ["cpuSeconds", "throttledSeconds", "throttledTimes", "gbSeconds", "requests", "fuel"];

/// Show what each task has used: CPU, memory over time, requests, instructions, and the time that its own cap held it.
///
/// Live for tasks that run. Those that have ended are shown for an hour, as everywhere in ECS.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  coracle usage\n  coracle usage --service web --output json | jq .total.cpuSeconds\n\n\
    CPU-S     CPU seconds of the threads that ran it, host calls included\n\
    GB-S      memory held, times how long (a GB is 1024 MiB)\n\
    FUEL      WebAssembly instructions, and 1000 for each host call\n\
    THROTTLED seconds in which it had work and its cap held it"
)]
pub struct UsageArgs {
    /// Only the tasks of this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// Only the tasks of this service.
    #[arg(long)]
    service: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub async fn run(arguments: UsageArgs) -> Result<ExitCode, Failure> {
    let path = format!("/_coracle/usage?region={}", arguments.server.region);
    let ledger = ServerClient::new(&arguments.server)?.get_json(&path).await?;
    let name = |text: &str| text.rsplit('/').next().unwrap_or(text).to_owned();
    let (cluster, service) = (arguments.cluster.as_deref().map(name), arguments.service.as_deref().map(name));
    let is_wanted = |task: &&Value| {
        let fits = |member: &str, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| task[member].as_str() == Some(wanted))
        };
        fits("cluster", &cluster) && fits("service", &service)
    };
    let tasks: Vec<Value> = ledger.as_array().into_iter().flatten().filter(is_wanted).cloned().collect();
    let total = total(&tasks);
    match arguments.output {
        Output::Json => output::print_json(&json!({"tasks": tasks, "total": total}))?,
        Output::Text => {
            let mut rows: Vec<_> = tasks.iter().map(row).collect();
            rows.push(cells([String::from("total"), String::new(), String::new()], &total));
            let heading = ["TASK", "GROUP", "STATUS", "CPU-S", "GB-S", "REQUESTS", "FUEL", "THROTTLED", "PEAK-MIB"];
            output::print(&output::table(heading, &rows))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What all tasks used together.
fn total(tasks: &[Value]) -> Value {
    let sums = SUMS.iter().map(|member| {
        let used = tasks.iter().map(|task| &task["usage"][member]);
        // Counts stay whole.
        let sum = match used.clone().all(|value| value.is_u64() || value.is_null()) {
            true => json!(used.filter_map(Value::as_u64).fold(0, u64::saturating_add)),
            false => json!(used.filter_map(Value::as_f64).sum::<f64>()),
        };
        (String::from(*member), sum)
    });
    let mut total: serde_json::Map<String, Value> = sums.collect();
    total.insert(String::from("tasks"), json!(tasks.len()));
    Value::Object(total)
}

fn row(task: &Value) -> [String; 9] {
    let text = |member: &str| task[member].as_str().unwrap_or("-").to_owned();
    let id = text("task").chars().take(SHORT_ID_CHARS).collect();
    cells([id, text("group"), text("lastStatus")], &task["usage"])
}

fn cells(of: [String; 3], usage: &Value) -> [String; 9] {
    let seconds =
        |member: &str| usage[member].as_f64().map_or_else(|| String::from("-"), |value| format!("{value:.3}"));
    let count = |member: &str| usage[member].as_u64().map_or_else(|| String::from("-"), |value| value.to_string());
    let peak = usage["memoryPeakBytes"].as_f64().map_or_else(String::new, |bytes| format!("{:.1}", bytes / MIB));
    let [first, second, third] = of;
    [
        first,
        second,
        third,
        seconds("cpuSeconds"),
        seconds("gbSeconds"),
        count("requests"),
        count("fuel"),
        seconds("throttledSeconds"),
        peak,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_and_leave_out_what_is_not_known() {
        let used =
            json!({"cpuSeconds": 1.5, "gbSeconds": 2.0, "requests": 3, "fuel": u64::MAX, "memoryPeakBytes": 1 << 20});
        let tasks = [json!({"task": "0123456789ab", "usage": used}), json!({"usage": null}), json!({"usage": used})];
        let total = total(&tasks);
        assert_eq!((&total["cpuSeconds"], &total["requests"], &total["tasks"]), (&json!(3.0), &json!(6), &json!(3)));
        assert_eq!(total["fuel"], json!(u64::MAX));
        assert_eq!(row(&tasks[0])[0], "01234567");
        assert_eq!(row(&tasks[0])[8], "1.0");
        assert_eq!(row(&tasks[1])[3], "-");
    }
}
