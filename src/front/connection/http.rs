//! Requests of one connection, in the clear or within TLS.
//!
//! It is told to close when its listener goes, and when it has been used for as long as the load balancer's
//! `client_keep_alive.seconds` says: what is being answered is still answered (`Connection: close`, GOAWAY). No clock of
//! its own runs for the latter: it is looked at when a request comes, for a connection without requests is idle.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::front::connection::pulse::{Answered, Busy, Pulse};
use crate::front::dispatch::Dispatch;
use crate::front::socket::Site;
use crate::front::stream::Patient;
use crate::proxy::Client;

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
/// How long a connection that is told to close may go on with what it is answering: the deregistration delay that target
/// groups have by default, after which ELB cuts off too.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(300);
/// How long it has where it answers nothing: some round trips, for requests that were on their way.
const CLOSING_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    Http1,
    Http2,
    Tls,
    /// The first bytes are those of several: hyper reads on until it knows.
    Unclear,
}

impl Spoken {
    /// A client that agreed on nothing may still speak HTTP/2 with prior knowledge.
    pub fn of_alpn(protocol: Option<&[u8]>) -> Spoken {
        match protocol {
            Some(b"h2") => Spoken::Http2,
            Some(_) => Spoken::Http1,
            None => Spoken::Unclear,
        }
    }
}

/// What is known of a connection before its first request.
pub struct Connection {
    pub client: Client,
    pub dispatch: Arc<Dispatch>,
    pub site: Arc<Site>,
    /// Cancelled when the socket that it came in at closes.
    pub closing: CancellationToken,
    /// Between requests, and for the head of one.
    pub idle: Duration,
    pub keep_alive: Duration,
}

impl Connection {
    pub async fn serve<S>(self, stream: S, spoken: Spoken)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let builder = builder(spoken, self.idle);
        let pulse = Pulse::new();
        let io = TokioIo::new(Patient::new(stream, UNREAD_TIMEOUT, Arc::clone(&pulse)));
        let (this, beating) = (Arc::new(self), Arc::clone(&pulse));
        let connection = Arc::clone(&this);
        let service = service_fn(move |request: Request<Incoming>| {
            let (connection, pulse) = (Arc::clone(&connection), Arc::clone(&beating));
            // At once: hyper looks for the client's end before it first polls the answer.
            let busy = Busy::begin(&pulse, request.version() <= Version::HTTP_11);
            async move { Ok::<_, Infallible>(connection.answer(&pulse, busy, request).await) }
        });
        let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
        let mut told_at: Option<Instant> = None;
        // HTTP/1.1 has a clock within hyper. Whatever else it is, or has not become yet, has this one.
        let mut clock: Option<Pin<Box<Sleep>>> =
            (spoken != Spoken::Http1).then(|| Box::pin(sleep_until(Instant::now() + this.idle)));
        let ended = loop {
            let rings = async {
                match &mut clock {
                    Some(clock) => clock.as_mut().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = this.closing.cancelled(), if told_at.is_none() => {}
                () = pulse.retires.notified(), if told_at.is_none() => {}
                () = rings => {
                    let next = match (told_at, pulse.rests_since()) {
                        (Some(_), Some(_)) => break Ok(()),
                        (Some(told_at), None) if told_at + CLOSING_TIMEOUT <= Instant::now() => break Ok(()),
                        (Some(told_at), None) => Some(told_at + CLOSING_TIMEOUT),
                        (None, Some(since)) => Some(since + this.idle).filter(|until| *until > Instant::now()),
                        (None, None) => Some(Instant::now() + this.idle),
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
        };
        if let Err(error) = ended {
            // The client's doing, mostly: it went away, or sent no HTTP.
            tracing::debug!(error, peer = %this.client.peer, "a connection ended");
        }
    }

    async fn answer(&self, pulse: &Pulse, busy: Busy, request: Request<Incoming>) -> Response<Answered> {
        let is_http1 = request.version() <= Version::HTTP_11;
        // The last request's body may be left unread: where hyper then ends the connection, it ends gently.
        pulse.unread.store(!request.body().is_end_stream(), Ordering::Relaxed);
        let mut response = self.dispatch.answer(&self.site, request, &self.client).await;
        if pulse.age() >= self.keep_alive {
            if is_http1 && response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            } else {
                pulse.retires.notify_one();
            }
        }
        response.map(|body| Answered { body, _busy: busy })
    }
}

fn builder(spoken: Spoken, idle: Duration) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = match spoken {
        Spoken::Http1 => builder.http1_only(),
        Spoken::Http2 => builder.http2_only(),
        // TLS within a listener of HTTP is no HTTP, which hyper then says.
        Spoken::Tls | Spoken::Unclear => builder,
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
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
