//! ECS's rules on services, beyond the model.

use crate::api::context::Context;
use crate::api::elbv2::listener::Listeners;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::ecs as wire;
use crate::model::arn::ArnParts;
use crate::model::service::ServiceLoadBalancer;
use crate::model::task_definition::NetworkMode;
use crate::model::{ResourceName, TargetGroup, TaskDefinition};
use crate::store::{Key, View};

/// Desired tasks of one service (service quota).
const DESIRED_COUNT_MAX: i32 = 5000;
/// Target groups of one service (service quota).
const LOAD_BALANCERS_MAX: usize = 5;

pub fn name(text: &str) -> Result<(), ApiError> {
    text.parse::<ResourceName>().map(drop).map_err(|_| {
        ApiError::invalid_parameter(
            "Invalid service name. Up to 255 letters (uppercase and lowercase), numbers, underscores, and hyphens are allowed.",
        )
    })
}

pub fn desired_count(count: i32) -> Result<u32, ApiError> {
    match u32::try_from(count) {
        Ok(valid) if count <= DESIRED_COUNT_MAX => Ok(valid),
        _ => Err(ApiError::invalid_parameter(format!(
            "desiredCount: {count} must be between 0 and {DESIRED_COUNT_MAX}."
        ))),
    }
}

/// Minimum healthy percent and maximum percent.
pub fn percents(
    configuration: Option<&wire::DeploymentConfiguration>,
    defaults: (u32, u32),
) -> Result<(u32, u32), ApiError> {
    let valid = |what: &str, value: Option<i32>, default: u32, max: i32| match value {
        None => Ok(default),
        Some(value) if (0..=max).contains(&value) => Ok(u32::try_from(value).unwrap_or(default)),
        Some(value) => Err(ApiError::invalid_parameter(format!(
            "deploymentConfiguration.{what}: {value} must be between 0 and {max}."
        ))),
    };
    let asked = configuration;
    let minimum =
        valid("minimumHealthyPercent", asked.and_then(|asked| asked.minimum_healthy_percent), defaults.0, 100)?;
    let maximum = valid("maximumPercent", asked.and_then(|asked| asked.maximum_percent), defaults.1, 200)?;
    if minimum >= 100 && maximum <= 100 {
        return Err(ApiError::invalid_parameter(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.",
        ));
    }
    Ok((minimum, maximum))
}

/// Kinds of deployment that a later version brings: refused, because doing something else would surprise.
pub fn deployment_kind(
    controller: Option<&wire::DeploymentController>,
    configuration: Option<&wire::DeploymentConfiguration>,
) -> Result<(), ApiError> {
    let unavailable = |what: String| {
        Err(ApiError::new(
            ErrorKind::UnsupportedFeature,
            format!("{what} is not available in Coracle yet; use the rolling update."),
        ))
    };
    if let Some(kind) = controller.and_then(|controller| controller.r#type.as_deref())
        && kind != "ECS"
    {
        return unavailable(format!("Deployment controller {kind}"));
    }
    match configuration.and_then(|configuration| configuration.strategy.as_deref()) {
        Some(strategy) if strategy != "ROLLING" => unavailable(format!("Deployment strategy {strategy}")),
        _ => Ok(()),
    }
}

/// Members that are kept and shown, and that nothing acts on yet: said in an event, so that nobody waits for their effect.
pub fn without_effect(document: &serde_json::Map<String, serde_json::Value>) -> Vec<&'static str> {
    let nested = |pointer: &str| {
        let mut at = document.get(pointer.split('.').next().unwrap_or_default());
        for part in pointer.split('.').skip(1) {
            at = at.and_then(|value| value.get(part));
        }
        at.is_some_and(|value| !value.is_null() && !value.as_array().is_some_and(Vec::is_empty))
    };
    let enabled = |pointer: &str| {
        let (parent, member) = pointer.split_once('.').unwrap_or((pointer, ""));
        document.get(parent).and_then(|value| value.get(member)).is_some_and(|value| value["enable"] == true)
    };
    let mut members = Vec::new();
    for member in ["serviceRegistries", "placementConstraints", "placementStrategy", "vpcLatticeConfigurations"] {
        if nested(member) {
            members.push(member);
        }
    }
    for member in ["deploymentConfiguration.deploymentCircuitBreaker", "deploymentConfiguration.alarms"] {
        if enabled(member) {
            members.push(member);
        }
    }
    if nested("deploymentConfiguration.lifecycleHooks") {
        members.push("deploymentConfiguration.lifecycleHooks");
    }
    if document.get("serviceConnectConfiguration").is_some_and(|value| value["enabled"] == true) {
        members.push("serviceConnectConfiguration");
    }
    members
}

