//! CreateService.

use serde_json::{Map, Value};

use crate::api::context::Context;
use crate::api::ecs::reference::{self, digest, to_map};
use crate::api::ecs::service::{rules, show};
use crate::api::ecs::tag;
use crate::api::ecs::task::launch::{self, Asked, Launch};
use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::service::{RolloutState, SchedulingStrategy, Throttle};
use crate::model::task::LaunchType;
use crate::model::{ClusterName, DefinitionId, Deployment, IdempotentRequest, Service, ServiceStatus};
use crate::store::{Key, View};

/// Percents of a rolling update where none are given: minimum healthy, maximum.
const REPLICA_PERCENTS: (u32, u32) = (100, 200);
const DAEMON_PERCENTS: (u32, u32) = (0, 100);
/// Longest grace period (ECS's limit: an `int` of seconds).
const GRACE_SECONDS_MAX: i32 = i32::MAX;

pub fn create(
    cx: &Context,
    view: &mut View,
    input: wire::CreateServiceRequest,
) -> Result<wire::CreateServiceResponse, ApiError> {
    let name = input.service_name.clone().unwrap_or_default();
    rules::name(&name)?;
    rules::deployment_kind(input.deployment_controller.as_ref(), input.deployment_configuration.as_ref())?;
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    if let Some(answer) = existing(cx, view, &cluster.name, &name, &input)? {
        return Ok(answer);
    }

    let text = input.task_definition.as_deref().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| ApiError::invalid_parameter("TaskDefinition can not be blank."))?;
    let definition = reference::runnable_definition(cx, view, text)?;
    let asked = Asked {
        launch_type: input.launch_type.as_deref(),
        strategy: input.capacity_provider_strategy.as_deref(),
        platform_version: input.platform_version.as_deref(),
    };
    let launch = launch::launch(&cluster, &definition, &asked)?;
    launch::network(&definition, input.network_configuration.as_ref())?;
    launch::volumes(cx, &definition, to_map(&input).get("volumeConfigurations"))?;
    let strategy = strategy(&input, &launch)?;
    let defaults = if strategy == SchedulingStrategy::Daemon { DAEMON_PERCENTS } else { REPLICA_PERCENTS };
    let (minimum_healthy_percent, maximum_percent) =
        rules::percents(input.deployment_configuration.as_ref(), defaults)?;
    let load_balancers = rules::load_balancers(cx, view, &definition, input.load_balancers.as_deref())?;
    let desired_count = match strategy {
        // One on each container instance, and there is one.
        SchedulingStrategy::Daemon => 1,
        SchedulingStrategy::Replica => rules::desired_count(input.desired_count.unwrap_or(1))?,
    };

    let network = input.network_configuration.as_ref();
    let mut service = Service {
        scope: cx.scope.clone(),
        cluster: cluster.name.clone(),
        name,
        status: ServiceStatus::Active,
        scheduling_strategy: strategy,
        desired_count,
        deployments: vec![deployment(cx, definition.id.clone(), &launch, network)],
        minimum_healthy_percent,
        maximum_percent,
        health_check_grace_period_seconds: grace(input.health_check_grace_period_seconds)?,
        load_balancers,
        propagate_tags: input.propagate_tags.clone(),
        enable_ecs_managed_tags: input.enable_ecs_managed_tags.unwrap_or(false),
        enable_execute_command: input.enable_execute_command.unwrap_or(false),
        created_at: cx.now,
        created_by: format!("arn:aws:iam::{}:root", cx.scope.account),
        tags: tag::given(input.tags.as_deref())?,
        events: Vec::new(),
        throttle: Throttle::default(),
        document: rest(&input),
    };
    say_what_has_no_effect(cx, &mut service);
    remember(cx, view, &service, &input);
    view.put(service.clone());
    Ok(wire::CreateServiceResponse { service: Some(show::service(view, &service, true)) })
}

