//! The files of a task: what its definition declares, and what the operator allows of that.

use std::path::{Component, Path, PathBuf};

use crate::control::spec::invalid;
use crate::model::exit::StartFailure;
use crate::model::settings::{FileSettings, SharedDirectory};
use crate::model::task_definition::ContainerDefinition;
use crate::model::volume::{self, DockerVolume, FileSystem, Volume};
use crate::model::{Task, TaskDefinition};
use crate::runtime::files::spec::{DISK_BYTES_DEFAULT, OPEN_FILES_DEFAULT, OPEN_FILES_MAX};
use crate::runtime::files::{FilesSpec, Mount, Source, TaskFiles, VolumeSpec};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The volumes of a task, and the files of each of its containers.
pub fn of(
    task: &Task,
    definition: &TaskDefinition,
    settings: &FileSettings,
) -> Result<(TaskFiles, Vec<FilesSpec>), StartFailure> {
    let document = &definition.document;
    let mut volumes = Vec::new();
    for volume in volume::volumes(document) {
        let source = source(task, &volume, settings)?;
        volumes.push(VolumeSpec { name: volume.name, source });
    }
    let mut containers = Vec::new();
    for container in &document.container_definitions {
        containers.push(files(definition, container, &mut volumes)?);
    }
    let asked = volume::ephemeral_storage_gib(&task.overrides).or(volume::ephemeral_storage_gib(&document.other));
    let by_default = settings.ephemeral_storage_mib.map_or(DISK_BYTES_DEFAULT, |mib| mib.saturating_mul(MIB));
    let size_bytes = asked.map_or(by_default, |gib| gib.saturating_mul(GIB));
    Ok((TaskFiles { volumes, size_bytes: Some(size_bytes) }, containers))
}

fn failed(text: String) -> StartFailure {
    StartFailure::ResourceInitialization(text)
}

fn source(task: &Task, volume: &Volume, settings: &FileSettings) -> Result<Source, StartFailure> {
    let name = &volume.name;
    match &volume.source {
        volume::Source::Scratch => Ok(Source::Scratch { size_bytes: None }),
        volume::Source::Host(path) => host_path(name, Path::new(path), &settings.host_paths),
        volume::Source::Docker(docker) => docker_volume(name, docker),
        volume::Source::FileSystem(system) => {
            file_system(system, settings.shared_directories.get(&system.id)).map_err(|why| {
                failed(format!(
                    "failed to invoke EFS utils commands to set up EFS volumes: stderr: {why} : unsuccessful EFS utils \
                     command execution; code: 1"
                ))
            })
        }
        volume::Source::FsxWindows => {
            Err(failed(format!("volume '{name}': FSx for Windows File Server needs Windows, which cannot run here")))
        }
        volume::Source::AtLaunch => match task.volumes.iter().find(|given| given.name == *name) {
            Some(given) => Ok(Source::Scratch { size_bytes: Some(u64::from(given.size_gib) * GIB) }),
            None => Err(failed(format!("volume '{name}' is configured at launch, and the launch said nothing of it"))),
        },
    }
}

/// The directory must be, or be below, one that the operator lists. Which one it really is, the kernel says when it is opened.
fn host_path(name: &str, path: &Path, allowed: &[PathBuf]) -> Result<Source, StartFailure> {
    let refused = || {
        failed(format!(
            "volume '{name}': host path {} is not below a directory of files.hostPaths in the operator's configuration \
             (--config)",
            path.display()
        ))
    };
    if !is_plain(path) {
        return Err(refused());
    }
    // The innermost, so that as little as possible is left to resolve.
    let allowed = allowed.iter().filter(|allowed| path.starts_with(allowed));
    let allowed = allowed.max_by_key(|allowed| allowed.components().count()).ok_or_else(refused)?;
    Ok(Source::Directory {
        path: path.strip_prefix(allowed).unwrap_or(Path::new("")).to_owned(),
        allowed: allowed.clone(),
        read_only: false,
        failure: format!(
            "volume '{name}': host path {}, below {} of files.hostPaths: ",
            path.display(),
            allowed.display()
        ),
    })
}

/// Absolute, and without `..`.
fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

