//! How long a guest lives on after its `stopTimeout`: one that spins, one in a bulk operation, one that its cap holds.

use coracle::runtime::TaskSpec;
use tokio::time::{Duration, Instant, sleep};

use super::node::{Node, Task};
use crate::Extent;
use crate::support::Failure;
use crate::support::table::{Row, Wanted, number};

/// Until it does what it does; another time in each try, so that the cut comes at another place of it.
const BEFORE: Duration = Duration::from_millis(400);
const STEP: Duration = Duration::from_millis(37);
const TRIES: u32 = 8;
/// Guests that spin beside the one that is cut off, so that the threads are taken.
const BESIDE: usize = 3;

pub async fn measure(extent: &Extent) -> Result<Vec<Row>, Failure> {
    let node = Node::start()?;
    let mut beside = Vec::new();
    println!("\n| guest that is cut off | beside | median ms | most ms |\n|---|---|---|---|");
    let mut rows = Vec::new();
    for spinning in [0, BESIDE] {
        while beside.len() < spinning {
            beside.push(node.begin(node.spec("hog", &["spin"])?).await?);
        }
        for (what, args, units) in [
            ("spins", &["spin"][..], None),
            ("fills 256 MiB at a time", &["fill", "256"][..], None),
            ("fills 1 GiB at a time", &["fill", "1024"][..], None),
            ("is held by its cap of 1/64 core", &["spin"][..], Some(16)),
        ] {
            let mut millis = Vec::new();
            for attempt in 0..if extent.quick { 2 } else { TRIES } {
                let mut spec = node.spec("hog", args)?;
                if let Some(units) = units {
                    spec = TaskSpec { cpu_units: units, cpu_capped: true, ..spec };
                }
                millis.push(cut(node.begin(spec).await?, BEFORE + STEP * attempt).await?);
            }
            millis.sort_by(f64::total_cmp);
            let (median, most) = (millis[millis.len() / 2], millis.last().copied().unwrap_or(0.0));
            println!("| {what} | {spinning} spin | {} | {} |", number(median), number(most));
            if spinning > 0 {
                let detail = format!("median {}, beside {spinning} that spin", number(median));
                let what = format!("from the end of stopTimeout to gone: {what}");
                rows.push(Row::new(&what, Wanted::AtMost, most, "ms", (Some(100.0), 20.0), &detail));
            }
        }
    }
    for task in beside {
        task.kill().await?;
    }
    Ok(rows)
}

/// Milliseconds from the cut (its `stopTimeout` is 0) to the report that the container has stopped.
async fn cut(mut task: Task, after: Duration) -> Result<f64, Failure> {
    sleep(after).await;
    let asked = Instant::now();
    task.task.stop();
    task.exit().await?;
    let millis = asked.elapsed().as_secs_f64() * 1e3;
    task.kill().await?;
    Ok(millis)
}
