//! Rules on the containers of a definition.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::api::ecs::task_definition::rules::{containers, requires};
use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::{ResourceName, size};

type Request = wire::RegisterTaskDefinitionRequest;
type Checked = Result<(), ApiError>;

/// The least memory of a container, in MiB (Docker's, and so ECS's).
pub const MEMORY_MIB_MIN: u32 = 6;
/// Port mappings of one container, and the longest range of one (service quota: 100 ports in a range).
const PORT_MAPPINGS_MAX: usize = 100;

fn name_of(container: &wire::ContainerDefinition) -> &str {
    container.name.as_deref().unwrap_or_default()
}

/// ECS's form for a wrong setting of one container.
fn invalid(container: &wire::ContainerDefinition, why: impl std::fmt::Display) -> ApiError {
    ApiError::client(format!("Invalid setting for container '{}'. {why}", name_of(container)))
}

fn within(
    container: &wire::ContainerDefinition,
    what: &str,
    value: Option<i32>,
    range: RangeInclusive<i32>,
) -> Checked {
    match value {
        Some(value) if !range.contains(&value) => Err(invalid(
            container,
            format_args!("'{what}' is {value}; it must be between {} and {}.", range.start(), range.end()),
        )),
        _ => Ok(()),
    }
}

pub fn names(input: &Request) -> Checked {
    let mut seen = BTreeSet::new();
    for container in containers(input) {
        let name = name_of(container);
        if name.is_empty() {
            return Err(ApiError::client("Container.name should not be null or empty."));
        }
        if name.parse::<ResourceName>().is_err() {
            return Err(ApiError::client(format!(
                "Container.name contains invalid characters. ({name}): up to 255 letters (uppercase and lowercase), numbers, underscores, and hyphens are allowed."
            )));
        }
        if !seen.insert(name) {
            return Err(ApiError::client(format!("Container names must be unique in a task definition. ({name})")));
        }
    }
    Ok(())
}

