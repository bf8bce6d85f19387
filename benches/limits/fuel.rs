//! Whether the same component and input use the same fuel, beside guests that spin.

use std::collections::BTreeSet;

use coracle::model::Exit;
use coracle::runtime::TaskSpec;

use super::node::Node;
use crate::support::Failure;
use crate::support::table::{Row, Wanted};

const RUNS: usize = 10;
/// The last one waits for the clock, which is its own.
const GUESTS: &[(&str, &[&str])] = &[
    ("kernels", &["sha", "20000"]),
    ("kernels", &["sort", "20"]),
    ("kernels", &["copy", "200"]),
    ("batch", &["lines", "2000", "sleep", "5", "exit", "3"]),
    ("hog", &["spin", "20"]),
];

pub async fn measure() -> Result<Vec<Row>, Failure> {
    let node = Node::start()?;
    let beside = [node.begin(node.spec("hog", &["spin"])?).await?, node.begin(node.spec("hog", &["spin"])?).await?];
    println!("\n| guest, deterministic | fuel | different values in {RUNS} runs |\n|---|---|---|");
    let mut most = 0;
    for (image, args) in GUESTS {
        let mut seen = BTreeSet::new();
        for _ in 0..RUNS {
            let mut spec: TaskSpec = node.spec(image, args)?;
            spec.containers.iter_mut().for_each(|container| container.deterministic = true);
            let (exit, usage) = node.run(spec).await?;
            if !matches!(exit, Exit::Returned { .. }) {
                return Err(format!("{image} ended with {exit:?}").into());
            }
            seen.insert(usage.fuel);
        }
        println!("| {image} {} | {} | {} |", args.join(" "), seen.first().copied().unwrap_or(0), seen.len());
        most = most.max(seen.len());
    }
    for task in beside {
        task.kill().await?;
    }
    let detail = format!("of {} guests, beside two that spin", GUESTS.len());
    let what = format!("different fuel in {RUNS} deterministic runs");
    Ok(vec![Row::new(&what, Wanted::AtMost, most as f64, "values", (Some(1.0), 1.0), &detail)])
}
