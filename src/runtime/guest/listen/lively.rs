//! A connection that must show life: one on which nothing moves in either direction is ended.
//!
//! A client that sends its body a byte at a time, or does not read its answer, holds an instance of the handler and its
//! memory for as long as it likes. Behind a load balancer that is the balancer's affair; this is for who comes directly.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long nothing may move. Without a load balancer, whose limit is a minute, a handler may think for some.
pub const STILL_MAX: Duration = Duration::from_secs(300);
/// The deadline is moved no more often than this: each move is a look at the clock and at the timers.
const STEP: Duration = Duration::from_secs(1);

pub struct Lively<S> {
    stream: S,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Lively<S> {
    pub fn new(stream: S) -> Lively<S> {
        Lively { stream, deadline: Box::pin(sleep(STILL_MAX)) }
    }

    /// Passes on what an attempt gave, unless the connection has been still for too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, attempt: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if attempt.is_pending() {
            return match self.deadline.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            };
        }
        let next = Instant::now() + STILL_MAX;
        if next.duration_since(self.deadline.deadline()) > STEP {
            self.deadline.as_mut().reset(next);
        }
        attempt
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lively<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.judge(cx, read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lively<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // It moves nothing: it does not count as life.
        if flushed.is_pending() { self.judge(cx, flushed) } else { flushed }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_moves_lives_and_what_is_still_ends() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut lively = Lively::new(near);
        let begun = Instant::now();
        let client = tokio::spawn(async move {
            for _ in 0..3 {
                sleep(STILL_MAX - Duration::from_secs(2)).await;
                far.write_all(b"x").await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        let mut bytes = [0; 1];
        for _ in 0..3 {
            lively.read_exact(&mut bytes).await.unwrap();
        }
        assert!(begun.elapsed() > STILL_MAX * 2);
        assert_eq!(lively.read_exact(&mut bytes).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        client.abort();

        // A client that does not read.
        let (near, _far) = tokio::io::duplex(16);
        let mut lively = Lively::new(near);
        assert_eq!(lively.write_all(&[0; 100]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
