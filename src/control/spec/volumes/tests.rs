use serde_json::{Value, json};

use super::*;
use crate::model::Settings;
use crate::model::volume::LaunchVolume;

fn settings() -> FileSettings {
    let text = br#"{"files": {
        "hostPaths": ["/srv", "/srv/data"],
        "sharedDirectories": {"fs-1": {"path": "/shared/one", "readOnly": true, "accessPoints": {"fsap-1": "/team"}}},
        "ephemeralStorageMib": 64
    }}"#;
    Settings::parse(text).unwrap().files
}

fn given(document: Value, change: impl FnOnce(&mut Task)) -> Result<(TaskFiles, Vec<FilesSpec>), StartFailure> {
    let mut task = crate::control::tests::task(1);
    change(&mut task);
    of(&task, &crate::control::tests::definition(document), &settings())
}

fn source_of(volume: Value) -> Result<Source, String> {
    let document = json!({"containerDefinitions": [{"name": "c", "image": "i"}], "volumes": [volume]});
    let (mut files, _) = given(document, |_| ()).map_err(|failure| failure.text())?;
    Ok(files.volumes.remove(0).source)
}

fn failure(volume: Value) -> String {
    source_of(volume).unwrap_err()
}

#[test]
fn host_paths_lie_below_what_the_operator_lists() {
    let source = source_of(json!({"name": "v", "host": {"sourcePath": "/srv/data/web/x"}})).unwrap();
    let Source::Directory { allowed, path, .. } = source else { panic!("{source:?}") };
    assert_eq!((allowed, path), (PathBuf::from("/srv/data"), PathBuf::from("web/x")));
    for path in ["/etc", "/srvx", "/srv/../etc", "srv/data", "/"] {
        let text = failure(json!({"name": "v", "host": {"sourcePath": path}}));
        assert!(text.starts_with("ResourceInitializationError: volume 'v': host path"), "{text}");
        assert!(text.contains("files.hostPaths"), "{text}");
    }
}

#[test]
fn file_systems_are_those_of_the_configuration() {
    let efs = |id: &str, root: &str, point: Value| {
        json!({"name": "v", "efsVolumeConfiguration": {
            "fileSystemId": id, "rootDirectory": root, "authorizationConfig": {"accessPointId": point}}})
    };
    let source = source_of(efs("fs-1", "/", json!("fsap-1"))).unwrap();
    let Source::Directory { allowed, path, read_only, .. } = source else { panic!("{source:?}") };
    assert_eq!((allowed, path, read_only), (PathBuf::from("/shared/one"), PathBuf::from("team/"), true));
    for wrong in [efs("fs-2", "/", Value::Null), efs("fs-1", "/", json!("fsap-2")), efs("fs-1", "/../x", Value::Null)] {
        let text = failure(wrong);
        assert!(
            text.starts_with(
                "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: "
            ),
            "{text}"
        );
    }
}

#[test]
fn what_stands_for_nothing_here_fails_with_its_reason() {
    for (volume, why) in [
        (json!({"name": "v", "dockerVolumeConfiguration": {"driver": "rexray/ebs"}}), "rexray/ebs"),
        (json!({"name": "v", "dockerVolumeConfiguration": {"driverOpts": {"type": "nfs"}}}), "driverOpts.type"),
        (json!({"name": "v", "fsxWindowsFileServerVolumeConfiguration": {"fileSystemId": "fs-3"}}), "Windows"),
        (json!({"name": "v", "configuredAtLaunch": true}), "at launch"),
    ] {
        assert!(failure(volume.clone()).contains(why), "{volume}");
    }
}

#[test]
fn sizes_are_the_launchs_the_overrides_the_definitions_and_the_operators() {
    let document = |storage: Value| {
        json!({"containerDefinitions": [{"name": "c", "image": "i"}], "ephemeralStorage": storage,
               "volumes": [{"name": "v", "configuredAtLaunch": true}]})
    };
    let launch = |task: &mut Task| {
        task.volumes.push(LaunchVolume {
            name: String::from("v"),
            size_gib: 3,
            volume_id: String::new(),
            attachment_id: String::new(),
            delete_on_termination: true,
        });
    };
    let (files, _) = given(document(Value::Null), launch).unwrap();
    assert_eq!(files.size_bytes, Some(64 * MIB));
    assert!(matches!(files.volumes[0].source, Source::Scratch { size_bytes: Some(size) } if size == 3 * GIB));
    assert_eq!(given(document(json!({"sizeInGiB": 30})), launch).unwrap().0.size_bytes, Some(30 * GIB));
    let overridden = given(document(json!({"sizeInGiB": 30})), |task| {
        launch(task);
        task.overrides.insert(String::from("ephemeralStorage"), json!({"sizeInGiB": 40}));
    });
    assert_eq!(overridden.unwrap().0.size_bytes, Some(40 * GIB));
}

#[test]
fn a_containers_mounts_are_absolute_plain_and_unlike_each_other() {
    let container = |members: Value| {
        let mut container = json!({"name": "c", "image": "i"});
        for (name, value) in members.as_object().unwrap() {
            container[name] = value.clone();
        }
        given(json!({"containerDefinitions": [container], "volumes": [{"name": "v"}]}), |_| ())
    };
    let mount = |path: &str| json!({"mountPoints": [{"sourceVolume": "v", "containerPath": path}]});
    let (files, containers) = container(json!({
        "mountPoints": [{"sourceVolume": "v", "containerPath": "/a/../data/./x/", "readOnly": true}],
        "linuxParameters": {"tmpfs": [{"containerPath": "/run", "size": 8}]},
        "workingDirectory": "/srv/app/", "readonlyRootFilesystem": true,
        "ulimits": [{"name": "nofile", "softLimit": 10_000_000, "hardLimit": 10_000_000}]
    }))
    .unwrap();
    let spec = &containers[0];
    assert_eq!((spec.mounts[0].path.as_str(), spec.mounts[0].read_only), ("/data/x", true));
    assert_eq!((spec.mounts[1].path.as_str(), spec.mounts[1].volume), ("/run", 1));
    assert!(matches!(files.volumes[1].source, Source::Scratch { size_bytes: Some(size) } if size == 8 * MIB));
    assert_eq!(spec.working_directory.as_deref(), Some("/srv/app"));
    assert!(spec.has_read_only_root);
    assert_eq!(spec.open_files_max, OPEN_FILES_MAX);
    for (members, why) in [
        (mount("data"), "must be absolute"),
        (mount("/x/.."), "destination can't be '/'"),
        (json!({"workingDirectory": "srv"}), "must be absolute"),
        (
            json!({"mountPoints": [
                {"sourceVolume": "v", "containerPath": "/a"}, {"sourceVolume": "v", "containerPath": "/a/"}]}),
            "Duplicate mount point: /a",
        ),
    ] {
        let text = container(members).unwrap_err().text();
        assert!(text.contains(why), "{text}");
    }
}
