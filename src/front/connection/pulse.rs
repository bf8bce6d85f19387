//! What a connection is doing: whether a request is being answered, and since when it rests.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::proxy::{Body, BoxError};

/// One for each connection; what serves it, its requests and its stream have it in common.
pub struct Pulse {
    started: Instant,
    /// Requests that have come so far.
    begun: AtomicU64,
    /// Requests whose response has not ended.
    in_flight: AtomicUsize,
    /// When the last of them ended, in milliseconds since the start.
    rests_since_ms: AtomicU64,
    /// The last request's body may still be on its way while nobody will read it.
    pub unread: AtomicBool,
    /// A request is being answered whose client may end its own direction meanwhile.
    pub is_answering: AtomicBool,
    /// Who reads, and was kept from the client's end until the answer is given.
    pub reader: AtomicWaker,
    /// The connection has been used for long enough.
    pub retires: Notify,
}

impl Pulse {
    pub fn new() -> Arc<Pulse> {
        Arc::new(Pulse {
            started: Instant::now(),
            begun: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            rests_since_ms: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            is_answering: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            retires: Notify::new(),
        })
    }

    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Since when nothing is in flight; `None` while something is.
    pub fn rests_since(&self) -> Option<Instant> {
        let rests = self.in_flight.load(Ordering::Acquire) == 0;
        rests.then(|| self.started + Duration::from_millis(self.rests_since_ms.load(Ordering::Relaxed)))
    }
}

/// A request in flight on a connection.
pub struct Busy(Arc<Pulse>);

impl Busy {
    /// `may_half_close`: with HTTP/1.1 the client may end its direction and still wait for the answer.
    pub fn begin(pulse: &Arc<Pulse>, may_half_close: bool) -> Busy {
        pulse.begun.fetch_add(1, Ordering::Relaxed);
        pulse.in_flight.fetch_add(1, Ordering::AcqRel);
        pulse.is_answering.store(may_half_close, Ordering::Relaxed);
        Busy(Arc::clone(pulse))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let since_ms = u64::try_from(self.0.age().as_millis()).unwrap_or(u64::MAX);
        self.0.rests_since_ms.store(since_ms, Ordering::Relaxed);
        self.0.is_answering.store(false, Ordering::Release);
        self.0.reader.wake();
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A response's body, with which its request ends.
pub struct Answered {
    pub body: Body,
    pub _busy: Busy,
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
