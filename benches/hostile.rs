//! What a well-behaved handler's clients notice of guests, images and clients that attack.
//!
//! The real server, a process of its own. For each class of attackers: latencies of the neighbour without them, then beside
//! them, both in the same minute, because the machine's speed drifts. The neighbour is asked every 2 ms through its load
//! balancer. `--quick` has windows of 1 second instead of 5; `--only WORD` measures the classes whose name has the word.

/// In modules of their own names, so that their files lie in folders.
#[allow(dead_code, reason = "the other benches use the rest")]
mod support {
    pub mod process;
    pub mod server;
    pub mod table;
    pub mod wire;

    pub type Failure = Box<dyn std::error::Error + Send + Sync>;
}
mod costs {
    pub mod attackers;
    mod tasks;
}

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use costs::attackers::{CLASSES, Class};
use support::server::{Balanced, Server, definition};
use support::table::{Row, Wanted, median, number, percentile, range};
use support::wire::{Connection, get};
use support::{Failure, process, table};

/// A run that takes longer than this hangs.
const RUN_MAX: Duration = Duration::from_secs(900);
/// One request every so often: few enough that they do not wait for each other.
const PERIOD: Duration = Duration::from_millis(2);
/// Until attackers that were begun are at it.
const WARM_UP: Duration = Duration::from_millis(500);
/// DESIGN.md: p99 of a handler beside guests that use up every core.
const P99_BAR_MS: f64 = 5.0;
const P99_GOAL_MS: f64 = 1.0;
/// Requests are asked one after the other, so each that is late costs those after it.
const ANSWERS_BAR_PERCENT: f64 = 80.0;
const ANSWERS_GOAL_PERCENT: f64 = 97.0;

/// How much is measured.
struct Extent {
    window: Duration,
    only: Option<String>,
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let only = arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1).cloned());
    let extent = Extent { window: Duration::from_secs(if has("--quick") { 1 } else { 5 }), only };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("load average before: {}", process::load_average());
    let rows = runtime.block_on(async { tokio::time::timeout(RUN_MAX, all(&extent)).await? })?;
    table::print(rows);
    println!("load average after: {}", process::load_average());
    Ok(())
}

async fn all(extent: &Extent) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for class in CLASSES {
        if extent.only.as_deref().is_none_or(|only| class.name.contains(only)) {
            rows.extend(one(extent, class).await.map_err(|error| format!("{}: {error}", class.name))?);
        }
    }
    Ok(rows)
}

/// A server for each class: nobody pays for the class before.
async fn one(extent: &Extent, class: &Class) -> Result<[Row; 2], Failure> {
    let home = tempfile::tempdir()?;
    let server = Server::start(Path::new(home.path())).await?;
    let mut api = server.api().await?;
    let neighbour = api.balance("neighbour", &definition("neighbour", "hello", &[], "1024", "2048")).await?;
    let mut alone = sample(extent, &neighbour).await?;
    let spent_before = process::cpu_seconds(server.process);
    let attack = class.begin(&server, home.path()).await?;
    tokio::time::sleep(WARM_UP).await;
    let begun = Instant::now();
    let mut beside = sample(extent, &neighbour).await?;
    let cores = (process::cpu_seconds(server.process) - spent_before) / (begun.elapsed() + WARM_UP).as_secs_f64();
    attack.end();
    server.kill().await?;
    let (asked, answered) = (alone.len() as f64, beside.len() as f64);
    let p99 = percentile(&mut beside, 0.99);
    let detail = format!(
        "p50 {}, {} in all, {} cores used; without them: p50 {}, p99 {}, {} in all",
        number(median(&mut beside)),
        range(&mut beside),
        number(cores),
        number(median(&mut alone)),
        number(percentile(&mut alone, 0.99)),
        range(&mut alone),
    );
    let latency = Row::new(
        &format!("p99 of a neighbour beside {}", class.name),
        Wanted::AtMost,
        p99,
        "ms",
        (Some(P99_BAR_MS), P99_GOAL_MS),
        &detail,
    );
    let share = Row::new(
        &format!("answers that it got, of as many as without them, beside {}", class.name),
        Wanted::AtLeast,
        100.0 * answered / asked,
        "%",
        (Some(ANSWERS_BAR_PERCENT), ANSWERS_GOAL_PERCENT),
        &format!("{answered} of {asked}"),
    );
    Ok([latency, share])
}

/// Latencies in milliseconds over two windows.
async fn sample(extent: &Extent, neighbour: &Balanced) -> Result<Vec<f64>, Failure> {
    let (address, request): (SocketAddr, Vec<u8>) = (neighbour.address, get(&neighbour.host, "/plain"));
    let mut connection = Connection::open(address).await?;
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut millis = Vec::new();
    let end = Instant::now() + extent.window * 2;
    while Instant::now() < end {
        tick.tick().await;
        let begun = Instant::now();
        let answer = connection.exchange(&request).await?;
        if answer.status != 200 {
            return Err(format!("the neighbour answered {}", answer.status).into());
        }
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(millis)
}
