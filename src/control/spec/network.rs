//! What tasks may reach, from the operator's settings and from what each task was asked for with; and by which names.

use std::net::IpAddr;

use serde_json::Value;

use crate::control::spec::invalid;
use crate::model::exit::StartFailure;
use crate::model::settings::{Outside, Settings};
use crate::model::task_definition::ContainerDefinition;
use crate::model::{Task, TaskDefinition};
use crate::network::{Address, Groups, MACHINE, MachinePorts, Policy, RuleError};
use crate::runtime::Names;

/// The network part of the settings, read once.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    outside: Outside,
    machine_ports: MachinePorts,
    groups: Groups,
}

impl Reach {
    pub fn compile(settings: &Settings) -> Result<Reach, RuleError> {
        Ok(Reach {
            outside: settings.network.outside,
            machine_ports: MachinePorts::compile(&settings.network.machine_ports)?,
            groups: Groups::compile(&settings.security_groups)?,
        })
    }

    /// What a task may reach beside other tasks, and the rules for all of it. Only `awsvpc` tasks name security groups and
    /// may have a public address; others go outside where the operator lets all.
    pub fn policy(&self, task: &Task) -> Policy {
        let interface = task.interface.as_ref();
        let outside = match self.outside {
            Outside::Always => true,
            Outside::Never => false,
            Outside::AssignPublicIp => interface.is_some_and(|interface| interface.assign_public_ip),
        };
        let groups = interface.map_or(&[][..], |interface| &interface.security_groups);
        Policy { outside, machine_ports: self.machine_ports.clone(), rules: self.groups.choose(groups) }
    }
}

/// The names that a container knows: its own, those of `extraHosts`, and those of the task's containers, which all are at
/// the task's address. `links` give some of them other names.
pub fn names(
    definition: &TaskDefinition,
    container: &ContainerDefinition,
    address: &Address,
) -> Result<Names, StartFailure> {
    let mut hosts = Vec::new();
    for extra in items(container, "extraHosts") {
        let (name, ip) = (text(extra, "hostname"), text(extra, "ipAddress"));
        let ip = match ip.as_str() {
            // As container engines call the machine.
            "host-gateway" => Some(IpAddr::V4(MACHINE)),
            ip => ip.parse().ok(),
        };
        let ip = ip.ok_or_else(|| invalid(container, format!("extraHosts: '{name}' has no valid ipAddress")))?;
        hosts.push((name, ip));
    }
    let own = IpAddr::V4(address.ip());
    for link in items(container, "links") {
        // `NAME:ALIAS`, or `NAME` alone.
        let link = link.as_str().unwrap_or_default();
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        if definition.container(name).is_none() {
            return Err(invalid(container, format!("links: the task has no container '{name}'")));
        }
        hosts.push((alias.to_owned(), own));
    }
    hosts.extend(definition.document.container_definitions.iter().map(|other| (other.name.clone(), own)));
    let servers = items(container, "dnsServers").map(|server| {
        let server = server.as_str().unwrap_or_default();
        server.parse().map_err(|_| invalid(container, format!("dnsServers: '{server}' is not an address")))
    });
    let search = items(container, "dnsSearchDomains").filter_map(Value::as_str).map(String::from);
    let hostname = container.other.get("hostname").and_then(Value::as_str).map(String::from);
    Ok(Names { hostname, hosts, servers: servers.collect::<Result<_, _>>()?, search: search.collect() })
}

fn items<'a>(container: &'a ContainerDefinition, member: &str) -> impl Iterator<Item = &'a Value> {
    container.other.get(member).and_then(Value::as_array).into_iter().flatten()
}

fn text(object: &Value, member: &str) -> String {
    object.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskId;
    use crate::model::task::NetworkInterface;
    use crate::network::Table;

    fn reach(json: &str) -> Result<Reach, RuleError> {
        Reach::compile(&Settings::parse(json.as_bytes()).unwrap())
    }

    fn task(assign_public_ip: bool) -> Task {
        let mut task = crate::control::tests::task(1);
        task.interface = Some(NetworkInterface {
            attachment_id: String::new(),
            interface_id: String::new(),
            subnet_id: String::new(),
            mac_address: String::new(),
            address: None,
            security_groups: vec![String::from("sg-1")],
            assign_public_ip,
        });
        task
    }

    #[test]
    fn the_operator_and_the_task_decide_together_who_goes_outside() {
        let outside = |settings: &str, task: &Task| reach(settings).unwrap().policy(task).outside;
        let bridged = crate::control::tests::task(2);
        for (settings, public, private, bridge) in [
            (r#"{}"#, true, false, false),
            (r#"{"network": {"outside": "always"}}"#, true, true, true),
            (r#"{"network": {"outside": "never"}}"#, false, false, false),
        ] {
            let found = (outside(settings, &task(true)), outside(settings, &task(false)), outside(settings, &bridged));
            assert_eq!(found, (public, private, bridge), "{settings}");
        }
        assert_eq!(reach("{}").unwrap().policy(&task(false)).rules.ids[..], [String::from("sg-1")]);
    }

    #[test]
    fn what_means_nothing_is_named() {
        let error = reach(r#"{"securityGroups": {"sg-1": {"egress": [{"protocol": "sctp", "peers": ["sg-2"]}]}}}"#);
        assert!(error.unwrap_err().to_string().starts_with("securityGroups.sg-1.egress[0].protocol: 'sctp'"));
    }

    #[test]
    fn a_container_knows_itself_its_hosts_and_its_neighbours() {
        let definition = crate::control::tests::definition(serde_json::json!({"containerDefinitions": [
            {"name": "web", "image": "i", "hostname": "front", "links": ["db:store"],
             "extraHosts": [{"hostname": "far", "ipAddress": "192.0.2.9"}, {"hostname": "m", "ipAddress": "host-gateway"}],
             "dnsServers": ["192.0.2.53"], "dnsSearchDomains": ["example.com"]},
            {"name": "db", "image": "i", "links": ["nobody"]}
        ]}));
        let address = Table::default().attach(TaskId(1)).unwrap();
        let containers = &definition.document.container_definitions;
        let found = names(&definition, &containers[0], &address).unwrap();
        let ip = |name: &str| found.hosts.iter().find(|(host, _)| host == name).map(|(_, ip)| ip.to_string());
        assert_eq!((ip("far").as_deref(), ip("m")), (Some("192.0.2.9"), Some(MACHINE.to_string())));
        assert_eq!((ip("store"), ip("db"), ip("web")), (Some(address.ip().to_string()), ip("store"), ip("store")));
        assert_eq!(found.hostname.as_deref(), Some("front"));
        assert_eq!((found.servers.len(), &found.search[..]), (1, &[String::from("example.com")][..]));
        let failure = names(&definition, &containers[1], &address).unwrap_err();
        assert!(failure.text().contains("links: the task has no container 'nobody'"), "{}", failure.text());
    }
}
