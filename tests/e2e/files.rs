//! The files of tasks: roots, scratch, shared volumes, directories of the machine, sizes.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::definitions::guest;
use super::server::Server;

/// A definition whose containers do these steps, one after the other; files as EC2 has them.
fn definition(family: &str, containers: &[(&str, &str, Value)], members: Value) -> Value {
    let containers: Vec<Value> = containers
        .iter()
        .map(|(name, steps, members)| {
            let steps: Vec<&str> = steps.split_whitespace().collect();
            let mut container = json!({"name": name, "image": guest("files"), "command": steps, "memory": 64,
                "essential": true, "stopTimeout": 2});
            merge(&mut container, members);
            container
        })
        .collect();
    let mut definition = json!({"family": family, "networkMode": "bridge", "containerDefinitions": containers});
    merge(&mut definition, &members);
    definition
}

fn merge(into: &mut Value, members: &Value) {
    for (name, value) in members.as_object().unwrap() {
        into[name] = value.clone();
    }
}

fn at(volume: &str, path: &str) -> Value {
    json!({"mountPoints": [{"sourceVolume": volume, "containerPath": path}]})
}

/// Runs a task on the container instance, because Fargate takes neither host paths nor Docker's volumes; its ARN.
async fn run(server: &Server, definition: Value) -> String {
    let registered = server.register(definition).await;
    launched(server, json!({"taskDefinition": registered})).await
}

async fn launched(server: &Server, input: Value) -> String {
    let answer = server.ecs("RunTask", input).await;
    assert_eq!(answer["failures"], json!([]), "{answer}");
    answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned()
}

/// What a task printed when it has ended, and how it is described then.
async fn ended(server: &Server, definition: Value) -> (String, Value) {
    let arn = run(server, definition).await;
    let task = server.task_in(&arn, "STOPPED").await;
    (server.printed(&arn).await.join("\n"), task)
}

async fn printed(server: &Server, definition: Value) -> String {
    let (printed, task) = ended(server, definition).await;
    assert_eq!(task["containers"][0]["exitCode"], 0, "{task}");
    printed
}

