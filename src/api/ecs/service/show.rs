//! A service as the wire shows it. Counts are counted when asked for; nobody has to keep them right.

use std::sync::Arc;

use serde_json::Value;

use crate::api::ecs::cluster::{is_pending, is_running};
use crate::api::ecs::reference::from_map;
use crate::api::ecs::service::strategy_name;
use crate::api::ecs::tag;
use crate::api::wire::ecs as wire;
use crate::model::task::LaunchType;
use crate::model::{Arn, Deployment, Service, ServiceStatus, Task};
use crate::store::View;

pub fn service(view: &mut View, service: &Service, with_tags: bool) -> wire::Service {
    let tasks = view.tasks_of_service(&service.scope, &service.cluster, &service.name);
    let given: wire::Service = from_map(&service.document);
    let primary = service.primary();
    let network = primary.and_then(network_of);
    wire::Service {
        service_arn: Some(service.arn().into()),
        service_name: Some(service.name.clone()),
        cluster_arn: Some(Arn::cluster(&service.scope, &service.cluster).into()),
        load_balancers: Some(
            service
                .load_balancers
                .iter()
                .map(|balancer| wire::LoadBalancer {
                    target_group_arn: Some(balancer.target_group_arn.clone()),
                    container_name: Some(balancer.container_name.clone()),
                    container_port: Some(i32::from(balancer.container_port)),
                    ..wire::LoadBalancer::default()
                })
                .collect(),
        ),
        service_registries: Some(given.service_registries.unwrap_or_default()),
        status: Some(String::from(match service.status {
            ServiceStatus::Active => "ACTIVE",
            ServiceStatus::Draining => "DRAINING",
            ServiceStatus::Inactive => "INACTIVE",
        })),
        desired_count: Some(number(service.desired_count)),
        running_count: Some(count(&tasks, is_running)),
        pending_count: Some(count(&tasks, is_pending)),
        launch_type: primary.and_then(launch_type_of),
        capacity_provider_strategy: given.capacity_provider_strategy,
        platform_version: primary.and_then(|primary| primary.platform_version.clone()),
        platform_family: primary.and_then(platform_family),
        task_definition: primary.map(|primary| definition_arn(service, primary)),
        deployment_configuration: Some(configuration(service, given.deployment_configuration)),
        deployments: Some(match service.status {
            ServiceStatus::Inactive => Vec::new(),
            _ => deployments(service, &tasks),
        }),
        role_arn: service.document.get("role").and_then(Value::as_str).map(str::to_owned),
        events: Some(
            service
                .events
                .iter()
                .map(|event| wire::ServiceEvent {
                    id: Some(event.id.clone()),
                    created_at: Some(event.at.epoch_seconds()),
                    message: Some(event.message.clone()),
                })
                .collect(),
        ),
        created_at: Some(service.created_at.epoch_seconds()),
        placement_constraints: Some(given.placement_constraints.unwrap_or_default()),
        placement_strategy: Some(given.placement_strategy.unwrap_or_default()),
        network_configuration: network,
        health_check_grace_period_seconds: (!service.load_balancers.is_empty()
            || service.health_check_grace_period_seconds > 0)
            .then(|| number(service.health_check_grace_period_seconds)),
        scheduling_strategy: Some(strategy_name(service.scheduling_strategy).to_owned()),
        deployment_controller: Some(wire::DeploymentController { r#type: Some(String::from("ECS")) }),
        tags: Some(if with_tags { tag::shown(&service.tags) } else { Vec::new() }),
        created_by: Some(service.created_by.clone()),
        enable_ecs_managed_tags: Some(service.enable_ecs_managed_tags),
        propagate_tags: Some(service.propagate_tags.clone().unwrap_or_else(|| String::from("NONE"))),
        enable_execute_command: Some(service.enable_execute_command),
        availability_zone_rebalancing: Some(
            given.availability_zone_rebalancing.unwrap_or_else(|| String::from("DISABLED")),
        ),
        ..wire::Service::default()
    }
}

fn deployments(service: &Service, tasks: &[Arc<Task>]) -> Vec<wire::Deployment> {
    let shown = |(at, deployment): (usize, &Deployment)| {
        let own: Vec<Arc<Task>> = tasks
            .iter()
            .filter(|task| task.service.as_ref().is_some_and(|member| member.deployment == deployment.id))
            .cloned()
            .collect();
        let running = count(&own, is_running);
        wire::Deployment {
            id: Some(deployment.id.clone()),
            status: Some(String::from(if at == 0 { "PRIMARY" } else { "ACTIVE" })),
            task_definition: Some(definition_arn(service, deployment)),
            desired_count: Some(if at == 0 { number(service.desired_count) } else { running }),
            pending_count: Some(count(&own, is_pending)),
            running_count: Some(running),
            failed_tasks: Some(number(deployment.failed_tasks)),
            created_at: Some(deployment.created_at.epoch_seconds()),
            updated_at: Some(deployment.updated_at.epoch_seconds()),
            launch_type: launch_type_of(deployment),
            platform_version: deployment.platform_version.clone(),
            platform_family: platform_family(deployment),
            network_configuration: network_of(deployment),
            rollout_state: Some(deployment.rollout_state.as_str().to_owned()),
            rollout_state_reason: Some(deployment.rollout_state_reason.clone()),
            ..wire::Deployment::default()
        }
    };
    service.deployments.iter().enumerate().map(shown).collect()
}

/// With a capacity provider ECS shows the strategy instead.
fn launch_type_of(deployment: &Deployment) -> Option<String> {
    deployment.capacity_provider.is_none().then(|| deployment.launch_type.as_str().to_owned())
}

fn platform_family(deployment: &Deployment) -> Option<String> {
    (deployment.launch_type == LaunchType::Fargate).then(|| String::from("Linux"))
}

fn definition_arn(service: &Service, deployment: &Deployment) -> String {
    Arn::task_definition(&service.scope, &deployment.definition.family, deployment.definition.revision).into()
}

fn network_of(deployment: &Deployment) -> Option<wire::NetworkConfiguration> {
    let mut network: wire::NetworkConfiguration = from_map(deployment.network_configuration.as_ref()?.as_object()?);
    if let Some(vpc) = &mut network.awsvpc_configuration {
        vpc.security_groups.get_or_insert_default();
        vpc.assign_public_ip.get_or_insert_with(|| String::from("DISABLED"));
    }
    Some(network)
}

fn configuration(service: &Service, given: Option<wire::DeploymentConfiguration>) -> wire::DeploymentConfiguration {
    let mut shown = given.unwrap_or_default();
    shown.maximum_percent = Some(number(service.maximum_percent));
    shown.minimum_healthy_percent = Some(number(service.minimum_healthy_percent));
    shown.strategy.get_or_insert_with(|| String::from("ROLLING"));
    shown.bake_time_in_minutes.get_or_insert(0);
    shown
        .deployment_circuit_breaker
        .get_or_insert(wire::DeploymentCircuitBreaker { enable: Some(false), rollback: Some(false) });
    shown
}

fn count(tasks: &[Arc<Task>], is: fn(&Task) -> bool) -> i32 {
    i32::try_from(tasks.iter().filter(|task| is(task)).count()).unwrap_or(i32::MAX)
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
