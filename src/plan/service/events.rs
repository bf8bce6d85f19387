//! What a service says of itself: ECS's texts, byte for byte, because people and scripts match them.

use std::fmt::Write as _;

use crate::model::{Service, TaskId};
use crate::plan::service::Action;

/// How the reason of a task begins that its load balancer found unhealthy; the target group follows in parentheses.
pub const FAILED_ELB_CHECKS: &str = "Task failed ELB health checks in";
/// The reason of a task whose containers found themselves unhealthy.
pub const FAILED_CONTAINER_CHECKS: &str = "Task failed container health checks";

/// An event of this service, with the `(service NAME)` that all of them begin with.
pub fn record(service: &Service, text: String) -> Action {
    Action::Record { message: message(service, &text) }
}

pub fn message(service: &Service, text: &str) -> String {
    format!("(service {}) {text}", service.name)
}

pub fn started(tasks: &[TaskId]) -> String {
    format!("has started {} tasks:{}.", tasks.len(), listed(tasks))
}

pub fn stopped(tasks: &[TaskId]) -> String {
    format!("has stopped {} running tasks:{}.", tasks.len(), listed(tasks))
}

fn listed(tasks: &[TaskId]) -> String {
    tasks.iter().fold(String::new(), |mut text, task| {
        let _ = write!(text, " (task {task})");
        text
    })
}

pub fn draining(tasks: usize) -> String {
    format!("has begun draining connections on {tasks} tasks.")
}

pub fn registered(targets: usize, target_group_arn: &str) -> String {
    format!("registered {targets} targets in (target-group {target_group_arn})")
}

pub fn deregistered(targets: usize, target_group_arn: &str) -> String {
    format!("deregistered {targets} targets in (target-group {target_group_arn})")
}

/// Ours: ECS has no word for it.
pub fn scaled_from_zero(target_group_arn: &str) -> String {
    format!("set its desired count from 0 to 1: a request waits in (target-group {target_group_arn})")
}

pub fn steady() -> String {
    String::from("has reached a steady state.")
}

pub fn deployment_completed(deployment: &str) -> String {
    format!("(deployment {deployment}) deployment completed.")
}

pub fn unable_to_start_consistently() -> String {
    String::from(
        "is unable to consistently start tasks successfully. For more information, see the Troubleshooting section of \
         the Amazon ECS Developer Guide.",
    )
}

pub fn unable_to_place(instance: &str, lacking: &str) -> String {
    format!(
        "was unable to place a task because no container instance met all of its requirements. The closest matching \
         (container-instance {instance}) has insufficient {lacking} available. For more information, see the \
         Troubleshooting section of the Amazon ECS Developer Guide."
    )
}

pub fn stuck_by_configuration() -> String {
    String::from(
        "was unable to stop or start tasks during a deployment because of the service deployment configuration. Update \
         the minimumHealthyPercent or maximumPercent value and try again.",
    )
}

/// Scaling in, fewer tasks were stopped than should be. Without the prefix of the others: the deployment is within it.
pub fn unable_to_scale_in(service: &Service, deployment: &str, protected: usize) -> String {
    format!(
        "(service {}, taskSet {deployment}) was unable to scale in due to (reason {protected} tasks under protection)",
        service.name
    )
}

/// The same for what a newer deployment replaces.
pub fn unable_to_replace(service: &Service, deployment: &str, protected: usize) -> String {
    format!(
        "(service {}) was unable to reach steady state because (taskSet {deployment}) was unable to scale in due to \
         (reason {protected} tasks under protection)",
        service.name
    )
}

pub fn unhealthy(task: TaskId, port: u16, target_group_arn: &str, reason: &str) -> String {
    format!("(task {task}) (port {port}) is unhealthy in (target-group {target_group_arn}) due to (reason {reason})")
}

pub fn failed_container_checks(task: TaskId) -> String {
    format!("(task {task}) failed container health checks.")
}

/// Why a task was stopped that its service needs no more.
pub fn scaling_reason(deployment: &str) -> String {
    format!("Scaling activity initiated by (deployment {deployment})")
}

/// Why a task was stopped that its load balancer found unhealthy.
pub fn unhealthy_reason(target_group_arn: &str) -> String {
    format!("{FAILED_ELB_CHECKS} (target-group {target_group_arn})")
}
