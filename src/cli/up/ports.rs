//! Which ports of a definition are served. Where it maps none, the first essential handler is served on port 80, others
//! from 81.

use crate::api::wire::ecs::{PortMapping, RegisterTaskDefinitionRequest};
use crate::runtime::GuestKind;

/// Ports that handlers get where the definition maps none.
const FIRST_PORT: i32 = 80;

/// A container's port that is to be reached through the load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub container: String,
    pub port: i32,
}

/// Maps ports for handlers where nothing is mapped; returns a line for each that says so. `kinds` are those of the
/// containers, in their order.
pub fn assign(request: &mut RegisterTaskDefinitionRequest, kinds: &[GuestKind]) -> Vec<String> {
    let containers = request.container_definitions.as_deref_mut().unwrap_or_default();
    let is_mapped =
        containers.iter().any(|container| container.port_mappings.as_ref().is_some_and(|ports| !ports.is_empty()));
    if is_mapped {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut port = FIRST_PORT;
    for (container, kind) in containers.iter_mut().zip(kinds) {
        if *kind != GuestKind::Handler || container.essential == Some(false) {
            continue;
        }
        container.port_mappings = Some(vec![PortMapping {
            container_port: Some(port),
            protocol: Some(String::from("tcp")),
            ..PortMapping::default()
        }]);
        lines.push(format!(
            "container {}: no portMappings, so its handler is served on port {port}",
            container.name.as_deref().unwrap_or_default()
        ));
        port += 1;
    }
    lines
}

/// The TCP ports that the definition maps, in its order.
pub fn served(request: &RegisterTaskDefinitionRequest) -> Vec<Served> {
    let mut served = Vec::new();
    for container in request.container_definitions.iter().flatten() {
        for mapping in container.port_mappings.iter().flatten() {
            if let (Some(port), "tcp") = (mapping.container_port, mapping.protocol.as_deref().unwrap_or("tcp")) {
                served.push(Served { container: container.name.clone().unwrap_or_default(), port });
            }
        }
    }
    served
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(containers: serde_json::Value) -> RegisterTaskDefinitionRequest {
        serde_json::from_value(json!({"family": "f", "containerDefinitions": containers})).unwrap()
    }

    #[test]
    fn handlers_get_ports_from_80_where_nothing_is_mapped() {
        let mut request = request(json!([
            {"name": "job", "image": "batch"}, {"name": "web", "image": "nginx"},
            {"name": "side", "image": "nginx", "essential": false}, {"name": "api", "image": "hello"}
        ]));
        let kinds = [GuestKind::Program, GuestKind::Handler, GuestKind::Handler, GuestKind::Handler];
        assert_eq!(assign(&mut request, &kinds).len(), 2);
        let pair = |container: &str, port| Served { container: container.to_owned(), port };
        assert_eq!(served(&request), [pair("web", 80), pair("api", 81)]);
    }

    #[test]
    fn mapped_ports_stay_as_they_are() {
        let mut request =
            request(json!([{"name": "web", "image": "nginx", "portMappings": [{"containerPort": 8080}]}]));
        assert!(assign(&mut request, &[GuestKind::Handler]).is_empty());
        assert_eq!(served(&request)[0].port, 8080);
    }
}
