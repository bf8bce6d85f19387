//! One health check: how a target is asked, and what its answer means in ELB's words.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, TE, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::model::load_balancer::HealthCheck;
use crate::proxy::body;
use crate::proxy::connect::{SendError, open};
use crate::proxy::group::Members;
use crate::proxy::settings::ProtocolVersion;
use crate::proxy::spec::Endpoint;
use crate::proxy::stream::{GroupStreamSettings, proxy_header};
use crate::proxy::target::{Body, BoxError, Target, TargetError};
use crate::proxy::tls::client::{Alpn, connect_tls};

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Passed,
    Failed { reason: &'static str, description: String },
}

const MISMATCH: &str = "Target.ResponseCodeMismatch";
const TIMEOUT: &str = "Target.Timeout";
const FAILED: &str = "Target.FailedHealthChecks";

const TIMED_OUT: &str = "Request timed out";
const NO_ANSWER: &str = "Health checks failed";

/// Of a response's head: what servers use by default, many times over. A longer one fails the check.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Read of a gRPC response until its trailers come: a message of a health check is a few bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

impl Outcome {
    /// The check itself went wrong.
    pub fn internal_error() -> Outcome {
        Outcome::failed("Elb.InternalError", "Health checks failed due to an internal error")
    }

    fn failed(reason: &'static str, description: impl Into<String>) -> Outcome {
        Outcome::Failed { reason, description: description.into() }
    }
}

/// What one check needs, copied out of a snapshot.
pub struct Check {
    endpoint: Endpoint,
    /// Address and port, as the target knows them.
    host: String,
    version: ProtocolVersion,
    settings: HealthCheck,
    timeout: Duration,
    /// `proxy_protocol_v2.enabled` of the group.
    proxy_protocol: bool,
}

impl Check {
    pub fn new(target: &Target, members: &Members) -> Check {
        let settings = &members.settings;
        let key = &target.state.key;
        let port = settings.health_check.port.parse().unwrap_or(key.port);
        Check {
            // The port of the check is translated by the control plane, which knows the network's table.
            endpoint: target.check.clone().unwrap_or_else(|| target.endpoint.clone()),
            host: format!("{}:{port}", key.address),
            version: settings.protocol_version,
            settings: settings.health_check.clone(),
            timeout: settings.check_timeout,
            proxy_protocol: GroupStreamSettings::of(&members.record).proxy_protocol,
        }
    }

    pub fn is_local(&self) -> bool {
        matches!(self.endpoint, Endpoint::Local(_))
    }

