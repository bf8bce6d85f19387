//! What is known of one request while it lives, and what is counted, logged and traced of it when it ends.
//!
//! It rides in the response's body, and so ends when the last byte was taken, or when the client went away. While nobody
//! asked for access logs or traces it is a few numbers, of which nothing is allocated: what ends up in metrics.

mod entry;
mod recording;

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};

use crate::proxy::answer::ForwardError;
use crate::proxy::client::Client;
use crate::proxy::connect::SendError;
use crate::proxy::desync::{Class, Classification};
use crate::proxy::group::Group;
use crate::proxy::observers::Observers;
use crate::proxy::routes::Route;
use crate::proxy::rules::{RuleRoute, TransformError};
use crate::proxy::target::Target;

pub use entry::{Entry, MatchedRule, Times, Transformed};
use recording::Recording;

/// What ELB shows for a client that went away before it was answered.
const CLIENT_CLOSED: u16 = 460;

pub struct Exchange {
    route: Arc<Route>,
    group: Option<Arc<Group>>,
    /// What the client was told.
    status: Option<StatusCode>,
    /// What the target answered.
    target_status: Option<StatusCode>,
    /// Of the head of the request, and of the response so far.
    head_bytes: u64,
    sent_bytes: u64,
    /// Of the request's body, where it has one.
    received: Option<Arc<AtomicU64>>,
    is_sent: bool,
    /// Where somebody wants to know more than numbers.
    recording: Option<Box<Recording>>,
}

impl Exchange {
    pub fn begin<B>(observers: &Arc<Observers>, route: &Arc<Route>, request: &Request<B>, client: &Client) -> Exchange {
        client.belongs_to(&route.balancer);
        let counts = &route.balancer.counts;
        counts.begun.fetch_add(1, Ordering::Relaxed);
        if is_grpc(request.headers()) {
            counts.grpc.fetch_add(1, Ordering::Relaxed);
        }
        // A space after the method, and an empty line after the headers.
        let line_bytes = request.method().as_str().len() + uri_bytes(request.uri()) + "  HTTP/1.1\r\n\r\n".len();
        Exchange {
            route: Arc::clone(route),
            group: None,
            status: None,
            target_status: None,
            head_bytes: line_bytes as u64 + header_bytes(request.headers()),
            sent_bytes: 0,
            received: None,
            is_sent: false,
            recording: Recording::begin(observers, route, request, client),
        }
    }

