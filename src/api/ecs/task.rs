//! Tasks: asked for, told to stop, shown. What happens in between is the work of `control`.

use std::sync::Arc;

use crate::api::context::Context;
use crate::api::ecs::page;
use crate::api::ecs::reference;
use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::task::{LaunchType, StopCode, TaskStatus};
use crate::model::{DesiredStatus, Task};
use crate::store::{Key, View};

pub mod launch;
pub mod protection;
pub mod run;
pub mod show;

pub use run::{run, start};

const DESCRIBE_MAX: usize = 100;
/// Longest reason of StopTask that is kept (ECS's limit).
const REASON_CHARS_MAX: usize = 1024;

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeTasksRequest,
) -> Result<wire::DescribeTasksResponse, ApiError> {
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let wanted = input.tasks.unwrap_or_default();
    if wanted.is_empty() {
        return Err(ApiError::invalid_parameter("Tasks cannot be empty."));
    }
    if wanted.len() > DESCRIBE_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "tasks: at most {DESCRIBE_MAX} tasks can be described at once."
        )));
    }
    let with_tags = input.include.unwrap_or_default().iter().any(|part| part == "TAGS");
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for text in wanted {
        let id = reference::task_id(cx, &cluster.name, &text)?;
        match view.get::<Task>(&Key::task(&cx.scope, &cluster.name, id)) {
            Some(task) => tasks.push(show::task(view, &task, with_tags)),
            None => {
                let arn = crate::model::Arn::task(&cx.scope, &cluster.name, id);
                failures.push(wire::Failure {
                    arn: Some(arn.into()),
                    reason: Some(String::from("MISSING")),
                    detail: None,
                });
            }
        }
    }
    Ok(wire::DescribeTasksResponse { tasks: Some(tasks), failures: Some(failures) })
}

pub fn list(cx: &Context, view: &mut View, input: wire::ListTasksRequest) -> Result<wire::ListTasksResponse, ApiError> {
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let scope = &cx.scope;
    let candidates: Vec<Arc<Task>> = if let Some(service) = input.service_name.as_deref() {
        let name = reference::service_name(cx, &cluster.name, service)?;
        if view.get::<crate::model::Service>(&Key::service(scope, &cluster.name, &name)).is_none() {
            return Err(ApiError::service_not_found());
        }
        view.tasks_of_service(scope, &cluster.name, &name)
    } else {
        view.tasks_of_cluster(scope, &cluster.name)
    };
    let node = match input.container_instance.as_deref() {
        Some(text) => Some(reference::node_id(cx, &cluster.name, text)?),
        None => None,
    };
    // `PENDING` is a filter that ECS takes and that never matches: no task has that desired status.
    let desired = match input.desired_status.as_deref() {
        None | Some("RUNNING") => Some(DesiredStatus::Running),
        Some("STOPPED") => Some(DesiredStatus::Stopped),
        Some(_) => None,
    };
    let kept: Vec<Arc<Task>> = candidates
        .into_iter()
        .filter(|task| Some(task.desired_status) == desired)
        .filter(|task| input.family.as_deref().is_none_or(|family| task.definition.family.as_str() == family))
        .filter(|task| input.started_by.is_none() || task.started_by == input.started_by)
        .filter(|task| input.launch_type.as_deref().is_none_or(|launch| task.launch_type.as_str() == launch))
        .filter(|task| node.is_none() || is_on(task, node))
        .collect();
    let (tasks, next_token) =
        page::page(kept, |task| task.id, false, input.next_token.as_deref(), input.max_results, page::HUNDRED)?;
    Ok(wire::ListTasksResponse { task_arns: Some(tasks.iter().map(|task| task.arn().into()).collect()), next_token })
}

/// Fargate tasks have no container instance.
fn is_on(task: &Task, node: Option<crate::model::NodeId>) -> bool {
    task.launch_type != LaunchType::Fargate
        && (task.placement.map(|placement| placement.node) == node || task.requested_node == node)
}

pub fn stop(cx: &Context, view: &mut View, input: wire::StopTaskRequest) -> Result<wire::StopTaskResponse, ApiError> {
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let id = reference::task_id(cx, &cluster.name, input.task.as_deref().unwrap_or_default())?;
    let found = view.get::<Task>(&Key::task(&cx.scope, &cluster.name, id));
    let found = found.ok_or_else(|| ApiError::invalid_parameter("The referenced task was not found."))?;
    let mut task = (*found).clone();
    if task.desired_status == DesiredStatus::Running && !task.is_stopped() {
        task.desired_status = DesiredStatus::Stopped;
        task.stop_code = Some(StopCode::UserInitiated);
        let reason = input.reason.filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or_else(|| String::from("Task stopped by user"));
        task.stopped_reason = Some(reason.chars().take(REASON_CHARS_MAX).collect());
        task.stopping_at = Some(cx.now);
        if task.last_status == TaskStatus::Running {
            task.last_status = TaskStatus::Deactivating;
        }
        task.version += 1;
        view.put(task.clone());
    }
    Ok(wire::StopTaskResponse { task: Some(show::task(view, &task, true)) })
}
