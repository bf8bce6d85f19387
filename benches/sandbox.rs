//! What the sandbox's limits give and cost: shares of the processor, a neighbour beside guests that spin, fuel that is the
//! same on every run, the overhead of metering, the ledger against the kernel's own count, and how fast a guest is gone.
//!
//! Shares, fuel, overhead, ledger and cut-off are asked of the runtime within this process; the neighbour lives in the real
//! server, a process of its own.
//!
//! Bounds: windows of 5 seconds (`--quick`: 1), five minutes in all. `--only NAME` measures one: shares, neighbour, fuel,
//! metering, ledger, cut-off.

/// In modules of their own names, so that their files lie in folders of these names.
#[allow(dead_code, reason = "the other benches use the rest")]
mod support {
    pub mod process;
    pub mod server;
    pub mod table;
    pub mod wire;

    pub type Failure = Box<dyn std::error::Error + Send + Sync>;
}
mod costs {
    pub mod shares;
    mod tasks;
}
mod limits {
    pub mod cut_off;
    pub mod fuel;
    pub mod ledger;
    pub mod metering;
    pub mod neighbour;
    pub mod node;
}

use std::process::ExitCode;
use std::time::Duration;

use costs::shares;
use limits::{cut_off, fuel, ledger, metering, neighbour};
use support::table::Row;
use support::{Failure, process, table};

/// A run that takes longer than this hangs.
const RUN_MAX: Duration = Duration::from_secs(600);

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Extent {
    pub quick: bool,
    only: Option<String>,
}

impl Extent {
    fn from_arguments() -> Extent {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let at = arguments.iter().position(|argument| argument == "--only");
        let only = at.and_then(|at| arguments.get(at + 1).cloned());
        Extent { quick: arguments.iter().any(|argument| argument == "--quick"), only }
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
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Failure> {
    let extent = Extent::from_arguments();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("load average before: {}", process::load_average());
    let rows = runtime.block_on(async { tokio::time::timeout(RUN_MAX, all(&extent)).await? })?;
    table::print(rows);
    println!("load average after: {}", process::load_average());
    Ok(())
}

async fn all(extent: &Extent) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    if extent.includes("fuel") {
        rows.extend(fuel::measure().await?);
    }
    if extent.includes("metering") {
        rows.extend(metering::measure(extent).await?);
    }
    if extent.includes("cut-off") {
        rows.extend(cut_off::measure(extent).await?);
    }
    if extent.includes("ledger") {
        rows.push(ledger::measure(extent).await?);
    }
    if extent.includes("shares") {
        rows.extend(shares::measure(extent).await?);
    }
    if extent.includes("neighbour") {
        rows.extend(neighbour::measure(extent).await?);
    }
    Ok(rows)
}
