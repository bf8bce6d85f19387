//! Requests without end, to see whether one of them fails while something is changed under them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::Request;
use tokio::task::JoinSet;

use super::http::{Connection, get};
use super::wait::until;

/// Failures that are shown; a broken server would fail thousands of times.
const FAILURES_SHOWN: usize = 10;

/// Several connections, each sending one request after the other.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    workers: JoinSet<Vec<String>>,
}

impl Load {
    pub fn start(address: SocketAddr, host: &str, path: &str, connections: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..connections {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let (host, path) = (host.to_owned(), path.to_owned());
            workers.spawn(async move {
                let mut failures = Vec::new();
                let mut connection = None;
                while !stop.load(Ordering::Relaxed) && failures.len() < FAILURES_SHOWN {
                    match one(&mut connection, address, get(&host, &path)).await {
                        Ok(()) => _ = answered.fetch_add(1, Ordering::Relaxed),
                        Err(failure) => failures.push(failure),
                    }
                }
                failures
            });
        }
        Load { stop, answered, workers }
    }

    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for `count` more answers.
    pub async fn more(&self, count: u64) {
        let wanted = self.answered() + count;
        until("more answers under load", async || (self.answered() >= wanted).then_some(())).await;
    }

    /// Ends the load; what failed.
    pub async fn stop(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        while let Some(ended) = self.workers.join_next().await {
            failures.extend(ended.unwrap());
        }
        failures
    }
}

async fn one(kept: &mut Option<Connection>, address: SocketAddr, request: Request<Bytes>) -> Result<(), String> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::try_open(address).await?,
    };
    let answer = connection.try_send(request).await?;
    // A server may ask for a new connection; it may not leave a request unanswered.
    let is_kept = answer.headers.get("connection").is_none_or(|value| value != "close");
    *kept = is_kept.then_some(connection);
    if answer.status.is_success() { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text())) }
}
