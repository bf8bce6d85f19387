//! Instances that were kept, between two requests.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::runtime::guest::handler::Shared;
use crate::runtime::guest::instance::Instance;
use crate::runtime::memory::MemoryMeter;

/// Idle instances of one container: more than the requests that a few cores work on at once are not of use.
const IDLE_MAX: usize = 64;
/// An instance that nobody needed for so long gives its memory and its slot back.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// How often that is looked at.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);

/// The last one that came back is the first to go out: its memory is warm, and the others can grow old.
#[derive(Default)]
pub(super) struct Idle {
    kept: Mutex<Vec<(Box<Instance>, Instant)>>,
    returned: Notify,
}

impl Idle {
    pub fn take(&self) -> Option<Box<Instance>> {
        self.kept.lock().pop().map(|(instance, _)| instance)
    }

    /// Waits for an instance to come back.
    pub async fn returned(&self) -> Box<Instance> {
        loop {
            let returned = self.returned.notified();
            if let Some(instance) = self.take() {
                return instance;
            }
            returned.await;
        }
    }

    /// Takes an instance back, if there is room.
    pub fn give_back(&self, instance: Box<Instance>) {
        let surplus = {
            let mut kept = self.kept.lock();
            if kept.len() < IDLE_MAX {
                kept.push((instance, Instant::now()));
                None
            } else {
                Some(instance)
            }
        };
        self.returned.notify_one();
        // Dropped without the lock: it resets memory.
        drop(surplus);
    }

    pub fn clear(&self) {
        let gone = std::mem::take(&mut *self.kept.lock());
        drop(gone);
    }

    fn drop_old(&self, now: Instant) {
        let old: Vec<_> = {
            let mut kept = self.kept.lock();
            let old = kept.iter().take_while(|(_, since)| now.duration_since(*since) > IDLE_TIME_MAX).count();
            kept.drain(..old).collect()
        };
        drop(old);
    }
}

/// Gives back what is idle for long, and everything when somebody on the node waits for a slot, or in the task for memory.
pub(super) async fn sweep(shared: Weak<Shared>, pressure: Arc<Notify>, memory: MemoryMeter, cut: CancellationToken) {
    loop {
        let pressed = tokio::select! {
            () = cut.cancelled() => return,
            () = tokio::time::sleep(SWEEP_PERIOD) => false,
            () = pressure.notified() => true,
            () = memory.wanted() => true,
        };
        let Some(shared) = shared.upgrade() else { return };
        let Some(idle) = &shared.idle else { return };
        if pressed { idle.clear() } else { idle.drop_old(Instant::now()) }
    }
}
