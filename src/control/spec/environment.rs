//! The environment of a container: what every container is told about itself, then the definition, then the overrides;
//! who comes later wins.

use serde_json::{Map, Value};

use crate::control::spec::overrides_of;
use crate::model::task::LaunchType;
use crate::model::task_definition::ContainerDefinition;
use crate::model::{Task, TaskDefinition};
use crate::network::Address;

pub fn of(
    task: &Task,
    definition: &TaskDefinition,
    container: &ContainerDefinition,
    address: &Address,
    overrides: Option<&Map<String, Value>>,
) -> Vec<(String, String)> {
    let mut environment = own(task, definition, container, address);
    let given = container.environment.iter().map(|pair| (pair.name.clone(), pair.value.clone()));
    for (name, value) in given.chain(overriding(overrides)) {
        set(&mut environment, name, value);
    }
    environment
}

/// Whether the definition or the task itself gives the container a variable of this name.
pub fn is_given(task: &Task, definition: &TaskDefinition, container: &str, name: &str) -> bool {
    let of_definition = definition.container(container).map(|container| container.environment.as_slice());
    of_definition.unwrap_or_default().iter().any(|pair| pair.name == name)
        || overriding(overrides_of(task, container)).any(|(known, _)| known == name)
}

fn overriding(overrides: Option<&Map<String, Value>>) -> impl Iterator<Item = (String, String)> {
    let pairs = overrides.and_then(|given| given.get("environment")?.as_array());
    pairs.into_iter().flatten().filter_map(|pair| {
        let name = pair.get("name")?.as_str()?;
        let value = pair.get("value").and_then(Value::as_str).unwrap_or_default();
        Some((String::from(name), String::from(value)))
    })
}

/// What every container is told about itself; the definition may say otherwise.
fn own(
    task: &Task,
    definition: &TaskDefinition,
    container: &ContainerDefinition,
    address: &Address,
) -> Vec<(String, String)> {
    let ip = address.ip();
    let hostname = match container.other.get("hostname").and_then(Value::as_str) {
        Some(given) => String::from(given),
        None => format!("ip-{}.{}.compute.internal", ip.to_string().replace('.', "-"), task.scope.region),
    };
    [
        ("AWS_DEFAULT_REGION", task.scope.region.to_string()),
        (
            "AWS_EXECUTION_ENV",
            String::from(match task.launch_type {
                LaunchType::Fargate => "AWS_ECS_FARGATE",
                LaunchType::Ec2 | LaunchType::External => "AWS_ECS_EC2",
            }),
        ),
        ("AWS_REGION", task.scope.region.to_string()),
        ("HOSTNAME", hostname),
        ("CORACLE_CLUSTER", task.cluster.to_string()),
        ("CORACLE_CONTAINER_NAME", container.name.clone()),
        ("CORACLE_TASK_ADDRESS", ip.to_string()),
        ("CORACLE_TASK_ARN", task.arn().into()),
        ("CORACLE_TASK_DEFINITION", definition.id.to_string()),
    ]
    .map(|(name, value)| (String::from(name), value))
    .to_vec()
}

pub fn set(environment: &mut Vec<(String, String)>, name: String, value: String) {
    match environment.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => environment.push((name, value)),
    }
}
