//! A replica that crashes is replaced: from its last good answer to the first of its successor.

use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use crate::Extent;
use crate::support::Failure;
use crate::support::server::{PATIENCE, Server, definition, guest};
use crate::support::table::{Row, Wanted, median, range};
use crate::support::wire::{Connection, get};

/// How long a replica lives: a handler's own trap ends one request and not its task, so an essential program beside it
/// exits with an error.
const LIFE_MS: &str = "2000";
/// Between two requests to somebody who does not answer: short against what is measured.
const PAUSE: Duration = Duration::from_micros(200);

pub async fn measure(extent: &Extent) -> Result<Row, Failure> {
    let home = tempfile::tempdir()?;
    let server = Server::start(home.path()).await?;
    let mut api = server.api().await?;
    let mut crashing = definition("crashing", "hello", &[], "256", "512");
    let program = json!({
        "name": "crash", "image": guest("batch"), "command": ["sleep", LIFE_MS, "exit", "1"], "essential": true,
        "stopTimeout": 2,
    });
    let containers = crashing["containerDefinitions"].as_array_mut().ok_or("no containers")?;
    containers.push(program);
    let balanced = api.balance("crashing", &crashing).await?;

    let wanted = if extent.quick { 2 } else { 5 };
    let request = get(&balanced.host, "/plain");
    let mut connection = Connection::open(balanced.address).await?;
    let mut serving: Option<(Vec<u8>, Instant)> = None;
    let (mut millis, mut refused) = (Vec::new(), 0);
    let deadline = Instant::now() + PATIENCE;
    while millis.len() < wanted && Instant::now() < deadline {
        match connection.exchange(&request).await {
            Ok(answer) if answer.status == 200 => {
                let now = Instant::now();
                if let Some((who, last)) = &serving
                    && *who != answer.body
                {
                    millis.push(now.duration_since(*last).as_secs_f64() * 1e3);
                }
                serving = Some((answer.body, now));
            }
            Ok(_) => refused += 1,
            Err(_) => connection = Connection::open(balanced.address).await?,
        }
        sleep(PAUSE).await;
    }
    if millis.is_empty() {
        return Err("the crashed replica was never replaced".into());
    }
    let detail = format!(
        "{} crashes of the only replica: {}; {refused} requests were refused meanwhile",
        millis.len(),
        range(&mut millis)
    );
    let what = "a crashed replica replaced and serving";
    Ok(Row::new(what, Wanted::AtMost, median(&mut millis), "ms", (Some(50.0), 10.0), &detail))
}