pub fn images(input: &Request) -> Checked {
    for container in containers(input) {
        let image = container.image.as_deref().unwrap_or_default();
        if image.is_empty() {
            return Err(ApiError::client("Container.image should not be null or empty."));
        }
        // A file of this machine may have any name.
        let is_valid = image.starts_with("file://")
            || (image.len() <= 255 + 128 && image.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:/@#+".contains(c)));
        if !is_valid {
            return Err(ApiError::client(format!("Container.image contains invalid characters. ({image})")));
        }
    }
    Ok(())
}

pub fn an_essential_one(input: &Request) -> Checked {
    if containers(input).iter().any(|container| container.essential != Some(false)) {
        return Ok(());
    }
    Err(ApiError::client("A task definition must have at least one essential container."))
}

pub fn ports(input: &Request) -> Checked {
    let mode = input.network_mode.as_deref();
    let (mut names, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for container in containers(input) {
        let mappings = container.port_mappings.as_deref().unwrap_or_default();
        if mappings.len() > PORT_MAPPINGS_MAX {
            return Err(invalid(container, format_args!("It has more than {PORT_MAPPINGS_MAX} port mappings.")));
        }
        for mapping in mappings {
            within(container, "containerPort", mapping.container_port, 1..=65535)?;
            within(container, "hostPort", mapping.host_port, 0..=65535)?;
            match (mapping.container_port, mapping.container_port_range.as_deref()) {
                (Some(_), Some(_)) => {
                    return Err(invalid(container, "containerPort and containerPortRange cannot both be specified."));
                }
                (None, None) => {
                    return Err(invalid(container, "A port mapping needs containerPort or containerPortRange."));
                }
                (None, Some(range)) => port_range(container, range)?,
                (Some(port), None) => {
                    let shares_address = matches!(mode, Some("awsvpc" | "host"));
                    if shares_address && mapping.host_port.is_some_and(|host| host != port && host != 0) {
                        return Err(ApiError::client(format!(
                            "When networkMode={}, the host ports and container ports in port mappings must match.",
                            mode.unwrap_or_default()
                        )));
                    }
                    let protocol = mapping.protocol.as_deref().unwrap_or("tcp");
                    if shares_address && !taken.insert((port, protocol)) {
                        return Err(invalid(container, format_args!("Port {port}/{protocol} is mapped twice.")));
                    }
                }
            }
            if let Some(name) = mapping.name.as_deref()
                && !names.insert(name)
            {
                return Err(invalid(container, format_args!("The port mapping name '{name}' is used twice.")));
            }
        }
    }
    Ok(())
}

fn port_range(container: &wire::ContainerDefinition, range: &str) -> Checked {
    let bounds =
        range.split_once('-').and_then(|(from, to)| Some((from.parse::<u16>().ok()?, to.parse::<u16>().ok()?)));
    match bounds {
        Some((from, to)) if from > 0 && from <= to && usize::from(to - from) < PORT_MAPPINGS_MAX => Ok(()),
        _ => Err(invalid(
            container,
            format_args!("containerPortRange '{range}' must be FROM-TO with at most {PORT_MAPPINGS_MAX} ports."),
        )),
    }
}

pub fn links(input: &Request) -> Checked {
    for container in containers(input) {
        for link in container.links.iter().flatten() {
            let target = link.split(':').next().unwrap_or_default();
            let is_other =
                target != name_of(container) && containers(input).iter().any(|other| name_of(other) == target);
            if !is_other {
                return Err(ApiError::client(format!("Invalid link {link}")));
            }
        }
    }
    Ok(())
}

pub fn sizes(input: &Request) -> Checked {
    let task_memory = input.memory.as_deref().and_then(size::memory_mib);
    let task_cpu = input.cpu.as_deref().and_then(size::cpu_units);
    let mut cpu_sum = 0i64;
    for container in containers(input) {
        within(container, "cpu", container.cpu, 0..=i32::MAX)?;
        cpu_sum += i64::from(container.cpu.unwrap_or(0));
        if task_memory.is_none() && container.memory.is_none() && container.memory_reservation.is_none() {
            return Err(invalid(container, "At least one of 'memory' or 'memoryReservation' must be specified."));
        }
        let least = i32::try_from(MEMORY_MIB_MIN).unwrap_or(i32::MAX);
        within(container, "memory", container.memory, least..=i32::MAX)?;
        within(container, "memoryReservation", container.memory_reservation, least..=i32::MAX)?;
        if let (Some(hard), Some(soft)) = (container.memory, container.memory_reservation)
            && soft > hard
        {
            return Err(invalid(container, "'memory' must be greater than 'memoryReservation'."));
        }
        for (what, value) in [("memory", container.memory), ("memoryReservation", container.memory_reservation)] {
            if let (Some(value), Some(limit)) = (value, task_memory)
                && i64::from(value) > i64::from(limit)
            {
                return Err(ApiError::client(format!(
                    "The '{what}' setting for container is greater than for the task. (container '{}': {value}, task: {limit})",
                    name_of(container)
                )));
            }
        }
    }
    if let Some(limit) = task_cpu
        && cpu_sum > i64::from(limit)
    {
        return Err(ApiError::client(format!(
            "Invalid 'cpu' setting for task because it is less than the sum of container(s) 'cpu' setting values. ({limit} < {cpu_sum})"
        )));
    }
    Ok(())
}

pub fn timeouts(input: &Request) -> Checked {
    let range = if requires(input, "FARGATE") { 2..=120 } else { 2..=i32::MAX };
    for container in containers(input) {
        within(container, "startTimeout", container.start_timeout, range.clone())?;
        let stop = if requires(input, "FARGATE") { 2..=120 } else { 0..=i32::MAX };
        within(container, "stopTimeout", container.stop_timeout, stop)?;
    }
    Ok(())
}

pub fn health_checks(input: &Request) -> Checked {
    for container in containers(input) {
        let Some(check) = &container.health_check else { continue };
        let command = check.command.as_deref().unwrap_or_default();
        match command.first().map(String::as_str) {
            Some("CMD" | "CMD-SHELL") if command.len() > 1 => {}
            Some("NONE") => {}
            // The old form: a bare string is run by the shell.
            Some(first) if command.len() == 1 && !first.is_empty() => {}
            _ => return Err(invalid(container, "healthCheck.command must begin with CMD, CMD-SHELL or NONE.")),
        }
        within(container, "healthCheck.interval", check.interval, 5..=300)?;
        within(container, "healthCheck.timeout", check.timeout, 2..=120)?;
        within(container, "healthCheck.retries", check.retries, 1..=10)?;
        within(container, "healthCheck.startPeriod", check.start_period, 0..=300)?;
    }
    Ok(())
}

pub fn log_drivers(input: &Request) -> Checked {
    for container in containers(input) {
        let Some(log) = &container.log_configuration else { continue };
        if log.log_driver.as_deref() != Some("awslogs") {
            continue;
        }
        let options = log.options.clone().unwrap_or_default();
        let needed: &[&str] = match requires(input, "FARGATE") {
            true => &["awslogs-group", "awslogs-region", "awslogs-stream-prefix"],
            false => &["awslogs-group"],
        };
        if needed.iter().any(|option| !options.contains_key(*option)) {
            return Err(ApiError::client(format!("Log driver awslogs requires options: {}", needed.join(", "))));
        }
    }
    Ok(())
}

pub fn dependencies(input: &Request) -> Checked {
    let by_name: BTreeMap<&str, &wire::ContainerDefinition> =
        containers(input).iter().map(|container| (name_of(container), container)).collect();
    for container in containers(input) {
        for dependency in container.depends_on.iter().flatten() {
            let wanted = dependency.container_name.as_deref().unwrap_or_default();
            let Some(other) = by_name.get(wanted) else {
                // As ECS writes it.
                return Err(ApiError::client(format!(
                    "Cannot depend on container + '{wanted}' because it does not exist"
                )));
            };
            match dependency.condition.as_deref().unwrap_or_default() {
                "COMPLETE" | "SUCCESS" if other.essential != Some(false) => {
                    return Err(ApiError::client(
                        "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
                    ));
                }
                "HEALTHY" if !is_checked(other) => {
                    return Err(ApiError::client(
                        "A dependency container with HEALTHY condition must have health check configured",
                    ));
                }
                "START" | "COMPLETE" | "SUCCESS" | "HEALTHY" => {}
                condition => {
                    return Err(invalid(container, format_args!("'{condition}' is no condition of a dependency.")));
                }
            }
        }
    }
    no_cycle(&by_name)
}

/// `NONE` is no check.
fn is_checked(container: &wire::ContainerDefinition) -> bool {
    let command = container.health_check.as_ref().and_then(|check| check.command.as_ref());
    command.is_some_and(|command| command.first().is_some_and(|first| first != "NONE"))
}

/// Takes away, again and again, what waits for nothing that is left; what remains is a cycle. Links and the volumes of
/// others imply an order too.
fn no_cycle(by_name: &BTreeMap<&str, &wire::ContainerDefinition>) -> Checked {
    let mut left = by_name.clone();
    loop {
        let names: BTreeSet<&str> = left.keys().copied().collect();
        let before = left.len();
        left.retain(|_, container| waits_for(container).any(|name| names.contains(name)));
        match left.values().next() {
            None => return Ok(()),
            Some(_) if left.len() < before => {}
            Some(container) if container.links.as_ref().is_some_and(|links| !links.is_empty()) => {
                return Err(ApiError::client("Container links should not have a cycle"));
            }
            Some(container) => {
                let name = name_of(container);
                return Err(ApiError::client(format!("Container dependencies should not have a cycle ({name})")));
            }
        }
    }
}

/// The containers that are to be there before this one.
fn waits_for(container: &wire::ContainerDefinition) -> impl Iterator<Item = &str> {
    let depends = container.depends_on.iter().flatten().filter_map(|on| on.container_name.as_deref());
    let links = container.links.iter().flatten().filter_map(|link| link.split(':').next());
    let volumes = container.volumes_from.iter().flatten().filter_map(|from| from.source_container.as_deref());
    depends.chain(links).chain(volumes)
}

pub fn restart_policies(input: &Request) -> Checked {
    for container in containers(input) {
        let Some(policy) = &container.restart_policy else { continue };
        within(container, "restartPolicy.restartAttemptPeriod", policy.restart_attempt_period, 60..=1800)?;
        if policy.ignored_exit_codes.as_ref().is_some_and(|codes| codes.len() > 50) {
            return Err(invalid(container, "restartPolicy.ignoredExitCodes: at most 50 exit codes are allowed."));
        }
    }
    Ok(())
}
