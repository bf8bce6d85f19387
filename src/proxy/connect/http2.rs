//! HTTP/2 to targets: requests share a connection, as many as any server allows, and the next ones share another.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::uri::Scheme;
use http::{Request, Response, Uri, Version};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::proxy::connect::{Failed, HEAD_BYTES_MAX, Pool, SendError, Stream};
use crate::proxy::target::{Body, BoxError};

/// Requests at once on one connection: RFC 9113 recommends to servers not to allow fewer. Above what a server allows,
/// requests would wait for others to end, which streams of gRPC may never do.
const STREAMS_MAX: usize = 100;
/// A target that answers no ping for this long while requests wait for it is gone, whatever its connection looks like.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The open connections.
#[derive(Default)]
pub struct Shared(Mutex<Vec<Connection>>);

#[derive(Clone)]
struct Connection {
    sender: SendRequest<Body>,
    /// One more owner for each request under way.
    streams: Arc<()>,
}

impl Shared {
    /// Forgets those without a request; the others close after their last.
    pub fn drop_idle(&self) {
        self.0.lock().retain(|connection| Arc::strong_count(&connection.streams) > 1);
    }

    /// The first with room; those that were closed are forgotten.
    fn find(&self) -> Option<Connection> {
        let mut open = self.0.lock();
        open.retain(|connection| !connection.sender.is_closed());
        open.iter().find(|connection| Arc::strong_count(&connection.streams) <= STREAMS_MAX).cloned()
    }
}

pub async fn send(pool: &Arc<Pool>, mut request: Request<Body>) -> Result<Response<Body>, Box<Failed>> {
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(CONNECTION);
    to_absolute_form(&mut request, pool.address, pool.speech.is_tls);
    while let Some(mut connection) = pool.shard().http2.find() {
        match connection.sender.try_send_request(request).await {
            Ok(response) => return Ok(streaming(response, connection.streams)),
            Err(mut error) => match error.take_message() {
                // It was closed meanwhile, and is not found again.
                Some(unsent) if connection.sender.is_closed() => request = unsent,
                Some(unsent) => return Err(Failed::unsent(SendError::Unsent(error.into_error()), unsent)),
                None => return Err(Failed::lost(SendError::Broken(error.into_error()))),
            },
        }
    }
    let opened = match pool.open().await {
        Ok(Stream::Plain(stream)) => handshake(pool, stream).await,
        Ok(Stream::Tls(stream)) => handshake(pool, stream).await,
        Err(error) => return Err(Failed::unsent(error, request)),
    };
    let mut connection = match opened {
        Ok(sender) => Connection { sender, streams: Arc::new(()) },
        Err(error) => return Err(Failed::unsent(SendError::Connect(pool.address, error.into()), request)),
    };
    pool.shard().http2.0.lock().push(connection.clone());
    match connection.sender.try_send_request(request).await {
        Ok(response) => Ok(streaming(response, connection.streams)),
        Err(mut error) => match error.take_message() {
            Some(unsent) => Err(Failed::unsent(SendError::Unsent(error.into_error()), unsent)),
            None => Err(Failed::lost(SendError::Broken(error.into_error()))),
        },
    }
}

async fn handshake<S>(pool: &Pool, stream: S) -> Result<SendRequest<Body>, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_TIMEOUT)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).expect("32 KiB fit"))
        .handshake(TokioIo::new(stream))
        .await?;
    pool.drive(async {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "a connection to a target ended");
        }
    });
    Ok(sender)
}

/// HTTP/2 has scheme and authority in the request line's place; the authority is what the client called.
fn to_absolute_form(request: &mut Request<Body>, address: SocketAddr, is_tls: bool) {
    let host = request.headers_mut().remove(HOST);
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).map(str::to_owned);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if is_tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = authority.unwrap_or_else(|| address.to_string()).parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

fn streaming(response: Response<Incoming>, streams: Arc<()>) -> Response<Body> {
    response.map(|inner| Body::new(Streaming { inner, _place: streams }))
}

/// A response's body, with its place among the requests of its connection.
struct Streaming {
    inner: Incoming,
    _place: Arc<()>,
}

impl hyper::body::Body for Streaming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(cx).map_err(BoxError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
