//! One timer for all throttled tasks and all lapsing offers, however many guests wait.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::Shared;

pub(super) async fn run(shared: Weak<Shared>, notify: Arc<Notify>) {
    loop {
        let Some(wait) = shared.upgrade().map(|shared| shared.ring()) else { return };
        match wait {
            // Someone may have asked to be served earlier since; `notify_one` keeps that until we listen.
            Some(wait) => drop(tokio::time::timeout(wait, notify.notified()).await),
            None => notify.notified().await,
        }
    }
}

impl Shared {
    /// Serves what is due, and says how long to sleep.
    fn ring(&self) -> Option<Duration> {
        let now_ns = self.clock.now_ns();
        self.act(|scheduler| scheduler.expire(now_ns));
        // From here on the mark is what we sleep for; whatever is due earlier lowers it and notifies.
        let mut queue = self.queue.lock();
        let next_ns = queue.scheduler.next_timer_ns();
        queue.rings_at_ns = next_ns.unwrap_or(u64::MAX);
        next_ns.map(|at_ns| Duration::from_nanos(at_ns.saturating_sub(now_ns)))
    }
}
