//! One target as the data path sees it: how to reach it, and what is kept of it from one snapshot to the next.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::model::{Arn, TargetState, TaskId};
use crate::proxy::connect::Pool;
use crate::proxy::spec::{Endpoint, Unusable};
use crate::proxy::stats::Codes;
use crate::proxy::sticky;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every request to, and response from, a target.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A handler on this node, called without a connection in between. `control` fills it with the runtime's handlers.
///
/// The future is polled on the thread that read the request; dropping it, or the response's body, ends the call.
pub trait LocalTarget: Send + Sync {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TargetError>>;

    /// Whether a request could begin now, as a connection to a server would say: ready once it could. Where nothing more is
    /// known, being there is enough.
    fn admit(&self) -> BoxFuture<'static, Result<(), TargetError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Why a target on this node did not answer.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The request never reached the guest, so that another target may have it.
    #[error("the handler is not running")]
    NotStarted,
    /// The handler was stopped while it had the request.
    #[error("the handler was stopped")]
    Stopped,
    /// The request waited, or would have, longer than it may. It never reached the guest.
    #[error("the handler has too many requests waiting")]
    Overloaded,
    #[error("the handler trapped: {0}")]
    Trapped(String),
    #[error("the handler ran out of memory")]
    OutOfMemory,
    #[error("the handler ran out of fuel")]
    OutOfFuel,
    #[error("the handler gave no valid response: {0}")]
    InvalidResponse(String),
    #[error("the handler took too long")]
    TimedOut,
    #[error("the handler failed")]
    Failed(#[source] BoxError),
}

/// A target by name, as `DescribeTargetHealth` and the reports know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetKey {
    pub group: Arn,
    pub address: Ipv4Addr,
    pub port: u16,
    pub task: Option<TaskId>,
}

/// What a client's cookie remembers a target by: it says nothing of the target to who does not know its group's key.
pub type Mark = [u8; 16];

/// The weight of a target that nothing is held against.
pub const WEIGHT_FULL: usize = 1000;

/// A target within one snapshot.
pub struct Target {
    pub state: Arc<TargetStanding>,
    pub endpoint: Endpoint,
    pub check: Option<Endpoint>,
    pub unusable: Option<Unusable>,
    /// Connections to it, where it is reached over TCP.
    pub pool: Option<Arc<Pool>>,
}

impl Target {
    /// It is gone, and with it what it still has in flight. A handler ends its own requests when its task does.
    pub fn cut_off(&self) {
        self.state.gone.cancel();
        if let Some(pool) = &self.pool {
            pool.close();
        }
    }
}

/// What outlives snapshots.
pub struct TargetStanding {
    pub key: TargetKey,
    /// Its place in the rotation: given when it was first seen in its group, never given again.
    pub ordinal: u64,
    pub mark: Mark,
    health: AtomicU8,
    draining: AtomicBool,
    in_flight: AtomicUsize,
    /// It is registered no more.
    gone: CancellationToken,
    /// Since when it is in its slow start: milliseconds after `made_at`, plus one; 0 while it is not.
    slow_since: AtomicU64,
    /// What is left of the turns that it let go by, in thousandths of a turn.
    slow_credit: AtomicI64,
    made_at: tokio::time::Instant,
    /// Of `WEIGHT_FULL`: lower while its errors are anomalous.
    weight: AtomicUsize,
    anomalous: AtomicBool,
    /// Wakes the health loop when the last request of a draining target ends.
    idle: Arc<Notify>,
    /// Wakes the connections that are carried to it, when it drains, becomes unhealthy, or is deregistered.
    pub told: Notify,
    pub counts: TargetCounts,
}

/// What the target has answered so far.
#[derive(Default)]
pub struct TargetCounts {
    pub requests: AtomicU64,
    /// Responses of 500 and above that the target itself gave.
    pub errors: AtomicU64,
    /// All its responses by class.
    pub codes: Codes,
    /// Connections that could not be made.
    pub connection_errors: AtomicU64,
    /// Requests for which the proxy had to answer instead: refused, cut off, trapped, timed out.
    pub failures: AtomicU64,
    /// From the choice of the target to the head of its response, summed over all requests.
    pub latency_ns: AtomicU64,
}

impl TargetCounts {
    /// Requests that came to an end, and those that ended in a failure of the target.
    pub fn answered(&self) -> (u64, u64) {
        let failures = self.errors.load(Ordering::Relaxed) + self.failures.load(Ordering::Relaxed);
        (self.requests.load(Ordering::Relaxed), failures)
    }
}

