//! What a task wants of the processor and what it gets, alone and among others.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use coracle::model::TaskId;
use coracle::network::Table;
use coracle::runtime::{
    CompileIn, ContainerSpec, LogSink, NoEndpoint, Report, RunningTask, Runtime, RuntimeConfig, Stream, TaskSpec,
};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::Extent;
use crate::support::server::{PATIENCE, guest};
use crate::support::table::{Row, Wanted, number};
use crate::support::{Failure, process};

/// Until all have started and their first balances are spent.
const SETTLING: Duration = Duration::from_millis(500);
const MEMORY_BYTES: u64 = 1 << 30;

/// The sizes of tasks, in CPU units, that spin at the same time.
const MIXES: &[&[u32]] = &[
    &[256],
    &[1024],
    &[256, 512],
    &[1024, 2048],
    &[256, 256, 256, 256],
    &[256, 512, 1024],
    &[256, 512, 1024, 2048],
    &[256, 512, 1024, 256, 512, 1024, 256, 512],
    &[256, 256, 256, 256, 512, 512, 512, 512, 1024, 1024, 1024, 1024, 256, 512, 1024, 2048],
];

struct Silence;

impl LogSink for Silence {
    fn write(&self, _: TaskId, _: &str, _: Stream, _: &str) {}
}

/// Cores of the machine, and with it what is short.
fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

pub async fn measure(extent: &Extent) -> Result<Vec<Row>, Failure> {
    let home = tempfile::tempdir()?;
    let config = RuntimeConfig {
        data_dir: home.path().to_owned(),
        cores: cores(),
        memory_bytes: MEMORY_BYTES,
        aliases: BTreeMap::new(),
        image_dir: None,
        instances_max: Some(64),
        compile: CompileIn::Process,
        isolate: None,
        only_task: None,
        dns_servers: Vec::new(),
    };
    let network = Table::default();
    let runtime = Runtime::start(config, Arc::new(Silence), Arc::new(NoEndpoint), network.clone())?;
    let (mut fitting, mut short) = (Vec::new(), Vec::new());
    println!("\n| tasks, CPU units | cores wanted → got | furthest off | cores of others |\n|---|---|---|---|");
    for mix in MIXES {
        let (got, others) = spin(&runtime, &network, mix, extent.window()).await?;
        let wanted = wanted(mix, f64::from(cores()));
        let off =
            got.iter().zip(&wanted).map(|(got, wanted)| (got - wanted).abs() / wanted * 100.0).fold(0.0, f64::max);
        let pairs: Vec<String> =
            wanted.iter().zip(&got).map(|(wanted, got)| format!("{wanted:.3} → {got:.3}")).collect();
        let sizes: Vec<String> = mix.iter().map(u32::to_string).collect();
        println!("| {} | {} | {} % | {} |", sizes.join(" "), pairs.join(", "), number(off), number(others));
        let asked: f64 = mix.iter().map(|units| alone(*units)).sum();
        if asked < f64::from(cores()) { &mut fitting } else { &mut short }.push(off);
    }
    let furthest = |of: &[f64]| of.iter().copied().fold(0.0, f64::max);
    let detail = |of: &[f64]| format!("the task furthest off, of {} mixes over {:?}", of.len(), extent.window());
    Ok(vec![
        Row::new(
            "CPU share while shares fit",
            Wanted::AtMost,
            furthest(&fitting),
            "% off",
            (Some(1.0), 0.5),
            &detail(&fitting),
        ),
        Row::new(
            "CPU share when cores are short",
            Wanted::AtMost,
            furthest(&short),
            "% off",
            (Some(5.0), 2.0),
            &detail(&short),
        ),
    ])
}

/// A container for each core that a task may use: each spins on one thread.
fn containers(units: u32) -> u32 {
    units.div_ceil(1024)
}

/// What a task can use of its size.
fn alone(units: u32) -> f64 {
    f64::from(units) / 1024.0
}

/// Shares by weight; what one cannot use is shared by the others.
fn wanted(mix: &[u32], cores: f64) -> Vec<f64> {
    let mut shares: Vec<Option<f64>> = vec![None; mix.len()];
    loop {
        let taken: f64 = shares.iter().flatten().sum();
        let open = || mix.iter().zip(&shares).filter(|(_, share)| share.is_none()).map(|(units, _)| *units);
        let weight: f64 = open().map(f64::from).sum();
        let fair = |units: u32| (cores - taken) * f64::from(units) / weight;
        let full = mix.iter().zip(&shares).position(|(units, share)| share.is_none() && fair(*units) >= alone(*units));
        match full {
            Some(at) => shares[at] = Some(alone(mix[at])),
            None => {
                return mix.iter().zip(&shares).map(|(units, share)| share.unwrap_or_else(|| fair(*units))).collect();
            }
        }
    }
}

/// Cores that each used over a window in which all of them spun, and those that other processes took meanwhile.
async fn spin(runtime: &Runtime, network: &Table, mix: &[u32], window: Duration) -> Result<(Vec<f64>, f64), Failure> {
    let mut running = Vec::new();
    for (number, units) in (1..).zip(mix) {
        let id = TaskId(number);
        let container = |number: u32| ContainerSpec {
            args: vec![String::from("spin")],
            may_name_any_file: true,
            stop_timeout: Duration::ZERO,
            ..ContainerSpec::new(format!("hog-{number}"), guest("hog"))
        };
        let spec = TaskSpec {
            id,
            address: network.attach(id)?,
            cpu_units: *units,
            cpu_capped: true,
            memory_bytes: None,
            fuel: None,
            held: false,
            files: Default::default(),
            containers: (0..containers(*units)).map(container).collect(),
        };
        running.push(runtime.run(spec));
    }
    for (_, reports) in &mut running {
        until(reports, |report| matches!(report, Report::ContainerStarted { .. })).await?;
    }
    sleep(SETTLING).await;
    let used = |running: &[(RunningTask, mpsc::Receiver<Report>)]| -> Vec<f64> {
        running.iter().map(|(task, _)| task.usage().cpu.as_secs_f64()).collect()
    };
    let (begun, before, others_before) = (Instant::now(), used(&running), others_seconds());
    sleep(window).await;
    let (after, seconds) = (used(&running), begun.elapsed().as_secs_f64());
    let others = (others_seconds() - others_before) / seconds;
    for (task, _) in &running {
        task.kill();
    }
    for (_, reports) in &mut running {
        until(reports, |report| matches!(report, Report::Ended)).await?;
    }
    Ok((after.iter().zip(&before).map(|(after, before)| (after - before) / seconds).collect(), others))
}

/// What everybody but this process has computed since the machine started, and what its own host took from it.
fn others_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal.
    let ticks: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|tick| tick.parse().ok())
        .collect();
    let busy: f64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|field| ticks.get(*field)).sum();
    busy / process::TICKS_PER_SECOND - process::cpu_seconds(std::process::id())
}

async fn until(reports: &mut mpsc::Receiver<Report>, wanted: impl Fn(&Report) -> bool) -> Result<(), Failure> {
    loop {
        let report = timeout(PATIENCE, reports.recv()).await?.ok_or("the task ended early")?;
        if wanted(&report) {
            return Ok(());
        }
    }
}
