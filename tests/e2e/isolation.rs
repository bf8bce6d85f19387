//! `--isolate process`: each task in a process of its own, locked down, and otherwise as any other task.

use std::fs;

use serde_json::json;

use super::definitions::{handler, program};
use super::http::get;
use super::http::once;
use super::server::{Server, send_signal};
use super::wait::until;

async fn isolated() -> Server {
    Server::start_with(&["--isolate", "process"]).await
}

/// The workers of a server: its children that run a task.
fn workers(server: &Server) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_worker = |process: &u32| {
        let arguments = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let status = status(*process);
        arguments.windows(11).any(|window| window == b"task-worker")
            && line(&status, "PPid:").is_some_and(|parent| parent == server.process_id().to_string())
    };
    processes.filter(is_worker).collect()
}

fn status(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default()
}

fn line<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_task_has_a_process_that_may_do_little() {
    let server = isolated().await;
    let service = server.balanced(handler("apart", "hello"), 2).await;
    for _ in 0..10 {
        assert_eq!(once(server.address, get(&service.host, "/plain")).await.status, 200);
    }
    let workers = workers(&server);
    assert_eq!(workers.len(), 2, "{workers:?}");
    let is_root = line(&status(server.process_id()), "Uid:").is_some_and(|ids| ids.starts_with("0\t"));
    let mut users = Vec::new();
    for worker in &workers {
        let status = status(*worker);
        assert_eq!(line(&status, "Seccomp:"), Some("2"), "{status}");
        assert_eq!(line(&status, "NoNewPrivs:"), Some("1"), "{status}");
        assert_eq!(line(&status, "CapEff:"), if is_root { Some("0000000000000000") } else { line(&status, "CapEff:") });
        users.push(line(&status, "Uid:").unwrap().to_owned());
    }
    if is_root {
        assert!(users.iter().all(|user| !user.starts_with("0\t")) && users[0] != users[1], "{users:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_costs_its_own_task_and_nobody_else() {
    let server = isolated().await;
    let service = server.balanced(handler("survives", "hello"), 1).await;
    let victim = server.run(program("victim", "hog", &["hold", "16"])).await;
    server.task_in(&victim, "RUNNING").await;
    let id = victim.rsplit('/').next().unwrap();
    let of_victim = |process: &u32| {
        fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(id))
    };
    let process = workers(&server).into_iter().find(of_victim).unwrap();
    send_signal(process, "KILL").await;
    let ended = server.task_in(&victim, "STOPPED").await;
    assert_eq!(ended["stopCode"], "EssentialContainerExited", "{ended}");
    let reason = ended["containers"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("worker process") && reason.contains("signal: 9"), "{reason}");
    assert_eq!(once(server.address, get(&service.host, "/plain")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn isolated_tasks_end_print_and_meet_each_other_as_others_do() {
    let server = isolated().await;
    let done = server.run(program("done", "batch", &["exit", "3"])).await;
    let done = server.task_in(&done, "STOPPED").await;
    assert_eq!(done["containers"][0]["exitCode"], 3, "{done}");

    let web = server.run(handler("web", "hello")).await;
    let web = server.task_in(&web, "RUNNING").await;
    let address = web["containers"][0]["networkInterfaces"][0]["privateIpv4Address"].as_str().unwrap();
    let url = format!("http://{address}/status/200");
    let client = server.run(program("client", "dial", &["get", &url, "get", "http://169.254.169.254/"])).await;
    server.task_in(&client, "STOPPED").await;
    let printed = server.printed(&client).await;
    assert_eq!(printed[0], format!("get {url}: 200 200"));
    assert!(printed[1].contains("HttpRequestDenied"), "{printed:?}");

    let greedy = server.run(program("greedy", "hog", &["grow-forever"])).await;
    let greedy = server.task_in(&greedy, "STOPPED").await;
    assert_eq!(greedy["containers"][0]["exitCode"], 137, "{greedy}");
    assert_eq!(greedy["containers"][0]["reason"], "OutOfMemoryError: Container killed due to memory usage", "{greedy}");

    // No process outlives its task.
    server.ecs("StopTask", json!({"task": web["taskArn"]})).await;
    server.task_in(web["taskArn"].as_str().unwrap(), "STOPPED").await;
    until("all workers to be gone", async || workers(&server).is_empty().then_some(())).await;
}
