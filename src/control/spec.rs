//! What the host is told to run: a definition, the task's overrides, and what every task is told about itself.

pub mod agent;
pub mod dry_run;
mod environment;
pub mod environment_files;
mod labels;
pub mod network;
mod order;
mod ports;
pub mod secrets;
mod volumes;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::exit::StartFailure;
use crate::model::support::{self, Verdict};
use crate::model::task_definition::{ContainerDefinition, NetworkMode};
use crate::model::{Settings, Task, TaskDefinition, size};
use crate::network::Address;
use crate::runtime::{ContainerSpec, TaskSpec};

const MIB: u64 = 1 << 20;
/// ECS's agent gives a container that asks for none this share.
const CPU_SHARES_MIN: u32 = 2;
/// ECS's default `stopTimeout`.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether callers may name files of the host as images.
#[derive(Clone, Copy, Debug)]
pub struct ImagePolicy {
    pub any_file: bool,
}

/// The whole specification of one task.
pub fn task_spec(
    task: &Task,
    definition: &TaskDefinition,
    address: Address,
    policy: ImagePolicy,
    settings: &Settings,
) -> Result<TaskSpec, StartFailure> {
    refused(definition)?;
    let document = &definition.document;
    let (files, files_of_containers) = volumes::of(task, definition, &settings.files)?;
    let mut containers: Vec<ContainerSpec> = document
        .container_definitions
        .iter()
        .map(|container| container_spec(task, definition, container, &address, policy))
        .collect::<Result<_, _>>()?;
    for (container, files) in containers.iter_mut().zip(files_of_containers) {
        container.files = files;
    }
    let weights: u32 = containers.iter().map(|container| container.cpu_weight).fold(0, u32::saturating_add);
    let own_cpu = task.cpu.as_deref().and_then(size::cpu_units);
    let has_cpu = own_cpu.is_some() || document.container_definitions.iter().any(|container| container.cpu > 0);
    let mut spec = TaskSpec {
        id: task.id,
        address,
        cpu_units: own_cpu.unwrap_or(weights).max(CPU_SHARES_MIN),
        cpu_capped: false,
        fuel: None,
        memory_bytes: task.memory.as_deref().and_then(size::memory_mib).map(|mib| u64::from(mib) * MIB),
        files,
        held: false,
        containers,
    };
    order::set(&mut spec, definition);
    labels::apply(&mut spec, &labels::of(&document.container_definitions)?, task.launch_type, has_cpu)?;
    for (spec, container) in spec.containers.iter_mut().zip(&document.container_definitions) {
        let given: Vec<&str> = container.environment.iter().map(|pair| pair.name.as_str()).collect();
        labels::same_environment(spec, &given);
    }
    Ok(spec)
}

/// Gives containers the variables that come from outside of the definition: those of files where nothing else sets them,
/// and secrets, which win.
pub fn add_variables(
    spec: &mut TaskSpec,
    task: &Task,
    definition: &TaskDefinition,
    files: &environment_files::Variables,
    vault: &secrets::Vault<'_>,
) -> Result<(), StartFailure> {
    let secrets = secrets::open(vault, definition)?;
    for container in &mut spec.containers {
        for (name, value) in files.of(&container.name) {
            if !environment::is_given(task, definition, &container.name, name) {
                environment::set(&mut container.environment, name.clone(), value.clone());
            }
        }
        for secret in secrets.iter().filter(|secret| secret.container == container.name) {
            environment::set(&mut container.environment, secret.name.clone(), String::clone(&secret.value));
        }
    }
    Ok(())
}

/// What was registered, because ECS registers it, and cannot run here.
fn refused(definition: &TaskDefinition) -> Result<(), StartFailure> {
    let document = serde_json::to_value(&definition.document).unwrap_or_default();
    match support::fields(&document).into_iter().find(|field| field.verdict == Verdict::Refused) {
        Some(field) => Err(StartFailure::CannotCreate(format!("{}: {}", field.path, field.text))),
        None => Ok(()),
    }
}

