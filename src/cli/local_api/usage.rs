//! The ledger: what each task of a region uses, or used until it ended.

use serde_json::{Value, json};

use crate::model::{Task, Usage};
use crate::store::{Prefix, Snapshot};
use crate::telemetry::usage::UsageSource;

const NS_PER_SECOND: f64 = 1e9;

/// One object for each task that is still described: live from the host where it runs, from its record where it has ended.
/// What was in flight when the server was killed is known to nobody: its `usage` is null.
pub fn ledger(snapshot: &Snapshot, source: &dyn UsageSource, region: Option<&str>) -> Value {
    let all = Prefix::all_tasks();
    let tasks = snapshot.iter::<Task>(&all);
    let mut tasks: Vec<_> =
        tasks.filter(|task| region.is_none_or(|region| task.scope.region.to_string() == region)).collect();
    tasks.sort_by_key(|task| (task.created_at, task.id));
    Value::Array(tasks.into_iter().map(|task| entry(task, source)).collect())
}

fn entry(task: &Task, source: &dyn UsageSource) -> Value {
    let usage = if task.is_stopped() { task.usage } else { source.usage(task.id).or(task.usage) };
    let containers = task.containers.iter().map(|container| {
        let used = source.container_usage(task.id, &container.name);
        json!({"name": container.name, "usage": used.as_ref().map(numbers)})
    });
    json!({
        "task": task.id.to_string(),
        "taskArn": task.arn().to_string(),
        "cluster": task.cluster.to_string(),
        "group": task.group,
        "service": task.service.as_ref().map(|of| of.service.as_str()),
        "taskDefinition": task.definition.to_string(),
        "lastStatus": task.last_status.as_str(),
        "startedAt": task.started_at.map(|at| at.epoch_seconds()),
        "stoppedAt": task.stopped_at.map(|at| at.epoch_seconds()),
        "usage": usage.as_ref().map(numbers),
        "containers": containers.collect::<Vec<_>>(),
    })
}

fn numbers(usage: &Usage) -> Value {
    json!({
        "cpuSeconds": usage.cpu.as_nanos() as f64 / NS_PER_SECOND,
        "throttledSeconds": usage.throttled.as_nanos() as f64 / NS_PER_SECOND,
        "throttledTimes": usage.throttled_times,
        "gbSeconds": usage.gb_seconds,
        "memoryBytes": usage.memory_bytes,
        "memoryPeakBytes": usage.memory_peak_bytes,
        "instances": usage.instances,
        "requests": usage.requests,
        "fuel": usage.fuel,
    })
}
