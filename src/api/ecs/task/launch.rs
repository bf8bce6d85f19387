//! How something is to be launched: the launch type, the capacity provider, the platform and the network, told from the
//! request, the cluster and the definition. Shared by tasks and services.

use serde_json::Value;

use crate::api::context::Context;
use crate::api::ecs::reference::from_map;
use crate::api::ecs::task_definition::capabilities;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::ecs as wire;
use crate::model::task::{LaunchType, NetworkInterface};
use crate::model::task_definition::NetworkMode;
use crate::model::volume::{self, LaunchVolume};
use crate::model::{Cluster, TaskDefinition};

/// The newest platform version of Fargate for Linux, and what `LATEST` means.
const PLATFORM_VERSION: &str = "1.4.0";
const PLATFORM_VERSIONS: &[&str] = &["LATEST", "1.4.0", "1.3.0"];

#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    pub launch_type: LaunchType,
    pub capacity_provider: Option<String>,
    pub platform_version: Option<String>,
}

/// What a request says about its launch.
pub struct Asked<'a> {
    pub launch_type: Option<&'a str>,
    pub strategy: Option<&'a [wire::CapacityProviderStrategyItem]>,
    pub platform_version: Option<&'a str>,
}

pub fn launch(cluster: &Cluster, definition: &TaskDefinition, asked: &Asked<'_>) -> Result<Launch, ApiError> {
    let strategy = asked.strategy.filter(|items| !items.is_empty());
    if asked.launch_type.is_some() && strategy.is_some() {
        return Err(ApiError::invalid_parameter(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        ));
    }
    let defaults: wire::Cluster = from_map(&cluster.document);
    let default_strategy = defaults.default_capacity_provider_strategy.unwrap_or_default();
    let (launch_type, capacity_provider) = match (asked.launch_type, strategy) {
        (Some(text), _) => (named(text)?, None),
        (None, Some(items)) => from_strategy(items)?,
        (None, None) if !default_strategy.is_empty() => from_strategy(&default_strategy)?,
        (None, None) => (LaunchType::Ec2, None),
    };
    let fits = match launch_type {
        LaunchType::Fargate => capabilities::fits_fargate(&definition.document),
        LaunchType::Ec2 => true,
        LaunchType::External => definition.document.network_mode != Some(NetworkMode::Awsvpc),
    };
    if !fits {
        return Err(ApiError::invalid_parameter(format!(
            "Task definition does not support launch_type {}.",
            launch_type.as_str()
        )));
    }
    Ok(Launch { launch_type, capacity_provider, platform_version: platform(launch_type, asked.platform_version)? })
}

fn named(text: &str) -> Result<LaunchType, ApiError> {
    match text {
        "EC2" => Ok(LaunchType::Ec2),
        "FARGATE" => Ok(LaunchType::Fargate),
        "EXTERNAL" => Ok(LaunchType::External),
        other => Err(ApiError::new(
            ErrorKind::UnsupportedFeature,
            format!("Launch type {other} is not available in Coracle: use FARGATE, EC2 or EXTERNAL."),
        )),
    }
}

/// The provider with the largest base, then the largest weight, takes all: there is one node.
fn from_strategy(items: &[wire::CapacityProviderStrategyItem]) -> Result<(LaunchType, Option<String>), ApiError> {
    for item in items {
        let name = item.capacity_provider.as_deref().unwrap_or_default();
        if !matches!(name, "FARGATE" | "FARGATE_SPOT") {
            return Err(ApiError::invalid_parameter("The specified capacity provider was not found."));
        }
        if !(0..=1000).contains(&item.weight.unwrap_or(0)) || !(0..=100_000).contains(&item.base.unwrap_or(0)) {
            return Err(ApiError::invalid_parameter(
                "capacityProviderStrategy: weight must be 0 to 1000, base 0 to 100000.",
            ));
        }
    }
    let chosen = items.iter().max_by_key(|item| (item.base.unwrap_or(0), item.weight.unwrap_or(0)));
    let name = chosen.and_then(|item| item.capacity_provider.clone());
    Ok((LaunchType::Fargate, name))
}

fn platform(launch_type: LaunchType, asked: Option<&str>) -> Result<Option<String>, ApiError> {
    match (launch_type, asked.filter(|text| !text.is_empty())) {
        (LaunchType::Fargate, None | Some("LATEST")) => Ok(Some(String::from(PLATFORM_VERSION))),
        (LaunchType::Fargate, Some(version)) if PLATFORM_VERSIONS.contains(&version) => Ok(Some(version.to_owned())),
        (LaunchType::Fargate, Some(_)) => {
            Err(ApiError::new(ErrorKind::PlatformUnknown, "The specified platform does not exist."))
        }
        (_, None) => Ok(None),
        (_, Some(_)) => Err(ApiError::invalid_parameter(
            "The platform version must be null when specifying an EC2 or EXTERNAL launch type.",
        )),
    }
}

/// The network that `awsvpc` tasks need, and no others may name.
pub fn network<'a>(
    definition: &TaskDefinition,
    configuration: Option<&'a wire::NetworkConfiguration>,
) -> Result<Option<&'a wire::AwsVpcConfiguration>, ApiError> {
    let vpc = configuration.and_then(|configuration| configuration.awsvpc_configuration.as_ref());
    match (definition.document.network_mode() == NetworkMode::Awsvpc, vpc) {
        (true, None) => Err(ApiError::invalid_parameter(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        )),
        (true, Some(vpc)) if vpc.subnets.as_ref().is_none_or(Vec::is_empty) => {
            Err(ApiError::invalid_parameter("subnets can not be empty."))
        }
        (false, Some(_)) => Err(ApiError::invalid_parameter(
            "Network Configuration is not valid for the given networkMode of this task definition.",
        )),
        (_, vpc) => Ok(vpc),
    }
}

/// The volumes that the launch configures.
pub fn volumes(
    cx: &Context,
    definition: &TaskDefinition,
    configurations: Option<&Value>,
) -> Result<Vec<LaunchVolume>, ApiError> {
    let volume_id = || format!("vol-0{}", cx.ids.hex16());
    volume::at_launch(&definition.document, configurations, || cx.ids.uuid(), volume_id)
        .map_err(ApiError::invalid_parameter)
}

/// The virtual network interface of a new `awsvpc` task. Its address comes with its placement.
pub fn interface(cx: &Context, vpc: &wire::AwsVpcConfiguration) -> NetworkInterface {
    let bits = cx.ids.bits().to_be_bytes();
    let subnet = vpc.subnets.as_ref().and_then(|subnets| subnets.first()).cloned();
    NetworkInterface {
        attachment_id: cx.ids.uuid(),
        interface_id: format!("eni-0{}", cx.ids.hex16()),
        subnet_id: subnet.unwrap_or_default(),
        // A locally administered address.
        mac_address: format!("0a:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bits[0], bits[1], bits[2], bits[3], bits[4]),
        address: None,
        security_groups: vpc.security_groups.clone().unwrap_or_default(),
        assign_public_ip: vpc.assign_public_ip.as_deref() == Some("ENABLED"),
    }
}
