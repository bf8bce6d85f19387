//! How long a handler's answer takes, through the load balancer, beside programs that take every core.

use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

use crate::Extent;
use crate::support::Failure;
use crate::support::server::{Balanced, Server, definition};
use crate::support::table::{Row, Wanted, number, percentile};
use crate::support::wire::{Connection, get};

/// One request every so often: few enough that they do not wait for each other.
const PERIOD: Duration = Duration::from_millis(2);
/// Each may use two cores, and computes for ever on one.
const SPINNING: usize = 4;

pub async fn measure(extent: &Extent) -> Result<Row, Failure> {
    let home = tempfile::tempdir()?;
    let server = Server::start(home.path()).await?;
    let mut api = server.api().await?;
    let balanced = api.balance("neighbour", &definition("neighbour", "hello", &[], "1024", "2048")).await?;
    let mut alone = sample(extent, &balanced).await?;
    let spin = api.register(&definition("spin", "hog", &["spin"], "2048", "4096")).await?;
    for _ in 0..SPINNING {
        let task = api.run(&spin, 1).await?;
        api.until_running(&task).await?;
    }
    let mut beside = sample(extent, &balanced).await?;
    let p99 = percentile(&mut beside, 0.99);
    let detail = format!(
        "{} requests, p50 {}, most {}; before the {SPINNING} spun: p50 {}, p99 {}, most {}",
        beside.len(),
        number(percentile(&mut beside, 0.5)),
        number(percentile(&mut beside, 1.0)),
        number(percentile(&mut alone, 0.5)),
        number(percentile(&mut alone, 0.99)),
        number(percentile(&mut alone, 1.0)),
    );
    let what = "p99 of a handler beside guests that use up every core";
    Ok(Row::new(what, Wanted::AtMost, p99, "ms", (Some(5.0), 1.0), &detail))
}

/// Latencies in milliseconds over two windows.
async fn sample(extent: &Extent, balanced: &Balanced) -> Result<Vec<f64>, Failure> {
    let request = get(&balanced.host, "/plain");
    let mut connection = Connection::open(balanced.address).await?;
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut millis = Vec::new();
    let end = Instant::now() + extent.window() * 2;
    while Instant::now() < end {
        tick.tick().await;
        let begun = Instant::now();
        let answer = connection.exchange(&request).await?;
        if answer.status != 200 {
            return Err(format!("the handler answered {}", answer.status).into());
        }
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(millis)
}
