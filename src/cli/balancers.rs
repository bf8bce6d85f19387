//! `coracle balancers`: what load balancers do.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::cli::client::{ServerArgs, ServerClient};
use crate::cli::{Failure, Output, output};

/// Show what each load balancer did since the server began: requests, codes, latencies, healthy targets.
///
/// The same numbers are at /_coracle/metrics of the server as OpenMetrics, for Prometheus.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  coracle balancers\n  coracle balancers --name web --targets\n  \
    coracle balancers --output json | jq '.[].metrics.HTTPCode_ELB_5XX_Count'\n\n\
    2XX … 5XX  responses of targets\n\
    ELB-4XX    responses of the load balancer itself, and clients that went away; ELB-5XX, its failures\n\
    P50-MS     half of the requests had the head of the target's response within this time")]
pub struct BalancersArgs {
    /// Only the load balancer of this name.
    #[arg(long)]
    name: Option<String>,
    /// Show the targets of each, too.
    #[arg(long)]
    targets: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub async fn run(arguments: BalancersArgs) -> Result<ExitCode, Failure> {
    let path = format!("/_coracle/balancers?region={}", arguments.server.region);
    let report = ServerClient::new(&arguments.server)?.get_json(&path).await?;
    let is_wanted =
        |balancer: &&Value| arguments.name.as_deref().is_none_or(|name| balancer["loadBalancerName"] == name);
    let balancers: Vec<Value> = report.as_array().into_iter().flatten().filter(is_wanted).cloned().collect();
    match arguments.output {
        Output::Json => output::print_json(&Value::Array(balancers))?,
        Output::Text => {
            let rows: Vec<_> = balancers.iter().map(row).collect();
            output::print(&output::table(HEADING, &rows))?;
            if arguments.targets {
                let rows: Vec<_> = balancers.iter().flat_map(target_rows).collect();
                output::print(&format!("\n{}", output::table(TARGET_HEADING, &rows)))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

const HEADING: [&str; 13] = [
    "NAME",
    "TYPE",
    "REQUESTS",
    "IN-FLIGHT",
    "2XX",
    "3XX",
    "4XX",
    "5XX",
    "ELB-4XX",
    "ELB-5XX",
    "P50-MS",
    "P99-MS",
    "HEALTHY",
];

fn row(balancer: &Value) -> [String; 13] {
    let metrics = &balancer["metrics"];
    let is_network = balancer["type"] == "network";
    [
        text(&balancer["loadBalancerName"]),
        text(&balancer["type"]),
        // What comes to a network load balancer are flows.
        text(if is_network { &metrics["NewFlowCount"] } else { &balancer["requests"] }),
        text(if is_network { &metrics["ActiveFlowCount"] } else { &balancer["requestsInFlight"] }),
        text(&metrics["HTTPCode_Target_2XX_Count"]),
        text(&metrics["HTTPCode_Target_3XX_Count"]),
        text(&metrics["HTTPCode_Target_4XX_Count"]),
        text(&metrics["HTTPCode_Target_5XX_Count"]),
        text(&metrics["HTTPCode_ELB_4XX_Count"]),
        text(&metrics["HTTPCode_ELB_5XX_Count"]),
        milliseconds(&balancer["latencyMs"]["p50"]),
        milliseconds(&balancer["latencyMs"]["p99"]),
        format!("{}/{}", text(&balancer["healthyHosts"]), text(&balancer["hosts"])),
    ]
}

const TARGET_HEADING: [&str; 9] =
    ["TARGET-GROUP", "TARGET", "HEALTH", "REQUESTS", "IN-FLIGHT", "2XX", "4XX", "5XX", "FAILURES"];

fn target_rows(balancer: &Value) -> Vec<[String; 9]> {
    let groups = balancer["targetGroups"].as_array().into_iter().flatten();
    let rows = groups.flat_map(|group| {
        let name = group["targetGroupArn"].as_str().and_then(|arn| arn.split('/').nth(1)).unwrap_or("-").to_owned();
        group["targets"].as_array().into_iter().flatten().map(move |target| {
            let metrics = &target["metrics"];
            [
                name.clone(),
                format!("{}:{}", text(&target["id"]), text(&target["port"])),
                text(&target["health"]),
                text(&metrics["RequestCount"]),
                text(&target["requestsInFlight"]),
                text(&metrics["HTTPCode_Target_2XX_Count"]),
                text(&metrics["HTTPCode_Target_4XX_Count"]),
                text(&metrics["HTTPCode_Target_5XX_Count"]),
                text(&target["failures"]),
            ]
        })
    });
    rows.collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::from("-"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn milliseconds(value: &Value) -> String {
    value.as_f64().map_or_else(|| String::from("-"), |ms| format!("{ms:.2}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_shows_what_there_is() {
        let balancer = json!({
            "loadBalancerName": "web", "type": "application", "requests": 12, "requestsInFlight": 1, "healthyHosts": 1,
            "hosts": 2, "latencyMs": {"p50": 1.25, "p99": null},
            "metrics": {"HTTPCode_Target_2XX_Count": 10, "HTTPCode_ELB_5XX_Count": 2},
            "targetGroups": [{
                "targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/1",
                "targets": [{"id": "10.0.0.1", "port": 80, "health": "healthy", "requestsInFlight": 0, "failures": 0}],
            }],
        });
        let row = row(&balancer);
        let shown: Vec<_> = HEADING.iter().zip(&row).filter(|(_, cell)| *cell != "-").collect();
        assert_eq!(
            format!("{shown:?}"),
            "[(\"NAME\", \"web\"), (\"TYPE\", \"application\"), (\"REQUESTS\", \"12\"), \
            (\"IN-FLIGHT\", \"1\"), (\"2XX\", \"10\"), (\"ELB-5XX\", \"2\"), (\"P50-MS\", \"1.25\"), (\"HEALTHY\", \"1/2\")]"
        );
        assert_eq!(target_rows(&balancer)[0][..3], ["web", "10.0.0.1:80", "healthy"]);
    }
}
