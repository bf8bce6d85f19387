//! Services: how many tasks of which definition are wanted, and how they are rolled. The loop of services does the rest.

use std::sync::Arc;

use crate::api::context::Context;
use crate::api::ecs::page;
use crate::api::ecs::reference;
use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::service::SchedulingStrategy;
use crate::model::{Service, ServiceStatus};
use crate::store::{Key, Prefix, View};

pub mod create;
pub mod rules;
pub mod show;
pub mod update;

pub use create::create;
pub use update::update;

const DESCRIBE_MAX: usize = 10;

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeServicesRequest,
) -> Result<wire::DescribeServicesResponse, ApiError> {
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let wanted = input.services.unwrap_or_default();
    if wanted.is_empty() {
        return Err(ApiError::invalid_parameter("Services cannot be empty."));
    }
    if wanted.len() > DESCRIBE_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "services: at most {DESCRIBE_MAX} services can be described at once."
        )));
    }
    let with_tags = input.include.unwrap_or_default().iter().any(|part| part == "TAGS");
    let (mut services, mut failures) = (Vec::new(), Vec::new());
    for text in wanted {
        let name = reference::service_name(cx, &cluster.name, &text)?;
        match view.get::<Service>(&Key::service(&cx.scope, &cluster.name, &name)) {
            Some(service) => services.push(show::service(view, &service, with_tags)),
            None => failures.push(wire::Failure {
                arn: Some(crate::model::Arn::service(&cx.scope, &cluster.name, &name).into()),
                reason: Some(String::from("MISSING")),
                detail: None,
            }),
        }
    }
    Ok(wire::DescribeServicesResponse { services: Some(services), failures: Some(failures) })
}

pub fn list(
    cx: &Context,
    view: &mut View,
    input: wire::ListServicesRequest,
) -> Result<wire::ListServicesResponse, ApiError> {
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let launch_type = input.launch_type.as_deref();
    let strategy = input.scheduling_strategy.as_deref();
    let services: Vec<Arc<Service>> = view
        .list::<Service>(&Prefix::services(&cx.scope, &cluster.name))
        .into_iter()
        .filter(|service| service.status != ServiceStatus::Inactive)
        .filter(|service| {
            launch_type
                .is_none_or(|wanted| service.primary().is_some_and(|primary| primary.launch_type.as_str() == wanted))
        })
        .filter(|service| strategy.is_none_or(|wanted| strategy_name(service.scheduling_strategy) == wanted))
        .filter(|_| input.resource_management_type.as_deref().is_none_or(|wanted| wanted == "CUSTOMER"))
        .collect();
    let (services, next_token) = page::page(
        services,
        |service| service.name.clone(),
        false,
        input.next_token.as_deref(),
        input.max_results,
        page::TEN,
    )?;
    Ok(wire::ListServicesResponse {
        service_arns: Some(services.iter().map(|service| service.arn().into()).collect()),
        next_token,
    })
}

pub fn strategy_name(strategy: SchedulingStrategy) -> &'static str {
    match strategy {
        SchedulingStrategy::Replica => "REPLICA",
        SchedulingStrategy::Daemon => "DAEMON",
    }
}

pub fn delete(
    cx: &Context,
    view: &mut View,
    input: wire::DeleteServiceRequest,
) -> Result<wire::DeleteServiceResponse, ApiError> {
    let cluster = reference::cluster(cx, view, input.cluster.as_deref())?;
    let name = reference::service_name(cx, &cluster.name, input.service.as_deref().unwrap_or_default())?;
    let found = view.get::<Service>(&Key::service(&cx.scope, &cluster.name, &name));
    let mut service = (*found.ok_or_else(ApiError::service_not_found)?).clone();
    match service.status {
        ServiceStatus::Active => {}
        // Being deleted already.
        ServiceStatus::Draining => {
            return Ok(wire::DeleteServiceResponse { service: Some(show::service(view, &service, true)) });
        }
        ServiceStatus::Inactive => return Err(ApiError::service_not_active()),
    }
    let forced = input.force == Some(true);
    let is_replica = service.scheduling_strategy == SchedulingStrategy::Replica;
    if !forced && is_replica && service.desired_count > 0 {
        return Err(ApiError::invalid_parameter("The service cannot be stopped while it is scaled above 0."));
    }
    if !forced && service.deployments.len() > 1 {
        return Err(ApiError::invalid_parameter("The service cannot be stopped while deployments are active."));
    }
    service.status = ServiceStatus::Draining;
    service.desired_count = 0;
    view.put(service.clone());
    Ok(wire::DeleteServiceResponse { service: Some(show::service(view, &service, true)) })
}