fn docker_volume(name: &str, docker: &DockerVolume) -> Result<Source, StartFailure> {
    let driver = docker.driver.as_deref().unwrap_or("local");
    if driver != "local" {
        return Err(failed(format!(
            "volume '{name}': error looking up volume plugin {driver}: plugin \"{driver}\" not found; only the driver local is there"
        )));
    }
    if let Some((option, _)) = docker.driver_opts.first_key_value() {
        return Err(failed(format!("volume '{name}': driverOpts.{option}: the driver local mounts nothing here")));
    }
    Ok(match docker.is_shared() {
        true => Source::Shared { create: docker.autoprovision == Some(true) },
        false => Source::Scratch { size_bytes: None },
    })
}

fn file_system(system: &FileSystem, shared: Option<&SharedDirectory>) -> Result<Source, String> {
    let id = &system.id;
    let shared = shared.ok_or_else(|| {
        format!(
            "Failed to resolve \"{id}\" - check that your file system ID is correct: files.sharedDirectories in the \
             operator's configuration (--config) has no {id}"
        )
    })?;
    let point = match &system.access_point {
        Some(point) => shared.access_points.get(point).map(PathBuf::as_path).ok_or_else(|| {
            format!("access point {point} does not exist: files.sharedDirectories.{id}.accessPoints has no {point}")
        })?,
        None => Path::new(""),
    };
    let root = Path::new(&system.root_directory);
    if !is_plain(root) {
        return Err(format!("mounting {id}:{} failed, reason given by server: Invalid argument", root.display()));
    }
    // Both as seen from the file system's own root.
    let below = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
    Ok(Source::Directory {
        allowed: shared.path.clone(),
        path: below(point).join(below(root)),
        read_only: shared.read_only,
        failure: format!(
            "failed to invoke EFS utils commands to set up EFS volumes: stderr: mount.nfs4: mounting {id}:{} failed, \
             reason given by server: ",
            root.display()
        ),
    })
}

/// The files of one container. Its file systems in memory become volumes of its own: they are kept on the disk, within
/// their size, and not in memory.
fn files(
    definition: &TaskDefinition,
    container: &ContainerDefinition,
    volumes: &mut Vec<VolumeSpec>,
) -> Result<FilesSpec, StartFailure> {
    let mut mounts: Vec<Mount> = Vec::new();
    let mut add = |volume: usize, path: &str, read_only: bool| {
        let path = absolute(path).map_err(|why| invalid(container, format!("invalid mount path '{path}': {why}")))?;
        if path == "/" {
            return Err(invalid(container, String::from("invalid specification: destination can't be '/'")));
        }
        if mounts.iter().any(|known| known.path == path) {
            return Err(invalid(container, format!("Duplicate mount point: {path}")));
        }
        mounts.push(Mount { volume, path, read_only });
        Ok(())
    };
    for mount in volume::mounts(&definition.document, container) {
        let at = volumes.iter().position(|volume| volume.name == mount.volume);
        let at = at.ok_or_else(|| invalid(container, format!("Unknown volume '{}'.", mount.volume)))?;
        add(at, &mount.path, mount.read_only)?;
    }
    for tmpfs in volume::tmpfs(container) {
        add(volumes.len(), &tmpfs.path, tmpfs.read_only)?;
        volumes.push(VolumeSpec {
            name: format!("tmpfs {} of container {}", tmpfs.path, container.name),
            source: Source::Scratch { size_bytes: Some(tmpfs.size_mib.saturating_mul(MIB)) },
        });
    }
    let working_directory = container.working_directory.as_deref().filter(|path| !path.is_empty());
    let working_directory = working_directory
        .map(|path| absolute(path).map_err(|why| invalid(container, format!("workingDirectory '{path}': {why}"))))
        .transpose()?;
    let open_files = volume::open_files_max(container).map(|max| u32::try_from(max).unwrap_or(u32::MAX));
    Ok(FilesSpec {
        mounts,
        has_read_only_root: volume::has_read_only_root(container),
        working_directory,
        open_files_max: open_files.unwrap_or(OPEN_FILES_DEFAULT).min(OPEN_FILES_MAX),
    })
}

/// A path of the container, without what leads nowhere else.
fn absolute(path: &str) -> Result<String, &'static str> {
    if !path.starts_with('/') {
        return Err("the path must be absolute");
    }
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str().ok_or("the path must be text")?),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests;
