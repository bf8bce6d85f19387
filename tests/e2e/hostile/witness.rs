//! Who watches while something attacks: a client of the neighbour and of the API, with no haste.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::e2e::api::ecs_request;
use crate::e2e::http::{get, once};
use crate::e2e::server::Server;
use crate::e2e::wait::pause;

/// An answer later than this is none. Far above what a release build takes (`cargo bench --bench hostile` measures that):
/// here a debug build shares two cores with all other tests.
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub struct Witness {
    stop: Arc<AtomicBool>,
    watching: JoinHandle<Seen>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub answers: u64,
    pub slowest: Duration,
    pub failures: Vec<String>,
}

impl Witness {
    /// Watches the handler behind `host`, which answers `/plain` with its task.
    pub fn start(server: &Server, host: &str) -> Witness {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, host, stopped) = (server.address, host.to_owned(), Arc::clone(&stop));
        let watching = tokio::spawn(async move {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let answer = once(address, get(&host, "/plain")).await;
                seen.note(
                    "the neighbour",
                    begun,
                    answer.status.is_success() && answer.text().starts_with("Hello from "),
                );
                let begun = Instant::now();
                let answer = once(address, ecs_request("ListClusters", "{}")).await;
                seen.note("the API", begun, answer.status.is_success());
                pause().await;
            }
            seen
        });
        Witness { stop, watching }
    }

    pub async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.watching.await.unwrap()
    }
}

impl Seen {
    fn note(&mut self, who: &str, begun: Instant, is_right: bool) {
        let took = begun.elapsed();
        self.answers += 1;
        self.slowest = self.slowest.max(took);
        if !is_right || took > ANSWER_MAX {
            self.failures.push(format!("{who}: right: {is_right}, after {took:?}"));
        }
    }
}
