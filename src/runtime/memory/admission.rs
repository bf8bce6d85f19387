//! The queue of requests that wait until another instance of a handler fits into its container and task.
//!
//! How much an instance needs is learned: the most that one used, forgotten slowly, so that one greedy request
//! narrows the door for a while and not for ever. That much is set aside at admission and used up by the instance, or
//! many requests would be admitted to the same room. If nothing of the container is running and what the neighbours in
//! the task hold does not become free soon, a request is admitted whatever was learned: then only trying can show what it
//! needs, and what was learned could otherwise keep the container closed for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{MemoryMeter, OutOfMemory};

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

/// Why a request was not admitted. Both mean that the container is overloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    #[error("{waiting} requests are waiting for memory already")]
    QueueFull { waiting: usize },
    #[error("no memory for another instance became free in {} seconds: {refused}", waited.as_secs())]
    TimedOut { waited: Duration, refused: OutOfMemory },
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
    /// An instance ended, maybe the last one.
    ended: tokio::sync::Notify,
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
            ended: tokio::sync::Notify::new(),
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

    /// What the next instance is expected to use, in bytes. More than the limits it cannot.
    pub fn expected(&self) -> u64 {
        self.inner.expected_bytes.load(Ordering::Relaxed).min(self.inner.meter.capacity())
    }

    async fn wait(&self) -> Reservation {
        let _first = self.inner.line.lock().await;
        let patience = tokio::time::sleep(ALONE_WAIT);
        tokio::pin!(patience);
        loop {
            // Both listen from here on: what is given back between the try and the wait is not missed.
            let freed = self.inner.meter.freed();
            let ended = self.inner.ended.notified();
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
                () = ended => {}
                () = &mut patience, if !patience.is_elapsed() => {}
            }
        }
    }

    fn try_admit(&self) -> Result<Reservation, OutOfMemory> {
        let bytes = self.expected();
        self.inner.meter.reserve(bytes)?;
        self.inner.running.fetch_add(1, Ordering::AcqRel);
        Ok(Reservation { admission: self.clone(), bytes })
    }

    /// With whatever is left, if nothing of this container runs.
    fn admit_alone(&self) -> Option<Reservation> {
        self.inner.running.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        let room_bytes = self.inner.meter.room().min(self.expected());
        // Should the room have shrunk since, nothing is set aside, and the instance asks for all that it needs.
        let bytes = if self.inner.meter.reserve(room_bytes).is_ok() { room_bytes } else { 0 };
        Some(Reservation { admission: self.clone(), bytes })
    }
}

/// Memory that was set aside for one instance; given back when dropped. Belongs into its [`MemoryLimiter`].
///
/// [`MemoryLimiter`]: super::MemoryLimiter
#[derive(Debug)]
pub struct Reservation {
    admission: Admission,
    bytes: u64,
}

impl Reservation {
    pub fn bytes(&self) -> u64 {
        self.bytes
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
        self.admission.inner.meter.release(self.bytes);
        self.admission.inner.ended.notify_waiters();
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
