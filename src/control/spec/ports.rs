//! The ports of a container, from its port mappings.

use crate::control::spec::invalid;
use crate::model::exit::StartFailure;
use crate::model::task_definition::{ContainerDefinition, PortMapping};
use crate::network::Protocol;

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

fn range(mapping: &PortMapping) -> Option<std::ops::RangeInclusive<u16>> {
    if let Some(port) = mapping.container_port {
        return Some(port..=port);
    }
    let (from, to) = mapping.container_port_range.as_deref()?.split_once('-')?;
    let (from, to): (u16, u16) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (from <= to && to - from < PORT_RANGE_MAX).then_some(from..=to)
}
