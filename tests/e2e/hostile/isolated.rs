//! The same attacks where each task is a process of its own.

use super::ground::Ground;
use super::programs::{ENDLESS, MEMORY, PHASES};
use crate::e2e::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_of_their_own() {
    let mut ground = Ground::of(Server::start_with(&["--isolate", "process"]).await).await;
    for attack in MEMORY.iter().chain(PHASES) {
        ground.attack(attack).await;
    }
    ground.all_at_once(ENDLESS, 20).await;
    ground.end().await;
}
