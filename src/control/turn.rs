//! What all loops have in common: when they wake, and what they are shown.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::control::{Phase, Shared};
use crate::model::Timestamp;
use crate::store::{Change, Snapshot};

/// Everything is planned this often, whatever changed: the cost of a wrong comparison is bounded by it.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(30);
/// A pass that failed (the store refused) is not repeated sooner than this.
pub const RETRY_AFTER: Duration = Duration::from_millis(200);

/// What one pass sees: the state now, and the state that the last pass saw.
pub struct Turn {
    pub now: Snapshot,
    pub before: Option<Snapshot>,
    pub at: Timestamp,
}

impl Turn {
    /// What differs from the last pass; `None` where everything is to be looked at.
    pub fn changes(&self) -> Option<Vec<Change>> {
        self.before.as_ref().map(|before| self.now.changes_since(before))
    }
}

/// How a pass went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// When time alone makes another pass necessary.
    pub wake_at: Option<Timestamp>,
    /// Something could not be carried out: everything is looked at again soon.
    pub failed: bool,
}

/// One concern.
pub trait Concern: Send + 'static {
    fn pass(&mut self, turn: Turn) -> impl Future<Output = Passed> + Send;
}

/// Makes passes until the server closes.
///
/// A pass takes no message: a wake-up says that something changed, never what. So a restart, a lost wake-up and the
/// common case all run the same code.
pub async fn run(shared: Arc<Shared>, mut concern: impl Concern) {
    let mut changed = shared.store.watch();
    let mut phase = shared.phase.subscribe();
    let mut sweep = time::interval(SWEEP_PERIOD);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: Option<Snapshot> = None;
    let mut wake_at: Option<Timestamp> = None;
    loop {
        tokio::select! {
            _ = sweep.tick() => seen = None,
            woken = changed.changed() => if woken.is_err() { return },
            _ = phase.changed() => seen = None,
            () = sleep_until(&shared, wake_at) => {}
        }
        if shared.phase() == Phase::Closed {
            return;
        }
        changed.mark_unchanged();
        let now = shared.store.snapshot();
        let turn = Turn { now: now.clone(), before: seen.take(), at: shared.now() };
        seen = Some(now);
        // A pass that panics is a defect that one record brought out; the tasks and services of all others go on.
        let passed = AssertUnwindSafe(concern.pass(turn)).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(concern = std::any::type_name_of_val(&concern), "a pass panicked; it is repeated");
            Passed { wake_at: None, failed: true }
        });
        wake_at = passed.wake_at;
        if passed.failed {
            seen = None;
            wake_at = earlier(wake_at, Some(shared.now() + RETRY_AFTER));
        }
    }
}

/// Until this time of the shared clock; for ever where there is none.
async fn sleep_until(shared: &Shared, at: Option<Timestamp>) {
    match at {
        Some(at) => time::sleep_until(Instant::now() + at.since(shared.now())).await,
        None => std::future::pending().await,
    }
}

/// The earlier of two times, either of which may be missing.
pub fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
