//! Rules on volumes and on what mounts them.

use std::collections::BTreeSet;

use crate::api::ecs::task_definition::rules::containers;
use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::ResourceName;

pub fn volumes(input: &wire::RegisterTaskDefinitionRequest) -> Result<(), ApiError> {
    let mut names = BTreeSet::new();
    for volume in input.volumes.iter().flatten() {
        let name = volume.name.as_deref().unwrap_or_default();
        if name.parse::<ResourceName>().is_err() {
            return Err(ApiError::client(format!("Volume.name is empty or contains invalid characters. ({name})")));
        }
        if !names.insert(name) {
            return Err(ApiError::client(format!("Volume names must be unique in a task definition. ({name})")));
        }
        let kinds = usize::from(volume.host.as_ref().is_some_and(|host| host.source_path.is_some()))
            + usize::from(volume.configured_at_launch == Some(true))
            + usize::from(volume.docker_volume_configuration.is_some())
            + usize::from(volume.efs_volume_configuration.is_some())
            + usize::from(volume.fsx_windows_file_server_volume_configuration.is_some())
            + usize::from(volume.s3files_volume_configuration.is_some());
        if kinds > 1 {
            return Err(ApiError::client(
                "When the volume parameter is specified, only one volume configuration type should be used.",
            ));
        }
        docker(volume)?;
        efs(volume)?;
    }
    let declared = |name: &str| names.contains(name);
    for container in containers(input) {
        for mount in container.mount_points.iter().flatten() {
            let volume = mount.source_volume.as_deref().unwrap_or_default();
            if !declared(volume) {
                return Err(ApiError::client(format!("Unknown volume '{volume}'.")));
            }
            if mount.container_path.as_deref().unwrap_or_default().is_empty() {
                return Err(ApiError::client("mountPoint.containerPath should not be null or empty."));
            }
        }
        for from in container.volumes_from.iter().flatten() {
            let source = from.source_container.as_deref().unwrap_or_default();
            if !containers(input).iter().any(|other| other.name.as_deref() == Some(source)) {
                return Err(ApiError::client(format!("Unknown container '{source}' in volumesFrom.")));
            }
        }
    }
    Ok(())
}

/// What a volume of one task has, there is no second task to provision for.
fn docker(volume: &wire::Volume) -> Result<(), ApiError> {
    let Some(docker) = &volume.docker_volume_configuration else { return Ok(()) };
    match (docker.scope.as_deref(), docker.autoprovision) {
        (None | Some("task" | "shared"), None | Some(false)) | (Some("shared"), Some(true)) => Ok(()),
        (None | Some("task"), Some(true)) => {
            Err(ApiError::client("dockerVolumeConfiguration.autoprovision can only be used with the scope 'shared'."))
        }
        (Some(scope), _) => {
            Err(ApiError::client(format!("dockerVolumeConfiguration.scope must be task or shared. ({scope})")))
        }
    }
}

fn efs(volume: &wire::Volume) -> Result<(), ApiError> {
    let Some(efs) = &volume.efs_volume_configuration else { return Ok(()) };
    let refuse = |text: &str| Err(ApiError::client(text));
    if !efs.file_system_id.as_deref().is_some_and(|id| id.starts_with("fs-")) {
        return refuse(
            "efsVolumeConfiguration.fileSystemId must be the id of a file system, such as fs-0123456789abcdef0.",
        );
    }
    let is_encrypted = efs.transit_encryption.as_deref() == Some("ENABLED");
    let authorization = efs.authorization_config.as_ref();
    let point = authorization.and_then(|config| config.access_point_id.as_deref()).filter(|id| !id.is_empty());
    let has_iam = authorization.is_some_and(|config| config.iam.as_deref() == Some("ENABLED"));
    if (point.is_some() || has_iam) && !is_encrypted {
        return refuse("EFS transit encryption must be enabled when an access point or IAM authorization is used.");
    }
    if efs.transit_encryption_port.is_some() && !is_encrypted {
        return refuse("EFS transit encryption must be enabled when a transit encryption port is specified.");
    }
    let root = efs.root_directory.as_deref().unwrap_or("/");
    if point.is_some() && !matches!(root, "" | "/") {
        return refuse("EFS root directory must be omitted or set to '/' when an access point is specified.");
    }
    Ok(())
}
