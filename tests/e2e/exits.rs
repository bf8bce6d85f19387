//! How programs end, as ECS shows it; and that what they printed can be read by then.

use serde_json::{Value, json};

use super::api::strings;
use super::definitions::program;
use super::server::Server;
use super::wait::until;

/// Runs a program to its end.
async fn ended(server: &Server, definition: Value) -> (String, Value) {
    let arn = server.run(definition).await;
    let task = server.task_in(&arn, "STOPPED").await;
    (arn, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_are_whole() {
    let server = Server::start().await;
    for code in [0, 1, 3, 128, 255] {
        let definition = program("codes", "batch", &["print", "begun", "exit", &code.to_string()]);
        let (arn, task) = ended(&server, definition).await;
        assert_eq!(task["containers"][0]["exitCode"], code, "{task}");
        assert_eq!(task["containers"][0]["lastStatus"], "STOPPED");
        assert_eq!(task["stopCode"], "EssentialContainerExited");
        assert_eq!(task["stoppedReason"], "Essential container in task exited");
        // Asked after the first answer that said STOPPED, and not before.
        assert_eq!(server.printed(&arn).await, ["begun"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_printed_is_there_when_the_task_is_stopped() {
    let server = Server::start().await;
    let (arn, _) = ended(&server, program("lines", "batch", &["lines", "500", "err", "the end", "exit", "0"])).await;
    let printed = server.printed(&arn).await;
    assert_eq!(printed.len(), 501);
    assert_eq!(printed.last().map(String::as_str), Some("the end"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traps_end_as_signals() {
    let server = Server::start().await;
    for (command, code) in [("trap", 134), ("panic", 134), ("recurse", 139)] {
        let (_, task) = ended(&server, program("traps", "hog", &[command])).await;
        assert_eq!(task["containers"][0]["exitCode"], code, "{command}: {task}");
        assert_eq!(task["stopCode"], "EssentialContainerExited");
        assert!(task["containers"][0]["reason"].is_string(), "{command}: {task}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn growing_too_large_is_out_of_memory() {
    let server = Server::start().await;
    let mut small = program("leak", "hog", &["grow-forever"]);
    small["containerDefinitions"][0]["memory"] = json!(64);
    let task_wide = program("leak", "hog", &["grow-forever"]);
    for definition in [small, task_wide] {
        let (_, task) = ended(&server, definition).await;
        assert_eq!(task["containers"][0]["exitCode"], 137, "{task}");
        assert_eq!(task["containers"][0]["reason"], "OutOfMemoryError: Container killed due to memory usage");
        assert_eq!(task["stopCode"], "EssentialContainerExited");
    }
    // Within its limit the same program is well.
    let (_, task) = ended(&server, program("leak", "hog", &["grow", "200"])).await;
    assert_eq!(task["containers"][0]["exitCode"], 0, "{task}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overrides_change_the_command_and_the_environment() {
    let server = Server::start().await;
    let mut definition = program("overridden", "batch", &["exit", "1"]);
    definition["containerDefinitions"][0]["environment"] =
        json!([{"name": "STAGE", "value": "from the definition"}, {"name": "KEPT", "value": "kept"}]);
    let definition = server.register(definition).await;
    let arn = server
        .run_with(json!({
            "taskDefinition": definition,
            "overrides": {"containerOverrides": [{
                "name": "overridden", "command": ["env", "STAGE", "env", "KEPT", "exit", "7"],
                "environment": [{"name": "STAGE", "value": "from the override"}],
            }]},
        }))
        .await;
    let task = server.task_in(&arn, "STOPPED").await;
    assert_eq!(task["containers"][0]["exitCode"], 7, "{task}");
    let printed = server.printed(&arn).await.join("\n");
    assert!(printed.contains("from the override") && printed.contains("kept"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_ends_with_its_essential_container() {
    let server = Server::start().await;
    let mut definition = program("pair", "batch", &["exit", "0"]);
    let containers = definition["containerDefinitions"].as_array_mut().unwrap();
    containers.push(json!({
        "name": "beside", "image": super::definitions::guest("batch"), "essential": false,
        "command": ["print", "beside", "sleep", "600000"], "stopTimeout": 2,
    }));
    containers[0]["command"] = json!(["sleep", "300", "exit", "5"]);
    let (_, task) = ended(&server, definition).await;
    let code = |name: &str| {
        let containers = task["containers"].as_array().unwrap();
        containers.iter().find(|container| container["name"] == name).unwrap()["exitCode"].clone()
    };
    assert_eq!(code("pair"), 5, "{task}");
    // It was told to stop: it ended by itself, or had to be cut off.
    assert!([json!(0), json!(137), json!(143)].contains(&code("beside")), "{task}");
}

/// A service whose task ends, or is out of memory, gets another one; the ends are kept to be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_replaces_what_ends() {
    let server = Server::start().await;
    let cases = [
        (program("ends", "batch", &["sleep", "300", "exit", "3"]), 3, false),
        (program("traps", "hog", &["trap"]), 134, true),
        (program("leaks", "hog", &["grow-forever"]), 137, true),
    ];
    for (definition, ..) in &cases {
        let family = &definition["family"];
        let registered = server.register(definition.clone()).await;
        server
            .ecs(
                "CreateService",
                json!({
                    "serviceName": family, "taskDefinition": registered, "desiredCount": 1, "launchType": "FARGATE",
                    "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
                }),
            )
            .await;
    }
    for (definition, code, has_reason) in &cases {
        let family = definition["family"].as_str().unwrap();
        let ended = until("a task and its replacement to end", async || {
            let input = json!({"serviceName": family, "desiredStatus": "STOPPED"});
            let ended = strings(&server.ecs("ListTasks", input).await["taskArns"]);
            (ended.len() >= 2).then_some(ended)
        })
        .await;
        for arn in &ended {
            let task = server.task_in(arn, "STOPPED").await;
            assert_eq!(task["containers"][0]["exitCode"], *code, "{task}");
            assert_eq!(task["containers"][0]["reason"].is_string(), *has_reason, "{task}");
            assert_eq!(task["stopCode"], "EssentialContainerExited", "{task}");
            assert_eq!(task["group"], format!("service:{family}"));
        }
        assert_eq!(server.service(family).await["desiredCount"], 1);
    }
}
