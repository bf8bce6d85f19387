//! What another task has: its files, its metadata, its credentials.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::ground::{Attack, End, Ground};
use crate::e2e::definitions::{guest, program, single};
use crate::e2e::server::Server;
use crate::e2e::wait::until;

/// What is in a file of the victim.
const SECRET: &str = "what only the victim may read: 93ab77";

/// Two containers that have one scratch volume, the first of which is judged.
fn sharing(first: &[&str], second: &[&str]) -> Value {
    let container = |name: &str, essential: bool, command: &[&str]| {
        json!({
            "name": name, "image": guest("hostile"), "command": command, "essential": essential, "stopTimeout": 2,
            "mountPoints": [{"sourceVolume": "shared", "containerPath": "/shared"}],
        })
    };
    let mut definition = single("attacker", &guest("hostile"), &[]);
    definition["volumes"] = json!([{"name": "shared"}]);
    definition["containerDefinitions"] = json!([container("attacker", true, first), container("other", false, second)]);
    definition
}

/// Every file below a directory that has these words.
fn files_with(words: &str, below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_with(words, &path)),
            Ok(kind) if kind.is_file() && fs::read(&path).is_ok_and(|bytes| bytes == words.as_bytes()) => {
                found.push(path)
            }
            _ => {}
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_another_task() {
    let mut ground = Ground::new().await;
    let command = ["write", "/secret", SECRET, "write", "/shared/secret", SECRET, "sleep", "600000"];
    let mut victim = program("victim", "files", &command);
    victim["volumes"] = json!([{"name": "shared"}]);
    victim["containerDefinitions"][0]["mountPoints"] = json!([{"sourceVolume": "shared", "containerPath": "/shared"}]);
    let victim = ground.server.run(victim).await;
    let data_dir = ground.server.data_dir();
    let secrets =
        until("the victim's files", async || Some(files_with(SECRET, &data_dir)).filter(|all| all.len() == 2)).await;
    ground.began_more(&victim).await;
    for secret in &secrets {
        let attack = Attack { name: "read another task's files", image: "hostile", command: &[], end: End::Held };
        let command = ["walk", secret.to_str().unwrap(), SECRET];
        ground.attack_with(&attack, sharing(&command, &["environment"])).await;
    }
    let attack = Attack { name: "race a rename against a read", image: "hostile", command: &[], end: End::Held };
    let race = sharing(&["peek", "/shared", "1500", "root:"], &["swap", "/shared", "2000"]);
    ground.attack_with(&attack, race).await;
    ground.stop(&victim).await;
    ground.server.task_in(&victim, "STOPPED").await;
    until("the victim's files to be gone", async || files_with(SECRET, &data_dir).is_empty().then_some(())).await;
    ground.end().await;
}

/// Not even a link that the operator made leads out of a directory that was given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_in_a_host_path() {
    let folder = tempfile::tempdir().unwrap();
    let (open, closed) = (folder.path().join("open"), folder.path().join("closed"));
    fs::create_dir(&open).unwrap();
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("secret"), SECRET).unwrap();
    std::os::unix::fs::symlink(&closed, open.join("link")).unwrap();
    std::os::unix::fs::symlink("../closed", open.join("relative")).unwrap();
    let config = folder.path().join("config.json");
    fs::write(&config, json!({"files": {"hostPaths": [open]}}).to_string()).unwrap();
    let mut ground = Ground::of(Server::start_with(&["--config", config.to_str().unwrap()]).await).await;
    for path in ["/data/link/secret", "/data/relative/secret", closed.join("secret").to_str().unwrap()] {
        let mut definition = single("attacker", &guest("hostile"), &["walk", path, SECRET]);
        definition["requiresCompatibilities"] = json!(["EC2"]);
        definition["networkMode"] = json!("bridge");
        definition["volumes"] = json!([{"name": "data", "host": {"sourcePath": open}}]);
        definition["containerDefinitions"][0]["mountPoints"] =
            json!([{"sourceVolume": "data", "containerPath": "/data"}]);
        let registered = ground.server.register(definition).await;
        let attack = Attack { name: "follow links out of a host path", image: "hostile", command: &[], end: End::Held };
        ground.attack_as(&attack, json!({"taskDefinition": registered, "launchType": "EC2"})).await;
    }
    let mut left: Vec<_> = fs::read_dir(&open).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["link", "relative"], "something was left behind");
    ground.end().await;
}

/// The ids in the paths of 169.254.170.2 are secrets; and knowing them helps nobody, because the host knows who asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_and_credentials_of_another_task() {
    let mut ground = Ground::new().await;
    let names = [
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "ECS_CONTAINER_METADATA_URI_V4",
        "ECS_CONTAINER_METADATA_URI",
        "ECS_AGENT_URI",
    ];
    let mut command: Vec<&str> = names.iter().flat_map(|name| ["env", *name]).collect();
    command.extend(["sleep", "600000"]);
    let mut definition = program("victim", "batch", &command);
    definition["taskRoleArn"] = json!("arn:aws:iam::123456789012:role/victim");
    let victim = ground.server.run(definition).await;
    let printed = until("the victim to tell its paths", async || {
        Some(ground.server.printed(&victim).await).filter(|lines| lines.len() == names.len())
    })
    .await;
    ground.began_more(&victim).await;
    let values: Vec<&str> = printed.iter().map(|line| line.rsplit('=').next().unwrap()).collect();
    let [credentials, v4, v3, agent] = values[..] else { panic!("{printed:?}") };
    assert!(credentials.starts_with("/v2/credentials/") && v4.contains("169.254.170.2/v4/"), "{printed:?}");
    let id = v4.rsplit('/').next().unwrap();
    let host = "http://169.254.170.2";
    let urls = [
        format!("{host}{credentials}"),
        format!("{host}/v2//credentials/{}", credentials.rsplit('/').next().unwrap()),
        format!("{host}{credentials}/"),
        format!("{host}/v2/credentials/"),
        format!("{host}/v2/credentials/%2e%2e/credentials/{}", credentials.rsplit('/').next().unwrap()),
        v4.to_owned(),
        format!("{v4}/task"),
        format!("{v4}/stats"),
        format!("{v4}/task/stats"),
        format!("{v4}/../{id}/task"),
        format!("{host}//v4/{id}/task"),
        format!("{host}/v4/%2e/{id}/task"),
        v3.to_owned(),
        format!("{v3}/task"),
        format!("{agent}/task-protection/v1/state"),
        format!("{agent}/coracle/stop"),
        format!("{host}/v2/metadata/{id}"),
        format!("{host}/v2/stats/{id}"),
        format!("http://[::ffff:169.254.170.2]{credentials}"),
    ];
    let mut command = vec!["request"];
    command.extend(urls.iter().map(String::as_str));
    let mut definition = single("attacker", &guest("hostile"), &command);
    definition["taskRoleArn"] = json!("arn:aws:iam::123456789012:role/attacker");
    let attack =
        Attack { name: "metadata and credentials of another task", image: "hostile", command: &[], end: End::Held };
    ground.attack_with(&attack, definition).await;
    ground.end().await;
}