/// The target groups of a service, each checked against the definition.
pub fn load_balancers(
    cx: &Context,
    view: &mut View,
    definition: &TaskDefinition,
    given: Option<&[wire::LoadBalancer]>,
) -> Result<Vec<ServiceLoadBalancer>, ApiError> {
    let given = given.unwrap_or_default();
    if given.len() > LOAD_BALANCERS_MAX {
        return Err(ApiError::invalid_parameter(format!("loadBalancers: at most {LOAD_BALANCERS_MAX} are allowed.")));
    }
    let mut checked = Vec::new();
    for balancer in given {
        if balancer.load_balancer_name.as_deref().is_some_and(|name| !name.is_empty()) {
            return Err(ApiError::new(
                ErrorKind::UnsupportedFeature,
                "Classic load balancers are not available in Coracle: give a targetGroupArn.",
            ));
        }
        if balancer.advanced_configuration.is_some() {
            return Err(ApiError::new(
                ErrorKind::UnsupportedFeature,
                "loadBalancers.advancedConfiguration is not available in Coracle yet; use the rolling update.",
            ));
        }
        let target_group_arn = balancer.target_group_arn.clone().unwrap_or_default();
        let container_name = balancer.container_name.clone().unwrap_or_default();
        let port = balancer.container_port.unwrap_or(0);
        let container = definition.container(&container_name).ok_or_else(|| {
            ApiError::invalid_parameter(format!(
                "The container {container_name} does not exist in the task definition."
            ))
        })?;
        let container_port = u16::try_from(port)
            .ok()
            .filter(|port| container.port_mappings.iter().any(|mapping| mapping.container_port == Some(*port)));
        let container_port = container_port.ok_or_else(|| {
            ApiError::invalid_parameter(format!(
                "The container {container_name} did not have a container port {port} defined."
            ))
        })?;
        target_group(cx, view, definition, &target_group_arn)?;
        checked.push(ServiceLoadBalancer { target_group_arn, container_name, container_port });
    }
    Ok(checked)
}

fn target_group(cx: &Context, view: &mut View, definition: &TaskDefinition, arn: &str) -> Result<(), ApiError> {
    let name = ArnParts::parse(arn)
        .filter(|parts| parts.service == "elasticloadbalancing" && parts.is_in(&cx.scope))
        .and_then(|parts| parts.resource.strip_prefix("targetgroup/")?.split('/').next());
    let group = name.and_then(|name| view.get::<TargetGroup>(&Key::target_group(&cx.scope, name)));
    let group = group.filter(|group| group.arn().as_str() == arn);
    let group = group.ok_or_else(|| {
        ApiError::invalid_parameter(format!("The target group with targetGroupArn {arn} does not exist."))
    })?;
    let mode = definition.document.network_mode();
    if (mode == NetworkMode::Awsvpc) != (group.target_type == "ip") {
        return Err(ApiError::invalid_parameter(format!(
            "The provided target group {arn} has target type {}, which is incompatible with the {} network mode specified in the task definition.",
            group.target_type,
            mode.as_str()
        )));
    }
    let is_used = Listeners::all(cx, view).use_group(&group);
    if !is_used {
        return Err(ApiError::invalid_parameter(format!(
            "The target group with targetGroupArn {arn} does not have an associated load balancer."
        )));
    }
    Ok(())
}
