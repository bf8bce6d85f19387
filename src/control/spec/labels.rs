//! The labels of a task's containers, in what the host is told.

use crate::model::exit::StartFailure;
use crate::model::labels::{BURST, Labels};
use crate::model::task::LaunchType;
use crate::model::task_definition::ContainerDefinition;
use crate::runtime::{ContainerSpec, TaskSpec};

/// The labels of a definition. Their values were looked at before (`support::fields`), so that a bad one is named with
/// everything else that cannot run.
pub fn of(containers: &[ContainerDefinition]) -> Result<Labels, StartFailure> {
    Labels::of(containers).map_err(|bad| StartFailure::CannotCreate(format!("{}: {}", bad.name, bad.text)))
}

/// `own_units` says whether the task has CPU units of its own, or from its containers.
pub fn apply(
    spec: &mut TaskSpec,
    labels: &Labels,
    launch_type: LaunchType,
    own_units: bool,
) -> Result<(), StartFailure> {
    spec.fuel = labels.fuel;
    // EC2 and EXTERNAL tasks may use what is idle; on Fargate the size is what is paid for.
    spec.cpu_capped = labels.burst.map_or(launch_type == LaunchType::Fargate, |burst| !burst);
    if labels.burst == Some(false) && !own_units {
        let text = format!("{BURST}: the task has no `cpu` that could be its most");
        return Err(StartFailure::CannotCreate(text));
    }
    for (container, labels) in spec.containers.iter_mut().zip(&labels.containers) {
        container.request_fuel = labels.request_fuel;
        container.deterministic = labels.deterministic;
    }
    Ok(())
}

/// What every container is told about itself and what is another in each run. A deterministic one is not told: to
/// read it would be another input each time. What its definition says under these names stays.
const OF_THE_RUN: [&str; 8] = [
    "HOSTNAME",
    "CORACLE_TASK_ADDRESS",
    "CORACLE_TASK_ARN",
    "ECS_AGENT_URI",
    "ECS_CONTAINER_METADATA_URI",
    "ECS_CONTAINER_METADATA_URI_V4",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Leaves the same environment for every run, where that is asked for. `given` are the names that the definition sets.
pub fn same_environment(spec: &mut ContainerSpec, given: &[&str]) {
    if spec.deterministic {
        spec.environment.retain(|(name, _)| !OF_THE_RUN.contains(&name.as_str()) || given.contains(&name.as_str()));
    }
}
