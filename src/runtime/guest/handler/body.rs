//! The body of a handler's response, and what of the guest travels in it.
//!
//! Most guests are done when they give the head: then the body is collected, so that it has a length and goes out in one
//! write. Otherwise the rest of the guest's work rides along and is polled with the body: no task, no hop.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::CONTENT_LENGTH;
use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use wasmtime_wasi_http::WasiBody;

use crate::runtime::guest::handler::Shared;
use crate::runtime::guest::handler::work::Work;
use crate::runtime::guest::http::{BoxError, HandlerError, ResponseBody};

/// What the guest gave.
pub(super) type Head = Response<WasiBody>;

/// Frames that are collected at most: the guest's channel holds two, then trailers.
const COLLECTED_MAX: usize = 4;

/// Puts the rest of the guest's work into the body. `has_body` is false for HEAD.
pub(super) fn respond(shared: &Arc<Shared>, head: Head, work: Work, has_body: bool) -> Response<ResponseBody> {
    let (parts, body) = head.into_parts();
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // The server drops such a body without looking at it; that is its end, and no client that went away.
    let bodiless = !has_body || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut streamed = Streamed {
        body: Some(body),
        collected: VecDeque::new(),
        missing: if bodiless { Some(0) } else { length },
        ended: bodiless,
        work: None,
    };
    if work.is_done() {
        streamed.read_ahead();
    } else {
        streamed.work = Some(Passenger::board(shared, work));
    }
    Response::from_parts(parts, streamed.boxed_unsync())
}

struct Streamed {
    /// `None` once it has ended.
    body: Option<WasiBody>,
    /// What was read ahead.
    collected: VecDeque<Frame<Bytes>>,
    /// What is left of a declared length.
    missing: Option<u64>,
    /// The client has, or does not want, all of it.
    ended: bool,
    /// `None` where the guest was done before.
    work: Option<Passenger>,
}

/// A guest's work in a body, which the container can take out of it.
struct Passenger {
    work: Arc<Mutex<Work>>,
    shared: Weak<Shared>,
    number: u64,
}

impl Passenger {
    fn board(shared: &Arc<Shared>, work: Work) -> Passenger {
        let work = Arc::new(Mutex::new(work));
        let number = shared.travelling.lock().enter(&work);
        Passenger { work, shared: Arc::downgrade(shared), number }
    }
}

impl Drop for Passenger {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.travelling.lock().leave(self.number);
        }
    }
}

impl Streamed {
    /// Reads what a guest that is done has left in its channel.
    fn read_ahead(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Some(body) = &mut self.body {
            if self.collected.len() >= COLLECTED_MAX {
                return;
            }
            match Pin::new(body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => self.collected.push_back(frame),
                Poll::Ready(None) => self.body = None,
                // The caller's own poll sees the error, or waits.
                Poll::Ready(Some(Err(_))) | Poll::Pending => return,
            }
        }
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if let (Some(missing), Some(data)) = (&mut self.missing, frame.data_ref()) {
            *missing = missing.saturating_sub(data.len() as u64);
            self.ended |= *missing == 0;
        }
        frame
    }

    /// Its end, too, is seen in the body.
    fn run_guest(&self, cx: &mut Context<'_>) {
        if let Some(passenger) = &self.work {
            let _ = passenger.work.lock().poll(cx);
        }
    }

    fn failure(&self) -> Option<HandlerError> {
        self.work.as_ref().and_then(|passenger| passenger.work.lock().failure())
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(frame) = this.collected.pop_front() {
            return Poll::Ready(Some(Ok(this.count(frame))));
        }
        // Twice at most: what the guest does in its slice may fill the body.
        for may_run_guest in [true, false] {
            let Some(body) = &mut this.body else {
                this.ended = true;
                return Poll::Ready(None);
            };
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(this.count(frame)))),
                Poll::Ready(Some(Err(error))) => {
                    this.body = None;
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Ready(None) => {
                    // A guest that trapped leaves a body that looks complete: the client must not take it for that.
                    this.body = None;
                    if let Some(failure) = this.failure() {
                        return Poll::Ready(Some(Err(failure.into())));
                    }
                    this.ended = true;
                    // One of WASI 0.3 waits for this moment, and most then have nothing left to do.
                    this.run_guest(cx);
                    return Poll::Ready(None);
                }
                Poll::Pending if may_run_guest => this.run_guest(cx),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none() && self.collected.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => {
                let data = self.collected.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64);
                SizeHint::with_exact(data.sum())
            }
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        // The client has all: what the guest still does is its own affair. Else the client is gone, and so is the guest.
        if self.ended
            && let Some(passenger) = &self.work
        {
            passenger.work.lock().detach();
        }
    }
}
