//! The queue of requests that wait until another instance of a handler fits into its container and task.
//!
//! How much an instance needs is learned: the most that one used, forgotten slowly, so that one greedy request
//! narrows the door for a while and not for ever. That much is set aside at admission and used up by the instance, or
//! many requests would be admitted to the same room. If nothing of the container is running and what the neighbours in
//! the task hold does not become free soon, a request is admitted whatever was learned: then only trying can show what it
//! needs, and what was learned could otherwise keep the container closed for ever.
//!
//! Of a handler that nobody has called yet nothing is known: a burst would be let in whole, and most of it would fail. So
//! the first request goes alone, until it has ended or has shown for a moment how large it is. What is learned wrongly all
//! the same (requests differ) does not fail either: an instance that grows into what others hold waits inside, before
//! everyone outside. Only where all of them wait, none can go on: then the youngest gives way.

mod growth;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{MemoryMeter, OutOfMemory};

pub use growth::Crowded;
pub(super) use growth::Next;

/// Before any instance was seen: a Rust component begins with 17 pages (1.1 MiB) and grows by some.
const FIRST_GUESS_BYTES: u64 = 2 << 20;
/// An instance that used less takes the estimate down by this part of the difference: after 50 of them 4 % are left.
const FORGET_DIVISOR: u64 = 16;
/// Requests of one container that wait. Each holds a connection and its head (some 20 KiB): 20 MiB in all.
const WAITING_MAX: usize = 1024;
/// How long a request waits at most: well below the 60 seconds after which a load balancer gives up on an idle
/// target, so that the client learns that we are full and not that we are silent.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How long the first in the line waits for the neighbours before it tries with what there is: longer than a burst of
/// requests to another container of the task, shorter than people's patience.
const ALONE_WAIT: Duration = Duration::from_secs(1);

/// How long the first request of all goes alone: most handlers answer within it, and one that takes longer has grown to
/// most of its size.
const COLD_TIME: Duration = Duration::from_millis(250);

/// How long an instance waits inside: the others end meanwhile, or are of those that stay; and nobody is let in.
const GROW_WAIT_MAX: Duration = Duration::from_secs(5);

/// Why a request was not admitted. Both mean that the container is overloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    #[error("{waiting} requests are waiting for memory already")]
    QueueFull { waiting: usize },
    #[error("no memory for another instance became free in {} seconds: {refused}", waited.as_secs())]
    TimedOut { waited: Duration, refused: Refused },
}

/// Why nobody is let in now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Memory(OutOfMemory),
    /// The first request is still being looked at.
    Cold,
    /// Those inside need what there is.
    Growing,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Memory(refused) => refused.fmt(f),
            Refused::Cold => f.write_str("nothing is known yet of what a request needs"),
            Refused::Growing => f.write_str("running requests wait for more memory"),
        }
    }
}

/// The door to a container's memory; clones are the same door.
#[derive(Clone, Debug)]
pub struct Admission {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    meter: MemoryMeter,
    /// What the next instance is expected to use.
    expected_bytes: AtomicU64,
    /// Instances that were admitted and still live.
    running: AtomicUsize,
    waiting: AtomicUsize,
    /// Who holds it is the first in the line; it is fair.
    line: tokio::sync::Mutex<()>,
    /// An instance ended, maybe the last one; or one began or ceased to wait for growth.
    changed: tokio::sync::Notify,
    /// When the first request was let in, and whether any instance has ended since.
    first: OnceLock<Instant>,
    is_warm: AtomicBool,
    /// The next instance's number: the order of admission.
    next: AtomicU64,
    /// Instances that wait for more memory, by number.
    growing: Mutex<BTreeSet<u64>>,
    /// How many they are, to be asked without the lock.
    growing_count: AtomicUsize,
}