/// What a repeated call is answered with; an error where the name is taken.
fn existing(
    cx: &Context,
    view: &mut View,
    cluster: &ClusterName,
    name: &str,
    input: &wire::CreateServiceRequest,
) -> Result<Option<wire::CreateServiceResponse>, ApiError> {
    let Some(service) = view.get::<Service>(&Key::service(&cx.scope, cluster, name)) else { return Ok(None) };
    match service.status {
        ServiceStatus::Inactive => Ok(None),
        ServiceStatus::Draining => {
            Err(ApiError::invalid_parameter("Unable to Start a service that is still Draining."))
        }
        ServiceStatus::Active => {
            let earlier = view.get::<IdempotentRequest>(&Key::request(&cx.scope, &operation(cluster), name));
            if earlier.is_some_and(|earlier| earlier.digest == digest(input)) {
                return Ok(Some(wire::CreateServiceResponse { service: Some(show::service(view, &service, true)) }));
            }
            Err(ApiError::invalid_parameter("Creation of service was not idempotent."))
        }
    }
}

fn remember(cx: &Context, view: &mut View, service: &Service, input: &wire::CreateServiceRequest) {
    view.put(IdempotentRequest {
        scope: cx.scope.clone(),
        operation: operation(&service.cluster),
        token: service.name.clone(),
        digest: digest(input),
        resources: vec![service.arn().into()],
        at: cx.now,
    });
}

fn operation(cluster: &ClusterName) -> String {
    format!("CreateService/{cluster}")
}

fn strategy(input: &wire::CreateServiceRequest, launch: &Launch) -> Result<SchedulingStrategy, ApiError> {
    if input.scheduling_strategy.as_deref() != Some("DAEMON") {
        return Ok(SchedulingStrategy::Replica);
    }
    if launch.launch_type == LaunchType::Fargate {
        return Err(ApiError::invalid_parameter("The daemon scheduling strategy is not supported on Fargate."));
    }
    if input.desired_count.is_some_and(|count| count != 0) {
        return Err(ApiError::invalid_parameter(
            "The daemon scheduling strategy does not support a desired count for services. Remove a desired count value and try again",
        ));
    }
    Ok(SchedulingStrategy::Daemon)
}

pub fn grace(seconds: Option<i32>) -> Result<u32, ApiError> {
    let seconds = seconds.unwrap_or(0);
    u32::try_from(seconds).map_err(|_| {
        ApiError::invalid_parameter(format!(
            "healthCheckGracePeriodSeconds: {seconds} must be between 0 and {GRACE_SECONDS_MAX}."
        ))
    })
}

/// A new deployment, which begins to roll out.
pub fn deployment(
    cx: &Context,
    definition: DefinitionId,
    launch: &Launch,
    network: Option<&wire::NetworkConfiguration>,
) -> Deployment {
    let id = format!("ecs-svc/{}", cx.ids.digits19());
    Deployment {
        rollout_state: RolloutState::InProgress,
        rollout_state_reason: format!("ECS deployment {id} in progress."),
        id,
        definition,
        launch_type: launch.launch_type,
        capacity_provider: launch.capacity_provider.clone(),
        platform_version: launch.platform_version.clone(),
        network_configuration: network.map(|network| Value::Object(to_map(network))),
        created_at: cx.now,
        updated_at: cx.now,
        failed_tasks: 0,
    }
}

/// Members without a field of their own, as they are kept.
fn rest(input: &wire::CreateServiceRequest) -> Map<String, Value> {
    let mut document = to_map(input);
    document.retain(|member, _| KEPT.contains(&member.as_str()));
    document
}

/// Members of requests that are kept as they came, to be shown and, where they can have none yet, to be said without effect.
pub const KEPT: &[&str] = &[
    "serviceRegistries",
    "role",
    "placementConstraints",
    "placementStrategy",
    "deploymentConfiguration",
    "deploymentController",
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
    "availabilityZoneRebalancing",
    "capacityProviderStrategy",
];

pub fn say_what_has_no_effect(cx: &Context, service: &mut Service) {
    for member in rules::without_effect(&service.document) {
        cx.without_effect.note(member);
        let message =
            format!("(service {}) {member} is kept and shown; it has no effect in Coracle yet.", service.name);
        service.record_event(cx.ids.uuid(), cx.now, message);
    }
}
