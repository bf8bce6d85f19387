//! The defaults that ECS fills in when a definition is registered, and so gives back. A client that compares what it
//! sent with what it reads (Terraform) sees a difference for ever where one is missing.

use crate::api::wire::ecs as wire;
use crate::model::size;

/// Defaults of a container's health check, in seconds; from the API reference of `HealthCheck`.
const HEALTH_INTERVAL: i32 = 30;
const HEALTH_TIMEOUT: i32 = 5;
const HEALTH_RETRIES: i32 = 3;

pub fn fill_defaults(input: &mut wire::RegisterTaskDefinitionRequest) {
    input.volumes.get_or_insert_default();
    input.placement_constraints.get_or_insert_default();
    // Sizes come back as plain numbers, however they were written.
    if let Some(units) = input.cpu.as_deref().and_then(size::cpu_units) {
        input.cpu = Some(units.to_string());
    }
    if let Some(mib) = input.memory.as_deref().and_then(size::memory_mib) {
        input.memory = Some(mib.to_string());
    }
    let network_mode = input.network_mode.clone();
    for container in input.container_definitions.iter_mut().flatten() {
        fill_container(container, network_mode.as_deref());
    }
}

fn fill_container(container: &mut wire::ContainerDefinition, network_mode: Option<&str>) {
    container.cpu.get_or_insert(0);
    container.essential.get_or_insert(true);
    container.environment.get_or_insert_default();
    container.mount_points.get_or_insert_default();
    container.volumes_from.get_or_insert_default();
    container.system_controls.get_or_insert_default();
    for mapping in container.port_mappings.get_or_insert_default() {
        mapping.protocol.get_or_insert_with(|| String::from("tcp"));
        match network_mode {
            // One address for each task, or the node's own: the port on both sides is the same.
            Some("awsvpc" | "host") => mapping.host_port = mapping.host_port.or(mapping.container_port),
            // A free port of the node, chosen at the start.
            _ if mapping.container_port.is_some() => {
                mapping.host_port.get_or_insert(0);
            }
            _ => {}
        }
    }
    if let Some(check) = &mut container.health_check {
        check.interval.get_or_insert(HEALTH_INTERVAL);
        check.timeout.get_or_insert(HEALTH_TIMEOUT);
        check.retries.get_or_insert(HEALTH_RETRIES);
    }
}
