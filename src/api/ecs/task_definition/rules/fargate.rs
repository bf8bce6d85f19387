//! What Fargate asks beyond the rest: a size of its table, an execution role for what the agent does on the task's
//! behalf, and nothing of the host.

use crate::api::ecs::task_definition::rules::{containers, requires};
use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::size;

type Request = wire::RegisterTaskDefinitionRequest;

pub fn all(input: &Request) -> Result<(), ApiError> {
    if !requires(input, "FARGATE") {
        return Ok(());
    }
    task_size(input)?;
    execution_role(input)?;
    nothing_of_the_host(input)
}

fn task_size(input: &Request) -> Result<(), ApiError> {
    let needed = |what| ApiError::client(format!("Fargate requires that '{what}' be defined at the task level."));
    let cpu = input.cpu.as_deref().ok_or_else(|| needed("cpu"))?;
    let memory = input.memory.as_deref().ok_or_else(|| needed("memory"))?;
    let sizes = size::cpu_units(cpu).and_then(size::fargate_memory_mib);
    let fits = sizes.zip(size::memory_mib(memory)).is_some_and(|(sizes, mib)| sizes.contains(&mib));
    if !fits {
        return Err(ApiError::client("No Fargate configuration exists for given values."));
    }
    if let Some(storage) = &input.ephemeral_storage
        && !(21..=200).contains(&storage.size_in_gi_b.unwrap_or(0))
    {
        return Err(ApiError::client("ephemeralStorage.sizeInGiB must be between 21 and 200."));
    }
    Ok(())
}

fn execution_role(input: &Request) -> Result<(), ApiError> {
    if input.execution_role_arn.as_deref().is_some_and(|role| !role.is_empty()) {
        return Ok(());
    }
    for container in containers(input) {
        let log = container.log_configuration.as_ref();
        let what = if container.image.as_deref().is_some_and(|image| image.contains(".dkr.ecr.")) {
            "ECR images"
        } else if log.is_some_and(|log| log.log_driver.as_deref() == Some("awslogs")) {
            "log driver awslogs"
        } else if container.secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()) {
            return Err(ApiError::client(
                "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
            ));
        } else {
            continue;
        };
        return Err(ApiError::client(format!(
            "Fargate requires task definition to have execution role ARN to support {what}."
        )));
    }
    Ok(())
}

fn nothing_of_the_host(input: &Request) -> Result<(), ApiError> {
    let unsupported =
        |what: &str| Err(ApiError::client(format!("Fargate compatible task definitions do not support {what}")));
    for volume in input.volumes.iter().flatten() {
        if volume.host.as_ref().is_some_and(|host| host.source_path.is_some()) {
            return Err(ApiError::client("host.sourcePath should not be set for volumes in Fargate."));
        }
        if volume.docker_volume_configuration.is_some() {
            return unsupported("dockerVolumeConfiguration");
        }
    }
    if input.placement_constraints.as_ref().is_some_and(|constraints| !constraints.is_empty()) {
        return unsupported("placement constraints");
    }
    if input.pid_mode.as_deref() == Some("host") {
        return unsupported("pidMode 'host'");
    }
    if input.ipc_mode.is_some() {
        return unsupported("ipcMode");
    }
    if input.inference_accelerators.as_ref().is_some_and(|devices| !devices.is_empty()) {
        return unsupported("inference accelerators");
    }
    for container in containers(input) {
        if container.privileged == Some(true) {
            return unsupported("privileged");
        }
        if container.docker_security_options.as_ref().is_some_and(|options| !options.is_empty()) {
            return unsupported("dockerSecurityOptions");
        }
        if container.resource_requirements.iter().flatten().any(|need| need.r#type.as_deref() == Some("GPU")) {
            return unsupported("GPU resource requirements");
        }
        let Some(linux) = &container.linux_parameters else { continue };
        if linux.devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
            return unsupported("devices");
        }
        if linux.shared_memory_size.is_some() {
            return unsupported("sharedMemorySize");
        }
        if linux.tmpfs.as_ref().is_some_and(|mounts| !mounts.is_empty()) {
            return unsupported("tmpfs");
        }
        let added = linux.capabilities.as_ref().and_then(|capabilities| capabilities.add.as_deref());
        if added.unwrap_or_default().iter().any(|capability| capability != "SYS_PTRACE") {
            return unsupported("adding Linux capabilities other than SYS_PTRACE");
        }
    }
    Ok(())
}
