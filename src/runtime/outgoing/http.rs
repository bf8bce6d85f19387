//! HTTP requests of guests: one connection for each, of HTTP/1.1, streamed both ways.
//!
//! A name becomes addresses, an address is judged, and that very address is connected to: nothing is looked up twice, so a
//! name server that changes its mind leads nowhere. Redirects are the guest's own to follow.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, Sleep};
use tokio_util::task::AbortOnDropHandle;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::network::Denial;
use crate::runtime::outgoing::names::LookupError;
use crate::runtime::sockets::{Outlet, Slot};

/// Where the guest names no time: for the look-up, the connection and TLS together.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(60);
/// From the request to the head of the response, and between two parts of its body: as wasmtime's own client.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(600);
/// The head of a response. Bodies are handed on as they come, so they have no limit but the two sides' patience.
const HEAD_BYTES_MAX: usize = 128 << 10;
/// Addresses of a name that are tried, one after the other.
const ATTEMPTS_MAX: usize = 4;

/// Sends a request of a guest; the response's body keeps the connection. Runs on the guest threads.
pub async fn send(
    outlet: Outlet,
    request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<http::Response<WasiBody>, Error> {
    let times = Times::of(options);
    let place = outlet.reserve().ok_or(Error::ConnectionLimitReached)?;
    let connecting = tokio::time::timeout(times.connect, connect(&outlet, request.uri()));
    let (mut sender, connection) = connecting.await.map_err(|_| Error::ConnectionTimeout)??;
    let request = in_origin_form(request)?;
    let answer = tokio::time::timeout(times.first_byte, sender.send_request(request)).await;
    let answer = answer.map_err(|_| Error::ConnectionReadTimeout)?.map_err(|error| code(&error, When::BeforeHead))?;
    let held = Held { _sender: sender, _connection: connection, _place: place };
    Ok(answer.map(|body| Streamed::new(body, times.between_bytes, held).boxed_unsync()))
}

struct Times {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Times {
    fn of(options: Option<RequestOptions>) -> Times {
        Times {
            connect: options.and_then(|of| of.connect_timeout).unwrap_or(CONNECT_TIME_MAX),
            first_byte: options.and_then(|of| of.first_byte_timeout).unwrap_or(ANSWER_TIME_MAX),
            between_bytes: options.and_then(|of| of.between_bytes_timeout).unwrap_or(ANSWER_TIME_MAX),
        }
    }
}

/// What a response's body holds: when it goes, so does the connection.
struct Held {
    _sender: SendRequest<WasiBody>,
    _connection: AbortOnDropHandle<()>,
    _place: Slot,
}

type Connected = (SendRequest<WasiBody>, AbortOnDropHandle<()>);

async fn connect(outlet: &Outlet, uri: &http::Uri) -> Result<Connected, Error> {
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(Error::HttpRequestUriInvalid)?;
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let found = outlet.resolve(host).await.map_err(|error| no_address(outlet, host, error))?;
    let stream = first_of(outlet, &found, port).await?;
    // Small requests must not wait for the acknowledgement of the last ones.
    let _ = stream.set_nodelay(true);
    if is_tls {
        let gateway = outlet.gateway().ok_or(Error::HttpRequestDenied)?;
        shake_hands(gateway.tls().connect(host, stream).await?).await
    } else {
        shake_hands(stream).await
    }
}

fn no_address(outlet: &Outlet, host: &str, error: LookupError) -> Error {
    match error {
        LookupError::Denied => {
            outlet.refused(host, &error);
            Error::HttpRequestDenied
        }
        LookupError::NotFound => Error::DnsError { rcode: Some(String::from("NXDOMAIN")), info_code: None },
        LookupError::Timeout => Error::DnsTimeout,
        LookupError::Busy => Error::ConnectionLimitReached,
        LookupError::Failed(_) => Error::DnsError { rcode: Some(String::from("SERVFAIL")), info_code: None },
    }
}

/// Connects to the first address that is allowed and answers.
async fn first_of(outlet: &Outlet, found: &[IpAddr], port: u16) -> Result<TcpStream, Error> {
    let mut last = Error::DestinationNotFound;
    for ip in found.iter().take(ATTEMPTS_MAX) {
        match outlet.route(*ip, port) {
            Ok(route) => match open(route.to, route.from).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = unreachable(&error),
            },
            Err(Denial::NobodyListens) => last = Error::ConnectionRefused,
            Err(denial) => {
                outlet.refused(&SocketAddr::new(*ip, port).to_string(), &denial);
                last = Error::HttpRequestDenied;
            }
        }
    }
    Err(last)
}

/// `from` is the task's own address, where the peer is on this node and knows it by that.
async fn open(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(to).await
}

fn unreachable(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Error::ConnectionTerminated,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Error::DestinationIpUnroutable,
        _ => Error::DestinationUnavailable,
    }
}

/// Begins HTTP; the connection is driven on the guest threads until its handle is dropped.
async fn shake_hands(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Connected, Error> {
    let mut builder = Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| code(&error, When::BeforeHead))?;
    let driven = tokio::spawn(async move {
        // Whoever sends or reads gets the error.
        let _ = connection.await;
    });
    Ok((sender, AbortOnDropHandle::new(driven)))
}

/// A server is asked for a path; scheme and authority are a proxy's business.
fn in_origin_form(mut request: http::Request<WasiBody>) -> Result<http::Request<WasiBody>, Error> {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = http::Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(request)
}

#[derive(Clone, Copy, PartialEq)]
enum When {
    BeforeHead,
    InBody,
}

/// What hyper says, in the words of `wasi:http`.
fn code(error: &hyper::Error, when: When) -> Error {
    // The guest's own body ended with an error: it is told which.
    if let Some(own) = error.source().and_then(|source| source.downcast_ref::<Error>()) {
        return match own {
            Error::HttpRequestBodySize(size) => Error::HttpRequestBodySize(*size),
            _ => Error::HttpProtocolError,
        };
    }
    if error.is_timeout() {
        Error::HttpResponseTimeout
    } else if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(u32::try_from(HEAD_BYTES_MAX).ok())
    } else if error.is_parse() {
        Error::HttpProtocolError
    } else if when == When::InBody {
        Error::HttpResponseIncomplete
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Error::ConnectionTerminated
    } else if error.is_user() {
        Error::HttpProtocolError
    } else {
        Error::ConnectionTerminated
    }
}

/// A response's body, within the time that the guest gives each part of it.
struct Streamed {
    body: Incoming,
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    /// Until the body's end.
    held: Option<Held>,
}

impl Streamed {
    fn new(body: Incoming, patience: Duration, held: Held) -> Streamed {
        Streamed { body, patience, timer: Box::pin(tokio::time::sleep(patience)), held: Some(held) }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.held.is_none() {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let next = Instant::now() + this.patience;
                this.timer.as_mut().reset(next);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.held = None;
                Poll::Ready(Some(Err(code(&error, When::InBody))))
            }
            Poll::Ready(None) => {
                this.held = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.timer.as_mut().poll(cx));
                this.held = None;
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
