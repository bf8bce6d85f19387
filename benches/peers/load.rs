//! The load: connections that each send one request after the other, on the thread of the caller.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::Failure;
use crate::support::wire::Connection;

/// Failed connections that are tried again before a turn is given up.
const FAILURES_MAX: u64 = 1_000;

/// What one turn came to.
#[derive(Default)]
pub struct Counted {
    pub answers: u64,
    pub failures: u64,
    pub seconds: f64,
}

pub async fn run(
    address: SocketAddr,
    request: &Arc<[u8]>,
    connections: usize,
    time: Duration,
) -> Result<Counted, Failure> {
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        clients.spawn(client(address, Arc::clone(request), begun + time));
    }
    let mut total = Counted::default();
    while let Some(ended) = clients.join_next().await {
        let (answers, failures) = ended?;
        total.answers += answers;
        total.failures += failures;
    }
    total.seconds = begun.elapsed().as_secs_f64();
    if total.answers == 0 { Err(format!("{address} answered nothing").into()) } else { Ok(total) }
}

async fn client(address: SocketAddr, request: Arc<[u8]>, end: Instant) -> (u64, u64) {
    let (mut answers, mut failures) = (0, 0);
    let mut kept: Option<Connection> = None;
    while Instant::now() < end && failures < FAILURES_MAX {
        let connection = match &mut kept {
            Some(connection) => connection,
            None => match Connection::open(address).await {
                Ok(opened) => kept.insert(opened),
                Err(_) => {
                    failures += 1;
                    continue;
                }
            },
        };
        match connection.exchange(&request).await {
            Ok(answer) if answer.status == 200 => answers += 1,
            Ok(_) => failures += 1,
            Err(_) => {
                failures += 1;
                kept = None;
            }
        }
    }
    (answers, failures)
}