    pub async fn run(self) -> Outcome {
        match tokio::time::timeout(self.timeout, self.ask()).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::failed(TIMEOUT, TIMED_OUT),
        }
    }

    async fn ask(&self) -> Outcome {
        let asks_for_connection = matches!(self.settings.protocol.as_str(), "TCP" | "TLS");
        match &self.endpoint {
            Endpoint::NotListening => Outcome::failed(FAILED, NO_ANSWER),
            // A connection to a handler is the runtime's readiness to begin an instance of it.
            Endpoint::Local(handler) if asks_for_connection => match handler.admit().await {
                Ok(()) => Outcome::Passed,
                Err(error) => self.not_called(&error),
            },
            Endpoint::Local(handler) => match handler.call(self.request()).await {
                Ok(response) => self.judge(response).await,
                Err(error) => self.not_called(&error),
            },
            Endpoint::Tcp(address) if asks_for_connection => match self.connect(*address).await {
                Ok(_connection) => Outcome::Passed,
                Err(error) => not_sent(&error),
            },
            Endpoint::Tcp(address) => match self.fetch(*address).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::trace!(host = self.host, error, "a health check got no response");
                    Outcome::failed(FAILED, NO_ANSWER)
                }
            },
        }
    }

    fn not_called(&self, error: &TargetError) -> Outcome {
        tracing::trace!(host = self.host, %error, "a health check got no response of a handler");
        match error {
            TargetError::TimedOut => Outcome::failed(TIMEOUT, TIMED_OUT),
            // Over a connection the proxy would have answered 502 in its stead.
            TargetError::Trapped(_) | TargetError::OutOfMemory | TargetError::InvalidResponse(_) => mismatch(502),
            _ => Outcome::failed(FAILED, NO_ANSWER),
        }
    }

    /// Where the group is spoken to by the PROXY protocol, a check is too.
    async fn connect(&self, address: SocketAddr) -> Result<TcpStream, SendError> {
        let mut stream = open(address).await?;
        if self.proxy_protocol {
            let refused = |error: std::io::Error| SendError::Connect(address, error.into());
            let header = proxy_header::of_ourselves().map_err(refused)?;
            stream.write_all(&header).await.map_err(refused)?;
        }
        Ok(stream)
    }

    /// Over a connection of its own, as ELB does: a pooled one says nothing about whether the target still accepts.
    async fn fetch(&self, address: SocketAddr) -> Result<Outcome, BoxError> {
        let stream = match self.connect(address).await {
            Ok(stream) => stream,
            Err(error) => return Ok(not_sent(&error)),
        };
        if self.settings.protocol == "HTTPS" {
            let alpn = if self.version == ProtocolVersion::Http1 { Alpn::Http1 } else { Alpn::Http2 };
            return self.exchange(TokioIo::new(connect_tls(stream, None, alpn).await?)).await;
        }
        self.exchange(TokioIo::new(stream)).await
    }

    async fn exchange<C>(&self, connection: C) -> Result<Outcome, BoxError>
    where
        C: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let mut request = self.request();
        if self.version == ProtocolVersion::Http1 {
            let (mut sender, connection) =
                http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(connection).await?;
            return within(connection, async { Ok(self.judge(sender.send_request(request).await?.map(boxed)).await) })
                .await;
        }
        let scheme = if self.settings.protocol == "HTTPS" { "https" } else { "http" };
        *request.uri_mut() = format!("{scheme}://{}{}", self.host, self.path()).parse()?;
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(HOST);
        request.headers_mut().remove(CONNECTION);
        let head_bytes_max = u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = builder.max_header_list_size(head_bytes_max).handshake(connection).await?;
        within(connection, async { Ok(self.judge(sender.send_request(request).await?.map(boxed)).await) }).await
    }

    fn request(&self) -> Request<Body> {
        let is_grpc = self.version == ProtocolVersion::Grpc;
        // An empty message: one byte that says uncompressed, four of length.
        let body = if is_grpc { body::full(vec![0; 5]) } else { body::empty() };
        let mut request = Request::new(body);
        *request.uri_mut() = self.path().parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static("ELB-HealthChecker/2.0"));
        if let Ok(host) = HeaderValue::from_str(&self.host) {
            headers.insert(HOST, host);
        }
        if is_grpc {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
            *request.method_mut() = Method::POST;
        } else {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        request
    }

    fn path(&self) -> &str {
        match self.settings.path.as_str() {
            "" if self.version == ProtocolVersion::Grpc => "/AWS.ALB/healthcheck",
            "" => "/",
            path => path,
        }
    }

    async fn judge(&self, response: Response<Body>) -> Outcome {
        if self.version == ProtocolVersion::Grpc {
            return self.judge_grpc(response).await;
        }
        let status = response.status().as_u16();
        if matches(&self.settings.matcher, status) { Outcome::Passed } else { mismatch(status) }
    }

    /// gRPC's own status is in the trailers, or in the headers of a response that has nothing else.
    async fn judge_grpc(&self, response: Response<Body>) -> Outcome {
        if response.status() != StatusCode::OK {
            return mismatch(response.status().as_u16());
        }
        let (head, mut body) = response.into_parts();
        let mut status = head.headers.get("grpc-status").cloned();
        let mut taken = 0;
        while status.is_none() {
            match body.frame().await {
                Some(Ok(frame)) if taken <= BODY_BYTES_MAX => {
                    taken += frame.data_ref().map_or(0, Bytes::len);
                    status = frame.trailers_ref().and_then(|last| last.get("grpc-status")).cloned();
                }
                _ => return Outcome::failed(FAILED, NO_ANSWER),
            }
        }
        let code = status.and_then(|status| status.to_str().ok()?.parse::<u16>().ok());
        match code {
            Some(code) if matches(&self.settings.matcher, code) => Outcome::Passed,
            Some(code) => mismatch(code),
            None => Outcome::failed(FAILED, NO_ANSWER),
        }
    }
}

fn boxed(body: hyper::body::Incoming) -> Body {
    body.map_err(BoxError::from).boxed_unsync()
}

/// Drives a connection only as long as the exchange over it lasts.
async fn within<T>(
    connection: impl Future<Output = hyper::Result<()>>,
    exchange: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    let driven = async {
        // When the connection ends first, the exchange still sees how.
        if let Err(error) = connection.await {
            tracing::trace!(%error, "a health check's connection ended");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        exchanged = exchange => exchanged,
        () = driven => Err("the connection ended".into()),
    }
}

fn mismatch(code: u16) -> Outcome {
    Outcome::failed(MISMATCH, format!("Health checks failed with these codes: [{code}]"))
}

fn not_sent(error: &SendError) -> Outcome {
    match error {
        SendError::ConnectTimedOut(_) => Outcome::failed(TIMEOUT, TIMED_OUT),
        SendError::Connect(..) | SendError::Unsent(_) | SendError::Stale(_) | SendError::Broken(_) => {
            Outcome::failed(FAILED, NO_ANSWER)
        }
    }
}

/// Whether `matcher`, such as `200`, `200,202` or `200-299`, has `code`.
pub fn matches(matcher: &str, code: u16) -> bool {
    let has = |part: &str| match part.trim().split_once('-') {
        Some((from, to)) => {
            let (from, to) = (from.trim().parse::<u16>(), to.trim().parse::<u16>());
            from.is_ok_and(|from| from <= code) && to.is_ok_and(|to| code <= to)
        }
        None => part.trim().parse() == Ok(code),
    };
    matcher.split(',').any(has)
}

#[cfg(test)]
pub mod tests;
