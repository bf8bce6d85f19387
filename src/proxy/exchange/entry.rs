//! One request as access logs and traces tell of it. Made only where somebody asked for either: it holds texts.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, Uri, Version};

use crate::model::Arn;
use crate::proxy::access_log::LogPlace;
use crate::proxy::client::{ConnectionId, TlsSession};

/// All that is known of a request that has ended.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where its line is written, if its load balancer has access logs.
    pub place: Option<Arc<LogPlace>>,
    /// `app/NAME/ID`.
    pub load_balancer: String,
    pub client: SocketAddr,
    pub connection: ConnectionId,
    pub tls: Option<TlsSession>,
    /// When the head of the request was there.
    pub created_at: SystemTime,
    /// When the last byte of the response was sent.
    pub ended_at: SystemTime,
    pub method: Method,
    /// As the client sent it.
    pub uri: Uri,
    pub version: Version,
    /// The host that the client called.
    pub host: String,
    /// Of the listener.
    pub port: u16,
    pub is_grpc: bool,
    pub is_websocket: bool,
    pub user_agent: Option<HeaderValue>,
    pub trace_id: Option<HeaderValue>,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub rule: MatchedRule,
    /// In the order in which they were done, with commas between them.
    pub actions: &'static str,
    pub target_group: Option<Arn>,
    /// The target that was tried last.
    pub target: Option<SocketAddrV4>,
    /// Where a target answered.
    pub times: Option<Times>,
    pub target_status: Option<u16>,
    /// What the client was told.
    pub status: u16,
    pub redirect_url: Option<HeaderValue>,
    /// A code of ELB's list.
    pub error_reason: Option<&'static str>,
    /// Why the load balancer answered itself, in our words: for traces.
    pub failure: Option<String>,
    /// How much a request that is not as RFC 9112 wants it may be misread, and what is wrong with it.
    pub classification: Option<(&'static str, &'static str)>,
    pub transformed: Transformed,
}

/// Which rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchedRule {
    /// It did not come to that.
    None,
    Default,
    Priority(u32),
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// From the head of the request until it was sent to the target.
    pub request: Duration,
    /// Until the head of the response was there.
    pub target: Duration,
    /// Until the client had the last byte.
    pub response: Duration,
}

/// What the rule's transforms made of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transformed {
    pub host: Option<String>,
    pub uri: Option<String>,
    /// A code of ELB's list, such as `TransformSuccess`.
    pub status: Option<&'static str>,
}

impl Entry {
    /// What access logs call the type of a request.
    pub fn kind(&self) -> &'static str {
        match &self.tls {
            _ if self.is_websocket => {
                if self.tls.is_some() {
                    "wss"
                } else {
                    "ws"
                }
            }
            Some(_) if self.is_grpc => "grpcs",
            Some(_) if self.version == Version::HTTP_2 => "h2",
            Some(_) => "https",
            None => "http",
        }
    }

    /// The whole address that the client asked for, with a port.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (host, port) = crate::proxy::routes::split_port(&self.host);
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        format!("{scheme}://{host}:{}{path}", port.unwrap_or(self.port))
    }

    /// `HTTP/1.1`, and for HTTP/2 `HTTP/2.0`.
    pub fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_09 => "HTTP/0.9",
            _ => "HTTP/1.1",
        }
    }
}
