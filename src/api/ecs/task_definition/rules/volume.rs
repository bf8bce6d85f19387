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
            + usize::from(volume.docker_volume_configuration.is_some())
            + usize::from(volume.efs_volume_configuration.is_some())
            + usize::from(volume.fsx_windows_file_server_volume_configuration.is_some())
            + usize::from(volume.s3files_volume_configuration.is_some());
        if kinds > 1 {
            return Err(ApiError::client(format!("Volume '{name}' must have only one kind of configuration.")));
        }
    }
    let declared = |name: &str| names.contains(name);
    for container in containers(input) {
        for mount in container.mount_points.iter().flatten() {
            let volume = mount.source_volume.as_deref().unwrap_or_default();
            if !declared(volume) {
                return Err(ApiError::client(format!("Unknown volume '{volume}'.")));
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
