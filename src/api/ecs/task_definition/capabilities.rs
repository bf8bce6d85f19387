//! What a definition can run on, computed as ECS does: `compatibilities` and `requiresAttributes`.

use serde_json::Value;

use crate::api::wire::ecs as wire;
use crate::model::size;
use crate::model::task_definition::{NetworkMode, TaskDocument};

/// The launch types that the definition fits, whether it asked for them or not.
pub fn compatibilities(document: &TaskDocument) -> Vec<String> {
    let mut fits = Vec::new();
    if document.network_mode != Some(NetworkMode::Awsvpc) {
        fits.push("EXTERNAL");
    }
    fits.push("EC2");
    if fits_fargate(document) {
        fits.push("FARGATE");
    }
    if document.requires_compatibilities.iter().any(|asked| asked == "MANAGED_INSTANCES") {
        fits.push("MANAGED_INSTANCES");
    }
    fits.into_iter().map(String::from).collect()
}

pub fn fits_fargate(document: &TaskDocument) -> bool {
    let size_fits = match (document.cpu_units(), document.memory_mib()) {
        (Some(cpu), Some(memory)) => size::fargate_memory_mib(cpu).is_some_and(|sizes| sizes.contains(&memory)),
        _ => false,
    };
    let privileged = |container: &crate::model::ContainerDefinition| {
        container.other.get("privileged").and_then(Value::as_bool) == Some(true)
    };
    document.network_mode == Some(NetworkMode::Awsvpc)
        && size_fits
        && !document.container_definitions.iter().any(privileged)
}

/// The attributes that a container instance must have, in ECS's names.
pub fn required(document: &TaskDocument) -> Vec<wire::Attribute> {
    let mut names: Vec<String> = Vec::new();
    let mut need = |name: &str| {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    let has = |name: &str| document.other.contains_key(name);
    for container in &document.container_definitions {
        if let Some(driver) = container.other.get("logConfiguration").and_then(|log| log["logDriver"].as_str()) {
            need(&format!("com.amazonaws.ecs.capability.logging-driver.{driver}"));
            if driver == "awslogs" && has("executionRoleArn") {
                need("ecs.capability.execution-role-awslogs");
            }
        }
        if container.image.contains(".dkr.ecr.") {
            need("com.amazonaws.ecs.capability.ecr-auth");
            if has("executionRoleArn") {
                need("ecs.capability.execution-role-ecr-pull");
            }
        }
        for secret in container.other.get("secrets").and_then(Value::as_array).into_iter().flatten() {
            let is_secret = secret["valueFrom"].as_str().is_some_and(|from| from.contains(":secretsmanager:"));
            need(match is_secret {
                true => "ecs.capability.secrets.asm.environment-variables",
                false => "ecs.capability.secrets.ssm.environment-variables",
            });
        }
        if container.other.get("environmentFiles").and_then(Value::as_array).is_some_and(|files| !files.is_empty()) {
            need("ecs.capability.env-files.s3");
        }
        if container.other.contains_key("healthCheck") {
            need("ecs.capability.container-health-check");
        }
        if container.other.contains_key("dependsOn") {
            need("ecs.capability.container-ordering");
        }
        if container.other.get("privileged").and_then(Value::as_bool) == Some(true) {
            need("com.amazonaws.ecs.capability.privileged-container");
        }
    }
    if has("taskRoleArn") {
        need("com.amazonaws.ecs.capability.task-iam-role");
    }
    if document.network_mode == Some(NetworkMode::Awsvpc) {
        need("ecs.capability.task-eni");
    }
    need("com.amazonaws.ecs.capability.docker-remote-api.1.18");
    names.into_iter().map(|name| wire::Attribute { name: Some(name), ..wire::Attribute::default() }).collect()
}
