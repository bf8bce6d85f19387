//! What a task asks of its host at 169.254.170.2: its metadata and stats, the credentials of its role, its protection, and
//! to be told when to stop.

use std::fs;

use serde_json::{Value, json};

use super::command::{aws_words, python_with};
use super::definitions::program;
use super::server::Server;
use super::wait::until;

const ROLE: &str = "arn:aws:iam::123456789012:role/app";

/// `dial` says what it fetched as `get URL: STATUS BODY`; the status and the body of what was asked of a path that ends so.
fn fetched(printed: &[String], asked: &str) -> (u16, Value) {
    let prefix = format!("{asked}: ");
    let answer = printed.iter().find_map(|line| line.split_once(&*prefix).map(|(_, answer)| answer));
    let answer = answer.unwrap_or_else(|| panic!("{asked} is not in {printed:#?}"));
    let (status, body) = answer.split_once(' ').unwrap_or((answer, ""));
    let status = status.parse().unwrap_or_else(|_| panic!("{answer}"));
    (status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)))
}

fn with_role(mut definition: Value) -> Value {
    definition["taskRoleArn"] = json!(ROLE);
    definition
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_reads_its_metadata_and_its_stats() {
    let server = Server::start().await;
    let steps = [
        "get",
        "${ECS_CONTAINER_METADATA_URI_V4}",
        "get",
        "${ECS_CONTAINER_METADATA_URI_V4}/task",
        "get",
        "${ECS_CONTAINER_METADATA_URI_V4}/stats",
        "get",
        "${ECS_CONTAINER_METADATA_URI}/task/stats",
        "get",
        "http://169.254.170.2/v2/metadata",
        "connect",
        "169.254.170.2:80",
        "GET /v2/metadata HTTP/1.1\\r\\nhost: 169.254.170.2\\r\\nconnection: close\\r\\n\\r\\n",
    ];
    let arn = server.run(program("curious", "dial", &steps)).await;
    let task = server.task_in(&arn, "STOPPED").await;
    assert_eq!(task["containers"][0]["exitCode"], 0, "{:#?}", server.printed(&arn).await);
    let printed = server.printed(&arn).await;
    let id = task["containers"][0]["runtimeId"].as_str().unwrap().to_owned();
    let address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"].as_str().unwrap().to_owned();

    let (status, container) = fetched(&printed, &format!("/v4/{id}"));
    assert_eq!((status, &container["DockerId"], &container["Name"]), (200, &json!(id), &json!("curious")));
    assert_eq!(container["Networks"][0]["IPv4Addresses"], json!([address]));
    assert_eq!(container["ContainerARN"], task["containers"][0]["containerArn"]);
    assert_eq!(container["ImageID"], task["containers"][0]["imageDigest"]);
    let (_, metadata) = fetched(&printed, &format!("/v4/{id}/task"));
    assert_eq!((&metadata["TaskARN"], &metadata["LaunchType"]), (&json!(arn), &json!("FARGATE")));
    assert_eq!(metadata["Limits"], json!({"CPU": 0.25, "Memory": 512}));
    let (_, stats) = fetched(&printed, &format!("/v4/{id}/stats"));
    assert!(stats["cpu_stats"]["cpu_usage"]["total_usage"].as_u64().is_some_and(|nanos| nanos > 0), "{stats}");
    assert!(stats["memory_stats"]["usage"].as_u64().is_some_and(|bytes| bytes > 65_536), "{stats}");
    assert_eq!(stats["memory_stats"]["limit"], 512 << 20);
    let (_, of_task) = fetched(&printed, &format!("/v3/{id}/task/stats"));
    assert!(of_task[&id]["cpu_stats"].is_object(), "{of_task}");
    let (_, oldest) = fetched(&printed, "/v2/metadata");
    assert_eq!(oldest["TaskARN"], json!(arn));
    let by_socket = printed.iter().find(|line| line.starts_with("connect 169.254.170.2:80: ")).unwrap();
    assert!(by_socket.contains("200 OK") && by_socket.contains(&arn), "{by_socket}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ids_of_another_task_open_nothing() {
    let server = Server::start().await;
    let waiting =
        with_role(program("waiting", "batch", &["env", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "sleep", "600000"]));
    let other = server.run(waiting).await;
    let task = server.task_in(&other, "RUNNING").await;
    let id = task["containers"][0]["runtimeId"].as_str().unwrap();
    let credentials = until("the other task's credentials", async || {
        let printed = server.printed(&other).await;
        printed.first().and_then(|line| line.strip_prefix("AWS_CONTAINER_CREDENTIALS_FULL_URI=").map(str::to_owned))
    })
    .await;
    let (metadata, stop) =
        (format!("http://169.254.170.2/v4/{id}"), format!("http://169.254.170.2/api/{id}/coracle/stop"));
    let steps = ["get", &metadata, "get", &credentials, "get", &stop];
    let arn = server.run(with_role(program("nosy", "dial", &steps))).await;
    server.task_in(&arn, "STOPPED").await;
    let printed = server.printed(&arn).await;
    let (status, text) = fetched(&printed, &metadata);
    assert_eq!(status, 404);
    assert!(
        text.as_str().is_some_and(|text| text.starts_with("V4 container metadata handler: unable to get")),
        "{text}"
    );
    let (status, refused) = fetched(&printed, &credentials);
    assert_eq!((status, &refused["code"]), (400, &json!("InvalidIdInRequest")));
    assert_eq!(fetched(&printed, &stop).0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_credentials_of_a_role_are_accepted_until_the_task_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, images) = (folder.path().join("keys.json"), folder.path().join("dial.wasm"));
    fs::write(&keys, json!({"accessKeys": [{"accessKeyId": "test", "secretAccessKey": "test"}]}).to_string()).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(super::definitions::guest_file("dial"), &images).unwrap();
    let server =
        Server::start_with(&["--access-keys", keys.to_str().unwrap(), "--image-dir", folder.path().to_str().unwrap()])
            .await;
    let mut definition =
        program("roleful", "dial", &["get", "${AWS_CONTAINER_CREDENTIALS_FULL_URI}", "sleep", "600000"]);
    definition["containerDefinitions"][0]["image"] = json!(format!("file://{}", images.display()));
    let definition = with_role(definition).to_string();
    aws_words(&server, &["ecs", "register-task-definition", "--cli-input-json", &definition]).await;
    let network = "awsvpcConfiguration={subnets=[subnet-1]}";
    let run = [
        "ecs",
        "run-task",
        "--task-definition",
        "roleful",
        "--launch-type",
        "FARGATE",
        "--network-configuration",
        network,
    ];
    let ran = aws_words(&server, &run).await;
    let arn = ran["tasks"][0]["taskArn"].as_str().unwrap().to_owned();
    python_with(&server, "task_role.py", &[&arn]).await;
    let log = server.log();
    assert!(!log.contains("SecretAccessKey"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protected_task_outlives_a_scale_in() {
    let server = Server::start().await;
    let state = "${ECS_AGENT_URI}/task-protection/v1/state";
    let steps =
        ["put", state, r#"{"ProtectionEnabled": true, "ExpiresInMinutes": 60}"#, "get", state, "sleep", "600000"];
    let definition = server.register(program("guarded", "dial", &steps)).await;
    server
        .ecs(
            "CreateService",
            json!({"serviceName": "guarded", "taskDefinition": definition, "desiredCount": 1, "launchType": "FARGATE",
                   "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}}),
        )
        .await;
    server.steady("guarded").await;
    let arn = server.tasks_of("guarded").await.remove(0);
    let ask = json!({"cluster": "default", "tasks": [arn]});
    until("the task to be protected", async || {
        let shown = server.ecs("GetTaskProtection", ask.clone()).await;
        (shown["protectedTasks"][0]["protectionEnabled"] == true).then_some(())
    })
    .await;
    let protection = until("the task to have looked at its protection", async || {
        server.printed(&arn).await.into_iter().find(|line| line.starts_with("get "))
    })
    .await;
    assert!(protection.contains(r#""ProtectionEnabled":true"#) && protection.contains(&arn), "{protection}");
    server.ecs("UpdateService", json!({"service": "guarded", "desiredCount": 0})).await;
    let said = until("the service to say why it waits", async || {
        let service = server.service("guarded").await;
        let newest = service["events"][0]["message"].as_str().unwrap_or_default().to_owned();
        newest.contains("under protection").then_some(newest)
    })
    .await;
    assert!(said.contains("was unable to scale in due to (reason 1 tasks under protection)"), "{said}");
    assert_eq!(server.task(&arn).await["desiredStatus"], "RUNNING");
    let mut off = ask.clone();
    off["protectionEnabled"] = json!(false);
    let answer = server.ecs("UpdateTaskProtection", off).await;
    assert_eq!(answer["protectedTasks"][0]["protectionEnabled"], false, "{answer}");
    server.task_in(&arn, "STOPPED").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_learns_of_its_stop_by_the_poll_or_by_the_end_of_its_input() {
    let server = Server::start().await;
    let mut polls = program("polls", "dial", &["get", "${ECS_AGENT_URI}/coracle/stop"]);
    let mut reads = program("reads", "batch", &["print", "waiting", "input", "exit", "0"]);
    reads["containerDefinitions"][0]["interactive"] = json!(true);
    for definition in [&mut polls, &mut reads] {
        definition["containerDefinitions"][0]["stopTimeout"] = json!(60);
        let arn = server.run(definition.clone()).await;
        server.task_in(&arn, "RUNNING").await;
        server.ecs("StopTask", json!({"task": arn})).await;
        let task = server.task_in(&arn, "STOPPED").await;
        // Cut off it would have been much later, and with 137.
        assert_ne!(task["containers"][0]["exitCode"], 137, "{task}");
        let printed = server.printed(&arn).await;
        assert!(
            printed
                .iter()
                .any(|line| line.contains(r#""DesiredStatus":"STOPPED""#) || line == "input ended after 0 bytes"),
            "{printed:?}"
        );
    }
    // Without `interactive` there is no input from the beginning.
    let arn = server.run(program("reads", "batch", &["input", "exit", "3"])).await;
    let task = server.task_in(&arn, "STOPPED").await;
    assert_eq!(task["containers"][0]["exitCode"], 3, "{task}");
    assert_eq!(server.printed(&arn).await, ["input ended after 0 bytes"]);
}
