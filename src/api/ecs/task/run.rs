//! RunTask and StartTask: new task records, which the loop of this node will place.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::api::context::Context;
use crate::api::ecs::reference::{self, digest, to_map};
use crate::api::ecs::tag;
use crate::api::ecs::task::launch::{self, Asked, Launch};
use crate::api::ecs::task::show;
use crate::api::ecs::task_definition::rules::secret;
use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::task::LaunchType;
use crate::model::{Cluster, ContainerInstance, IdempotentRequest, NodeId, Tag, Task, TaskDefinition, TaskId, size};
use crate::store::{Key, View};

/// Tasks of one call (ECS's limit).
const COUNT_MAX: i32 = 10;
/// Characters of `overrides` (ECS's limit).
const OVERRIDES_CHARS_MAX: usize = 8192;
const STARTED_BY_CHARS_MAX: usize = 128;
const CLIENT_TOKEN_CHARS_MAX: usize = 64;

/// What RunTask and StartTask have in common.
struct Common<'a> {
    cluster: Arc<Cluster>,
    definition: Arc<TaskDefinition>,
    launch: Launch,
    network: Option<&'a wire::AwsVpcConfiguration>,
    overrides: Option<&'a wire::TaskOverride>,
    group: Option<&'a str>,
    started_by: Option<&'a str>,
    tags: Vec<Tag>,
    enable_execute_command: bool,
    /// `volumeConfigurations`, in the wire's form.
    volumes: Option<Value>,
}

/// The members that both requests have under the same names; their types differ, so that a function would not do.
macro_rules! common {
    ($input:ident, $cluster:ident, $definition:ident, $launch:ident) => {
        Common {
            network: launch::network(&$definition, $input.network_configuration.as_ref())?,
            overrides: $input.overrides.as_ref(),
            group: $input.group.as_deref(),
            started_by: $input.started_by.as_deref(),
            tags: tags(
                &$cluster,
                &$definition,
                $input.tags.as_deref(),
                $input.propagate_tags.as_deref(),
                $input.enable_ecs_managed_tags,
            )?,
            enable_execute_command: $input.enable_execute_command.unwrap_or(false),
            volumes: to_map(&$input).remove("volumeConfigurations"),
            cluster: $cluster,
            definition: $definition,
            launch: $launch,
        }
    };
}

pub fn run(cx: &Context, view: &mut View, input: wire::RunTaskRequest) -> Result<wire::RunTaskResponse, ApiError> {
    let count = input.count.unwrap_or(1);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(ApiError::invalid_parameter(format!("count: {count} must be between 1 and {COUNT_MAX}.")));
    }
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let repeated = repeated(cx, view, &cluster, &input)?;
    if let Some(tasks) = repeated {
        let tasks = tasks.iter().map(|task| show::task(view, task, true)).collect();
        return Ok(wire::RunTaskResponse { tasks: Some(tasks), failures: Some(Vec::new()) });
    }
    let definition = reference::runnable_definition(cx, view, input.task_definition.as_deref().unwrap_or_default())?;
    let asked = Asked {
        launch_type: input.launch_type.as_deref(),
        strategy: input.capacity_provider_strategy.as_deref(),
        platform_version: input.platform_version.as_deref(),
    };
    let launch = launch::launch(&cluster, &definition, &asked)?;
    let common = common!(input, cluster, definition, launch);
    check(cx, &common)?;

    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let node = match common.launch.launch_type {
            LaunchType::Fargate => None,
            LaunchType::Ec2 | LaunchType::External => Some(cx.config.node),
        };
        match node.and_then(|node| lacking(cx, view, &common, node)) {
            Some(failure) => failures.push(failure),
            None => tasks.push(new_task(cx, view, &common, node)),
        }
    }
    remember(cx, view, &common.cluster, &input, &tasks);
    note_without_effect(cx, &to_map(&input));
    let tasks = tasks.iter().map(|task| show::task(view, task, true)).collect();
    Ok(wire::RunTaskResponse { tasks: Some(tasks), failures: Some(failures) })
}

