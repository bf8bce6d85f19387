//! What a task definition says about files: its volumes, and where each container finds them.
//!
//! Read off the definition's own members, which stay as they were registered. Pure: the metadata of a container
//! shows the same mounts as the node makes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::ContainerDefinition;
use crate::model::task_definition::TaskDocument;

/// Where a volume's files come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Empty at first, and gone with the task.
    Scratch,
    /// A directory of the machine.
    Host(String),
    Docker(DockerVolume),
    /// EFS, or S3 Files: a directory of the operator's configuration stands for it.
    FileSystem(FileSystem),
    /// Needs Windows.
    FsxWindows,
    /// An EBS volume; its size comes with the launch.
    AtLaunch,
}

/// `dockerVolumeConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerVolume {
    /// `task`, where absent, or `shared`.
    pub scope: Option<String>,
    pub autoprovision: Option<bool>,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

impl DockerVolume {
    pub fn is_shared(&self) -> bool {
        self.scope.as_deref() == Some("shared")
    }
}

/// A network file system.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSystem {
    pub id: String,
    /// Absolute within the file system, or its access point.
    pub root_directory: String,
    pub access_point: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    pub name: String,
    pub source: Source,
}

/// One place of a container where it finds a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    pub volume: String,
    pub path: String,
    pub read_only: bool,
}

/// A file system in memory that a container asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    pub path: String,
    pub size_mib: u64,
    pub read_only: bool,
}

