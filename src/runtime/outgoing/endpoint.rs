//! The runtime's side of 169.254.170.2: requests of `wasi:http` are handed over as they are, and plain connections arrive
//! at one listener of the node, on loopback.
//!
//! Who asks is never told by what is sent. A guest's host notes the real address of the guest's socket just before it
//! connects; a connection from any other address is dropped unread, because every process of the machine may use any
//! loopback address, and the answers are a task's credentials.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::TaskId;
use crate::network::MACHINE;
use crate::runtime::endpoint::TaskEndpoint;
use crate::runtime::guest::http::{BoxError, ResponseBody};

/// Connections and requests of one task at once: an SDK keeps a handful, and each container may hold one poll open.
pub const CALLS_MAX: usize = 32;
/// A request's body is a small document: `PUT task-protection` sends two fields.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The whole head of a request, line and fields.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// For a head, and again for a body. Answers may take as long as they like: a poll for the stop lasts as long as the task.
const RECEIVE_TIME_MAX: Duration = Duration::from_secs(10);
/// After an accept that failed, which is out of descriptors or memory: both pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A task, as the endpoint knows it.
#[derive(Clone, Debug)]
pub struct Caller {
    pub task: TaskId,
    /// Shared by all guests of the task.
    pub calls: Arc<Semaphore>,
}

impl Caller {
    pub fn new(task: TaskId) -> Caller {
        Caller { task, calls: Arc::new(Semaphore::new(CALLS_MAX)) }
    }
}

/// By the real address of the socket that is about to connect. As many as tasks have sockets, at most.
type Expected = Arc<Mutex<HashMap<SocketAddr, Caller>>>;

/// The listener of plain connections, and whose connections it expects.
pub struct Callers {
    at: SocketAddr,
    expected: Expected,
}

/// A connection that is expected until it has come, or until this is dropped.
#[derive(Debug)]
pub struct Calling {
    from: SocketAddr,
    expected: Expected,
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.expected.lock().remove(&self.from);
    }
}

impl Callers {
    pub fn open(guests: &Handle, endpoint: &Arc<dyn TaskEndpoint>) -> io::Result<Callers> {
        let listener = bind()?;
        let at = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let _on_guest_threads = guests.enter();
        let listener = TcpListener::from_std(listener)?;
        let expected = Expected::default();
        guests.spawn(accept(listener, Arc::clone(&expected), Arc::clone(endpoint)));
        Ok(Callers { at, expected })
    }

    /// Where a guest's connection to 169.254.170.2 port 80 really goes.
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// Announces a connection from the guest's real socket.
    pub fn expect(&self, from: SocketAddr, caller: &Caller) -> Calling {
        self.expected.lock().insert(from, caller.clone());
        Calling { from, expected: Arc::clone(&self.expected) }
    }
}

/// Where all of 127.0.0.0/8 is this machine, at an address that no task can name.
fn bind() -> io::Result<std::net::TcpListener> {
    std::net::TcpListener::bind((MACHINE, 0)).or_else(|_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
}

async fn accept(listener: TcpListener, expected: Expected, endpoint: Arc<dyn TaskEndpoint>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let caller = expected.lock().remove(&peer);
                let Some(caller) = caller else {
                    tracing::debug!(%peer, "dropped a connection to the task endpoint that no task has announced");
                    continue;
                };
                // A task that holds too many gets its connection closed, as by a server that is full.
                let Ok(permit) = Arc::clone(&caller.calls).try_acquire_owned() else { continue };
                tokio::spawn(serve(stream, caller.task, permit, Arc::clone(&endpoint)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for the task endpoint");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, task: TaskId, permit: OwnedSemaphorePermit, endpoint: Arc<dyn TaskEndpoint>) {
    // Small answers must not wait for the acknowledgement of the last ones.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        let answering = answer(Arc::clone(&endpoint), task, request);
        async move { Ok::<_, std::convert::Infallible>(answering.await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    // Simple clients say that they have sent all, and then read.
    builder
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(RECEIVE_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    // A broken connection is the guest's affair: nobody is left to tell.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    drop(permit);
}

/// Gathers the body within its limits, and asks.
pub async fn answer<B>(endpoint: Arc<dyn TaskEndpoint>, task: TaskId, request: Request<B>) -> Response<ResponseBody>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let gathering = Limited::new(body, BODY_BYTES_MAX).collect();
    let body = match tokio::time::timeout(RECEIVE_TIME_MAX, gathering).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB\n");
        }
        Ok(Err(_)) => return refuse(StatusCode::BAD_REQUEST, "the body did not arrive whole\n"),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body took longer than 10 s\n"),
    };
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    endpoint.call(task, Request::from_parts(head, body)).await
}

fn refuse(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let body = Full::from(text).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
