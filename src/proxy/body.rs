//! Bodies on their way: a request's, which may be lent to one target after another, and a response's, which carries what
//! must last as long as it does.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use crate::proxy::exchange::Exchange;
use crate::proxy::target::{Body, BoxError, InFlight};

pub fn empty() -> Body {
    Body::new(Empty::new().map_err(|never| match never {}))
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Body::new(Full::new(bytes.into()).map_err(|never| match never {}))
}

#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("the request was given to another target")]
    Revoked,
    #[error("nothing came for {0:?}")]
    Idle(Duration),
}

/// A request's body that stays ours: as long as no target has got a byte of it, the next one can have it.
pub struct Lender {
    /// `None` when the request has no body, as most have none: then there is nothing to guard.
    slot: Option<Arc<Slot>>,
}

struct Slot {
    state: Mutex<SlotState>,
    /// Bytes that the client sent so far, for who counts them.
    received: Arc<AtomicU64>,
}

struct SlotState {
    body: Body,
    /// How often it was lent: an earlier borrower that is still around gets nothing any more.
    lent: u32,
    is_touched: bool,
    /// Whoever reads it waits for the client.
    awaits_client: bool,
    /// The client's connection broke, or what it sent was no body.
    is_broken: bool,
    /// When the client last sent something: a slow upload is not an idle one.
    active_at: Instant,
}

impl Lender {
    pub fn new<B>(body: B) -> Lender
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Lender { slot: None };
        }
        let body = Body::new(body.map_err(Into::into));
        let state = SlotState {
            body,
            lent: 0,
            is_touched: false,
            awaits_client: false,
            is_broken: false,
            active_at: Instant::now(),
        };
        Lender { slot: Some(Arc::new(Slot { state: Mutex::new(state), received: Arc::default() })) }
    }

    /// The body for one more attempt; what was lent before is revoked.
    pub fn lend(&self) -> Body {
        let Some(slot) = &self.slot else { return empty() };
        let mut state = slot.state.lock();
        state.lent += 1;
        Body::new(Lent { turn: state.lent, hint: state.body.size_hint(), is_ended: false, slot: Arc::clone(slot) })
    }

    /// Counts what is read of the body, if there is one.
    pub fn received(&self) -> Option<Arc<AtomicU64>> {
        self.slot.as_ref().map(|slot| Arc::clone(&slot.received))
    }

    pub fn is_untouched(&self) -> bool {
        self.slot.as_ref().is_none_or(|slot| !slot.state.lock().is_touched)
    }

    /// Whether it was the client that broke off.
    pub fn is_broken(&self) -> bool {
        self.slot.as_ref().is_some_and(|slot| slot.state.lock().is_broken)
    }

    /// Waits for `future` as long as something moves: `idle` begins anew with everything that the client sends.
    pub async fn within_idle<T>(&self, idle: Duration, future: impl Future<Output = T>) -> Result<T, Silent> {
        let mut future = pin!(future);
        let mut deadline = Instant::now() + idle;
        loop {
            if let Ok(value) = tokio::time::timeout_at(deadline, future.as_mut()).await {
                return Ok(value);
            }
            let Some(slot) = &self.slot else { return Err(Silent::Target) };
            let state = slot.state.lock();
            deadline = state.active_at + idle;
            if deadline <= Instant::now() {
                return Err(if state.awaits_client { Silent::Client } else { Silent::Target });
            }
        }
    }
}

/// Who let us wait for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silent {
    Client,
    Target,
}

struct Lent {
    slot: Arc<Slot>,
    turn: u32,
    hint: SizeHint,
    is_ended: bool,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let mut state = this.slot.state.lock();
        if state.lent != this.turn {
            return Poll::Ready(Some(Err(BodyError::Revoked.into())));
        }
        let frame = Pin::new(&mut state.body).poll_frame(cx);
        state.awaits_client = frame.is_pending();
        let frame = ready!(frame);
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            this.slot.received.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        state.is_touched = true;
        state.is_broken |= matches!(frame, Some(Err(_)));
        state.active_at = Instant::now();
        this.is_ended = frame.is_none() || state.body.is_end_stream();
        this.hint = state.body.size_hint();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

/// A response's body with the request's place among those in flight; fails when the target stays silent for too long.
pub fn carried(inner: Body, exchange: Exchange, in_flight: InFlight, idle: Duration) -> Body {
    if inner.is_end_stream() {
        return inner;
    }
    Body::new(Carried { inner, carried: Some((exchange, in_flight)), idle, timer: None, is_armed: false })
}

struct Carried {
    inner: Body,
    carried: Option<(Exchange, InFlight)>,
    idle: Duration,
    /// Made when the target first lets us wait: most bodies are there at once.
    timer: Option<Pin<Box<Sleep>>>,
    is_armed: bool,
}

impl Carried {
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = Instant::now() + self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if !self.is_armed {
            timer.as_mut().reset(deadline);
            self.is_armed = true;
        }
        timer.as_mut().poll(cx)
    }
}

impl HttpBody for Carried {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.is_armed = false;
                if let (Some(Ok(frame)), Some((exchange, _))) = (&frame, &mut this.carried) {
                    exchange.sends(frame.data_ref().map_or(0, |data| data.len() as u64));
                }
                if frame.is_none() {
                    this.carried = None;
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                ready!(this.poll_idle(cx));
                this.carried = None;
                Poll::Ready(Some(Err(BodyError::Idle(this.idle).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
