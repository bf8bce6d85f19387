//! Container instances: this node, as a member of each cluster.

use crate::api::context::Context;
use crate::api::ecs::cluster::{is_pending, is_running};
use crate::api::ecs::page;
use crate::api::ecs::reference;
use crate::api::ecs::task::show;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::ecs as wire;
use crate::model::container_instance::ec2_instance_id;
use crate::model::{ContainerInstance, TaskDefinition};
use crate::store::{Key, Prefix, View};

pub fn list(
    cx: &Context,
    view: &mut View,
    input: wire::ListContainerInstancesRequest,
) -> Result<wire::ListContainerInstancesResponse, ApiError> {
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    if input.filter.is_some() {
        return Err(ApiError::new(
            ErrorKind::UnsupportedFeature,
            "filter: the query language is not available in Coracle yet.",
        ));
    }
    let mut instances = view.list::<ContainerInstance>(&Prefix::container_instances(&cx.scope, &cluster.name));
    instances.retain(|_| input.status.as_deref().is_none_or(|status| status == "ACTIVE"));
    let (page, next_token) = page::page(
        instances,
        |instance| instance.node,
        false,
        input.next_token.as_deref(),
        input.max_results,
        page::HUNDRED,
    )?;
    Ok(wire::ListContainerInstancesResponse {
        container_instance_arns: Some(page.iter().map(|instance| instance.arn().into()).collect()),
        next_token,
    })
}

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeContainerInstancesRequest,
) -> Result<wire::DescribeContainerInstancesResponse, ApiError> {
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let wanted = input.container_instances.unwrap_or_default();
    if wanted.is_empty() {
        return Err(ApiError::invalid_parameter("Container instances cannot be empty."));
    }
    let (mut instances, mut failures) = (Vec::new(), Vec::new());
    for text in wanted {
        let node = reference::node_id(cx, &cluster.name, &text)?;
        match view.get::<ContainerInstance>(&Key::container_instance(&cx.scope, &cluster.name, node)) {
            Some(instance) => instances.push(shown(view, &instance)),
            None => failures.push(wire::Failure {
                arn: Some(crate::model::Arn::container_instance(&cx.scope, &cluster.name, node).into()),
                reason: Some(String::from("MISSING")),
                detail: None,
            }),
        }
    }
    Ok(wire::DescribeContainerInstancesResponse { container_instances: Some(instances), failures: Some(failures) })
}

fn shown(view: &mut View, instance: &ContainerInstance) -> wire::ContainerInstance {
    let mut tasks = view.tasks_of_cluster(&instance.scope, &instance.cluster);
    tasks.retain(|task| task.requested_node == Some(instance.node) && !task.is_stopped());
    let (mut cpu, mut memory) = (0u32, 0u32);
    for task in &tasks {
        let key = Key::task_definition(&task.scope, &task.definition);
        if let Some(definition) = view.get::<TaskDefinition>(&key) {
            let (task_cpu, task_memory) = show::reservation(&definition);
            cpu = cpu.saturating_add(task_cpu);
            memory = memory.saturating_add(task_memory);
        }
    }
    let resources = |cpu: u32, memory: u32| {
        let integer = |name: &str, value: u32| wire::Resource {
            name: Some(name.to_owned()),
            r#type: Some(String::from("INTEGER")),
            double_value: Some(0.0),
            long_value: Some(0),
            integer_value: Some(i32::try_from(value).unwrap_or(i32::MAX)),
            string_set_value: None,
        };
        let ports = |name: &str| wire::Resource {
            name: Some(name.to_owned()),
            r#type: Some(String::from("STRINGSET")),
            double_value: Some(0.0),
            long_value: Some(0),
            integer_value: Some(0),
            string_set_value: Some(Vec::new()),
        };
        vec![integer("CPU", cpu), integer("MEMORY", memory), ports("PORTS"), ports("PORTS_UDP")]
    };
    let count = |number: usize| Some(i32::try_from(number).unwrap_or(i32::MAX));
    let attribute = |name: &str, value: &str| wire::Attribute {
        name: Some(name.to_owned()),
        value: Some(value.to_owned()),
        ..wire::Attribute::default()
    };
    wire::ContainerInstance {
        container_instance_arn: Some(instance.arn().into()),
        ec2_instance_id: Some(ec2_instance_id(instance.node)),
        version: Some(1),
        version_info: Some(wire::VersionInfo {
            agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            agent_hash: None,
            docker_version: Some(String::from("wasmtime")),
        }),
        registered_resources: Some(resources(instance.cpu_units, instance.memory_mib)),
        remaining_resources: Some(resources(
            instance.cpu_units.saturating_sub(cpu),
            instance.memory_mib.saturating_sub(memory),
        )),
        status: Some(String::from("ACTIVE")),
        agent_connected: Some(true),
        running_tasks_count: count(tasks.iter().filter(|task| is_running(task)).count()),
        pending_tasks_count: count(tasks.iter().filter(|task| is_pending(task)).count()),
        attributes: Some(vec![
            attribute("ecs.availability-zone", &format!("{}a", instance.scope.region)),
            attribute("ecs.os-type", "linux"),
            attribute("ecs.cpu-architecture", "x86_64"),
        ]),
        registered_at: Some(instance.registered_at.epoch_seconds()),
        attachments: Some(Vec::new()),
        tags: Some(Vec::new()),
        ..wire::ContainerInstance::default()
    }
}
