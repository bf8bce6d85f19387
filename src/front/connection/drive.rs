//! Drives a connection of hyper to its end: parked while it rests, told to close when it should, and cut off where it does
//! not heed that.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::front::connection::parked::{Lent, Socket};
use crate::front::connection::pulse::{Answered, Pulse};
use crate::proxy::BoxError;

#[cfg(test)]
mod tests;

/// Quiet for this long, and at most twice as long, a connection is parked. Waking one costs some microseconds, so a client
/// that asks five times a second notices nothing.
const PARK_AFTER: Duration = Duration::from_millis(200);
/// How long a connection that is told to close may go on with what it is answering: the deregistration delay that target
/// groups have by default, after which ELB cuts off too.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(300);
/// The same where nothing is being answered: the peer has only to hear that it should close.
const CLOSING_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// What ends a connection, beside its peer.
pub struct Terms {
    /// Between requests, and for the head of one.
    pub idle: Duration,
    /// Cancelled when the connection should end after what it is answering.
    pub closing: CancellationToken,
    /// Whether it is parked while it rests, which takes HTTP/1.1 for granted.
    pub parks: bool,
}

/// Serves the connection to its end. `pulse` is what `service` and the stream keep up to date.
pub async fn drive<S, A>(
    stream: S,
    builder: Builder<TokioExecutor>,
    service: A,
    pulse: &Arc<Pulse>,
    terms: Terms,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Service<Request<Incoming>, Response = Response<Answered>> + Clone + Send + 'static,
    A::Error: Into<BoxError>,
    A::Future: Send + 'static,
{
    let socket = Socket::new(stream);
    if !terms.parks {
        // It may not have begun yet, and may be HTTP/2, which has no clock within hyper.
        let clock = Some(Box::pin(sleep_until(Instant::now() + terms.idle)));
        return active(&socket, &builder, service, pulse, &terms, clock).await.map(|_| ());
    }
    while awake(&socket, &terms).await? {
        match active(&socket, &builder, service.clone(), pulse, &terms, None).await? {
            Rest::Parked => {}
            Rest::Ended => return Ok(()),
        }
    }
    Ok(())
}

/// How a time of activity ended.
enum Rest {
    Parked,
    Ended,
}

/// Waits for bytes of a parked connection; `false` when it is over.
async fn awake<S: AsyncRead + AsyncWrite + Unpin>(socket: &Socket<S>, terms: &Terms) -> io::Result<bool> {
    let is_readable = tokio::select! {
        readable = tokio::time::timeout(terms.idle, socket.readable()) => matches!(readable, Ok(Ok(true))),
        () = terms.closing.cancelled() => false,
    };
    if !is_readable {
        socket.shutdown().await?;
    }
    Ok(is_readable)
}

/// hyper's part. In a box, so that a parked connection does not hold the place for it.
fn active<'a, S, A>(
    socket: &'a Socket<S>,
    builder: &'a Builder<TokioExecutor>,
    service: A,
    pulse: &'a Arc<Pulse>,
    terms: &'a Terms,
    mut clock: Option<Pin<Box<Sleep>>>,
) -> Pin<Box<dyn Future<Output = Result<Rest, BoxError>> + Send + 'a>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Service<Request<Incoming>, Response = Response<Answered>> + Send + 'static,
    A::Error: Into<BoxError>,
    A::Future: Send + 'static,
{
    Box::pin(async move {
        let io: TokioIo<Lent<S>> = TokioIo::new(socket.lend());
        let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(io, service));
        let mut told_at: Option<Instant> = None;
        let mut look = std::pin::pin!(tokio::time::sleep(PARK_AFTER));
        let mut read_before = socket.read();
        let begun_before = pulse.begun();
        loop {
            let rings = async {
                match &mut clock {
                    Some(clock) => clock.as_mut().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = connection.as_mut() => return ended.map(|()| Rest::Ended),
                () = terms.closing.cancelled(), if told_at.is_none() => {}
                () = pulse.retires.notified(), if told_at.is_none() => {}
                () = look.as_mut(), if terms.parks && told_at.is_none() => {
                    // Before its first request hyper would not end when told, but wait for one.
                    if pulse.begun() > begun_before && socket.park(pulse, read_before) {
                        connection.as_mut().graceful_shutdown();
                        return match tokio::time::timeout(CLOSING_IDLE_TIMEOUT, connection).await {
                            Ok(ended) => ended.map(|()| Rest::Parked),
                            Err(_) => Ok(Rest::Ended),
                        };
                    }
                    read_before = socket.read();
                    look.as_mut().reset(Instant::now() + PARK_AFTER);
                    continue;
                }
                () = rings => {
                    let next = match (told_at, pulse.rests_since()) {
                        (Some(_), Some(_)) => return Ok(Rest::Ended),
                        (Some(told_at), None) if told_at + CLOSING_TIMEOUT <= Instant::now() => return Ok(Rest::Ended),
                        (Some(told_at), None) => Some(told_at + CLOSING_TIMEOUT),
                        (None, Some(since)) => Some(since + terms.idle).filter(|until| *until > Instant::now()),
                        (None, None) => Some(Instant::now() + terms.idle),
                    };
                    if let Some(next) = next {
                        clock = Some(Box::pin(sleep_until(next)));
                        continue;
                    }
                }
            }
            // Clients that keep connections do not close them when told to, but when they need them next.
            pulse.unread.store(false, Ordering::Relaxed);
            connection.as_mut().graceful_shutdown();
            told_at = Some(Instant::now());
            clock = Some(Box::pin(sleep_until(Instant::now() + CLOSING_IDLE_TIMEOUT)));
        }
    })
}
