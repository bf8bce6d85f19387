//! `ps`, `logs`, `stop`, `images` and `check`.

use std::fs;

use serde_json::{Value, json};

use super::command::{coracle_prints, run_coracle, text};
use super::definitions::{handler, program};
use super::server::Server;
use super::wait::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ps_logs_and_stop() {
    let server = Server::start().await;
    server.balanced(handler("web", "hello"), 2).await;
    let arn = server.run(program("talk", "batch", &["print", "one", "err", "two", "sleep", "600000"])).await;
    server.task_in(&arn, "RUNNING").await;
    let id = arn.rsplit('/').next().unwrap();

    let table = coracle_prints(&server, &["ps"]).await;
    assert!(table.contains(&id[..8]) && table.contains("talk:1") && table.contains("service:web"), "{table}");
    let listed: Value = serde_json::from_str(&coracle_prints(&server, &["ps", "--output", "json"]).await).unwrap();
    let rows = listed.as_array().unwrap();
    assert_eq!(rows.len(), 3, "{listed}");
    let row = rows.iter().find(|row| row["task"] == id).unwrap();
    assert_eq!((&row["lastStatus"], &row["taskDefinition"]), (&json!("RUNNING"), &json!("talk:1")));
    assert!(row["address"].as_str().unwrap().starts_with("127."), "{row}");

    until("both lines", async || (server.printed(&arn).await.len() == 2).then_some(())).await;
    let lines = coracle_prints(&server, &["logs", &id[..8], "--output", "json"]).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for (line, (stream, message)) in lines.iter().zip([("stdout", "one"), ("stderr", "two")]) {
        assert_eq!((&line["task"], &line["container"]), (&json!(id), &json!("talk")), "{line}");
        assert_eq!((&line["stream"], &line["message"]), (&json!(stream), &json!(message)), "{line}");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    let for_people = coracle_prints(&server, &["logs", id]).await;
    assert!(for_people.contains("talk | one"), "{for_people}");

    coracle_prints(&server, &["stop", &id[..8]]).await;
    let task = server.task_in(&arn, "STOPPED").await;
    assert_eq!(task["stopCode"], "UserInitiated");
    coracle_prints(&server, &["stop", "web"]).await;
    until("the service to have no tasks", async || server.tasks_of("web").await.is_empty().then_some(())).await;
    let all: Value =
        serde_json::from_str(&coracle_prints(&server, &["ps", "--all", "--output", "json"]).await).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 3, "{all}");

    let nobody = run_coracle(&server, &["logs", "nobody"]).await;
    assert!(!nobody.status.success() && text(&nobody.stderr).contains("nobody"), "{}", text(&nobody.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_follow_to_the_end_of_the_task() {
    let server = Server::start().await;
    let arn =
        server.run(program("ends", "batch", &["lines", "20", "sleep", "500", "print", "last", "exit", "0"])).await;
    let id = arn.rsplit('/').next().unwrap();
    let followed = coracle_prints(&server, &["logs", "-f", id, "--output", "json"]).await;
    assert_eq!(followed.lines().count(), 21, "{followed}");
    assert!(followed.lines().last().unwrap().contains("last"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_listed() {
    let file = super::definitions::guest_file("hello");
    let server = Server::start_with(&["--image", &format!("my/app={}", file.display())]).await;
    let listed: Value = serde_json::from_str(&coracle_prints(&server, &["images", "--output", "json"]).await).unwrap();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"nginx") && names.contains(&"my/app"), "{listed}");
    assert!(coracle_prints(&server, &["images"]).await.contains("my/app"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_what_happens_to_every_field() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good.json"), folder.path().join("bad.json"));
    let mut definition = program("checked", "batch", &["exit", "0"]);
    definition["containerDefinitions"][0]["user"] = json!("1000");
    definition["containerDefinitions"][0]["memory"] = json!("100");
    fs::write(&good, definition.to_string()).unwrap();
    definition["cpu"] = json!("300");
    fs::write(&bad, definition.to_string()).unwrap();

    let table = coracle_prints(&server, &["check", good.to_str().unwrap()]).await;
    for word in ["containerDefinitions[0].image", "honoured", "without effect", "containerDefinitions[0].user"] {
        assert!(table.contains(word), "{word} in {table}");
    }
    let refused = run_coracle(&server, &["check", bad.to_str().unwrap(), "--output", "json"]).await;
    assert_eq!(refused.status.code(), Some(1));
    let report: Value = serde_json::from_str(&text(&refused.stdout)).unwrap();
    assert!(report[0]["refused"].to_string().contains("No Fargate configuration exists"), "{report}");
}