    /// How far the request is from being read in one way only.
    pub fn classified(&mut self, classification: Classification) {
        if classification.class != Class::Compliant {
            self.route.balancer.counts.non_compliant.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(recording) = &mut self.recording {
            recording.classified(classification);
        }
    }

    /// The rule that decides what is done.
    pub fn matched(&mut self, rule: &RuleRoute) {
        let counts = &self.route.balancer.counts;
        let evaluated = self.route.rules.evaluated(rule);
        if evaluated > 0 {
            counts.rule_evaluations.fetch_add(evaluated, Ordering::Relaxed);
        }
        if let Some(recording) = &mut self.recording {
            recording.matched(rule);
        }
    }

    /// The group that the rule's forward action leads to.
    pub fn chose(&mut self, group: &Arc<Group>) {
        self.group = Some(Arc::clone(group));
    }

    /// The rule's transforms were applied, or could not be.
    pub fn transformed(&mut self, parts: &Parts, done: Result<(), TransformError>) {
        if let Some(recording) = &mut self.recording {
            recording.transformed(parts, done);
        }
    }

    /// What the target is about to get.
    pub fn forwards(&mut self, headers: &mut HeaderMap) {
        if let Some(recording) = &mut self.recording {
            recording.forwards(headers);
        }
    }

    /// Counts the bytes of the request's body that were read; the body's reader does so.
    pub fn reads(&mut self, received: Option<Arc<AtomicU64>>) {
        self.received = received;
    }

    /// The request is on its way to a target; an earlier one could not take it.
    pub fn sent(&mut self, target: &Target) {
        if !self.is_sent {
            self.route.balancer.counts.chosen.fetch_add(1, Ordering::Relaxed);
            if let Some(group) = &self.group {
                group.counts.requests.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.is_sent = true;
        if let Some(recording) = &mut self.recording {
            recording.sent(SocketAddrV4::new(target.state.key.address, target.state.key.port));
        }
    }

    /// A target did not answer, for whatever reason.
    pub fn missed(&mut self, target: &Target, error: &ForwardError) {
        if is_connection_error(error) {
            self.route.balancer.counts.target_connection_errors.fetch_add(1, Ordering::Relaxed);
            target.state.counts.connection_errors.fetch_add(1, Ordering::Relaxed);
            if let Some(group) = &self.group {
                group.counts.connection_errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The head of a target's response is there.
    pub fn answered(&mut self, status: StatusCode, elapsed: Duration) {
        self.target_status = Some(status);
        self.route.balancer.counts.response_time.record(elapsed);
        if let Some(group) = &self.group {
            group.counts.response_time.record(elapsed);
        }
        if let Some(recording) = &mut self.recording {
            recording.answered();
        }
    }

    /// Answered in a target's stead.
    pub fn failed(&mut self, error: &ForwardError) {
        self.target_status = None;
        if error.status().is_server_error()
            && let Some(group) = &self.group
        {
            group.counts.errors.fetch_add(1, Ordering::Relaxed);
        }
        self.log(error);
        if let Some(recording) = &mut self.recording {
            recording.failed(error);
        }
    }

    /// Each failure with its reason, as long as they are few.
    fn log(&self, error: &ForwardError) {
        let balancer = &self.route.balancer;
        let Some(held) = balancer.errors.admit() else { return };
        let held = (held > 0).then_some(held);
        let (load_balancer, listener) = (&balancer.record.name, self.route.record.port);
        let group = self.group.as_ref().map(|group| group.arn.as_str());
        let cause = std::error::Error::source(error).map(|cause| cause.to_string());
        let status = error.status().as_u16();
        if status >= 500 {
            tracing::warn!(load_balancer, listener, group, status, reason = %error, cause, held, "answered in a target's stead");
        } else {
            // The client's doing.
            tracing::info!(load_balancer, listener, group, status, reason = %error, cause, held, "refused a request");
        }
    }

    /// What the client is answered. The bytes of a body that rides on are counted as they go; see `Exchange::sends`.
    pub fn responds<B: hyper::body::Body>(&mut self, response: &Response<B>) {
        self.status = Some(response.status());
        let counts = &self.route.balancer.counts;
        // HTTP/1.1, the number, and the reason as most have it.
        self.sent_bytes += "HTTP/1.1 200 OK\r\n\r\n".len() as u64 + header_bytes(response.headers());
        if self.target_status.is_none() {
            self.sent_bytes += response.body().size_hint().exact().unwrap_or(0);
            counts.elb_codes.count(response.status());
        }
        if let Some(recording) = &mut self.recording {
            recording.responds(response.headers().get(LOCATION));
        }
    }

    /// The load balancer's own action was the answer.
    pub fn redirected(&mut self) {
        self.route.balancer.counts.redirects.fetch_add(1, Ordering::Relaxed);
    }

    pub fn fixed(&mut self) {
        self.route.balancer.counts.fixed_responses.fetch_add(1, Ordering::Relaxed);
    }

    /// A piece of the response's body is on its way to the client.
    pub fn sends(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let balancer = &self.route.balancer;
        let counts = &balancer.counts;
        let body_bytes = self.received.as_ref().map_or(0, |received| received.load(Ordering::Relaxed));
        let received_bytes = self.head_bytes + body_bytes;
        counts.processed_bytes.fetch_add(received_bytes + self.sent_bytes, Ordering::Relaxed);
        if let Some(status) = self.target_status {
            counts.target_codes.count(status);
            if let Some(group) = &self.group {
                group.counts.codes.count(status);
            }
        }
        let status = self.status.unwrap_or_else(|| {
            let gone = StatusCode::from_u16(CLIENT_CLOSED).expect("a number of three digits");
            counts.elb_codes.count(gone);
            gone
        });
        counts.ended.fetch_add(1, Ordering::Relaxed);
        if let Some(recording) = self.recording.take() {
            recording.end(self, status, received_bytes);
        }
    }
}

/// `TargetConnectionErrorCount`: connections that were not made.
fn is_connection_error(error: &ForwardError) -> bool {
    matches!(
        error,
        ForwardError::NotListening | ForwardError::Send(SendError::Connect(..) | SendError::ConnectTimedOut(_))
    )
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn uri_bytes(uri: &http::Uri) -> usize {
    uri.path().len() + uri.query().map_or(0, |query| query.len() + 1)
}

/// As HTTP/1.1 writes them.
fn header_bytes(headers: &HeaderMap) -> u64 {
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    bytes.sum::<usize>() as u64
}
