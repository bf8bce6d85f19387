//! Finds what a person means by TASK or SERVICE: an ARN, an id or its beginning, or a service's name, in any cluster.

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::client::ServerClient;

/// The shortest beginning of a task's id that is taken for one.
const ID_PREFIX_CHARS_MIN: usize = 4;
/// `DescribeTasks` takes so many at once.
const DESCRIBE_TASKS_MAX: usize = 100;

pub enum Found {
    Task { cluster: String, arn: String },
    Service { cluster: String, name: String },
}

pub async fn clusters(client: &ServerClient, only: Option<&str>) -> Result<Vec<String>, Failure> {
    match only {
        Some(cluster) => Ok(vec![cluster.to_owned()]),
        None => client.ecs_list("ListClusters", json!({}), "clusterArns").await,
    }
}

/// ARNs of the tasks of a cluster (or of one of its services): those that are to run, and those that have ended.
pub async fn task_arns(
    client: &ServerClient,
    cluster: &str,
    service: Option<&str>,
    with_stopped: bool,
) -> Result<Vec<String>, Failure> {
    let mut arns = Vec::new();
    let statuses: &[&str] = if with_stopped { &["RUNNING", "STOPPED"] } else { &["RUNNING"] };
    for status in statuses {
        let mut input = json!({"cluster": cluster, "desiredStatus": status});
        if let Some(service) = service {
            input["serviceName"] = json!(service);
        }
        arns.extend(client.ecs_list("ListTasks", input, "taskArns").await?);
    }
    Ok(arns)
}

pub async fn describe_tasks(client: &ServerClient, cluster: &str, arns: &[String]) -> Result<Vec<Value>, Failure> {
    let mut tasks = Vec::new();
    for some in arns.chunks(DESCRIBE_TASKS_MAX) {
        let mut answer = client.ecs("DescribeTasks", json!({"cluster": cluster, "tasks": some})).await?;
        if let Value::Array(found) = answer["tasks"].take() {
            tasks.extend(found);
        }
    }
    Ok(tasks)
}

pub async fn find(client: &ServerClient, text: &str, cluster: Option<&str>) -> Result<Found, Failure> {
    let wanted = text.rsplit('/').next().unwrap_or(text);
    let kind = text.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(4)?.split('/').next());
    let mut matches = Vec::new();
    for cluster in clusters(client, cluster).await? {
        if kind != Some("task") {
            let services =
                client.ecs_list("ListServices", json!({"cluster": cluster, "maxResults": 100}), "serviceArns").await?;
            let is_it = |arn: &String| arn == text || arn.rsplit('/').next() == Some(wanted);
            if services.iter().any(is_it) {
                matches.push(Found::Service { cluster: cluster.clone(), name: wanted.to_owned() });
            }
        }
        if kind != Some("service") && wanted.len() >= ID_PREFIX_CHARS_MIN {
            for arn in task_arns(client, &cluster, None, true).await? {
                if arn.rsplit('/').next().is_some_and(|id| id.starts_with(wanted)) {
                    matches.push(Found::Task { cluster: cluster.clone(), arn });
                }
            }
        }
    }
    let count = matches.len();
    match (matches.pop(), count) {
        (Some(found), 1) => Ok(found),
        (None, _) => Err(Failure::new(format!("there is no task or service '{text}'"))
            .next("`coracle ps --all` lists the tasks; --region and --endpoint say where to look.")),
        (Some(_), count) => Err(Failure::new(format!("'{text}' fits {count} tasks or services"))
            .next("Give more of the id, or the whole ARN, or name the --cluster.")),
    }
}
