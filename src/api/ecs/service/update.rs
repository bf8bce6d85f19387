//! UpdateService: what changes the tasks makes a new deployment; what does not, takes effect at once.

use serde_json::Value;

use crate::api::context::Context;
use crate::api::ecs::reference::{self, from_map, to_map};
use crate::api::ecs::service::create::{KEPT, deployment, grace, say_what_has_no_effect};
use crate::api::ecs::service::{rules, show};
use crate::api::ecs::task::launch::{self, Asked, Launch};
use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::service::{SchedulingStrategy, Throttle};
use crate::model::{Service, ServiceStatus};
use crate::store::{Key, View};

pub fn update(
    cx: &Context,
    view: &mut View,
    input: wire::UpdateServiceRequest,
) -> Result<wire::UpdateServiceResponse, ApiError> {
    rules::deployment_kind(input.deployment_controller.as_ref(), input.deployment_configuration.as_ref())?;
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let name = reference::service_name(cx, &cluster.name, input.service.as_deref().unwrap_or_default())?;
    let found = view.get::<Service>(&Key::service(&cx.scope, &cluster.name, &name));
    let mut service = (*found.ok_or_else(ApiError::service_not_found)?).clone();
    if service.status != ServiceStatus::Active {
        return Err(ApiError::service_not_active());
    }
    settings(&mut service, &input)?;
    roll(cx, view, &cluster, &mut service, &input)?;
    say_what_has_no_effect(cx, &mut service);
    view.put(service.clone());
    Ok(wire::UpdateServiceResponse { service: Some(show::service(view, &service, true)) })
}

/// What takes effect without a new deployment.
fn settings(service: &mut Service, input: &wire::UpdateServiceRequest) -> Result<(), ApiError> {
    if let Some(count) = input.desired_count {
        if service.scheduling_strategy == SchedulingStrategy::Daemon {
            return Err(ApiError::invalid_parameter(
                "The daemon scheduling strategy does not support a desired count for services. Remove a desired count value and try again",
            ));
        }
        service.desired_count = rules::desired_count(count)?;
    }
    let current = (service.minimum_healthy_percent, service.maximum_percent);
    (service.minimum_healthy_percent, service.maximum_percent) =
        rules::percents(input.deployment_configuration.as_ref(), current)?;
    if input.health_check_grace_period_seconds.is_some() {
        service.health_check_grace_period_seconds = grace(input.health_check_grace_period_seconds)?;
    }
    if let Some(propagate) = &input.propagate_tags {
        service.propagate_tags = Some(propagate.clone());
    }
    if let Some(enable) = input.enable_ecs_managed_tags {
        service.enable_ecs_managed_tags = enable;
    }
    if let Some(enable) = input.enable_execute_command {
        service.enable_execute_command = enable;
    }
    for (member, value) in to_map(input) {
        if !KEPT.contains(&member.as_str()) {
            continue;
        }
        match (service.document.get_mut(&member), value) {
            // A deployment configuration is merged: what is not named stays.
            (Some(Value::Object(kept)), Value::Object(new)) if member == "deploymentConfiguration" => kept.extend(new),
            (_, value) => drop(service.document.insert(member, value)),
        }
    }
    Ok(())
}

/// Begins a new deployment where the request changes what the tasks are, or asks for one.
fn roll(
    cx: &Context,
    view: &mut View,
    cluster: &crate::model::Cluster,
    service: &mut Service,
    input: &wire::UpdateServiceRequest,
) -> Result<(), ApiError> {
    let Some(primary) = service.primary().cloned() else {
        return Err(ApiError::service_not_active());
    };
    let definition = match input.task_definition.as_deref() {
        Some(text) => reference::runnable_definition(cx, view, text)?,
        // A service goes on with a definition that was deregistered since.
        None => {
            let key = Key::task_definition(&cx.scope, &primary.definition);
            let kept = view.get::<crate::model::TaskDefinition>(&key);
            kept.ok_or_else(|| ApiError::client("TaskDefinition not found."))?
        }
    };
    let is_relaunched = input.platform_version.is_some() || input.capacity_provider_strategy.is_some();
    let launch = match is_relaunched {
        true => {
            let asked = Asked {
                launch_type: input.capacity_provider_strategy.is_none().then(|| primary.launch_type.as_str()),
                strategy: input.capacity_provider_strategy.as_deref(),
                platform_version: input.platform_version.as_deref(),
            };
            launch::launch(cluster, &definition, &asked)?
        }
        false => Launch {
            launch_type: primary.launch_type,
            capacity_provider: primary.capacity_provider.clone(),
            platform_version: primary.platform_version.clone(),
        },
    };
    let kept_network: Option<wire::NetworkConfiguration> =
        primary.network_configuration.as_ref().and_then(Value::as_object).map(from_map);
    let network = input.network_configuration.clone().or(kept_network);
    launch::network(&definition, network.as_ref())?;
    let balancers_changed = match input.load_balancers.as_deref() {
        Some(given) => {
            let balancers = rules::load_balancers(cx, view, &definition, Some(given))?;
            std::mem::replace(&mut service.load_balancers, balancers) != service.load_balancers
        }
        None => false,
    };
    let new = deployment(cx, definition.id.clone(), &launch, network.as_ref());
    let is_same = new.definition == primary.definition
        && new.launch_type == primary.launch_type
        && new.capacity_provider == primary.capacity_provider
        && new.platform_version == primary.platform_version
        && new.network_configuration == primary.network_configuration
        && !balancers_changed;
    if is_same && input.force_new_deployment != Some(true) {
        return Ok(());
    }
    service.deployments.insert(0, new);
    // New tasks get a new chance at once.
    service.throttle = Throttle::default();
    Ok(())
}
