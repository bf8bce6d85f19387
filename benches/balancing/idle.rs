//! What an open connection costs that has asked once and now says nothing.

use tokio::task::JoinSet;

use crate::support::server::{Server, definition};
use crate::support::table::{Row, Wanted};
use crate::support::wire::{Connection, get};
use crate::support::{Failure, process};

/// Connections that are opened at once: fewer than the kernel's queue of an accepting socket holds.
const OPENING: usize = 50;
/// Opened and closed before anything is measured: what the server allocates once is not the connections' cost.
const WARM_UP: usize = 200;

pub async fn measure(quick: bool) -> Result<Row, Failure> {
    let count = if quick { 1_000 } else { 10_000 };
    let home = tempfile::tempdir()?;
    let server = Server::start(home.path()).await?;
    let mut api = server.api().await?;
    let balanced = api.balance("idle", &definition("idle", "hello", &[], "256", "512")).await?;
    let request = get(&balanced.host, "/plain");
    drop(open(&balanced, &request, WARM_UP).await?);
    let before = process::resident_bytes(server.process);
    let connections = open(&balanced, &request, count).await?;
    let after = process::resident_bytes(server.process);
    let each = (after - before) / connections.len() as f64 / 1024.0;
    // They are still good: nothing was closed to save memory.
    let mut last = connections.into_iter().last().ok_or("no connection was opened")?;
    let status = last.exchange(&request).await?.status;
    server.kill().await?;
    if status != 200 {
        return Err(format!("an idle connection was answered {status}").into());
    }
    let detail = format!("{count} at once, each after one request; resident memory of the server");
    Ok(Row::new("an idle connection", Wanted::AtMost, each, "KiB", (Some(20.0), 20.0), &detail))
}

async fn open(
    balanced: &crate::support::server::Balanced,
    request: &[u8],
    count: usize,
) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::with_capacity(count);
    while connections.len() < count {
        let mut opening = JoinSet::new();
        for _ in 0..OPENING.min(count - connections.len()) {
            let (address, request) = (balanced.address, request.to_vec());
            opening.spawn(async move {
                let mut connection = Connection::open(address).await?;
                let answer = connection.exchange(&request).await?;
                Ok::<_, std::io::Error>((connection, answer.status))
            });
        }
        while let Some(opened) = opening.join_next().await {
            let (connection, status) = opened??;
            if status != 200 {
                return Err(format!("a connection was answered {status}").into());
            }
            connections.push(connection);
        }
    }
    Ok(connections)
}