/// What RunTask or a service says of a volume that is configured at launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchVolume {
    pub name: String,
    pub size_gib: u32,
    /// `vol-…`, as EBS would name it.
    pub volume_id: String,
    /// Of the attachment that DescribeTasks shows.
    pub attachment_id: String,
    pub delete_on_termination: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenVolume {
    name: String,
    host: Host,
    docker_volume_configuration: Option<DockerVolume>,
    efs_volume_configuration: Option<Efs>,
    s3files_volume_configuration: Option<S3Files>,
    fsx_windows_file_server_volume_configuration: Option<Value>,
    configured_at_launch: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Host {
    source_path: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Efs {
    file_system_id: String,
    root_directory: Option<String>,
    authorization_config: Authorization,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Authorization {
    access_point_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct S3Files {
    file_system_arn: String,
    root_directory: Option<String>,
    access_point_arn: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenMount {
    source_volume: Option<String>,
    container_path: Option<String>,
    read_only: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenFrom {
    source_container: Option<String>,
    read_only: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenTmpfs {
    container_path: String,
    size: u64,
    mount_options: Vec<String>,
}

/// The volumes of a definition, in its order.
pub fn volumes(document: &TaskDocument) -> Vec<Volume> {
    let written: Vec<WrittenVolume> = member(document.other.get("volumes"));
    written.into_iter().map(|volume| Volume { source: source(&volume), name: volume.name }).collect()
}

fn source(volume: &WrittenVolume) -> Source {
    if volume.configured_at_launch {
        return Source::AtLaunch;
    }
    if let Some(docker) = &volume.docker_volume_configuration {
        return Source::Docker(docker.clone());
    }
    let root =
        |written: &Option<String>| written.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| String::from("/"));
    if let Some(efs) = &volume.efs_volume_configuration {
        return Source::FileSystem(FileSystem {
            id: efs.file_system_id.clone(),
            root_directory: root(&efs.root_directory),
            access_point: efs.authorization_config.access_point_id.clone(),
        });
    }
    if let Some(s3) = &volume.s3files_volume_configuration {
        return Source::FileSystem(FileSystem {
            id: last_part(&s3.file_system_arn),
            root_directory: root(&s3.root_directory),
            access_point: s3.access_point_arn.as_deref().map(last_part),
        });
    }
    if volume.fsx_windows_file_server_volume_configuration.is_some() {
        return Source::FsxWindows;
    }
    match &volume.host.source_path {
        Some(path) if !path.is_empty() => Source::Host(path.clone()),
        _ => Source::Scratch,
    }
}

/// The name of a resource, off its ARN.
fn last_part(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or(arn).to_owned()
}

/// Where a container finds volumes: its own mount points, and those that it has from others.
pub fn mounts(document: &TaskDocument, container: &ContainerDefinition) -> Vec<MountPoint> {
    let mut mounts = own_mounts(container);
    let from: Vec<WrittenFrom> = member(container.other.get("volumesFrom"));
    for from in from {
        let name = from.source_container.unwrap_or_default();
        let Some(other) = document.container_definitions.iter().find(|other| other.name == name) else { continue };
        for mount in own_mounts(other) {
            // What the container mounts itself wins, as in a container engine.
            if !mounts.iter().any(|known| known.path == mount.path) {
                mounts.push(MountPoint { read_only: mount.read_only || from.read_only == Some(true), ..mount });
            }
        }
    }
    mounts
}

fn own_mounts(container: &ContainerDefinition) -> Vec<MountPoint> {
    let written: Vec<WrittenMount> = member(container.other.get("mountPoints"));
    let mount = |mount: WrittenMount| MountPoint {
        volume: mount.source_volume.unwrap_or_default(),
        path: mount.container_path.unwrap_or_default(),
        read_only: mount.read_only.unwrap_or(false),
    };
    written.into_iter().map(mount).collect()
}

/// `linuxParameters.tmpfs` of a container.
pub fn tmpfs(container: &ContainerDefinition) -> Vec<Tmpfs> {
    let written: Vec<WrittenTmpfs> =
        member(container.other.get("linuxParameters").and_then(|linux| linux.get("tmpfs")));
    let tmpfs = |written: WrittenTmpfs| Tmpfs {
        path: written.container_path,
        size_mib: written.size,
        read_only: written.mount_options.iter().any(|option| option == "ro"),
    };
    written.into_iter().map(tmpfs).collect()
}

/// `readonlyRootFilesystem` of a container.
pub fn has_read_only_root(container: &ContainerDefinition) -> bool {
    container.other.get("readonlyRootFilesystem").and_then(Value::as_bool) == Some(true)
}

/// The soft limit of `ulimits` named `nofile`.
pub fn open_files_max(container: &ContainerDefinition) -> Option<u64> {
    let limits = container.other.get("ulimits")?.as_array()?;
    limits.iter().find(|limit| limit["name"] == "nofile")?["softLimit"].as_u64()
}

/// `ephemeralStorage` of a definition, or of the overrides of a task.
pub fn ephemeral_storage_gib(members: &serde_json::Map<String, Value>) -> Option<u64> {
    members.get("ephemeralStorage")?.get("sizeInGiB")?.as_u64()
}

/// GiB of an EBS volume (its own limits).
const LAUNCH_GIB: std::ops::RangeInclusive<u64> = 1..=16_384;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenLaunch {
    name: String,
    #[serde(rename = "managedEBSVolume")]
    managed: Option<WrittenManaged>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenManaged {
    #[serde(rename = "sizeInGiB")]
    size_gib: Option<u64>,
    snapshot_id: Option<String>,
    termination_policy: Termination,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Termination {
    delete_on_termination: Option<bool>,
}

/// The volumes that a launch configures, from `volumeConfigurations` of its request; an error is for the caller. `uuid` names
/// attachments, `volume_id` volumes.
pub fn at_launch(
    document: &TaskDocument,
    configurations: Option<&Value>,
    uuid: impl Fn() -> String,
    volume_id: impl Fn() -> String,
) -> Result<Vec<LaunchVolume>, String> {
    let given: Vec<WrittenLaunch> = member(configurations);
    let wanted: Vec<String> = volumes(document)
        .into_iter()
        .filter(|volume| volume.source == Source::AtLaunch)
        .map(|volume| volume.name)
        .collect();
    if let Some(unknown) = given.iter().find(|given| !wanted.contains(&given.name)) {
        return Err(format!(
            "volumeConfigurations: the task definition has no volume '{}' that is configured at launch.",
            unknown.name
        ));
    }
    let volume = |name: String| {
        let given = given.iter().find(|given| given.name == name).and_then(|given| given.managed.as_ref());
        let given = given.ok_or_else(|| {
            format!("volumeConfigurations: the volume '{name}' is configured at launch, and needs a managedEBSVolume.")
        })?;
        let size_gib = match (given.size_gib, &given.snapshot_id) {
            (Some(size), _) if LAUNCH_GIB.contains(&size) => u32::try_from(size).unwrap_or(u32::MAX),
            (Some(size), _) => {
                return Err(format!(
                    "volumeConfigurations: sizeInGiB: {size} must be between {} and {}.",
                    LAUNCH_GIB.start(),
                    LAUNCH_GIB.end()
                ));
            }
            (None, None) => {
                return Err(String::from("volumeConfigurations: either sizeInGiB or snapshotId must be specified."));
            }
            (None, Some(_)) => {
                return Err(String::from("volumeConfigurations: there are no snapshots here; give sizeInGiB."));
            }
        };
        Ok(LaunchVolume {
            name,
            size_gib,
            volume_id: volume_id(),
            attachment_id: uuid(),
            delete_on_termination: given.termination_policy.delete_on_termination.unwrap_or(true),
        })
    };
    wanted.into_iter().map(volume).collect()
}

/// A member of a checked definition; what has another shape asks for nothing.
fn member<T: serde::de::DeserializeOwned + Default>(value: Option<&Value>) -> T {
    value.and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(value: Value) -> TaskDocument {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn every_kind_of_volume_is_told_apart() {
        let document = document(json!({"containerDefinitions": [], "volumes": [
            {"name": "a"},
            {"name": "b", "host": {}},
            {"name": "c", "host": {"sourcePath": "/srv"}},
            {"name": "d", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": true, "labels": {"a": "b"}}},
            {"name": "e", "efsVolumeConfiguration": {"fileSystemId": "fs-1", "authorizationConfig": {"accessPointId": "fsap-1"}}},
            {"name": "f", "configuredAtLaunch": true},
            {"name": "g", "s3filesVolumeConfiguration": {"fileSystemArn": "arn:aws:s3files:r:1:file-system/fs-2", "rootDirectory": "/x"}},
            {"name": "h", "fsxWindowsFileServerVolumeConfiguration": {"fileSystemId": "fs-3"}}
        ]}));
        let sources: Vec<Source> = volumes(&document).into_iter().map(|volume| volume.source).collect();
        assert_eq!(sources[..2], [Source::Scratch, Source::Scratch]);
        assert_eq!(sources[2], Source::Host(String::from("/srv")));
        assert!(
            matches!(&sources[3], Source::Docker(docker) if docker.is_shared() && docker.autoprovision == Some(true))
        );
        let system = |id: &str, root: &str, point: Option<&str>| {
            Source::FileSystem(FileSystem {
                id: id.to_owned(),
                root_directory: root.to_owned(),
                access_point: point.map(str::to_owned),
            })
        };
        assert_eq!(sources[4], system("fs-1", "/", Some("fsap-1")));
        assert_eq!(sources[5], Source::AtLaunch);
        assert_eq!(sources[6], system("fs-2", "/x", None));
        assert_eq!(sources[7], Source::FsxWindows);
    }

    #[test]
    fn volumes_from_another_container_come_with_its_permission_or_less() {
        let document = document(json!({"containerDefinitions": [
            {"name": "a", "image": "i", "mountPoints": [
                {"sourceVolume": "v", "containerPath": "/v"}, {"sourceVolume": "w", "containerPath": "/w", "readOnly": true}]},
            {"name": "b", "image": "i", "mountPoints": [{"sourceVolume": "u", "containerPath": "/w"}],
             "volumesFrom": [{"sourceContainer": "a", "readOnly": true}],
             "linuxParameters": {"tmpfs": [{"containerPath": "/run", "size": 8, "mountOptions": ["noexec", "ro"]}]},
             "ulimits": [{"name": "nofile", "softLimit": 64, "hardLimit": 128}]}
        ]}));
        let b = &document.container_definitions[1];
        let seen: Vec<_> =
            mounts(&document, b).into_iter().map(|mount| (mount.volume, mount.path, mount.read_only)).collect();
        let mount = |volume: &str, path: &str, read_only| (volume.to_owned(), path.to_owned(), read_only);
        assert_eq!(seen, [mount("u", "/w", false), mount("v", "/v", true)]);
        assert_eq!(tmpfs(b), [Tmpfs { path: String::from("/run"), size_mib: 8, read_only: true }]);
        assert_eq!(open_files_max(b), Some(64));
    }

    #[test]
    fn what_is_configured_at_launch_is_configured_at_launch() {
        let document =
            document(json!({"containerDefinitions": [], "volumes": [{"name": "v", "configuredAtLaunch": true}]}));
        let launch =
            |given: Value| at_launch(&document, Some(&given), || String::from("uuid"), || String::from("vol-1"));
        let given = |managed: Value| json!([{"name": "v", "managedEBSVolume": managed}]);
        let volumes = launch(given(json!({"sizeInGiB": 10, "roleArn": "r"}))).unwrap();
        assert_eq!((volumes[0].size_gib, volumes[0].delete_on_termination), (10, true));
        for (wrong, why) in [
            (json!([]), "needs a managedEBSVolume"),
            (json!([{"name": "w"}]), "no volume 'w'"),
            (given(json!({})), "either sizeInGiB or snapshotId"),
            (given(json!({"snapshotId": "snap-1"})), "no snapshots"),
            (given(json!({"sizeInGiB": 20_000})), "between 1 and 16384"),
        ] {
            let text = launch(wrong).unwrap_err();
            assert!(text.contains(why), "{text}");
        }
    }
}
