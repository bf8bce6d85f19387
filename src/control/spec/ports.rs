//! The ports of a container, from its port mappings.

use crate::control::spec::invalid;
use crate::model::TaskDefinition;
use crate::model::exit::StartFailure;
use crate::model::task_definition::{ContainerDefinition, NetworkMode, PortMapping};
use crate::network::Protocol;
use crate::runtime::HostPorts;

/// ECS's limit of the ports of one `containerPortRange`.
const PORT_RANGE_MAX: u16 = 100;

pub fn of(container: &ContainerDefinition) -> Result<Vec<(u16, Protocol)>, StartFailure> {
    let mut ports = Vec::new();
    for mapping in &container.port_mappings {
        let protocol = Protocol::parse(&mapping.protocol).ok_or_else(|| {
            invalid(container, format!("the protocol '{}' of a port mapping is neither tcp nor udp", mapping.protocol))
        })?;
        let range = range(mapping)
            .ok_or_else(|| invalid(container, String::from("a port mapping names no port, or no range of ports")))?;
        ports.extend(range.map(|port| (port, protocol)));
    }
    Ok(ports)
}

/// What the mappings ask of this machine: a port each in `bridge` mode, where none is named any that is free; the same port
/// in `host` mode. An `awsvpc` task has its own address instead.
pub fn on_host(definition: &TaskDefinition, container: &ContainerDefinition) -> Vec<HostPorts> {
    let mode = definition.document.network_mode();
    if matches!(mode, NetworkMode::Awsvpc | NetworkMode::None) {
        return Vec::new();
    }
    let mut ports = Vec::new();
    for mapping in &container.port_mappings {
        // They were read before: what is wrong with them was said then.
        let (Some(protocol), Some(range)) = (Protocol::parse(&mapping.protocol), range(mapping)) else { continue };
        let container_port = *range.start();
        let host_port = match mode {
            NetworkMode::Host => Some(container_port),
            _ => mapping.host_port.filter(|port| *port != 0),
        };
        ports.push(HostPorts { container_port, count: range.end() - range.start() + 1, protocol, host_port });
    }
    ports
}

fn range(mapping: &PortMapping) -> Option<std::ops::RangeInclusive<u16>> {
    if let Some(port) = mapping.container_port {
        return Some(port..=port);
    }
    let (from, to) = mapping.container_port_range.as_deref()?.split_once('-')?;
    let (from, to): (u16, u16) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (from <= to && to - from < PORT_RANGE_MAX).then_some(from..=to)
}
