//! Requests a second through the load balancer to a handler, all limits on, beside those who do less: `wasmtime serve`
//! called directly, nginx, and a hyper server without a guest.
//!
//! Everything runs at once and is loaded in turn, round after round, so that the drift of the machine (up to 1.7 ×, for a
//! minute at a time) meets all alike: the ratios of one round are compared, never the figures of two runs. Where no
//! `wasmtime` is on PATH its place is taken by `bare`: wasmtime-wasi-http's own `ProxyHandler`, which `wasmtime serve` is
//! built of, with that command's defaults.
//!
//! Bounds: one thread of load, 32 connections on loopback, 7 rounds of 2 seconds each (`--quick`: 3 of 1 second), at most
//! ten minutes in all.

/// In a module of its own name, so that its files lie in `benches/support/`.
#[allow(dead_code, reason = "the other benches use the rest")]
mod support {
    pub mod process;
    pub mod server;
    pub mod table;
    pub mod wire;

    pub type Failure = Box<dyn std::error::Error + Send + Sync>;
}
mod peers {
    pub mod bare;
    pub mod contenders;
    pub mod load;
}

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use peers::contenders::{Contender, Kind};
use peers::{bare, contenders, load};
use support::table::{Row, Wanted, median, number, range};
use support::{Failure, process, table};

/// A run that takes longer than this hangs.
const RUN_MAX: Duration = Duration::from_secs(600);
/// Connections that each have one request under way, as in DESIGN.md's measurements.
const CONNECTIONS: usize = 32;
/// Before a turn is counted: threads wake, pools fill.
const WARM_UP: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // This program is its own peers: each in a process of its own, as the real ones are.
    let done = match arguments.first().map(String::as_str) {
        Some("--peer-bare") => bare::serve(arguments.get(1)),
        Some("--peer-hyper") => bare::serve_static(),
        _ => measure(arguments.iter().any(|argument| argument == "--quick")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(quick: bool) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(RUN_MAX, compare(quick)).await? })
}

/// Of one contender, by round.
#[derive(Default)]
struct Series {
    rates: Vec<f64>,
    cpu_micros: Vec<f64>,
    failures: u64,
}

async fn compare(quick: bool) -> Result<(), Failure> {
    let (rounds, turn) = if quick { (3, Duration::from_secs(1)) } else { (7, Duration::from_secs(2)) };
    println!("load average before: {}", process::load_average());
    let home = tempfile::tempdir()?;
    let field = contenders::start(home.path()).await?;
    let mut all: BTreeMap<Kind, Series> = BTreeMap::new();
    for round in 1..=rounds {
        for contender in &field.contenders {
            let warm = load::run(contender.address, &contender.request, CONNECTIONS, WARM_UP).await;
            warm.map_err(|error| format!("{}: {error}", contender.name))?;
            let cpu_before = process::cpu_seconds(contender.process);
            let counted = load::run(contender.address, &contender.request, CONNECTIONS, turn).await?;
            let cpu = process::cpu_seconds(contender.process) - cpu_before;
            let series = all.entry(contender.kind).or_default();
            series.rates.push(counted.answers as f64 / counted.seconds);
            series.cpu_micros.push(cpu * 1e6 / counted.answers.max(1) as f64);
            series.failures += counted.failures;
            if let Some(failure) = counted.failure {
                eprintln!("{}: {} failures, such as: {failure}", contender.name, counted.failures);
            }
        }
        eprintln!("round {round} of {rounds}");
    }
    show(&field.contenders, &mut all);
    table::print(rows(&all));
    field.end().await?;
    println!("load average after: {}", process::load_average());
    Ok(())
}

fn show(contenders: &[Contender], all: &mut BTreeMap<Kind, Series>) {
    println!("\n| server | requests/s, median | least–most | CPU µs/request | failed |\n|---|---|---|---|---|");
    for contender in contenders {
        let Some(series) = all.get(&contender.kind) else { continue };
        let (mut rates, mut cpu) = (series.rates.clone(), series.cpu_micros.clone());
        println!(
            "| {} | {} | {} | {} | {} |",
            contender.name,
            number(median(&mut rates)),
            range(&mut rates),
            number(median(&mut cpu)),
            series.failures
        );
    }
}

fn rows(all: &BTreeMap<Kind, Series>) -> Vec<Row> {
    let ratio = |what: &str, ours: Kind, theirs: Kind, limits: (Option<f64>, f64)| {
        let (ours, theirs) = (all.get(&ours)?, all.get(&theirs)?);
        let mut ratios: Vec<f64> = ours.rates.iter().zip(&theirs.rates).map(|(ours, theirs)| ours / theirs).collect();
        let detail = range(&mut ratios);
        Some(Row::new(what, Wanted::AtLeast, median(&mut ratios), "×", limits, &detail))
    };
    let fresh = "fresh instance per request, against ";
    let kept = "kept instances, against ";
    let rows = [
        ratio(&format!("{fresh}`wasmtime serve`"), Kind::Fresh, Kind::Wasmtime, (Some(1.5), 2.5)),
        ratio(&format!("{fresh}`bare`"), Kind::Fresh, Kind::Bare, (Some(1.5), 2.5)),
        ratio(&format!("{kept}`wasmtime serve` with reuse"), Kind::Kept, Kind::WasmtimeReuse, (Some(1.2), 1.6)),
        ratio(&format!("{kept}`bare` with reuse"), Kind::Kept, Kind::BareReuse, (Some(1.2), 1.6)),
        ratio("a TCP target, against nginx before the same", Kind::Tcp, Kind::NginxTcp, (Some(1.0), 1.2)),
        ratio(&format!("{kept}nginx proxying"), Kind::Kept, Kind::NginxProxy, (None, 1.0)),
    ];
    let failed = all.values().map(|series| series.failures).sum::<u64>() as f64;
    let failed =
        Row::new("requests that failed", Wanted::AtMost, failed, "requests", (Some(0.0), 0.0), "of all servers");
    rows.into_iter().flatten().chain([failed]).collect()
}
