//! HTTP/1.1 on one connection, with buffers only while something is under way.
//!
//! hyper keeps 16 KiB and more for a connection, whether or not anything is on its way: ten thousand browsers that keep a
//! connection just in case would cost as much as a busy server. So a connection that has been quiet for a moment is
//! *parked*: hyper's state is let go of, and all that remains is the socket and a task that waits for its next byte.
//!
//! That must never lose a byte. hyper may have read ahead, so a connection is parked only if the last request had no body,
//! its response has ended, what was read last ends as a request without a body does, and hyper has since found no whole
//! request in what it had: then there is nothing left but empty lines, which mean nothing.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::proxy::{Body, BoxError};

/// Quiet for this long, and at most twice as long, a connection is parked. Waking one costs some microseconds, so a client
/// that asks five times a second notices nothing.
const PARK_AFTER: Duration = Duration::from_millis(200);
/// What is read of a parked connection's next request before buffers are made for it.
const AHEAD_BYTES: usize = 16;

/// What a connection is served with.
pub struct Terms {
    pub builder: Builder,
    /// Between requests, and until the head of one is there.
    pub idle: Duration,
    /// Cancelled when the connection should end after what it is answering.
    pub closing: CancellationToken,
}

/// Serves the connection to its end. `first` are bytes that were read of it already; `unread` is told whether the last
/// request had a body, which may have been left unread.
pub async fn serve<S, F, R>(
    stream: S,
    first: &[u8],
    terms: &Terms,
    unread: Arc<AtomicBool>,
    answer: F,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let mut slot = Slot::new(stream);
    slot.ahead.put(first);
    let slot = Arc::new(Mutex::new(slot));
    let traffic = Arc::new(Traffic { answering: AtomicUsize::new(0), has_body: unread });
    let answer = Arc::new(answer);
    loop {
        if !wait(&slot, terms).await? {
            return Ok(());
        }
        let (of_requests, answer) = (Arc::clone(&traffic), Arc::clone(&answer));
        let service = service_fn(move |request: Request<Incoming>| {
            let answering = Answering::begin(&of_requests, &request);
            // In a box of its own: so what a request needs is there only while there is one.
            let answered: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(answer(request));
            async move {
                Ok::<_, std::convert::Infallible>(answered.await.map(|body| Counted { body, _answering: answering }))
            }
        });
        let connection = terms.builder.serve_connection(TokioIo::new(Lent(Arc::clone(&slot))), service);
        let mut connection = Box::pin(connection.with_upgrades());
        let mut is_told = false;
        let mut look = Box::pin(tokio::time::sleep(PARK_AFTER));
        let mut read_before = slot.lock().read;
        loop {
            tokio::select! {
                ended = connection.as_mut() => return ended.map_err(BoxError::from),
                () = terms.closing.cancelled(), if !is_told => {
                    is_told = true;
                    // Clients that keep connections do not close them when told to, but when they need them next.
                    traffic.has_body.store(false, Ordering::Relaxed);
                    connection.as_mut().graceful_shutdown();
                }
                () = look.as_mut(), if !is_told => {
                    if slot.lock().may_park(&traffic, read_before) {
                        connection.as_mut().graceful_shutdown();
                        connection.await?;
                        break;
                    }
                    read_before = slot.lock().read;
                    look.as_mut().reset(Instant::now() + PARK_AFTER);
                }
            }
        }
        slot.lock().parks = false;
    }
}

/// Waits for the next bytes; `false` when there will be none: the peer has ended, was silent for too long, or must go.
async fn wait<S: AsyncRead + AsyncWrite + Unpin>(slot: &Mutex<Slot<S>>, terms: &Terms) -> io::Result<bool> {
    let ahead = std::future::poll_fn(|cx| slot.lock().poll_ahead(cx));
    let is_there = tokio::select! {
        ahead = tokio::time::timeout(terms.idle, ahead) => matches!(ahead, Ok(Ok(true))),
        () = terms.closing.cancelled() => false,
    };
    if !is_there {
        std::future::poll_fn(|cx| Pin::new(&mut slot.lock().stream).poll_shutdown(cx)).await?;
    }
    Ok(is_there)
}

/// What the requests of a connection are at.
struct Traffic {
    /// Whose response has not ended.
    answering: AtomicUsize,
    /// Of the last one.
    has_body: Arc<AtomicBool>,
}

struct Answering(Arc<Traffic>);

impl Answering {
    fn begin(traffic: &Arc<Traffic>, request: &Request<Incoming>) -> Answering {
        traffic.answering.fetch_add(1, Ordering::Relaxed);
        traffic.has_body.store(!request.body().is_end_stream(), Ordering::Relaxed);
        Answering(Arc::clone(traffic))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response's body that tells when it has ended.
struct Counted {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The socket, which outlives the states of hyper that it is lent to.
struct Slot<S> {
    stream: S,
    /// Bytes that were read while the connection was parked.
    ahead: Ahead,
    /// The last bytes that hyper got.
    last: [u8; 4],
    /// How many it got, of all requests.
    read: u64,
    /// It wants more, and there is none.
    waits: bool,
    /// hyper ends because the connection is parked: the socket stays open.
    parks: bool,
}

#[derive(Default)]
struct Ahead {
    bytes: [u8; AHEAD_BYTES],
    length: usize,
}

impl Ahead {
    fn put(&mut self, bytes: &[u8]) {
        let length = bytes.len().min(AHEAD_BYTES);
        self.bytes[..length].copy_from_slice(&bytes[..length]);
        self.length = length;
    }
}

impl<S> Slot<S> {
    fn new(stream: S) -> Slot<S> {
        Slot { stream, ahead: Ahead::default(), last: [0; 4], read: 0, waits: false, parks: false }
    }

    /// Whether nothing would be lost; from then on hyper gets no bytes.
    fn may_park(&mut self, traffic: &Traffic, read_before: u64) -> bool {
        let is_quiet = self.waits && self.read == read_before && self.ahead.length == 0;
        let is_answered = traffic.answering.load(Ordering::Relaxed) == 0;
        let is_whole = &self.last == b"\r\n\r\n" && !traffic.has_body.load(Ordering::Relaxed);
        self.parks = is_quiet && is_answered && is_whole;
        self.parks
    }
}

impl<S: AsyncRead + Unpin> Slot<S> {
    /// Whether there are bytes of a next request; `false` at the end.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.ahead.length == 0 {
            let mut buffer = ReadBuf::new(&mut self.ahead.bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.ahead.length = buffer.filled().len();
        }
        Poll::Ready(Ok(self.ahead.length > 0))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.parks {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if self.ahead.length > 0 && buffer.remaining() >= self.ahead.length {
            buffer.put_slice(&self.ahead.bytes[..self.ahead.length]);
            self.ahead.length = 0;
        } else {
            let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
            self.waits = read.is_pending();
            ready!(read)?;
        }
        let bytes = &buffer.filled()[before..];
        self.read += bytes.len() as u64;
        for byte in &bytes[bytes.len().saturating_sub(4)..] {
            self.last.rotate_left(1);
            self.last[3] = *byte;
        }
        Poll::Ready(Ok(()))
    }
}

/// The socket as hyper has it.
struct Lent<S>(Arc<Mutex<Slot<S>>>);

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.lock().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.lock().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut slot = self.0.lock();
        if slot.parks { Poll::Ready(Ok(())) } else { Pin::new(&mut slot.stream).poll_shutdown(cx) }
    }
}

#[cfg(test)]
mod tests;
