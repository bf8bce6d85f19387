//! A handler's ports, really open on the task's own address: for peers, and for whoever looks at a task directly. The load
//! balancer does not come this way; it calls the handler in process.

mod lively;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::network::{Address, Endpoint, Protocol, Published, Table};
use crate::runtime::guest::handler::Handler;
use crate::runtime::guest::http::{BoxError, HandlerError, ResponseBody};
use crate::runtime::guest::listen::lively::Lively;
use crate::runtime::spec::Binding;

/// Connections of one port: each holds some 20 KiB and a descriptor.
const CONNECTIONS_MAX: usize = 1024;
/// For the whole head of a request.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// After an accept that failed, which is out of descriptors or memory: both pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that is open, and known to the network. Its listener goes with it.
pub struct Listening {
    pub binding: Binding,
    _published: Published,
    closing: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Listening {
    /// Closes the port and its idle connections. When this returns, nobody can connect; current requests go on.
    pub async fn close(mut self) {
        self.closing.cancel();
        // It has ended or panicked: either way the listener is gone.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Opens a port for a handler. A port that may not be bound (below 1024, or in use) becomes another, and the table knows.
pub async fn listen(handler: Handler, table: &Table, address: &Address, port: u16) -> io::Result<Listening> {
    let listener = match bind(address.ip(), port).await {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::AddrInUse) => {
            bind(address.ip(), 0).await?
        }
        other => other?,
    };
    let real = listener.local_addr()?;
    let endpoint = Endpoint { real, is_mapped: true };
    let published = table.publish(address, port, Protocol::Tcp, endpoint).map_err(io::Error::other)?;
    let closing = CancellationToken::new();
    let accepting = tokio::spawn(accept(listener, handler, (address.clone(), port), closing.clone()));
    let binding = Binding { container_port: port, protocol: Protocol::Tcp, host: real, count: 1 };
    Ok(Listening { binding, _published: published, closing, accepting })
}

async fn bind(ip: Ipv4Addr, port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((ip, port))).await
}

async fn accept(listener: TcpListener, handler: Handler, at: (Address, u16), closing: CancellationToken) {
    let (address, port) = at;
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = tokio::select! {
            () = closing.cancelled() => return,
            permit = Arc::clone(&connections).acquire_owned() => permit.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // The security groups keep it out: it sees its connection closed.
            Ok((_, peer)) if !address.table().may_enter(&address, port, peer, Protocol::Tcp) => {}
            Ok((stream, _)) => {
                let (handler, closing) = (handler.clone(), closing.clone());
                tokio::spawn(async move {
                    serve(stream, handler, closing).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for a handler");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, until its end; when the port closes, until its current request is answered.
async fn serve(stream: TcpStream, handler: Handler, closing: CancellationToken) {
    // Small answers must not wait for the acknowledgement of the last ones.
    let _ = stream.set_nodelay(true);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    let service = service_fn(|request: Request<Incoming>| {
        let handler = handler.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(&handler, request).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(Lively::new(stream)), service);
    tokio::pin!(connection);
    // A broken connection is the client's affair: nobody is left to tell.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(handler: &Handler, request: Request<Incoming>) -> Response<ResponseBody> {
    let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
    handler.call(request).await.unwrap_or_else(|error| {
        let text = Full::new(Bytes::from(format!("{error}\n"))).map_err(|never| match never {});
        let mut response = Response::new(text.boxed_unsync());
        *response.status_mut() = status(&error);
        response
    })
}

/// What a server says whose handler failed, as nginx does for its upstreams.
fn status(error: &HandlerError) -> StatusCode {
    match error {
        HandlerError::Trapped(_)
        | HandlerError::OutOfMemory
        | HandlerError::InvalidResponse(_)
        | HandlerError::Failed(_) => StatusCode::BAD_GATEWAY,
        HandlerError::OutOfFuel | HandlerError::Overloaded | HandlerError::NotRunning | HandlerError::Stopped => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        HandlerError::InvalidRequest(_) => StatusCode::BAD_REQUEST,
    }
}
