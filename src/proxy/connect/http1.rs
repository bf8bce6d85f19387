//! HTTP/1.1 to targets: a connection has one request at a time, and waits in the pool between two.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::proxy::connect::{Failed, HEAD_BYTES_MAX, Pool, SendError, Stream};
use crate::proxy::target::{Body, BoxError};

/// Idle connections kept for one target and one thread: as many requests to one target can be in flight at once on one
/// thread and find a connection at the next; a few kilobytes and one descriptor each.
const IDLE_MAX: usize = 64;
/// Below the 60 s and more after which servers usually close an idle connection themselves.
const IDLE_LIFETIME: Duration = Duration::from_secs(45);

/// The connections that have nothing to do, the most recently used last: it is the least likely to be closed.
#[derive(Default)]
pub struct Kept(Mutex<Vec<Idle>>);

struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

impl Kept {
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    fn take(&self) -> Option<SendRequest<Body>> {
        let mut kept = self.0.lock();
        while let Some(last) = kept.pop() {
            if last.since.elapsed() < IDLE_LIFETIME && last.sender.is_ready() {
                return Some(last.sender);
            }
        }
        None
    }

    fn give_back(&self, sender: SendRequest<Body>, pool: &Pool) {
        let mut kept = self.0.lock();
        // Looked at under the lock: either this sees that the target drains, or `clear` sees this connection.
        if pool.keeps() && kept.len() < IDLE_MAX && !sender.is_closed() {
            kept.push(Idle { sender, since: Instant::now() });
        }
    }
}

pub async fn send(pool: &Arc<Pool>, mut request: Request<Body>) -> Result<Response<Body>, Box<Failed>> {
    *request.version_mut() = Version::HTTP_11;
    // One that ends with its request is not one that others wait for.
    let is_alone = request.headers().contains_key(CONNECTION);
    while let Some(mut sender) = if is_alone { None } else { pool.shard().http1.take() } {
        match sender.try_send_request(request).await {
            Ok(response) => return Ok(lease(pool, response, sender)),
            Err(mut error) => match error.take_message() {
                // Closed before anything was written: on to the next, or to a new one.
                Some(unsent) => request = unsent,
                None => return Err(Failed::lost(SendError::Stale(error.into_error()))),
            },
        }
    }
    let opened = match pool.open().await {
        Ok(Stream::Plain(stream)) => handshake(pool, stream).await,
        Ok(Stream::Tls(stream)) => handshake(pool, stream).await,
        Err(error) => return Err(Failed::unsent(error, request)),
    };
    let mut sender = match opened {
        Ok(sender) => sender,
        Err(error) => return Err(Failed::unsent(SendError::Connect(pool.address, error.into()), request)),
    };
    match sender.try_send_request(request).await {
        Ok(response) => Ok(lease(pool, response, sender)),
        Err(mut error) => match error.take_message() {
            Some(request) => Err(Failed::unsent(SendError::Unsent(error.into_error()), request)),
            None => Err(Failed::lost(SendError::Broken(error.into_error()))),
        },
    }
}

async fn handshake<S>(pool: &Pool, stream: S) -> Result<SendRequest<Body>, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = Builder::new().max_header_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
    // Ends when the connection does: its sender is dropped, or the target closes it.
    let connection = connection.with_upgrades();
    pool.drive(async {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "a connection to a target ended");
        }
    });
    Ok(sender)
}

fn lease(pool: &Arc<Pool>, response: Response<Incoming>, sender: SendRequest<Body>) -> Response<Body> {
    // After a switch of protocols the connection is the client's.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response.map(|body| body.map_err(BoxError::from).boxed_unsync());
    }
    response.map(|inner| Body::new(Leased { inner, is_ended: false, sender: Some(sender), pool: Arc::clone(pool) }))
}

/// A response's body that gives its connection back when it was read to its end; cut off before, the connection closes.
struct Leased {
    inner: Incoming,
    is_ended: bool,
    sender: Option<SendRequest<Body>>,
    pool: Arc<Pool>,
}

impl hyper::body::Body for Leased {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if frame.is_none() && !this.is_ended && this.pool.is_closed() {
            // A connection that was cut off has no end of its own: what came must not pass for the whole.
            return Poll::Ready(Some(Err("the target was deregistered, and its time to drain is over".into())));
        }
        this.is_ended |= frame.is_none();
        Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take()
            && (self.is_ended || self.inner.is_end_stream())
        {
            self.pool.shard().http1.give_back(sender, &self.pool);
        }
    }
}
