//! ECS's own limits on a definition, of which the service model says little: one table of rules, in ECS's order and with
//! ECS's texts where they are known. The first that is broken is the answer.

pub mod container;
pub mod fargate;
pub mod secret;
pub mod volume;

use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::{Family, size};

type Request = wire::RegisterTaskDefinitionRequest;
type Rule = fn(&Request) -> Result<(), ApiError>;

/// Containers of one definition (service quota).
const CONTAINERS_MAX: usize = 10;
/// Bytes of a definition (service quota: 64 KiB).
const DEFINITION_BYTES_MAX: usize = 64 << 10;

const RULES: &[Rule] = &[
    family,
    containers_counted,
    size_of_definition,
    container::names,
    container::images,
    container::an_essential_one,
    volume::volumes,
    network_mode,
    container::ports,
    container::links,
    task_size,
    container::sizes,
    container::timeouts,
    container::health_checks,
    container::log_drivers,
    secret::environment_files,
    secret::secrets,
    container::dependencies,
    container::restart_policies,
    roles,
    fargate::all,
];

pub fn check(input: &Request) -> Result<(), ApiError> {
    RULES.iter().try_for_each(|rule| rule(input))
}

pub fn family_invalid() -> ApiError {
    ApiError::client(
        "Family contains invalid characters. Up to 255 letters (uppercase and lowercase), numbers, underscores, and hyphens are allowed.",
    )
}

fn family(input: &Request) -> Result<(), ApiError> {
    match input.family.as_deref() {
        None | Some("") => Err(ApiError::client("Family should not be null or empty.")),
        Some(name) => name.parse::<Family>().map(drop).map_err(|_| family_invalid()),
    }
}

pub fn containers(input: &Request) -> &[wire::ContainerDefinition] {
    input.container_definitions.as_deref().unwrap_or_default()
}

fn containers_counted(input: &Request) -> Result<(), ApiError> {
    match containers(input).len() {
        0 => Err(ApiError::client("Container list cannot be empty.")),
        count if count > CONTAINERS_MAX => Err(ApiError::client(format!(
            "Too many containers: a task definition can have at most {CONTAINERS_MAX}, this one has {count}."
        ))),
        _ => Ok(()),
    }
}

fn size_of_definition(input: &Request) -> Result<(), ApiError> {
    let bytes = serde_json::to_vec(input).map_or(0, |text| text.len());
    if bytes > DEFINITION_BYTES_MAX {
        return Err(ApiError::client(format!(
            "Task definition too large: it has {bytes} bytes, at most {DEFINITION_BYTES_MAX} are allowed."
        )));
    }
    Ok(())
}

/// Whether the definition asks for this launch type.
pub fn requires(input: &Request, launch_type: &str) -> bool {
    input.requires_compatibilities.iter().flatten().any(|asked| asked == launch_type)
}

fn network_mode(input: &Request) -> Result<(), ApiError> {
    let mode = input.network_mode.as_deref();
    if requires(input, "FARGATE") && mode != Some("awsvpc") {
        return Err(ApiError::client("Fargate only supports network mode 'awsvpc'."));
    }
    if requires(input, "EXTERNAL") && mode == Some("awsvpc") {
        return Err(ApiError::client("External only supports network modes 'bridge', 'host' and 'none'."));
    }
    for container in containers(input) {
        let name = container.name.as_deref().unwrap_or_default();
        let maps_ports = container.port_mappings.as_ref().is_some_and(|mappings| !mappings.is_empty());
        if mode == Some("none") && maps_ports {
            return Err(ApiError::client(format!(
                "Invalid setting for container '{name}'. Port mappings are not allowed when networkMode=none."
            )));
        }
        if mode == Some("awsvpc") {
            if container.links.as_ref().is_some_and(|links| !links.is_empty()) {
                return Err(ApiError::client("Links are not supported when networkMode=awsvpc."));
            }
            if container.hostname.is_some() {
                return Err(ApiError::client("Hostname is not supported when networkMode=awsvpc."));
            }
            if container.disable_networking == Some(true) {
                return Err(ApiError::client("disableNetworking is not supported when networkMode=awsvpc."));
            }
        }
    }
    Ok(())
}

/// The task's own size: the form, and the range of EC2. Fargate's table has a rule of its own.
fn task_size(input: &Request) -> Result<(), ApiError> {
    if let Some(text) = input.cpu.as_deref() {
        let units = size::cpu_units(text);
        let fits = units.is_some_and(|units| requires(input, "FARGATE") || size::CPU_UNITS.contains(&units));
        if !fits {
            return Err(ApiError::client(format!(
                "Invalid 'cpu' setting for task. '{text}' must be 128 to 196608 CPU units, or a number of vCPUs such as '1 vCPU'."
            )));
        }
    }
    if let Some(text) = input.memory.as_deref()
        && size::memory_mib(text).is_none_or(|mib| mib < container::MEMORY_MIB_MIN)
    {
        return Err(ApiError::client(format!(
            "Invalid 'memory' setting for task. '{text}' must be a number of MiB, or a number of GB such as '1 GB'."
        )));
    }
    Ok(())
}

fn roles(input: &Request) -> Result<(), ApiError> {
    for role in [input.execution_role_arn.as_deref(), input.task_role_arn.as_deref()].into_iter().flatten() {
        if !is_role(role) {
            return Err(ApiError::client("Role is not valid"));
        }
    }
    Ok(())
}

/// A role's name, or `arn:PARTITION:iam::ACCOUNT:role/PATH`.
fn is_role(text: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c));
    match text.strip_prefix("arn:") {
        None => text.is_empty() || is_name(text),
        Some(rest) => {
            let mut parts = rest.splitn(5, ':');
            let _partition = parts.next();
            let is_iam = parts.next() == Some("iam") && parts.next() == Some("");
            let has_account =
                parts.next().is_some_and(|account| account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()));
            is_iam && has_account && parts.next().and_then(|role| role.strip_prefix("role/")).is_some_and(is_name)
        }
    }
}

#[cfg(test)]
mod tests;
