//! Connections to targets over TCP, in the clear or over TLS: HTTP/1.1 pooled and bounded, HTTP/2 shared.
//!
//! A pool is cut into shards, one for each thread of the data path as far as they go round: a connection's driver runs on
//! the thread that opened it, and using it from another costs a wake-up across cores for every message.

mod http1;
mod http2;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use parking_lot::Mutex;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::AbortHandle;

use crate::network::{MACHINE, is_task_address};
use crate::proxy::settings::ProtocolVersion;
use crate::proxy::target::{Body, BoxError};
use crate::proxy::tls::client::{Alpn, connect_tls};

/// As long as ELB tries.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Threads beyond this many share shards.
const SHARDS: usize = 16;
/// ELB's limit of a response's status line and headers together.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Why a target over TCP did not answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("cannot connect to {0}")]
    Connect(SocketAddr, #[source] BoxError),
    #[error("connecting to {0} took too long")]
    ConnectTimedOut(SocketAddr),
    /// A connection that was closed before anything was written to it.
    #[error("the connection was closed before the request")]
    Unsent(#[source] hyper::Error),
    /// A pooled connection that turned out closed after the request, or a part of it, was written.
    #[error("the connection was closed")]
    Stale(#[source] hyper::Error),
    #[error("no valid response")]
    Broken(#[source] hyper::Error),
}

/// A failed attempt. Where not a byte was written, the request is given back: another target may have it.
#[derive(Debug)]
pub struct Failed {
    pub error: SendError,
    pub unsent: Option<Request<Body>>,
}

impl Failed {
    fn lost(error: SendError) -> Box<Failed> {
        Box::new(Failed { error, unsent: None })
    }

    fn unsent(error: SendError, request: Request<Body>) -> Box<Failed> {
        Box::new(Failed { error, unsent: Some(request) })
    }
}

/// What is spoken to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speech {
    pub version: ProtocolVersion,
    pub is_tls: bool,
}

/// The connections to one address.
pub struct Pool {
    address: SocketAddr,
    speech: Speech,
    shards: [Shard; SHARDS],
    standing: AtomicU8,
}

/// Whether connections are kept for the next request.
const KEEPS: u8 = 0;
/// The target drains: what is in flight ends, and its connection with it.
const DRAINS: u8 = 1;
/// The target is gone: what was still in flight is cut off.
const CLOSED: u8 = 2;

#[derive(Default)]
struct Shard {
    drivers: Drivers,
    http1: http1::Kept,
    http2: http2::Shared,
}

/// The tasks in which connections live.
#[derive(Default)]
struct Drivers(Mutex<Vec<AbortHandle>>);

impl Drivers {
    fn add(&self, driver: AbortHandle) {
        let mut all = self.0.lock();
        // Those that ended are forgotten whenever the list would grow, and then it has room for as many again: so each
        // connection pays for a few looks, and the list is at most a few times as long as it must be.
        if all.len() == all.capacity() {
            all.retain(|driver| !driver.is_finished());
            let living = all.len();
            all.reserve(living + 1);
        }
        all.push(driver);
    }

    fn abort(&self) {
        for driver in self.0.lock().drain(..) {
            driver.abort();
        }
    }
}

/// A connection before it speaks HTTP.
enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Pool {
    pub fn new(address: SocketAddr, speech: Speech) -> Pool {
        Pool { address, speech, shards: Default::default(), standing: AtomicU8::new(KEEPS) }
    }

    pub fn is_for(&self, address: SocketAddr, speech: Speech) -> bool {
        self.address == address && self.speech == speech
    }

    pub async fn send(self: &Arc<Pool>, request: Request<Body>) -> Result<Response<Body>, Box<Failed>> {
        match self.speech.version {
            ProtocolVersion::Http1 => http1::send(self, request).await,
            ProtocolVersion::Http2 | ProtocolVersion::Grpc => http2::send(self, request).await,
        }
    }

    async fn open(&self) -> Result<Stream, SendError> {
        let stream = open(self.address).await?;
        if !self.speech.is_tls {
            return Ok(Stream::Plain(stream));
        }
        let alpn = if self.speech.version == ProtocolVersion::Http1 { Alpn::Http1 } else { Alpn::Http2 };
        match connect_tls(stream, None, alpn).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => Err(SendError::Connect(self.address, error.into())),
        }
    }

    /// The target drains, or does so no longer: connections that have nothing to do are closed.
    pub fn set_draining(&self, draining: bool) {
        self.standing.store(if draining { DRAINS } else { KEEPS }, Ordering::SeqCst);
        if draining {
            self.drop_idle();
        }
    }

    /// The target is gone, and its time to drain over: whatever is still in flight is cut off.
    pub fn close(&self) {
        self.standing.store(CLOSED, Ordering::SeqCst);
        self.drop_idle();
        for shard in &self.shards {
            shard.drivers.abort();
        }
    }

    fn drop_idle(&self) {
        for shard in &self.shards {
            shard.http1.clear();
            shard.http2.drop_idle();
        }
    }

    fn keeps(&self) -> bool {
        self.standing.load(Ordering::SeqCst) == KEEPS
    }

    fn is_closed(&self) -> bool {
        self.standing.load(Ordering::SeqCst) == CLOSED
    }

    /// Lets a connection live until it ends, or the pool is closed.
    fn drive(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let driver = tokio::spawn(connection).abort_handle();
        if self.is_closed() {
            driver.abort();
        }
        self.shard().drivers.add(driver);
    }

    fn shard(&self) -> &Shard {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static THREAD: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed)));
        &self.shards[THREAD.get() % SHARDS]
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