impl Admission {
    /// For the instances of the container with this meter.
    pub fn new(meter: MemoryMeter) -> Self {
        let inner = Inner {
            meter,
            expected_bytes: AtomicU64::new(FIRST_GUESS_BYTES),
            running: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            line: tokio::sync::Mutex::new(()),
            changed: tokio::sync::Notify::new(),
            first: OnceLock::new(),
            is_warm: AtomicBool::new(false),
            next: AtomicU64::new(0),
            growing: Mutex::default(),
            growing_count: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Sets memory aside for one more instance: at once if there is room and nobody waits, else in the order of arrival.
    /// Dropped while it waits, it leaves the line.
    pub async fn admit(&self) -> Result<Reservation, AdmissionError> {
        if self.waiting() == 0
            && let Ok(reservation) = self.try_admit()
        {
            return Ok(reservation);
        }
        let _place = Waiting::enter(&self.inner)?;
        match tokio::time::timeout(WAIT_MAX, self.wait()).await {
            Ok(reservation) => Ok(reservation),
            // The last try also tells what is in the way.
            Err(_) => self.try_admit().map_err(|refused| AdmissionError::TimedOut { waited: WAIT_MAX, refused }),
        }
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.inner.waiting.load(Ordering::Relaxed)
    }

    /// Whether instances wait for memory that others hold.
    pub fn is_crowded(&self) -> bool {
        self.inner.growing_count.load(Ordering::Acquire) > 0
    }

    /// What the next instance is expected to use, in bytes. More than the limits it cannot.
    pub fn expected(&self) -> u64 {
        self.inner.expected_bytes.load(Ordering::Relaxed).min(self.inner.meter.capacity())
    }

    async fn wait(&self) -> Reservation {
        let _first = self.inner.line.lock().await;
        let patience = tokio::time::sleep(ALONE_WAIT);
        tokio::pin!(patience);
        let warm = tokio::time::sleep(self.cold_left());
        tokio::pin!(warm);
        loop {
            self.inner.meter.want();
            // Both listen from here on: what is given back between the try and the wait is not missed.
            let freed = self.inner.meter.freed();
            let changed = self.inner.changed.notified();
            if let Ok(reservation) = self.try_admit() {
                return reservation;
            }
            if patience.is_elapsed()
                && let Some(reservation) = self.admit_alone()
            {
                return reservation;
            }
            tokio::select! {
                () = freed => {}
                () = changed => {}
                () = &mut warm, if !warm.is_elapsed() => {}
                () = &mut patience, if !patience.is_elapsed() => {}
            }
        }
    }

    fn try_admit(&self) -> Result<Reservation, Refused> {
        if self.is_crowded() {
            return Err(Refused::Growing);
        }
        if !self.inner.is_warm.load(Ordering::Relaxed) && !self.may_enter_cold() {
            return Err(Refused::Cold);
        }
        let bytes = self.expected();
        self.inner.meter.reserve(bytes).map_err(Refused::Memory)?;
        self.inner.running.fetch_add(1, Ordering::AcqRel);
        Ok(self.admitted(bytes))
    }

    fn admitted(&self, bytes: u64) -> Reservation {
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        Reservation { admission: self.clone(), bytes, number }
    }

    /// The first of all may, and everyone once that one had its time.
    fn may_enter_cold(&self) -> bool {
        let now = Instant::now();
        let is_first = self.inner.first.set(now).is_ok();
        is_first || self.cold_left().is_zero() || self.inner.running.load(Ordering::Acquire) == 0
    }

    fn cold_left(&self) -> Duration {
        let first = self.inner.first.get().filter(|_| !self.inner.is_warm.load(Ordering::Relaxed));
        first.map_or(Duration::ZERO, |first| COLD_TIME.saturating_sub(first.elapsed()))
    }

    /// With whatever is left, if nothing of this container runs.
    fn admit_alone(&self) -> Option<Reservation> {
        self.inner.running.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        let room_bytes = self.inner.meter.room().min(self.expected());
        // Should the room have shrunk since, nothing is set aside, and the instance asks for all that it needs.
        let bytes = if self.inner.meter.reserve(room_bytes).is_ok() { room_bytes } else { 0 };
        Some(self.admitted(bytes))
    }
}

/// Memory that was set aside for one instance; given back when dropped. Belongs into its [`MemoryLimiter`].
///
/// [`MemoryLimiter`]: super::MemoryLimiter
#[derive(Debug)]
pub struct Reservation {
    admission: Admission,
    bytes: u64,
    number: u64,
}

impl Reservation {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Learns from an instance that lives, and uses this much already.
    pub fn see(&self, used_bytes: u64) {
        let expected = &self.admission.inner.expected_bytes;
        // A look first: the counter is shared, and mostly nothing is new.
        if used_bytes > expected.load(Ordering::Relaxed) {
            expected.fetch_max(used_bytes, Ordering::Relaxed);
        }
    }

    /// Learns from an instance that used this much at most.
    pub fn observe(&self, peak_bytes: u64) {
        let learn = |expected: u64| match expected.checked_sub(peak_bytes) {
            // Rounded up, so that it arrives.
            Some(surplus) => Some(expected - surplus.div_ceil(FORGET_DIVISOR)),
            None => Some(peak_bytes),
        };
        // It never fails: `learn` always has an answer.
        let _ = self.admission.inner.expected_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, learn);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.admission.inner.running.fetch_sub(1, Ordering::AcqRel);
        if !self.admission.inner.is_warm.load(Ordering::Relaxed) {
            self.admission.inner.is_warm.store(true, Ordering::Relaxed);
        }
        self.admission.inner.meter.release(self.bytes);
        self.admission.inner.changed.notify_waiters();
    }
}

/// One place among those that wait.
struct Waiting<'a> {
    inner: &'a Inner,
}

impl<'a> Waiting<'a> {
    fn enter(inner: &'a Inner) -> Result<Self, AdmissionError> {
        let waiting = inner.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self { inner };
        if waiting >= WAITING_MAX { Err(AdmissionError::QueueFull { waiting }) } else { Ok(place) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inner.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
