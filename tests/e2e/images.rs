//! Images that are not there, are no components, or are Linux images: the task says so, and what to do.

use std::fs;

use serde_json::Value;

use super::definitions::{guest_file, single};
use super::http::{get, once};
use super::server::Server;

/// Runs a task of an image that cannot be run; the task, stopped.
async fn failed(server: &Server, image: &str) -> Value {
    let mut definition = single("broken", image, &[]);
    // Which Fargate wants for images of ECR.
    definition["executionRoleArn"] = serde_json::json!("arn:aws:iam::123456789012:role/pull");
    let arn = server.run(definition).await;
    let task = server.task_in(&arn, "STOPPED").await;
    assert_eq!(task["stopCode"], "TaskFailedToStart", "{task}");
    assert!(task["containers"][0]["exitCode"].is_null(), "it never ran: {task}");
    task
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_pulled_says_why() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.wasm");
    fs::write(&text, "#!/bin/sh\necho this is no component\n").unwrap();
    let cut = folder.path().join("cut.wasm");
    let whole = fs::read(guest_file("batch")).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let missing = folder.path().join("missing.wasm");
    for (image, word) in [
        (format!("file://{}", missing.display()), "missing.wasm"),
        (format!("file://{}", text.display()), "text.wasm"),
        (format!("file://{}", cut.display()), "cut.wasm"),
        (String::from("postgres:16"), "postgres"),
        (String::from("123456789012.dkr.ecr.us-east-1.amazonaws.com/shop:latest"), "shop"),
    ] {
        let task = failed(&server, &image).await;
        let reason = task["stoppedReason"].as_str().unwrap();
        assert!(reason.contains("CannotPullContainerError"), "{image}: {reason}");
        assert!(reason.contains(word), "{image}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_wants_what_is_not_offered_names_it() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("strange.wasm");
    // Two imports that nobody has.
    fs::write(&file, component_importing(&["acme:rocket/launch", "acme:rocket/land"])).unwrap();
    let task = failed(&server, &format!("file://{}", file.display())).await;
    let said = format!("{} {}", task["stoppedReason"], task["containers"][0]["reason"]);
    assert!(said.contains("acme:rocket/launch") && said.contains("acme:rocket/land"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_stands_for_a_name() {
    let file = guest_file("hello");
    let server = Server::start_with(&["--image", &format!("my/app={}", file.display())]).await;
    let mut definition = single("aliased", "my/app:latest", &[]);
    definition["containerDefinitions"][0]["portMappings"] = serde_json::json!([{"containerPort": 80}]);
    let service = server.balanced(definition, 1).await;
    let answer = once(server.address, get(&service.host, "/plain")).await;
    assert!(answer.text().starts_with("Hello from "), "{}", answer.text());
}

/// The bytes of a program, by its exports, that imports these instances, empty.
fn component_importing(names: &[&str]) -> Vec<u8> {
    let counted = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
    // One instance type (0x42) without declarations.
    let types = [1, 0x42, 0];
    // Each a plain name (0), an instance (5) of type 0.
    let mut imports = vec![u8::try_from(names.len()).unwrap()];
    for name in names {
        imports.extend([vec![0], counted(name.as_bytes()), vec![5, 0]].concat());
    }
    // One: a plain name, instance (5) 0, as the type that it has (0).
    let exports = [vec![1, 0], counted(b"wasi:cli/run@0.2.6"), vec![5, 0, 0]].concat();
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    for (section, content) in [(7, &types[..]), (10, &imports), (11, &exports)] {
        bytes.push(section);
        bytes.extend(counted(content));
    }
    bytes
}
