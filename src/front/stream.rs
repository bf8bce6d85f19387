//! A stream that loses patience with a peer which does not read, and that closes without taking back what it said.
//!
//! A socket that is closed while bytes of its peer are unread, or on their way, is reset by the kernel; and a reset makes
//! the peer throw away an answer which it has not read yet. Whoever answers before a body was read (it is too large, the
//! target is gone) would mostly be heard as a broken connection. So such a stream says that it is done, then reads on and
//! forgets, bounded, until the peer has closed too: what nginx calls a lingering close.
//!
//! A client may also end its own direction once it has asked, and wait for the answer; and one that has gone away looks
//! the same. So while a request is answered, an end is kept from whoever reads, and is believed when nothing could be
//! said to the peer for a while: a short answer is heard, and what a client that left has asked for is given up in time.

use std::io;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::front::connection::Pulse;

/// How long a peer that was answered early is listened to. It has the answer within a round trip, and stops then.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// What is forgotten of it at most: what a fast network carries until the peer has seen the answer.
const LINGER_BYTES_MAX: usize = 64 << 20;
/// What is forgotten at once.
const LINGER_PIECE_BYTES: usize = 16 << 10;

/// How long the answer to a client that has ended its own direction may take, from one piece to the next. A client that
/// is really gone resets the connection at the first piece.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(3);

/// Fails a write that could not go on for a while. Reading is not its concern: whoever reads knows how long to wait.
pub struct Patient<S> {
    inner: S,
    patience: Duration,
    /// Made when the peer first lets us wait: most never do.
    timer: Option<Pin<Box<Sleep>>>,
    is_armed: bool,
    pulse: Arc<Pulse>,
    /// The peer has said all.
    is_at_end: bool,
    /// It has, while it was being answered.
    half_closed: Option<Pin<Box<Sleep>>>,
    lingering: Option<Lingering>,
}

struct Lingering {
    until: Pin<Box<Sleep>>,
    forgotten: usize,
}

impl<S> Patient<S> {
    pub fn new(inner: S, patience: Duration, pulse: Arc<Pulse>) -> Patient<S> {
        let (timer, half_closed, lingering) = (None, None, None);
        Patient { inner, patience, timer, is_armed: false, pulse, is_at_end: false, half_closed, lingering }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_armed = false;
            return written;
        }
        let deadline = Instant::now() + self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if !self.is_armed {
            timer.as_mut().reset(deadline);
            self.is_armed = true;
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl<S> Patient<S> {
    /// What is being said to a peer that has ended its direction: it may go on.
    fn said(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Some(half_closed) = &mut self.half_closed
            && matches!(written, Poll::Ready(Ok(1..)))
        {
            half_closed.as_mut().reset(Instant::now() + HALF_CLOSED_TIMEOUT);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.is_at_end {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
            self.is_at_end = buffer.filled().len() == before && buffer.remaining() > 0;
        }
        if self.is_at_end && self.pulse.is_answering.load(Ordering::Acquire) {
            self.pulse.reader.register(cx.waker());
            let timer = self.half_closed.get_or_insert_with(|| Box::pin(tokio::time::sleep(HALF_CLOSED_TIMEOUT)));
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> Patient<S> {
    /// Reads on and forgets, until the peer ends or the limits do.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut piece = [MaybeUninit::uninit(); LINGER_PIECE_BYTES];
        loop {
            let mut buffer = ReadBuf::uninit(&mut piece);
            let read = Pin::new(&mut self.inner).poll_read(cx, &mut buffer);
            let forgotten = match read {
                Poll::Ready(Ok(())) => buffer.filled().len(),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                // With nothing unread and nothing expected the close is clean already.
                Poll::Pending if self.lingering.is_none() && !self.pulse.unread.load(Ordering::Relaxed) => {
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    return self.lingering().until.as_mut().poll(cx);
                }
            };
            let lingering = self.lingering();
            lingering.forgotten += forgotten;
            if forgotten == 0 || lingering.forgotten > LINGER_BYTES_MAX || lingering.until.is_elapsed() {
                return Poll::Ready(());
            }
        }
    }

    fn lingering(&mut self) -> &mut Lingering {
        self.lingering
            .get_or_insert_with(|| Lingering { until: Box::pin(tokio::time::sleep(LINGER_TIMEOUT)), forgotten: 0 })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        let written = self.said(written);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        let written = self.said(written);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        }
        if !self.is_at_end {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn unread() -> Arc<Pulse> {
        let pulse = Pulse::new();
        pulse.unread.store(true, Ordering::Relaxed);
        pulse
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_believed_when_nothing_is_being_answered_or_nothing_is_said() {
        let (ours, theirs) = tokio::io::duplex(64);
        let pulse = Pulse::new();
        let mut stream = Patient::new(ours, Duration::from_secs(60), Arc::clone(&pulse));
        drop(theirs);
        pulse.is_answering.store(true, Ordering::Relaxed);
        let started = Instant::now();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(started.elapsed(), HALF_CLOSED_TIMEOUT);
        pulse.is_answering.store(false, Ordering::Relaxed);
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(started.elapsed(), HALF_CLOSED_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_on_a_peer_that_does_not_read() {
        let (ours, _theirs) = tokio::io::duplex(8);
        let mut stream = Patient::new(ours, Duration::from_secs(60), Pulse::new());
        let started = Instant::now();
        let error = stream.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_said_is_heard_by_a_peer_that_still_sends() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut stream = Patient::new(ours, Duration::from_secs(60), unread());
        let peer = tokio::spawn(async move {
            theirs.write_all(&[0; 4096]).await.unwrap();
            let mut heard = String::new();
            theirs.read_to_string(&mut heard).await.unwrap();
            heard
        });
        stream.write_all(b"too large").await.unwrap();
        let started = Instant::now();
        stream.shutdown().await.unwrap();
        assert_eq!(peer.await.unwrap(), "too large");
        // It closed as soon as the peer did.
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_ends_is_left_in_time() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut stream = Patient::new(ours, Duration::from_secs(60), unread());
        let started = Instant::now();
        stream.shutdown().await.unwrap();
        assert_eq!(started.elapsed(), LINGER_TIMEOUT);
        // Who is owed nothing is not waited for.
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut stream = Patient::new(ours, Duration::from_secs(60), Pulse::new());
        stream.shutdown().await.unwrap();
        assert_eq!(started.elapsed(), LINGER_TIMEOUT);
    }
}
