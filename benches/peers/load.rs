//! The load: connections that each send one request after the other, on the thread of the caller.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::support::Failure;
use crate::support::wire::Connection;

/// Failed connections that are tried again before a turn is given up.
const FAILURES_MAX: u64 = 1_000;

/// An answer that comes this long after the end of a turn counts as none.
const LATE_MAX: Duration = Duration::from_secs(5);

/// What one turn came to.
#[derive(Default)]
pub struct Counted {
    pub answers: u64,
    pub failures: u64,
    /// What the last failure was.
    pub failure: Option<String>,
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
        let counted = ended?;
        total.answers += counted.answers;
        total.failures += counted.failures;
        total.failure = counted.failure.or(total.failure);
    }
    total.seconds = begun.elapsed().as_secs_f64();
    if total.answers == 0 {
        return Err(format!("{address} answered nothing: {}", total.failure.unwrap_or_default()).into());
    }
    Ok(total)
}

async fn client(address: SocketAddr, request: Arc<[u8]>, end: Instant) -> Counted {
    let mut counted = Counted::default();
    let mut kept: Option<Connection> = None;
    while Instant::now() < end && counted.failures < FAILURES_MAX {
        let failure = match one(&mut kept, address, &request, end).await {
            Ok(200) => {
                counted.answers += 1;
                continue;
            }
            Ok(status) => format!("status {status}"),
            Err(error) => {
                kept = None;
                error.to_string()
            }
        };
        counted.failures += 1;
        counted.failure = Some(failure);
    }
    counted
}

/// The status of one answer.
async fn one(kept: &mut Option<Connection>, address: SocketAddr, request: &[u8], end: Instant) -> io::Result<u16> {
    let exchanged = async {
        let connection = match kept {
            Some(connection) => connection,
            None => kept.insert(Connection::open(address).await?),
        };
        Ok(connection.exchange(request).await?.status)
    };
    timeout_at(end + LATE_MAX, exchanged).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
