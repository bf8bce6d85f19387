//! Connections to targets over TCP: HTTP/1.1 pooled and bounded, HTTP/2 shared.
//!
//! A pool is cut into shards, one for each thread of the data path as far as they go round: a connection's driver runs on
//! the thread that opened it, and using it from another costs a wake-up across cores for every message.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::network::{MACHINE, is_task_address};
use crate::proxy::settings::ProtocolVersion;
use crate::proxy::target::{Body, BoxError};

/// As long as ELB tries.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections kept for one target and one thread: as many requests to one target can be in flight at once on one
/// thread and find a connection at the next; a few kilobytes and one descriptor each.
const IDLE_MAX: usize = 64;
/// Below the 60 s and more after which servers usually close an idle connection themselves.
const IDLE_LIFETIME: Duration = Duration::from_secs(45);
/// Threads beyond this many share shards.
const SHARDS: usize = 16;

/// Why a target over TCP did not answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("cannot connect to {0}")]
    Connect(SocketAddr, #[source] BoxError),
    #[error("connecting to {0} took too long")]
    ConnectTimedOut(SocketAddr),
    /// A pooled connection that turned out closed after the request, or a part of it, was written.
    #[error("the connection was closed")]
    Stale(#[source] hyper::Error),
    #[error("no valid response")]
    Broken(#[source] hyper::Error),
}

/// The connections to one address.
pub struct Pool {
    address: SocketAddr,
    version: ProtocolVersion,
    shards: [Shard; SHARDS],
}

#[derive(Default)]
struct Shard {
    /// The most recently used last: it is the least likely to be closed.
    http1: Mutex<Vec<Idle>>,
    http2: Mutex<Option<http2::SendRequest<Body>>>,
}

struct Idle {
    sender: http1::SendRequest<Body>,
    since: Instant,
}

impl Pool {
    pub fn new(address: SocketAddr, version: ProtocolVersion) -> Pool {
        Pool { address, version, shards: Default::default() }
    }

    pub fn is_for(&self, address: SocketAddr, version: ProtocolVersion) -> bool {
        self.address == address && self.version == version
    }

    pub async fn send(self: &Arc<Pool>, request: Request<Body>) -> Result<Response<Body>, SendError> {
        match self.version {
            ProtocolVersion::Http1 => self.send_http1(request).await,
            ProtocolVersion::Http2 | ProtocolVersion::Grpc => self.send_http2(request).await,
        }
    }

    async fn send_http1(self: &Arc<Pool>, mut request: Request<Body>) -> Result<Response<Body>, SendError> {
        *request.version_mut() = Version::HTTP_11;
        while let Some(mut sender) = self.idle() {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.lease(response, sender)),
                Err(mut error) => match error.take_message() {
                    // Closed before anything was written: on to the next, or to a new one.
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Stale(error.into_error())),
                },
            }
        }
        let io = TokioIo::new(open(self.address).await?);
        let (mut sender, connection) =
            http1::handshake(io).await.map_err(|error| SendError::Connect(self.address, error.into()))?;
        // Ends when the connection does: its sender is dropped, or the target closes it.
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(request).await.map_err(SendError::Broken)?;
        Ok(self.lease(response, sender))
    }

    fn idle(&self) -> Option<http1::SendRequest<Body>> {
        let mut idle = self.shard().http1.lock();
        while let Some(last) = idle.pop() {
            if last.since.elapsed() < IDLE_LIFETIME && last.sender.is_ready() {
                return Some(last.sender);
            }
        }
        None
    }

    fn lease(self: &Arc<Pool>, response: Response<Incoming>, sender: http1::SendRequest<Body>) -> Response<Body> {
        // After a switch of protocols the connection is the client's.
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return response.map(|body| body.map_err(BoxError::from).boxed_unsync());
        }
        response.map(|inner| Body::new(Leased { inner, is_ended: false, sender: Some(sender), pool: Arc::clone(self) }))
    }

    fn give_back(&self, sender: http1::SendRequest<Body>) {
        let mut idle = self.shard().http1.lock();
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    async fn send_http2(&self, mut request: Request<Body>) -> Result<Response<Body>, SendError> {
        *request.version_mut() = Version::HTTP_2;
        to_absolute_form(&mut request, self.address);
        let shared = self.shard().http2.lock().clone().filter(|sender| !sender.is_closed());
        let mut sender = match shared {
            Some(sender) => sender,
            None => {
                let io = TokioIo::new(open(self.address).await?);
                let handshake = http2::handshake(TokioExecutor::new(), io).await;
                let (sender, connection) = handshake.map_err(|error| SendError::Connect(self.address, error.into()))?;
                tokio::spawn(connection);
                *self.shard().http2.lock() = Some(sender.clone());
                sender
            }
        };
        let response = sender.send_request(request).await.map_err(SendError::Broken)?;
        Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
    }

    fn shard(&self) -> &Shard {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static THREAD: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed)));
        &self.shards[THREAD.get() % SHARDS]
    }
}

/// HTTP/2 has scheme and authority in the request line's place; the authority is what the client called.
fn to_absolute_form(request: &mut Request<Body>, address: SocketAddr) {
    let host = request.headers_mut().remove(http::header::HOST);
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).map(str::to_owned);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = authority.unwrap_or_else(|| address.to_string()).parse().ok();
    if let Ok(uri) = http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// A connection, or why not, within the time that ELB takes for it.
pub async fn open(address: SocketAddr) -> Result<TcpStream, SendError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connect(address)).await {
        Ok(Ok(stream)) => {
            // Small messages must not wait for acknowledgements; without it they are only slower.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(SendError::Connect(address, error.into())),
        Err(_) => Err(SendError::ConnectTimedOut(address)),
    }
}

/// To tasks it comes from the address by which they know the machine: so they can tell it from the machine's other
/// clients, which is how its security groups are its own. Where that cannot be bound it is a client like those.
async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let IpAddr::V4(ip) = address.ip() else { return TcpStream::connect(address).await };
    if !is_task_address(ip) {
        return TcpStream::connect(address).await;
    }
    let socket = TcpSocket::new_v4()?;
    // Ports of connections that have just ended may be used again: they are another connection's other half.
    socket.set_reuseaddr(true)?;
    match socket.bind(SocketAddr::from((MACHINE, 0))) {
        Ok(()) => socket.connect(address).await,
        Err(_) => TcpStream::connect(address).await,
    }
}

/// A response's body that gives its connection back when it was read to its end; cut off before, the connection closes.
struct Leased {
    inner: Incoming,
    is_ended: bool,
    sender: Option<http1::SendRequest<Body>>,
    pool: Arc<Pool>,
}

impl hyper::body::Body for Leased {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx));
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
            self.pool.give_back(sender);
        }
    }
}
