//! What the node itself costs: starts, density, replacement, restart, shares of the processor, and the latency of a
//! handler beside guests that take every core.
//!
//! All but the shares drive the real server, a process of its own, through its API. Shares are asked of the runtime within
//! this process, which is what charges a task.
//!
//! Bounds: 2,000 tasks at once (`--tasks N`, or `--tasks full` for the computed capacity; `--quick`: 300), windows of 5
//! seconds (`--quick`: 1), at most fifteen minutes in all. `--only NAME` measures one: starts, shares, replaced, restart,
//! latency.

/// In a module of its own name, so that its files lie in `benches/support/`.
#[allow(dead_code, reason = "the other benches use the rest")]
mod support {
    pub mod process;
    pub mod server;
    pub mod table;
    pub mod wire;

    pub type Failure = Box<dyn std::error::Error + Send + Sync>;
}
mod costs {
    pub mod latency;
    pub mod replaced;
    pub mod restart;
    pub mod shares;
    pub mod starts;
    mod tasks;
}

use std::process::ExitCode;
use std::time::Duration;

use costs::{latency, replaced, restart, shares, starts};
use support::table::Row;
use support::{Failure, process, table};

/// A run that takes longer than this hangs.
const RUN_MAX: Duration = Duration::from_secs(900);

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Extent {
    pub quick: bool,
    /// Tasks at once; `None` for as many as the node can hold.
    pub tasks: Option<usize>,
    only: Option<String>,
}

impl Extent {
    fn from_arguments() -> Result<Extent, Failure> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).cloned()
        };
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let tasks = match value("--tasks").as_deref() {
            Some("full") => None,
            Some(count) => Some(count.parse()?),
            None => Some(if quick { 300 } else { 2_000 }),
        };
        Ok(Extent { quick, tasks, only: value("--only") })
    }

    fn includes(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == name)
    }

    /// Over which something is averaged.
    pub fn window(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 5 })
    }
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("node: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Failure> {
    let extent = Extent::from_arguments()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("load average before: {}", process::load_average());
    let rows = runtime.block_on(async { tokio::time::timeout(RUN_MAX, all(&extent)).await? })?;
    table::print(rows);
    println!("load average after: {}", process::load_average());
    Ok(())
}

async fn all(extent: &Extent) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    if extent.includes("starts") {
        rows.extend(starts::measure(extent).await?);
    }
    if extent.includes("replaced") {
        rows.push(replaced::measure(extent).await?);
    }
    if extent.includes("restart") {
        rows.push(restart::measure(extent).await?);
    }
    if extent.includes("latency") {
        rows.push(latency::measure(extent).await?);
    }
    if extent.includes("shares") {
        rows.extend(shares::measure(extent).await?);
    }
    Ok(rows)
}
