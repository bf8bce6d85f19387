//! A handler that behaves, behind the load balancer, and the API itself, beside programs that take every core.

use serde_json::json;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

use crate::Extent;
use crate::support::Failure;
use crate::support::server::{Api, Balanced, Server, definition};
use crate::support::table::{Row, Wanted, number, percentile};
use crate::support::wire::{Connection, get};

/// One request to each every so often: few enough that they do not wait for each other.
const PERIOD: Duration = Duration::from_millis(4);
/// Each may use two cores, and computes for ever on one.
const SPINNING: usize = 8;

pub async fn measure(extent: &Extent) -> Result<Vec<Row>, Failure> {
    let home = tempfile::tempdir()?;
    let server = Server::start(home.path()).await?;
    let mut api = server.api().await?;
    let balanced = api.balance("neighbour", &definition("neighbour", "hello", &[], "1024", "2048")).await?;
    let alone = sample(extent, &balanced, &mut api).await?;
    let spin = api.register(&definition("spin", "hog", &["spin"], "2048", "4096")).await?;
    for _ in 0..SPINNING {
        let task = api.run(&spin, 1).await?;
        api.until_running(&task).await?;
    }
    let beside = sample(extent, &balanced, &mut api).await?;
    println!(
        "\n| what | p50 ms alone | p99 alone | p50 beside {SPINNING} that spin | p99 beside |\n|---|---|---|---|---|"
    );
    let mut rows = Vec::new();
    for (what, mut alone, mut beside, bar) in [
        ("a handler through the load balancer", alone.0, beside.0, Some(5.0)),
        ("the API (DescribeClusters)", alone.1, beside.1, None),
    ] {
        let at = |of: &mut Vec<f64>, part| percentile(of, part);
        let (p50, p99) = (at(&mut alone, 0.5), at(&mut alone, 0.99));
        let (p50_beside, p99_beside) = (at(&mut beside, 0.5), at(&mut beside, 0.99));
        println!("| {what} | {} | {} | {} | {} |", number(p50), number(p99), number(p50_beside), number(p99_beside));
        let detail =
            format!("p50 {}; before the {SPINNING} spun: p50 {}, p99 {}", number(p50_beside), number(p50), number(p99));
        let name = format!("p99 beside guests that use up every core: {what}");
        rows.push(Row::new(&name, Wanted::AtMost, p99_beside, "ms", (bar, 1.0), &detail));
    }
    Ok(rows)
}

/// Latencies in milliseconds, of the handler and of the API, over two windows.
async fn sample(extent: &Extent, balanced: &Balanced, api: &mut Api) -> Result<(Vec<f64>, Vec<f64>), Failure> {
    let request = get(&balanced.host, "/plain");
    let mut connection = Connection::open(balanced.address).await?;
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut handler, mut calls) = (Vec::new(), Vec::new());
    let end = Instant::now() + extent.window() * 2;
    while Instant::now() < end {
        tick.tick().await;
        let begun = Instant::now();
        let answer = connection.exchange(&request).await?;
        if answer.status != 200 {
            return Err(format!("the handler answered {}", answer.status).into());
        }
        handler.push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        api.ecs("DescribeClusters", json!({})).await?;
        calls.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok((handler, calls))
}