pub fn start(
    cx: &Context,
    view: &mut View,
    input: wire::StartTaskRequest,
) -> Result<wire::StartTaskResponse, ApiError> {
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let definition = reference::runnable_definition(cx, view, input.task_definition.as_deref().unwrap_or_default())?;
    let instances = input.container_instances.clone().unwrap_or_default();
    if instances.is_empty() {
        return Err(ApiError::invalid_parameter("Container Instances cannot be empty."));
    }
    if instances.len() > usize::try_from(COUNT_MAX).unwrap_or(0) {
        return Err(ApiError::invalid_parameter(format!("containerInstances: at most {COUNT_MAX} can be named.")));
    }
    let launch = Launch { launch_type: LaunchType::Ec2, capacity_provider: None, platform_version: None };
    let common = common!(input, cluster, definition, launch);
    check(cx, &common)?;
    note_without_effect(cx, &to_map(&input));

    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for text in instances {
        let node = reference::node_id(cx, &common.cluster.name, &text)?;
        let key = Key::container_instance(&cx.scope, &common.cluster.name, node);
        if view.get::<ContainerInstance>(&key).is_none() {
            failures.push(wire::Failure { arn: Some(text), reason: Some(String::from("MISSING")), detail: None });
            continue;
        }
        match lacking(cx, view, &common, node) {
            Some(failure) => failures.push(failure),
            None => {
                let task = new_task(cx, view, &common, Some(node));
                tasks.push(show::task(view, &task, true));
            }
        }
    }
    Ok(wire::StartTaskResponse { tasks: Some(tasks), failures: Some(failures) })
}

/// Members that are taken and change nothing in this version.
const WITHOUT_EFFECT: &[&str] = &["enableExecuteCommand", "placementConstraints", "placementStrategy", "referenceId"];

fn note_without_effect(cx: &Context, input: &Map<String, Value>) {
    for member in WITHOUT_EFFECT {
        let asks_for_nothing =
            |value: &Value| value == &Value::Bool(false) || value.as_array().is_some_and(Vec::is_empty);
        if input.get(*member).is_some_and(|value| !asks_for_nothing(value)) {
            cx.without_effect.note(*member);
        }
    }
}

fn check(cx: &Context, common: &Common<'_>) -> Result<(), ApiError> {
    if common.started_by.is_some_and(|text| text.chars().count() > STARTED_BY_CHARS_MAX) {
        return Err(ApiError::invalid_parameter(format!(
            "startedBy: at most {STARTED_BY_CHARS_MAX} characters are allowed."
        )));
    }
    if common.group.is_some_and(|group| group.starts_with("service:")) {
        return Err(ApiError::invalid_parameter("group: a name that begins with 'service:' is reserved for services."));
    }
    launch::volumes(cx, &common.definition, common.volumes.as_ref())?;
    let Some(overrides) = common.overrides else { return Ok(()) };
    check_size(common, overrides)?;
    let length = serde_json::to_string(overrides).map_or(0, |text| text.chars().count());
    if length > OVERRIDES_CHARS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "overrides: {length} characters are more than the {OVERRIDES_CHARS_MAX} that are allowed."
        )));
    }
    for container in overrides.container_overrides.iter().flatten() {
        let name = container.name.as_deref().unwrap_or_default();
        if common.definition.container(name).is_none() {
            return Err(ApiError::invalid_parameter(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            )));
        }
    }
    secret::overrides(&common.definition, overrides)
}

/// A task's own size may be overridden by one that its launch type has.
fn check_size(common: &Common<'_>, overrides: &wire::TaskOverride) -> Result<(), ApiError> {
    let document = &common.definition.document;
    let given = |text: &Option<String>, read: fn(&str) -> Option<u32>| match text.as_deref() {
        None => Ok(None),
        Some(text) => read(text).map(Some).ok_or_else(|| {
            ApiError::invalid_parameter(format!(
                "overrides: '{text}' is not a size: write a number, or a number of vCPUs or GBs."
            ))
        }),
    };
    let cpu = given(&overrides.cpu, size::cpu_units)?;
    let memory = given(&overrides.memory, size::memory_mib)?;
    if common.launch.launch_type != LaunchType::Fargate || (cpu.is_none() && memory.is_none()) {
        return Ok(());
    }
    let sizes = cpu.or(document.cpu_units()).and_then(size::fargate_memory_mib).unwrap_or_default();
    match memory.or(document.memory_mib()) {
        Some(memory) if sizes.contains(&memory) => Ok(()),
        _ => Err(ApiError::client("No Fargate configuration exists for given values.")),
    }
}

/// What this call did when it was made before with the same token; an error where it was made with other parameters.
fn repeated(
    cx: &Context,
    view: &mut View,
    cluster: &Cluster,
    input: &wire::RunTaskRequest,
) -> Result<Option<Vec<Arc<Task>>>, ApiError> {
    let Some(token) = input.client_token.as_deref() else { return Ok(None) };
    let is_valid = token.len() <= CLIENT_TOKEN_CHARS_MAX && token.bytes().all(|byte| (33..=126).contains(&byte));
    if !is_valid {
        return Err(ApiError::invalid_parameter(format!(
            "clientToken: up to {CLIENT_TOKEN_CHARS_MAX} printable ASCII characters are allowed."
        )));
    }
    let earlier = view.get::<IdempotentRequest>(&Key::request(&cx.scope, &operation(cluster), token));
    let Some(earlier) = earlier else { return Ok(None) };
    if earlier.digest != digest(input) {
        return Err(ApiError::conflict(
            "The clientToken was used before, with other parameters.",
            earlier.resources.clone(),
        ));
    }
    let ids: Vec<TaskId> = earlier.resources.iter().filter_map(|arn| arn.rsplit('/').next()?.parse().ok()).collect();
    Ok(Some(ids.iter().filter_map(|id| view.get::<Task>(&Key::task(&cx.scope, &cluster.name, *id))).collect()))
}