impl TargetStanding {
    pub fn new(key: TargetKey, ordinal: u64, idle: Arc<Notify>) -> TargetStanding {
        TargetStanding {
            mark: sticky::mark(&key),
            key,
            ordinal,
            health: AtomicU8::new(TargetState::Initial as u8),
            draining: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            gone: CancellationToken::new(),
            slow_since: AtomicU64::new(0),
            slow_credit: AtomicI64::new(0),
            made_at: tokio::time::Instant::now(),
            weight: AtomicUsize::new(WEIGHT_FULL),
            anomalous: AtomicBool::new(false),
            idle,
            told: Notify::new(),
            counts: TargetCounts::default(),
        }
    }

    /// `Initial`, `Healthy` or `Unhealthy`: what the checks found. Draining is told apart from it.
    pub fn health(&self) -> TargetState {
        match self.health.load(Ordering::Acquire) {
            state if state == TargetState::Healthy as u8 => TargetState::Healthy,
            state if state == TargetState::Unhealthy as u8 => TargetState::Unhealthy,
            _ => TargetState::Initial,
        }
    }

    pub fn set_health(&self, state: TargetState) {
        self.health.store(state as u8, Ordering::Release);
        if state == TargetState::Unhealthy {
            self.told.notify_waiters();
        }
    }

    /// It begins its slow start, or ends it.
    pub fn set_slow(&self, since: Option<tokio::time::Instant>) {
        let since = since.map_or(0, |since| milliseconds(since - self.made_at) + 1);
        self.slow_credit.store(0, Ordering::Relaxed);
        self.slow_since.store(since, Ordering::Relaxed);
    }

    /// What it takes of a full share, in thousandths, while it is in its slow start: as much of it as of the time is over.
    pub fn slow_share(&self, duration: Duration, now: tokio::time::Instant) -> Option<i64> {
        let since = self.slow_since.load(Ordering::Relaxed).checked_sub(1)?;
        let elapsed = milliseconds(now - self.made_at).saturating_sub(since);
        let duration = milliseconds(duration).max(1);
        let share = u128::from(elapsed) * u128::from(SHARE_FULL.unsigned_abs()) / u128::from(duration);
        (elapsed < duration).then(|| i64::try_from(share).unwrap_or(SHARE_FULL))
    }

    /// Whether it takes the turn that has come to it, or lets it go by.
    pub fn takes_turn(&self, duration: Duration, now: tokio::time::Instant) -> bool {
        let Some(share) = self.slow_share(duration, now) else { return true };
        let credit = self.slow_credit.fetch_add(share, Ordering::Relaxed) + share;
        if credit < SHARE_FULL {
            return false;
        }
        self.slow_credit.fetch_sub(SHARE_FULL, Ordering::Relaxed);
        true
    }

    pub fn weight(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }

    /// Whether it fails much more than the others of its group.
    pub fn is_anomalous(&self) -> bool {
        self.anomalous.load(Ordering::Relaxed)
    }

    pub fn set_anomalous(&self, anomalous: bool) {
        self.anomalous.store(anomalous, Ordering::Relaxed);
    }

    pub fn set_weight(&self, weight: usize) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub fn set_draining(&self, draining: bool) {
        if self.draining.swap(draining, Ordering::SeqCst) != draining {
            self.told.notify_waiters();
        }
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Counts a request in, unless the target drains.
    ///
    /// Sequentially consistent on both sides: either this sees the draining, or whoever set it sees this request. So a
    /// target that was reported as drained gets nothing any more.
    pub fn enter(self: &Arc<TargetStanding>) -> Option<InFlight> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let entered = InFlight { target: Arc::clone(self), since: Instant::now() };
        if self.is_draining() { None } else { Some(entered) }
    }
}

/// One request in flight at a target. It rides in the response's body and ends with it, however that ends.
pub struct InFlight {
    target: Arc<TargetStanding>,
    since: Instant,
}

impl InFlight {
    /// Ready once the target is gone and its time to drain is over.
    pub async fn cut_off(&self) {
        self.target.gone.cancelled().await;
    }

    /// Records what came of the request, and says how long the target took; the request itself lasts until this is
    /// dropped.
    pub fn answered(&self, status: http::StatusCode) -> Duration {
        let elapsed = self.since.elapsed();
        let counts = &self.target.counts;
        counts.requests.fetch_add(1, Ordering::Relaxed);
        counts.codes.count(status);
        counts.latency_ns.fetch_add(nanoseconds(elapsed), Ordering::Relaxed);
        if status.is_server_error() {
            counts.errors.fetch_add(1, Ordering::Relaxed);
        }
        elapsed
    }

    pub fn failed(&self) {
        self.target.counts.requests.fetch_add(1, Ordering::Relaxed);
        self.target.counts.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.target.in_flight.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.target.is_draining() {
            self.target.idle.notify_one();
        }
    }
}

/// Of the turns of a target in its slow start.
const SHARE_FULL: i64 = 1000;

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