async fn server_with(home: &Path, files: Value) -> Server {
    let config = home.join("config.json");
    std::fs::write(&config, json!({"files": files}).to_string()).unwrap();
    Server::start_with(&["--config", config.to_str().unwrap()]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_of_a_task_share_a_volume_and_leave_nothing() {
    let server = Server::start().await;
    let writer = ("writer", "write /out/note hello sleep 600000", at("v", "/out"));
    // It reads what the other writes: until then it fails, and says so.
    let from = json!({"volumesFrom": [{"sourceContainer": "writer", "readOnly": true}],
        "workingDirectory": "/srv/app", "readonlyRootFilesystem": true});
    let reader = ("reader", "cwd sleep 1500 read /out/note write /out/note x write /tmp/x x ls /", from);
    let document = definition("pair", &[writer, reader], json!({"volumes": [{"name": "v", "host": {}}]}));
    let (printed, task) = ended(&server, document).await;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[..2], ["/srv/app", "hello"], "{printed}\n{task}");
    assert!(
        lines[2].starts_with("failed: write /out/note") && lines[3].starts_with("failed: write /tmp/x"),
        "{printed}"
    );
    assert_eq!(lines[4], "/: out srv tmp");
    assert_eq!(std::fs::read_dir(server.data_dir().join("tasks")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_paths_are_those_that_the_operator_lists() {
    let home = TempDir::new().unwrap();
    std::fs::create_dir_all(home.path().join("open/data")).unwrap();
    std::fs::create_dir_all(home.path().join("shut")).unwrap();
    std::fs::write(home.path().join("shut/secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../../shut", home.path().join("open/data/out")).unwrap();
    let server = server_with(home.path(), json!({"hostPaths": [home.path().join("open")]})).await;
    let on = |path: &str| {
        let volume = json!({"volumes": [{"name": "data", "host": {"sourcePath": home.path().join(path)}}]});
        definition(
            "host",
            &[("c", "write /d/file mine read /d/out/secret read /d/../shut/secret", at("data", "/d"))],
            volume,
        )
    };
    let text = printed(&server, on("open/data")).await;
    assert_eq!(text.lines().filter(|line| line.starts_with("failed: read")).count(), 2, "{text}");
    assert_eq!(std::fs::read_to_string(home.path().join("open/data/file")).unwrap(), "mine");
    for path in ["shut", "open/data/out", "open/absent"] {
        let (_, task) = ended(&server, on(path)).await;
        assert_eq!(task["stopCode"], "TaskFailedToStart", "{task}");
        let reason = task["stoppedReason"].as_str().unwrap();
        assert!(reason.starts_with("ResourceInitializationError: volume 'data': host path"), "{reason}");
        assert!(reason.contains("files.hostPaths"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_docker_volumes_outlive_tasks_and_the_server() {
    let server = Server::start().await;
    let with = |steps: &str, scope: &str, autoprovision: bool| {
        let volume = json!({"volumes": [{"name": "kept", "dockerVolumeConfiguration":
            {"scope": scope, "autoprovision": autoprovision, "driver": "local", "labels": {"a": "b"}}}]});
        definition("docker", &[("c", steps, at("kept", "/k"))], volume)
    };
    let (_, task) = ended(&server, with("ls /k", "shared", false)).await;
    assert!(task["stoppedReason"].as_str().unwrap().contains("no such volume"), "{task}");
    assert_eq!(printed(&server, with("append /k/note one", "shared", true)).await, "");
    // Killed with a task that writes: its scratch is gone at the next start, the volume is not.
    let arn = run(&server, with("append /k/note two write /tmp/x x sleep 600000", "shared", true)).await;
    super::wait::until("the task to write", async || {
        let note = server.data_dir().join("volumes/shared/kept/note");
        (std::fs::read_to_string(note).ok()? == "onetwo").then_some(())
    })
    .await;
    let server = server.kill_and_restart().await;
    server.task_in(&arn, "STOPPED").await;
    assert_eq!(printed(&server, with("read /k/note", "shared", false)).await, "onetwo");
    assert_eq!(printed(&server, with("ls /k", "task", false)).await, "/k: ");
    assert_eq!(std::fs::read_dir(server.data_dir().join("tasks")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn efs_is_a_directory_of_the_configuration() {
    let home = TempDir::new().unwrap();
    std::fs::create_dir_all(home.path().join("shared/team/web")).unwrap();
    std::fs::write(home.path().join("shared/team/web/page"), "page").unwrap();
    std::fs::write(home.path().join("shared/team/private"), "private").unwrap();
    let shared = json!({"path": home.path().join("shared"), "accessPoints": {"fsap-1": "/team/web"}});
    let frozen = json!({"path": home.path().join("shared"), "readOnly": true});
    let server = server_with(home.path(), json!({"sharedDirectories": {"fs-1": shared, "fs-2": frozen}})).await;
    let on = |steps: &str, members: Value| {
        let volume = json!({"volumes": [{"name": "efs", "efsVolumeConfiguration": members}]});
        definition("efs", &[("c", steps, at("efs", "/e"))], volume)
    };
    let point = |id: &str| json!({"fileSystemId": "fs-1", "transitEncryption": "ENABLED", "authorizationConfig": {"accessPointId": id}});
    let text = printed(&server, on("read /e/page read /e/../private write /e/new new", point("fsap-1"))).await;
    assert!(text.starts_with("page\nfailed: read /e/../private"), "{text}");
    assert_eq!(std::fs::read_to_string(home.path().join("shared/team/web/new")).unwrap(), "new");
    let root = json!({"fileSystemId": "fs-2", "rootDirectory": "/team"});
    let text = printed(&server, on("read /e/private write /e/private x", root)).await;
    assert!(text.starts_with("private\nfailed: write /e/private"), "{text}");
    for members in
        [json!({"fileSystemId": "fs-3"}), point("fsap-2"), json!({"fileSystemId": "fs-1", "rootDirectory": "/no"})]
    {
        let (_, task) = ended(&server, on("ls /e", members)).await;
        let reason = task["stoppedReason"].as_str().unwrap();
        let text = "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: ";
        assert!(reason.starts_with(text), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_over_its_size_ends_with_the_reason() {
    let home = TempDir::new().unwrap();
    let server = server_with(home.path(), json!({"ephemeralStorageMib": 16})).await;
    let tmpfs = json!({"linuxParameters": {"tmpfs": [{"containerPath": "/run", "size": 4}]}});
    for (family, steps, members, why) in [
        ("scratch", "fill /tmp/a 32 sleep 600000", json!({}), "task used"),
        ("unnamed", "unnamed /tmp/a 32", json!({}), "task used"),
        ("tmpfs", "fill /run/a 8 sleep 600000", tmpfs, "tmpfs /run"),
    ] {
        let (_, task) = ended(&server, definition(family, &[("c", steps, members)], json!({}))).await;
        assert_eq!(task["containers"][0]["exitCode"], 137, "{task}");
        let reason = task["containers"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("EphemeralStorageExceededError: ") && reason.contains(why), "{reason}");
    }
    // Within its size it is well, however large a hole in a file is.
    let steps = "fill /tmp/a 4 sparse /tmp/b 100000 sleep 600";
    assert_eq!(printed(&server, definition("well", &[("c", steps, json!({}))], json!({}))).await, "wrote 4 MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_files_are_limited_by_ulimits() {
    let server = Server::start().await;
    let limits = json!({"ulimits": [{"name": "nofile", "softLimit": 40, "hardLimit": 40}]});
    let steps = "write /tmp/a x open /tmp/a 1000 open /tmp/a 20";
    let text = printed(&server, definition("many", &[("c", steps, limits)], json!({}))).await;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("opened 3") || lines[0] == "opened 40", "{text}");
    assert!(lines[1].starts_with("failed: open /tmp/a") && lines[2] == "opened 20", "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_are_configured_at_launch() {
    let server = Server::start().await;
    let volume = json!({"volumes": [{"name": "ebs", "configuredAtLaunch": true}]});
    let registered = server
        .register(definition("ebs", &[("c", "write /e/a x read /e/a sleep 600000", at("ebs", "/e"))], volume))
        .await;
    let refused = server.try_ecs("RunTask", json!({"taskDefinition": registered})).await.unwrap_err();
    assert!(refused.kind.contains("InvalidParameterException") && refused.message.contains("'ebs'"), "{refused:?}");
    let managed = json!({"sizeInGiB": 2, "roleArn": "arn:aws:iam::000000000000:role/ecsInfrastructureRole"});
    let given = json!([{"name": "ebs", "managedEBSVolume": managed}]);
    let arn = launched(&server, json!({"taskDefinition": registered, "volumeConfigurations": given})).await;
    let task = server.task_in(&arn, "RUNNING").await;
    let attachment = &task["attachments"][0];
    assert_eq!((&attachment["type"], &attachment["status"]), (&json!("AmazonElasticBlockStorage"), &json!("ATTACHED")));
    super::wait::until("the task to write", async || (server.printed(&arn).await == ["x"]).then_some(())).await;
}