fn container_spec(
    task: &Task,
    definition: &TaskDefinition,
    container: &ContainerDefinition,
    address: &Address,
    policy: ImagePolicy,
) -> Result<ContainerSpec, StartFailure> {
    let overrides = overrides_of(task, &container.name);
    let number = |name: &str| overrides.and_then(|given| given.get(name)?.as_u64()).and_then(|n| u32::try_from(n).ok());
    // As in a container engine, the entry point's first word is the program's own name.
    let mut entry_point = container.entry_point.iter().cloned();
    let program_name = entry_point.next();
    let mut args: Vec<String> = entry_point.collect();
    args.extend(command(overrides).unwrap_or_else(|| container.command.clone()));
    let mut spec = ContainerSpec::new(container.name.clone(), container.image.clone());
    spec.may_name_any_file = policy.any_file;
    spec.program_name = program_name;
    spec.args = args;
    spec.environment = environment::of(task, definition, container, address, overrides);
    spec.cpu_weight = number("cpu").unwrap_or(container.cpu).max(CPU_SHARES_MIN);
    spec.memory_bytes = number("memory").or(container.memory).map(|mib| u64::from(mib) * MIB);
    spec.has_network = has_network(definition, container);
    spec.names = network::names(definition, container, address)?;
    // What has no network is reached by nobody.
    spec.ports = if spec.has_network { ports::of(container)? } else { Vec::new() };
    spec.host_ports = if spec.has_network { ports::on_host(definition, container) } else { Vec::new() };
    spec.keep_instances = container.keeps_instances();
    spec.interactive = container.other.get("interactive").and_then(Value::as_bool).unwrap_or(false);
    spec.stop_timeout = container.stop_timeout.map_or(STOP_TIMEOUT, |seconds| Duration::from_secs(u64::from(seconds)));
    Ok(spec)
}

/// `disableNetworking` is a container's choice, the mode `none` its task's.
fn has_network(definition: &TaskDefinition, container: &ContainerDefinition) -> bool {
    container.disable_networking != Some(true) && definition.document.network_mode() != NetworkMode::None
}

/// The `containerOverrides` of this container. They were checked against the model when the task was asked for.
fn overrides_of<'a>(task: &'a Task, container: &str) -> Option<&'a Map<String, Value>> {
    let overrides = task.overrides.get("containerOverrides")?.as_array()?;
    overrides
        .iter()
        .filter_map(Value::as_object)
        .find(|given| given.get("name").and_then(Value::as_str) == Some(container))
}

fn command(overrides: Option<&Map<String, Value>>) -> Option<Vec<String>> {
    let command = overrides?.get("command")?.as_array().filter(|command| !command.is_empty())?;
    Some(command.iter().filter_map(Value::as_str).map(String::from).collect())
}

