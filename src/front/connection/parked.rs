//! A connection of HTTP/1.1 that has nothing under way, without the buffers of one that has.
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
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::front::connection::pulse::Pulse;

/// What is read of a parked connection's next request before buffers are made for it.
const AHEAD_BYTES: usize = 16;

/// The socket of a connection, which outlives the states of hyper that it is lent to.
pub struct Socket<S>(Arc<Mutex<Slot<S>>>);

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub fn new(stream: S) -> Socket<S> {
        let slot = Slot { stream, ahead: Ahead::default(), last: [0; 4], read: 0, waits: false, parks: false };
        Socket(Arc::new(Mutex::new(slot)))
    }

    /// For hyper. One at a time has it.
    pub fn lend(&self) -> Lent<S> {
        self.0.lock().parks = false;
        Lent(Arc::clone(&self.0))
    }

    /// How many bytes were read of it so far.
    pub fn read(&self) -> u64 {
        self.0.lock().read
    }

    /// Parks the connection if nothing was read since `read_before` and nothing would be lost. From then on whoever has
    /// the socket gets no bytes, and should be told to end, which leaves the socket open.
    pub fn park(&self, pulse: &Pulse, read_before: u64) -> bool {
        let mut slot = self.0.lock();
        let is_quiet = slot.waits && slot.read == read_before && slot.ahead.length == 0;
        let is_answered = pulse.rests_since().is_some();
        let is_whole = &slot.last == b"\r\n\r\n" && !pulse.unread.load(Ordering::Relaxed);
        slot.parks = is_quiet && is_answered && is_whole;
        slot.parks
    }

    /// Waits for the next bytes while nobody has the socket; `false` when the peer has ended.
    pub async fn readable(&self) -> io::Result<bool> {
        std::future::poll_fn(|cx| self.0.lock().poll_ahead(cx)).await
    }

    pub async fn shutdown(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| Pin::new(&mut self.0.lock().stream).poll_shutdown(cx)).await
    }
}

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
pub struct Lent<S>(Arc<Mutex<Slot<S>>>);

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