fn remember(cx: &Context, view: &mut View, cluster: &Cluster, input: &wire::RunTaskRequest, tasks: &[Task]) {
    let Some(token) = input.client_token.clone() else { return };
    view.put(IdempotentRequest {
        scope: cx.scope.clone(),
        operation: operation(cluster),
        token,
        digest: digest(input),
        resources: tasks.iter().map(|task| task.arn().into()).collect(),
        at: cx.now,
    });
}

fn operation(cluster: &Cluster) -> String {
    format!("RunTask/{}", cluster.name)
}

fn tags(
    cluster: &Cluster,
    definition: &TaskDefinition,
    given: Option<&[wire::Tag]>,
    propagate: Option<&str>,
    managed: Option<bool>,
) -> Result<Vec<Tag>, ApiError> {
    let mut tags = tag::given(given)?;
    match propagate {
        Some("TASK_DEFINITION") => {
            let inherited: Vec<Tag> =
                definition.tags.iter().filter(|tag| tags.iter().all(|own| own.key != tag.key)).cloned().collect();
            tags.extend(inherited);
        }
        Some("SERVICE") => {
            return Err(ApiError::invalid_parameter(
                "propagateTags: SERVICE is not valid for a task that no service runs.",
            ));
        }
        _ => {}
    }
    if managed == Some(true) {
        tags.push(Tag { key: String::from("aws:ecs:clusterName"), value: Some(cluster.name.to_string()) });
    }
    Ok(tags)
}

/// What an EC2-style task would reserve and the instance has no more of; ECS answers with a failure, not an error.
fn lacking(cx: &Context, view: &mut View, common: &Common<'_>, node: NodeId) -> Option<wire::Failure> {
    let instance = view.get::<ContainerInstance>(&Key::container_instance(&cx.scope, &common.cluster.name, node))?;
    let (mut cpu, mut memory) = (0, 0);
    for task in view.tasks_of_cluster(&cx.scope, &common.cluster.name) {
        if task.is_stopped() || task.requested_node != Some(node) {
            continue;
        }
        let key = Key::task_definition(&cx.scope, &task.definition);
        if let Some(definition) = view.get::<TaskDefinition>(&key) {
            let (task_cpu, task_memory) = show::reservation(&definition);
            cpu += task_cpu;
            memory += task_memory;
        }
    }
    let (wanted_cpu, wanted_memory) = show::reservation(&common.definition);
    let reason = if cpu + wanted_cpu > instance.cpu_units {
        "RESOURCE:CPU"
    } else if memory + wanted_memory > instance.memory_mib {
        "RESOURCE:MEMORY"
    } else {
        return None;
    };
    Some(wire::Failure { arn: Some(instance.arn().into()), reason: Some(String::from(reason)), detail: None })
}

/// Records a new task that is wanted and not yet placed.
fn new_task(cx: &Context, view: &mut View, common: &Common<'_>, node: Option<NodeId>) -> Task {
    let overrides = common.overrides.cloned().unwrap_or_default();
    let wanted =
        Task::wanted(TaskId(cx.ids.bits()), common.cluster.name.clone(), &common.definition, cx.now, || cx.ids.uuid());
    let task = Task {
        launch_type: common.launch.launch_type,
        capacity_provider: common.launch.capacity_provider.clone(),
        platform_version: common.launch.platform_version.clone(),
        group: common.group.map_or_else(|| wanted.group.clone(), str::to_owned),
        started_by: common.started_by.map(str::to_owned),
        tags: common.tags.clone(),
        cpu: in_units(overrides.cpu.as_deref(), size::cpu_units).or_else(|| wanted.cpu.clone()),
        memory: in_units(overrides.memory.as_deref(), size::memory_mib).or_else(|| wanted.memory.clone()),
        overrides: if common.overrides.is_some() { to_map(&overrides) } else { Map::new() },
        enable_execute_command: common.enable_execute_command,
        requested_node: node,
        interface: common.network.map(|vpc| launch::interface(cx, vpc)),
        // They were checked before.
        volumes: launch::volumes(cx, &common.definition, common.volumes.as_ref()).unwrap_or_default(),
        ..wanted
    };
    view.put(task.clone());
    task
}

/// A size as it is given back: a plain number, however it was written.
fn in_units(text: Option<&str>, read: fn(&str) -> Option<u32>) -> Option<String> {
    text.and_then(read).map(|number| number.to_string())
}
