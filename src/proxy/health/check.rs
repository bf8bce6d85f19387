//! One health check: how a target is asked, and what its answer means in ELB's words.

use std::net::SocketAddr;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, TE, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::model::load_balancer::HealthCheck;
use crate::proxy::body;
use crate::proxy::connect::{SendError, open};
use crate::proxy::settings::ProtocolVersion;
use crate::proxy::spec::Endpoint;
use crate::proxy::target::{Body, BoxError, Target, TargetError};

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Passed,
    Failed { reason: &'static str, description: String },
}

pub const MISMATCH: &str = "Target.ResponseCodeMismatch";
pub const TIMEOUT: &str = "Target.Timeout";
pub const FAILED: &str = "Target.FailedHealthChecks";

impl Outcome {
    fn failed(reason: &'static str, description: impl Into<String>) -> Outcome {
        Outcome::Failed { reason, description: description.into() }
    }
}

/// What one check needs, copied out of a snapshot.
pub struct Check {
    pub endpoint: Endpoint,
    pub host: String,
    pub version: ProtocolVersion,
    pub settings: HealthCheck,
}

impl Check {
    pub fn new(target: &Target, version: ProtocolVersion, settings: &HealthCheck) -> Check {
        let key = &target.state.key;
        let port = settings.port.parse().unwrap_or(key.port);
        Check {
            // The port of the check is translated by the control plane, which knows the network's table.
            endpoint: target.check.clone().unwrap_or_else(|| target.endpoint.clone()),
            host: format!("{}:{port}", key.address),
            version,
            settings: settings.clone(),
        }
    }

    pub async fn run(self) -> Outcome {
        let timeout = Duration::from_secs(u64::from(self.settings.timeout_seconds.max(1)));
        match tokio::time::timeout(timeout, self.ask()).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::failed(TIMEOUT, "Request timed out"),
        }
    }

    async fn ask(&self) -> Outcome {
        let address = match &self.endpoint {
            Endpoint::NotListening => return Outcome::failed(FAILED, "Health checks failed"),
            Endpoint::Tcp(address) => Some(*address),
            Endpoint::Local(_) => None,
        };
        match self.settings.protocol.as_str() {
            "TCP" => match address {
                // A handler that is called in process listens as soon as it is there.
                None => Outcome::Passed,
                Some(address) => match open(address).await {
                    Ok(_connection) => Outcome::Passed,
                    Err(error) => not_sent(&error),
                },
            },
            // The proxy speaks no TLS yet; so it cannot pass either.
            "HTTPS" => Outcome::failed(FAILED, "Health checks over HTTPS are not offered: use HTTP"),
            _ => match (&self.endpoint, address) {
                (Endpoint::Local(handler), _) => match handler.call(self.request()).await {
                    Ok(response) => self.judge(response).await,
                    Err(TargetError::TimedOut) => Outcome::failed(TIMEOUT, "Request timed out"),
                    // Over a connection the proxy would have answered 502 in its stead.
                    Err(TargetError::Trapped(_) | TargetError::OutOfMemory | TargetError::InvalidResponse(_)) => {
                        Outcome::failed(MISMATCH, "Health checks failed with these codes: [502]")
                    }
                    Err(_) => Outcome::failed(FAILED, "Health checks failed"),
                },
                (_, Some(address)) => match self.fetch(address).await {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        tracing::trace!(host = self.host, error, "a health check got no response");
                        Outcome::failed(FAILED, "Health checks failed")
                    }
                },
                (_, None) => Outcome::failed(FAILED, "Health checks failed"),
            },
        }
    }

    /// Over a connection of its own, as ELB does: a pooled one says nothing about whether the target still accepts.
    async fn fetch(&self, address: SocketAddr) -> Result<Outcome, BoxError> {
        let stream = match open(address).await {
            Ok(stream) => TokioIo::new(stream),
            Err(error) => return Ok(not_sent(&error)),
        };
        let mut request = self.request();
        if self.version == ProtocolVersion::Http1 {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
            return within(connection, async { Ok(self.judge(sender.send_request(request).await?.map(boxed)).await) })
                .await;
        }
        *request.uri_mut() = format!("http://{}{}", self.host, self.path()).parse()?;
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(HOST);
        request.headers_mut().remove(CONNECTION);
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
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
            "" => "/",
            path => path,
        }
    }

    async fn judge(&self, response: Response<Body>) -> Outcome {
        if self.version == ProtocolVersion::Grpc {
            return self.judge_grpc(response).await;
        }
        let status = response.status().as_u16();
        if matches(&self.settings.matcher, status) {
            return Outcome::Passed;
        }
        Outcome::failed(MISMATCH, format!("Health checks failed with these codes: [{status}]"))
    }

    /// gRPC's own status is in the trailers, or in the headers of a response that has nothing else.
    async fn judge_grpc(&self, response: Response<Body>) -> Outcome {
        if response.status() != StatusCode::OK {
            let status = response.status().as_u16();
            return Outcome::failed(MISMATCH, format!("Health checks failed with these codes: [{status}]"));
        }
        let (head, mut body) = response.into_parts();
        let mut status = head.headers.get("grpc-status").cloned();
        while status.is_none() {
            match body.frame().await {
                Some(Ok(frame)) => status = frame.trailers_ref().and_then(|last| last.get("grpc-status")).cloned(),
                Some(Err(_)) | None => return Outcome::failed(FAILED, "Health checks failed"),
            }
        }
        let code = status.and_then(|status| status.to_str().ok()?.parse::<u16>().ok());
        match code {
            Some(code) if matches(&self.settings.matcher, code) => Outcome::Passed,
            Some(code) => Outcome::failed(MISMATCH, format!("Health checks failed with these codes: [{code}]")),
            None => Outcome::failed(FAILED, "Health checks failed"),
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

fn not_sent(error: &SendError) -> Outcome {
    match error {
        SendError::ConnectTimedOut(_) => Outcome::failed(TIMEOUT, "Request timed out"),
        SendError::Connect(..) | SendError::Unsent(_) | SendError::Stale(_) | SendError::Broken(_) => {
            Outcome::failed(FAILED, "Health checks failed")
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
mod tests {
    use super::*;

    #[test]
    fn matchers_are_codes_lists_and_ranges() {
        for (matcher, code, wanted) in [
            ("200", 200, true),
            ("200", 201, false),
            ("200,202", 202, true),
            ("200-299, 404", 404, true),
            ("200-299", 299, true),
            ("200-299", 300, false),
            ("", 200, false),
        ] {
            assert_eq!(matches(matcher, code), wanted, "{matcher} {code}");
        }
    }
}
