//! Requests of one connection, in the clear or within TLS.
//!
//! It is told to close when its listener goes, and when it has been used for as long as the load balancer's
//! `client_keep_alive.seconds` says: what is being answered is still answered (`Connection: close`, GOAWAY). No clock of
//! its own runs for the latter: it is looked at when a request comes, for a connection without requests is idle.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::front::connection::drive::{Terms, drive};
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
        let stream = Patient::new(stream, UNREAD_TIMEOUT, Arc::clone(&pulse));
        let terms = Terms { idle: self.idle, closing: self.closing.clone(), parks: spoken == Spoken::Http1 };
        let (this, beating) = (Arc::new(self), Arc::clone(&pulse));
        let connection = Arc::clone(&this);
        let service = service_fn(move |request: Request<Incoming>| {
            let (connection, pulse) = (Arc::clone(&connection), Arc::clone(&beating));
            // At once: hyper looks for the client's end before it first polls the answer.
            let busy = Busy::begin(&pulse, request.version() <= Version::HTTP_11);
            async move { Ok::<_, Infallible>(connection.answer(&pulse, busy, request).await) }
        });
        if let Err(error) = drive(stream, builder, service, &pulse, terms).await {
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
