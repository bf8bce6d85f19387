//! The load balancer under change: what an idle connection costs, what a request notices of rules that change, and whether
//! one request is lost over many rolling deployments.
//!
//! All of it drives the real server, a process of its own, through its API. Windows with and without changes alternate,
//! so that the drift of the machine meets both alike.
//!
//! Bounds: 10,000 idle connections (`--quick`: 1,000), 1,000 rules (`--quick`: 100), 100 deployments (`--quick`: 5), at most
//! twenty minutes in all. `--only NAME` measures one: idle, changes, rolling.

/// In a module of its own name, so that its files lie in `benches/support/`.
#[allow(dead_code, reason = "the other benches use the rest")]
mod support {
    pub mod process;
    pub mod server;
    pub mod table;
    pub mod wire;

    pub type Failure = Box<dyn std::error::Error + Send + Sync>;
}
mod balancing {
    pub mod changes;
    pub mod idle;
    pub mod rolling;
}

use std::process::ExitCode;
use std::time::Duration;

use balancing::{changes, idle, rolling};
use support::table::Row;
use support::{Failure, process, table};

/// A run that takes longer than this hangs.
const RUN_MAX: Duration = Duration::from_secs(1200);

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("balancer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only = arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1)).cloned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("load average before: {}", process::load_average());
    let rows = runtime.block_on(async { tokio::time::timeout(RUN_MAX, all(quick, only.as_deref())).await? })?;
    table::print(rows);
    println!("load average after: {}", process::load_average());
    Ok(())
}

async fn all(quick: bool, only: Option<&str>) -> Result<Vec<Row>, Failure> {
    let includes = |name: &str| only.is_none_or(|only| only == name);
    let mut rows = Vec::new();
    if includes("idle") {
        rows.push(idle::measure(quick).await?);
    }
    if includes("changes") {
        rows.extend(changes::measure(quick).await?);
    }
    if includes("rolling") {
        rows.push(rolling::measure(quick).await?);
    }
    Ok(rows)
}
