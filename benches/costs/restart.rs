//! From the start of the process to its first answer, with a thousand tasks in the store.

use serde_json::json;
use tokio::time::Instant;

use crate::Extent;
use crate::costs::starts::{run_many, until_running};
use crate::support::Failure;
use crate::support::server::{Server, definition};
use crate::support::table::{Row, Wanted, median, number, range};

const TASKS: usize = 1_000;
const RESTARTS: usize = 5;

pub async fn measure(extent: &Extent) -> Result<Row, Failure> {
    let tasks = if extent.quick { 200 } else { TASKS };
    let home = tempfile::tempdir()?;
    let server = Server::start(home.path()).await?;
    let mut api = server.api().await?;
    let registered = api.register(&definition("sleeper", "batch", &["sleep", "86400000"], "256", "512")).await?;
    run_many(server.address, &registered, tasks / 10).await?;
    until_running(&mut api, tasks).await?;
    server.kill().await?;

    // The first has all of them to mark as STOPPED before it may answer.
    let mut millis = Vec::new();
    for _ in 0..=RESTARTS {
        let begun = Instant::now();
        let server = Server::start(home.path()).await?;
        let mut api = server.api().await?;
        api.ecs("ListTasks", json!({"desiredStatus": "STOPPED"})).await?;
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
        server.kill().await?;
    }
    let first = millis.remove(0);
    let detail = format!(
        "{tasks} tasks that ran when it was killed, marked as STOPPED first; the {RESTARTS} starts after it: median {} ms, {}",
        number(median(&mut millis)),
        range(&mut millis)
    );
    Ok(Row::new("start of the server to its first answer", Wanted::AtMost, first, "ms", (Some(200.0), 50.0), &detail))
}
