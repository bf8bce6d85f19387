//! WebSocket and other switches of protocol: after the target's `101` both connections are joined, bytes for bytes.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::proxy::body;
use crate::proxy::exchange::Exchange;
use crate::proxy::headers;
use crate::proxy::target::{Body, InFlight};

/// A client's wish to switch protocols, with what its connection becomes.
pub struct Upgrade {
    protocol: HeaderValue,
    connection: OnUpgrade,
}

impl Upgrade {
    /// Takes the wish out of the request. HTTP/2 has none of this kind.
    pub fn of<B>(request: &mut Request<B>) -> Option<Upgrade> {
        if request.version() != Version::HTTP_11 {
            return None;
        }
        let protocol = headers::upgrade(request.headers())?;
        Some(Upgrade { protocol, connection: hyper::upgrade::on(request) })
    }

    pub fn protocol(&self) -> HeaderValue {
        self.protocol.clone()
    }
}

/// Hands the target's `101` to the client and joins both connections, until when the request lasts.
pub fn join(
    client: Upgrade,
    mut response: Response<Body>,
    lasting: (Exchange, InFlight),
    idle: Duration,
) -> Response<Body> {
    let target = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let (mut exchange, in_flight) = lasting;
        let (client, target) = match tokio::try_join!(client.connection, target) {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "a switch of protocols ended before it began"),
        };
        let (received, sent) = (Arc::<AtomicU64>::default(), AtomicU64::new(0));
        exchange.reads(Some(Arc::clone(&received)));
        let copied = tokio::select! {
            copied = copy((client, &received), (target, &sent), idle) => copied,
            () = in_flight.cut_off() => Err(io::ErrorKind::ConnectionAborted.into()),
        };
        match copied {
            Ok((sent, received)) => tracing::debug!(sent, received, "a joined connection ended"),
            Err(error) => tracing::debug!(%error, "a joined connection was cut off"),
        }
        exchange.sends(sent.into_inner());
    });
    let switched = response.headers().get(UPGRADE).cloned();
    headers::remove_hop_by_hop(response.headers_mut());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = switched {
        response.headers_mut().insert(UPGRADE, protocol);
    }
    response.map(|_| body::empty())
}

/// Copies both ways until both ends are done, or nothing moved in either direction for `idle`.
/// What each of them sent is counted beside it.
async fn copy(
    client: (Upgraded, &AtomicU64),
    target: (Upgraded, &AtomicU64),
    idle: Duration,
) -> io::Result<(u64, u64)> {
    let clock = Arc::new(Clock { started: Instant::now(), moved_ms: AtomicU64::new(0) });
    let mut client = Watched { io: TokioIo::new(client.0), read_bytes: client.1, clock: Arc::clone(&clock) };
    let mut target = Watched { io: TokioIo::new(target.0), read_bytes: target.1, clock: Arc::clone(&clock) };
    let mut copying = pin!(tokio::io::copy_bidirectional(&mut client, &mut target));
    loop {
        let deadline = clock.moved_at() + idle;
        match tokio::time::timeout_at(deadline, copying.as_mut()).await {
            Ok(copied) => return copied,
            Err(_) if clock.moved_at() + idle <= Instant::now() => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => {}
        }
    }
}

/// When something last moved.
struct Clock {
    started: Instant,
    moved_ms: AtomicU64,
}

impl Clock {
    fn moved_at(&self) -> Instant {
        self.started + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed))
    }

    fn moves(&self) {
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(elapsed_ms, Ordering::Relaxed);
    }
}

struct Watched<'a> {
    io: TokioIo<Upgraded>,
    read_bytes: &'a AtomicU64,
    clock: Arc<Clock>,
}

impl AsyncRead for Watched<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        self.read_bytes.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        self.clock.moves();
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
