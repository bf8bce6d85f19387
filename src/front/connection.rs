//! One connection: which HTTP it speaks, its limits, and its end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Request;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;

use crate::front::stream::{Patient, Unread};
use crate::front::workers::Accepted;
use crate::proxy::Client;

/// How long a connection may be idle between requests, and how long the head of one may take: ELB's idle time-out.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may leave what we send unread before it counts as gone: otherwise it would hold a request in flight,
/// and so a draining target, for ever.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The most that a request's head may take, as with ELB; and so what is read at once.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// More headers than any real client sends; above it the answer is 431.
const HEADERS_MAX: usize = 128;
/// Requests at once on one HTTP/2 connection, as with ELB.
const STREAMS_MAX: u32 = 128;
/// A peer of HTTP/2 that does not answer a ping for this long is gone.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves a connection to its end.
pub async fn serve(accepted: Accepted) {
    let Accepted { stream, peer, dispatch, site, closing, permit } = accepted;
    let _permit = permit;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, %peer, "could not take over a connection"),
    };
    // Without it responses are only slower.
    let _ = stream.set_nodelay(true);
    let spoken = tokio::select! {
        spoken = tokio::time::timeout(HEAD_TIMEOUT, spoken(&stream)) => spoken,
        // Nothing was asked yet.
        () = closing.cancelled() => return,
    };
    let builder = match spoken {
        Ok(Ok(spoken)) => builder(spoken),
        // Closed, or silent, before the first byte.
        Ok(Err(_)) | Err(_) => return,
    };
    let unread = Unread::default();
    let has_body = Arc::clone(&unread);
    let client = Arc::new(Client::plain(peer));
    let service = service_fn(move |request: Request<Incoming>| {
        // The last request's body may be left unread: where hyper then ends the connection, it ends gently.
        has_body.store(!request.body().is_end_stream(), Ordering::Relaxed);
        let (dispatch, site, client) = (Arc::clone(&dispatch), Arc::clone(&site), Arc::clone(&client));
        async move { Ok::<_, Infallible>(dispatch.answer(&site, request, &client).await) }
    });
    let io = TokioIo::new(Patient::new(stream, UNREAD_TIMEOUT, Arc::clone(&unread)));
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            // Clients that keep connections do not close them when told to, but when they need them next.
            unread.store(false, Ordering::Relaxed);
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The client's doing, mostly: it went away, or sent no HTTP.
        tracing::debug!(error, %peer, "a connection ended");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Http1,
    Http2,
    /// The first bytes are those of both: hyper reads on until it knows.
    Unclear,
}

/// Looks at the first bytes without taking them. HTTP/2 begins with `PRI `, which no method of HTTP/1.1 does.
async fn spoken(stream: &TcpStream) -> std::io::Result<Spoken> {
    let mut first = [0; 4];
    let read = stream.peek(&mut first).await?;
    Ok(match &first[..read] {
        b"" => return Err(std::io::ErrorKind::UnexpectedEof.into()),
        b"PRI " => Spoken::Http2,
        short if b"PRI ".starts_with(short) => Spoken::Unclear,
        _ => Spoken::Http1,
    })
}

fn builder(spoken: Spoken) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = match spoken {
        Spoken::Http1 => builder.http1_only(),
        Spoken::Http2 => builder.http2_only(),
        Spoken::Unclear => builder,
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_TIMEOUT)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).expect("64 KiB fit"));
    builder
}
