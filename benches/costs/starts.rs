//! `RunTask` to RUNNING, starts a second, and what a task that sleeps costs.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::Extent;
use crate::support::server::{Api, PATIENCE, Server, definition};
use crate::support::table::{Row, Wanted, median, number, range};
use crate::support::{Failure, process};

/// `RunTask` takes at most ten.
const TASKS_PER_CALL: usize = 10;
/// Callers at once.
const CALLERS: usize = 16;
/// Of the instances that a node can hold, those left to itself when all are asked for: a task that stops gives its slot
/// back a moment later.
const SLOTS_LEFT: usize = 16;

pub async fn measure(extent: &Extent) -> Result<Vec<Row>, Failure> {
    let home = tempfile::tempdir()?;
    let server = Server::start(home.path()).await?;
    let mut api = server.api().await?;
    let registered = api.register(&definition("sleeper", "batch", &["sleep", "86400000"], "256", "512")).await?;
    // The first compiles the image.
    let first = api.run(&registered, 1).await?;
    api.until_running(&first).await?;

    let samples = if extent.quick { 20 } else { 200 };
    let mut millis = Vec::new();
    for _ in 0..samples {
        let task = api.run(&registered, 1).await?;
        let answered = Instant::now();
        api.until_running(&task).await?;
        millis.push(answered.elapsed().as_secs_f64() * 1e3);
    }
    let detail = format!("{samples} tasks, one at a time, seen through DescribeTasks: {}", range(&mut millis));
    let to_running = Row::new(
        "RunTask answered to RUNNING, median",
        Wanted::AtMost,
        median(&mut millis),
        "ms",
        (Some(5.0), 1.0),
        &detail,
    );

    let running_before = running(&mut api).await?;
    let wanted = match extent.tasks {
        Some(count) => count,
        None => capacity(&mut api).await?.saturating_sub(running_before + SLOTS_LEFT),
    };
    let memory_before = memory_kib(server.process);
    let begun = Instant::now();
    run_many(server.address, &registered, wanted.div_ceil(TASKS_PER_CALL)).await?;
    let answered = begun.elapsed();
    let started = wanted.div_ceil(TASKS_PER_CALL) * TASKS_PER_CALL;
    until_running(&mut api, running_before + started).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let detail = format!(
        "{started} tasks by {CALLERS} callers of RunTask with count 10; all answered after {} s, all RUNNING after {} s",
        number(answered.as_secs_f64()),
        number(seconds)
    );
    let rate = Row::new(
        "task starts a second",
        Wanted::AtLeast,
        started as f64 / seconds,
        "/s",
        (Some(1_000.0), 5_000.0),
        &detail,
    );

    // What start-up left behind is given back, and what idles has settled.
    sleep(Duration::from_secs(2)).await;
    let cpu_before = process::cpu_seconds(server.process);
    sleep(extent.window()).await;
    let cpu = (process::cpu_seconds(server.process) - cpu_before) / extent.window().as_secs_f64();
    let (rss, page_tables) = memory_kib(server.process);
    let each = |after: f64, before: f64| (after - before) / started as f64;
    let total = running_before + started;
    let detail = format!(
        "RSS; and {} KiB of page tables; {total} tasks at once, {} MiB in all, {} % of a core while they sleep",
        number(each(page_tables, memory_before.1)),
        number(rss / 1024.0),
        number(cpu * 100.0)
    );
    let memory = Row::new(
        "memory of an idle task",
        Wanted::AtMost,
        each(rss, memory_before.0),
        "KiB",
        (Some(100.0), 60.0),
        &detail,
    );
    let mut rows = vec![to_running, rate, memory];
    if extent.tasks.is_none() {
        let detail = "as many as the node says that it can hold";
        rows.push(Row::new(
            "tasks at once",
            Wanted::AtLeast,
            total as f64,
            "tasks",
            (Some(10_000.0), 30_000.0),
            detail,
        ));
    }
    Ok(rows)
}

/// Resident, and in page tables.
fn memory_kib(process: u32) -> (f64, f64) {
    (status_kib(process, "VmRSS"), status_kib(process, "VmPTE"))
}

/// A figure of `/proc/PID/status` that is in kB, such as `VmRSS`.
fn status_kib(process: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}

/// Calls `RunTask` so often, from several connections at once.
pub async fn run_many(address: SocketAddr, registered: &str, calls: usize) -> Result<(), Failure> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let registered = registered.to_owned();
        callers.spawn(async move {
            let mut api = Api::open(address).await?;
            for _ in (caller..calls).step_by(CALLERS) {
                api.run(&registered, TASKS_PER_CALL).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

pub async fn until_running(api: &mut Api, count: usize) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = running(api).await?;
        if now >= count {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{now} of {count} tasks run").into());
        }
        sleep(Duration::from_millis(2)).await;
    }
}

async fn running(api: &mut Api) -> Result<usize, Failure> {
    let described = api.ecs("DescribeClusters", json!({})).await?;
    let count = described["clusters"][0]["runningTasksCount"].as_u64().ok_or("no count of running tasks")?;
    Ok(usize::try_from(count)?)
}

/// Instances of WASI 0.2 that the node says it can hold: `N instances (M of WASI 0.1 and 0.2, …`.
async fn capacity(api: &mut Api) -> Result<usize, Failure> {
    let node: Value = api.node().await?;
    let text = node["capacity"].as_str().unwrap_or_default();
    println!("capacity: {text}");
    let count = text.split('(').nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    count.ok_or_else(|| format!("the capacity is {text:?}").into())
}