fn invalid(container: &ContainerDefinition, what: String) -> StartFailure {
    StartFailure::ResourceInitialization(format!("container {}: {what}", container.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::task::LaunchType;
    use crate::model::{TaskId, Timestamp};
    use crate::network::{Protocol, Table};

    fn spec(document: Value, change: impl FnOnce(&mut Task)) -> Result<TaskSpec, StartFailure> {
        let mut task = crate::control::tests::task(1);
        change(&mut task);
        let definition = crate::control::tests::definition(document);
        let address = Table::default().attach(TaskId(1)).unwrap();
        assert_eq!(task.created_at, Timestamp(0));
        task_spec(&task, &definition, address, ImagePolicy { any_file: false }, &Settings::default())
    }

    #[test]
    fn overrides_win_over_the_definition_and_the_definition_over_us() {
        let document = serde_json::json!({"containerDefinitions": [{
            "name": "web", "image": "nginx", "cpu": 64, "memory": 100, "entryPoint": ["serve"], "command": ["a"],
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "HOSTNAME", "value": "h"}],
            "portMappings": [{"containerPort": 80}, {"containerPortRange": "90-92", "protocol": "udp"}],
            "stopTimeout": 5
        }], "cpu": "256", "memory": "512"});
        let spec = spec(document, |task| {
            task.cpu = Some(String::from("512"));
            task.memory = Some(String::from("1024"));
            let overrides = serde_json::json!({"containerOverrides": [{
                "name": "web", "command": ["b", "c"], "memory": 200, "environment": [{"name": "B", "value": "3"}]
            }]});
            task.overrides = overrides.as_object().unwrap().clone();
        })
        .unwrap();
        assert_eq!((spec.cpu_units, spec.cpu_capped, spec.memory_bytes), (512, true, Some(1024 * MIB)));
        let web = &spec.containers[0];
        assert_eq!(
            (web.program_name.as_deref(), &web.args[..]),
            (Some("serve"), &[String::from("b"), String::from("c")][..])
        );
        assert_eq!((web.cpu_weight, web.memory_bytes, web.stop_timeout.as_secs()), (64, Some(200 * MIB), 5));
        let value =
            |name: &str| web.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!((value("A"), value("B"), value("HOSTNAME")), (Some("1"), Some("3"), Some("h")));
        assert_eq!(value("CORACLE_TASK_DEFINITION"), Some("web:1"));
        assert_eq!(web.ports.len(), 4);
        assert_eq!(web.ports[3], (92, Protocol::Udp));
    }

    #[test]
    fn labels_say_what_ecs_has_no_field_for() {
        let of = |labels: Value, launch_type: LaunchType| {
            let document = serde_json::json!({"containerDefinitions": [
                {"name": "web", "image": "i", "cpu": 64, "dockerLabels": labels}, {"name": "beside", "image": "i"}
            ]});
            spec(document, |task| task.launch_type = launch_type)
        };
        let plain = of(serde_json::json!({}), LaunchType::Fargate).unwrap();
        assert_eq!((plain.cpu_capped, plain.fuel), (true, None));
        assert!(plain.containers[0].environment.iter().any(|(name, _)| name == "HOSTNAME"));
        let labelled = serde_json::json!({"coracle.cpu.burst": "true", "coracle.fuel.task": "5000",
            "coracle.fuel.request": "70", "coracle.deterministic": "true"});
        let labelled = of(labelled, LaunchType::Fargate).unwrap();
        assert_eq!((labelled.cpu_capped, labelled.fuel), (false, Some(5000)));
        let (web, beside) = (&labelled.containers[0], &labelled.containers[1]);
        assert_eq!((web.request_fuel, web.deterministic), (Some(70), true));
        assert_eq!((beside.request_fuel, beside.deterministic), (None, false));
        assert!(!web.environment.iter().any(|(name, _)| name == "HOSTNAME"));
        assert!(of(serde_json::json!({"coracle.cpu.burst": "false"}), LaunchType::Ec2).unwrap().cpu_capped);
        let bad = of(serde_json::json!({"coracle.fuel.task": "much"}), LaunchType::Ec2).err().unwrap().text();
        assert!(bad.contains("dockerLabels.coracle.fuel.task"), "{bad}");
    }

    #[test]
    fn a_container_without_networking_has_no_network_and_no_ports() {
        let networks = |mode: &str| {
            let document = serde_json::json!({"networkMode": mode, "containerDefinitions": [
                {"name": "open", "image": "i", "portMappings": [{"containerPort": 80}]},
                {"name": "shut", "image": "i", "portMappings": [{"containerPort": 81}], "disableNetworking": true}
            ]});
            let containers = spec(document, |_| {}).unwrap().containers;
            containers.iter().map(|container| (container.has_network, container.ports.len())).collect::<Vec<_>>()
        };
        assert_eq!(networks("bridge"), [(true, 1), (false, 0)]);
        assert_eq!(networks("none"), [(false, 0), (false, 0)]);
    }

    #[test]
    fn what_cannot_run_here_fails_the_start_and_is_named() {
        let document = serde_json::json!({
            "containerDefinitions": [{"name": "web", "image": "i"}],
            "runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}
        });
        let failure = spec(document, |_| ()).err().map(|failure| failure.text());
        assert!(failure.is_some_and(|text| text.starts_with("CannotCreateContainerError: runtimePlatform: Windows")));
    }

    #[test]
    fn a_port_mapping_that_says_nothing_fails_the_start() {
        for mapping in [serde_json::json!({}), serde_json::json!({"containerPortRange": "9-1"})] {
            let document =
                serde_json::json!({"containerDefinitions": [{"name": "web", "image": "i", "portMappings": [mapping]}]});
            assert!(matches!(spec(document, |_| ()), Err(StartFailure::ResourceInitialization(_))));
        }
    }
}
