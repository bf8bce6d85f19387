//! Whether the ledger agrees with the kernel: what tasks were charged, against the CPU time of the threads that ran them.

use std::fs;

use coracle::runtime::TaskSpec;
use tokio::time::sleep;

use super::node::Node;
use crate::Extent;
use crate::support::Failure;
use crate::support::table::{Row, Wanted, number};

/// CPU units of tasks that spin, one and all capped: together more than any two cores have.
const TASKS: &[u32] = &[256, 512, 1024, 2048];

pub async fn measure(extent: &Extent) -> Result<Row, Failure> {
    let node = Node::start()?;
    let mut tasks = Vec::new();
    for units in TASKS {
        let spec = TaskSpec { cpu_units: *units, cpu_capped: true, ..node.spec("hog", &["spin"])? };
        tasks.push(node.begin(spec).await?);
    }
    let used = || (process_cpu_ns(), tasks.iter().map(|task| task.task.usage().cpu.as_nanos() as f64).sum::<f64>());
    let (process_before, charged_before) = used();
    sleep(extent.window()).await;
    let (process_after, charged_after) = used();
    for task in tasks {
        task.kill().await?;
    }
    let (process, charged) = (process_after - process_before, charged_after - charged_before);
    let off = (process / charged - 1.0).abs() * 100.0;
    println!("\nledger: {} s charged, {} s of the process", number(charged / 1e9), number(process / 1e9));
    let detail = format!("{} tasks that spin, all threads of the process over {:?}", TASKS.len(), extent.window());
    Ok(Row::new("the ledger's CPU against the process's own", Wanted::AtMost, off, "% off", (Some(2.0), 1.0), &detail))
}

/// What all threads of this process ran, in nanoseconds: the ticks of `stat` are too coarse.
fn process_cpu_ns() -> f64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(Result::ok);
    let ran = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    });
    ran.sum()
}
