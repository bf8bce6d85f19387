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

/// The ports of this machine that tasks of the definition ask for by number.
pub fn of_machine(request: &RegisterTaskDefinitionRequest) -> Vec<i32> {
    let mode = request.network_mode.as_deref();
    if matches!(mode, Some("awsvpc" | "none")) {
        return Vec::new();
    }
    let mappings = request.container_definitions.iter().flatten().flat_map(|of| of.port_mappings.iter().flatten());
    let asked = mappings.filter_map(|of| if mode == Some("host") { of.container_port } else { of.host_port });
    asked.filter(|port| *port != 0).collect()
}

/// The ports that the definition maps and that speak HTTP, in its order; and a line for each that does not. A handler
/// speaks nothing else. What a program speaks only its `appProtocol` says: behind a load balancer that looks for HTTP, a
/// program that does not speak it would be replaced for ever.
pub fn served(request: &RegisterTaskDefinitionRequest, kinds: &[GuestKind]) -> (Vec<Served>, Vec<String>) {
    let (mut served, mut lines) = (Vec::new(), Vec::new());
    for (container, kind) in request.container_definitions.iter().flatten().zip(kinds) {
        let name = container.name.clone().unwrap_or_default();
        for mapping in container.port_mappings.iter().flatten() {
            let (Some(port), "tcp") = (mapping.container_port, mapping.protocol.as_deref().unwrap_or("tcp")) else {
                continue;
            };
            if *kind == GuestKind::Handler || mapping.app_protocol.is_some() {
                served.push(Served { container: name.clone(), port });
            } else {
                lines.push(format!(
                    "container {name}: a program, so port {port} is open at each task's own address (`coracle ps`); \
                     with \"appProtocol\": \"http\" it is served through a load balancer"
                ));
            }
        }
    }
    (served, lines)
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
        assert_eq!(served(&request, &kinds).0, [pair("web", 80), pair("api", 81)]);
    }

    #[test]
    fn mapped_ports_stay_as_they_are() {
        let mut request =
            request(json!([{"name": "web", "image": "nginx", "portMappings": [{"containerPort": 8080}]}]));
        assert!(assign(&mut request, &[GuestKind::Handler]).is_empty());
        assert_eq!(served(&request, &[GuestKind::Handler]).0[0].port, 8080);
    }

    #[test]
    fn a_program_is_served_where_it_says_that_it_speaks_http() {
        let request = request(json!([{"name": "echo", "image": "echo", "portMappings": [
            {"containerPort": 7}, {"containerPort": 7, "protocol": "udp"}, {"containerPort": 80, "appProtocol": "http"}
        ]}]));
        let (served, lines) = served(&request, &[GuestKind::Program]);
        assert_eq!(served, [Served { container: String::from("echo"), port: 80 }]);
        assert!(lines.len() == 1 && lines[0].contains("port 7 "), "{lines:?}");
    }
}
