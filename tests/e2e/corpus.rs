//! Definitions and services as people really keep them, where a collection of them is at hand. It is not ours to copy, so
//! its place is told by `CORACLE_CORPUS`; a folder with an `expected.json` that says of each file what ECS would answer.

use std::fs;
use std::path::PathBuf;

use http::StatusCode;
use serde_json::Value;

use super::api::{ecs_answer, ecs_request};
use super::http::once;
use super::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_definitions_are_taken_or_refused_as_ecs_would() {
    let Some(folder) = std::env::var_os("CORACLE_CORPUS").map(PathBuf::from) else {
        eprintln!("CORACLE_CORPUS names no collection of real definitions: nothing was compared");
        return;
    };
    let expected: Value = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let server = Server::start().await;
    let (mut compared, mut differences) = (0, Vec::new());
    for entry in expected.as_array().unwrap() {
        let wanted = entry["operation"] == "RegisterTaskDefinition";
        if !wanted || !["high", "medium"].iter().any(|confidence| entry["confidence"] == *confidence) {
            continue;
        }
        let file = entry["file"].as_str().unwrap();
        let written = fs::read_to_string(folder.join(file)).unwrap();
        let mut cases = vec![(entry, input(entry, &written))];
        if let Some(substituted) = entry.get("after_substitution") {
            cases.push((substituted, input(entry, &replaced(substituted, &written))));
        }
        for (case, body) in cases {
            compared += 1;
            let answer = once(server.address, ecs_request("RegisterTaskDefinition", &body)).await;
            let accepted = answer.status == StatusCode::OK;
            if accepted != (case["expect"] == "accept") {
                let said =
                    ecs_answer(&answer).map_or_else(|refused| format!("{refused:?}"), |_| String::from("accepted"));
                differences.push(format!("{file}: {said}\n  expected {}: {}", case["expect"], case["why"]));
            }
        }
    }
    println!("{compared} real definitions were compared");
    assert!(compared > 0 && differences.is_empty(), "{}", differences.join("\n"));
}

/// The request of a file: the object that is sent, without what only describe calls have.
fn input(entry: &Value, written: &str) -> String {
    let mut body: Value = serde_json::from_str(written).unwrap();
    if let Some(member) = entry["unwrap"].as_str() {
        body = body[member].take();
    }
    for member in entry["strip"].as_array().into_iter().flatten() {
        body.as_object_mut().unwrap().remove(member.as_str().unwrap());
    }
    body.to_string()
}

/// The text with each pair replaced, in order.
fn replaced(case: &Value, written: &str) -> String {
    let mut text = written.to_owned();
    for pair in case["replace"].as_array().unwrap() {
        text = text.replace(pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
    }
    text
}
