//! Protection of tasks from scale-in and deployments, asked for from outside. What a task asks for itself goes through its
//! agent endpoint; the rule is `model::protection`, for both.

use crate::api::context::Context;
use crate::api::ecs::reference;
use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::protection::{self, Unprotectable};
use crate::model::{Arn, Cluster, Service, Task, Timestamp};
use crate::store::{Key, View};

/// ECS's limits.
const GET_MAX: usize = 100;
const UPDATE_MAX: usize = 10;

pub fn get(
    cx: &Context,
    view: &mut View,
    input: wire::GetTaskProtectionRequest,
) -> Result<wire::GetTaskProtectionResponse, ApiError> {
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let wanted = wanted(input.tasks, GET_MAX)?;
    let (protected_tasks, failures) = each(cx, view, &cluster, &wanted, |_, task, service| {
        task.protectable(service)?;
        Ok(task.protected_until(cx.now))
    })?;
    Ok(wire::GetTaskProtectionResponse { protected_tasks: Some(protected_tasks), failures: Some(failures) })
}

pub fn update(
    cx: &Context,
    view: &mut View,
    input: wire::UpdateTaskProtectionRequest,
) -> Result<wire::UpdateTaskProtectionResponse, ApiError> {
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let wanted = wanted(input.tasks, UPDATE_MAX)?;
    let duration =
        protection::duration(input.expires_in_minutes.map(i64::from)).map_err(ApiError::invalid_parameter)?;
    let enabled = input.protection_enabled.unwrap_or(false).then_some(duration);
    let (protected_tasks, failures) = each(cx, view, &cluster, &wanted, |view, task, service| {
        let mut changed = Task::clone(task);
        changed.protect(service, enabled, cx.now)?;
        let expires_at = changed.protected_until(cx.now);
        if changed.protection != task.protection {
            changed.version += 1;
            view.put(changed);
        }
        Ok(expires_at)
    })?;
    Ok(wire::UpdateTaskProtectionResponse { protected_tasks: Some(protected_tasks), failures: Some(failures) })
}

fn wanted(tasks: Option<Vec<String>>, at_most: usize) -> Result<Vec<String>, ApiError> {
    let tasks = tasks.unwrap_or_default();
    if tasks.is_empty() {
        return Err(ApiError::invalid_parameter("Tasks cannot be empty."));
    }
    if tasks.len() > at_most {
        return Err(ApiError::invalid_parameter(format!("tasks: at most {at_most} tasks can be given at once.")));
    }
    Ok(tasks)
}

/// What `of` says of each task that is there, and why the others cannot be protected.
fn each(
    cx: &Context,
    view: &mut View,
    cluster: &Cluster,
    wanted: &[String],
    of: impl Fn(&mut View, &Task, Option<&Service>) -> Result<Option<Timestamp>, Unprotectable>,
) -> Result<(Vec<wire::ProtectedTask>, Vec<wire::Failure>), ApiError> {
    let (mut protected, mut failures) = (Vec::new(), Vec::new());
    for text in wanted {
        let id = reference::task_id(cx, &cluster.name, text)?;
        let arn = String::from(Arn::task(&cx.scope, &cluster.name, id));
        let Some(task) = view.get::<Task>(&Key::task(&cx.scope, &cluster.name, id)) else {
            failures.push(wire::Failure { arn: Some(arn), reason: Some(String::from("MISSING")), detail: None });
            continue;
        };
        let service = task.service.as_ref().map(|of| Key::service(&cx.scope, &cluster.name, &of.service));
        let service = service.and_then(|key| view.get::<Service>(&key));
        match of(view, &task, service.as_deref()) {
            Ok(expires_at) => protected.push(wire::ProtectedTask {
                task_arn: Some(arn),
                protection_enabled: Some(expires_at.is_some()),
                expiration_date: expires_at.map(Timestamp::epoch_seconds),
            }),
            Err(why) => failures.push(wire::Failure {
                arn: Some(arn),
                reason: Some(why.reason().to_owned()),
                detail: Some(why.detail().to_owned()),
            }),
        }
    }
    Ok((protected, failures))
}
