//! One core, shared: tasks that spin use what they were given, and delay nobody.

use std::time::Instant;

use serde_json::json;

use super::definitions::{handler, program};
use super::http::{Connection, get, once};
use super::server::Server;
use super::wait::until;

/// Clock ticks a second in `/proc`, which Linux fixes for user space.
const TICKS_PER_SECOND: f64 = 100.0;
/// Processor time over which the shares are looked at.
const WINDOW_SECONDS: f64 = 4.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_spinning_tasks_of_256_units_use_one_core_and_delay_nobody() {
    let server = Server::start().await;
    let neighbour = server.balanced(handler("neighbour", "hello"), 1).await;
    let mut spinning = Vec::new();
    for _ in 0..4 {
        spinning.push(server.run(program("spin", "hog", &["spin"])).await);
    }
    for task in &spinning {
        server.task_in(task, "RUNNING").await;
    }
    let (begun, used_before) = (Instant::now(), processor_seconds(server.process_id()));
    let mut asked = 0;
    let mut connection = Connection::open(server.address).await;
    until("the window to pass", async || {
        // All the while the API, and the handler beside them, answer.
        assert_eq!(connection.get(&neighbour.host, "/plain").await.status, 200);
        server.ecs("ListTasks", json!({})).await;
        asked += 1;
        (processor_seconds(server.process_id()) - used_before > WINDOW_SECONDS).then_some(())
    })
    .await;
    let cores = (processor_seconds(server.process_id()) - used_before) / begun.elapsed().as_secs_f64();
    // One core for the four of them, and some of another for our own questions. That they reach it cannot be asked where
    // other tests want the same cores.
    assert!(cores < 1.4, "{cores:.2} cores");
    assert!(asked > 10, "only {asked} questions were answered");
    for task in &spinning {
        assert_eq!(server.task(task).await["lastStatus"], "RUNNING");
        server.ecs("StopTask", json!({"task": task})).await;
    }
    for task in &spinning {
        // It does not listen, so it is cut off.
        let task = server.task_in(task, "STOPPED").await;
        assert_eq!(task["containers"][0]["exitCode"], 137, "{task}");
    }
}

/// Handlers compute at the same time, each in a task of its own: how far each came says what share it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_tasks_get_equal_shares() {
    let server = Server::start().await;
    let service = server.balanced(handler("equal", "hello"), 4).await;
    let spins: Vec<_> = (0..4)
        .map(|_| {
            let (address, request) = (server.address, get(&service.host, "/spin/2000"));
            tokio::spawn(async move { once(address, request).await.text() })
        })
        .collect();
    let mut rounds = Vec::new();
    for spin in spins {
        let text = spin.await.unwrap();
        rounds
            .push(text.split(' ').nth(1).and_then(|word| word.parse::<f64>().ok()).unwrap_or_else(|| panic!("{text}")));
    }
    let most = rounds.iter().copied().fold(0.0, f64::max);
    let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(least > most / 2.0, "{rounds:?}");
}

/// What a process has computed so far, all threads together.
fn processor_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS_PER_SECOND
}
