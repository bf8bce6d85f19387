//! Two connections as one: bytes both ways, ends and time-outs.
//!
//! A connection at rest holds no buffer. What is read goes through one buffer of the thread, and only what the other side
//! does not take at once is kept: ten thousand idle connections cost their sockets.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

use crate::proxy::stream::socket::Socket;

/// Read at once: as much as a socket mostly holds.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces moved before other connections get their turn.
const PIECES_IN_TURN: usize = 16;

thread_local! {
    static PIECE: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE_BYTES].into_boxed_slice());
}

/// Carries bytes until both sides have ended, one is broken, or nothing moved for `idle`. What is broken on one side is
/// to be reset on the other, which is the caller's; `moved_bytes` is told what passes.
pub async fn join<A: Socket, B: Socket>(
    client: &mut A,
    target: &mut B,
    idle: Duration,
    moved_bytes: &AtomicU64,
) -> Result<(), Broken> {
    let (mut up, mut down) = (Flow::default(), Flow::default());
    let mut moved_at = Instant::now();
    let mut timer = pin!(sleep(idle));
    std::future::poll_fn(|cx| {
        let before = up.moved + down.moved;
        let sent = up.poll(cx, client, target).map_err(|error| error.into_broken(Side::Client, Side::Target))?;
        let received = down.poll(cx, target, client).map_err(|error| error.into_broken(Side::Target, Side::Client))?;
        let moved = up.moved + down.moved - before;
        if moved > 0 {
            moved_at = Instant::now();
            moved_bytes.fetch_add(moved, Ordering::Relaxed);
        }
        if sent.is_ready() && received.is_ready() {
            return Poll::Ready(Ok(()));
        }
        // Set again when it rings, not whenever something moves.
        while timer.as_mut().poll(cx).is_ready() {
            if moved_at + idle <= Instant::now() {
                return Poll::Ready(Err(Broken::Idle));
            }
            timer.as_mut().reset(moved_at + idle);
        }
        Poll::Pending
    })
    .await
}

/// Why two connections were not carried to their ends.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("the {0:?}'s side is broken")]
    Side(Side, #[source] io::Error),
    #[error("nothing moved for too long")]
    Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Target,
}

/// Where a direction broke.
enum FlowError {
    Reading(io::Error),
    Writing(io::Error),
}

impl FlowError {
    fn into_broken(self, from: Side, to: Side) -> Broken {
        match self {
            FlowError::Reading(error) => Broken::Side(from, error),
            FlowError::Writing(error) => Broken::Side(to, error),
        }
    }
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// What was read and is not taken yet.
    kept: Vec<u8>,
    taken: usize,
    moved: u64,
    /// Something may wait within a layer of TLS.
    is_unflushed: bool,
    is_at_end: bool,
    is_done: bool,
}

impl Flow {
    /// Ready once the end was passed on.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<Result<(), FlowError>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.is_done {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..PIECES_IN_TURN {
            while self.taken < self.kept.len() {
                let written =
                    ready!(Pin::new(&mut *to).poll_write(cx, &self.kept[self.taken..])).map_err(FlowError::Writing)?;
                self.wrote(written)?;
                self.taken += written;
            }
            if !self.kept.is_empty() {
                (self.kept, self.taken) = (Vec::new(), 0);
            }
            if self.is_at_end {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(FlowError::Writing)?;
                self.is_done = true;
                return Poll::Ready(Ok(()));
            }
            if PIECE.with_borrow_mut(|piece| self.poll_piece(cx, from, to, piece))?.is_pending() {
                if self.is_unflushed && self.kept.is_empty() {
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(FlowError::Writing)?;
                    self.is_unflushed = false;
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads a piece and writes as much of it as is taken. Pending where nothing could be read.
    fn poll_piece<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        piece: &mut [u8],
    ) -> Poll<Result<(), FlowError>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = ReadBuf::new(piece);
        match ready!(Pin::new(from).poll_read(cx, &mut buffer)) {
            Ok(()) => {}
            // Many clients end TLS by ending the connection.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Poll::Ready(Err(FlowError::Reading(error))),
        }
        let mut rest = buffer.filled();
        if rest.is_empty() {
            self.is_at_end = true;
        }
        while !rest.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, rest) {
                Poll::Ready(written) => {
                    let written = written.map_err(FlowError::Writing)?;
                    self.wrote(written)?;
                    rest = &rest[written..];
                }
                Poll::Pending => {
                    self.kept = rest.to_vec();
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, written: usize) -> Result<(), FlowError> {
        if written == 0 {
            return Err(FlowError::Writing(io::ErrorKind::WriteZero.into()));
        }
        self.moved += u64::try_from(written).unwrap_or_default();
        self.is_unflushed = true;
        Ok(())
    }
}
