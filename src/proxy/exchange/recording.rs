//! What is captured of a request, beyond numbers, while it lives: only for a load balancer that has access logs, or where
//! traces go somewhere.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{HOST, UPGRADE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};

use crate::proxy::access_log::Message;
use crate::proxy::action::RouteAction;
use crate::proxy::answer::ForwardError;
use crate::proxy::client::Client;
use crate::proxy::desync::{Class, Classification};
use crate::proxy::exchange::{Entry, Exchange, MatchedRule, Times, Transformed, is_grpc};
use crate::proxy::headers;
use crate::proxy::observers::Observers;
use crate::proxy::routes::Route;
use crate::proxy::rules::{RuleRoute, TransformError};
use crate::proxy::trace::Begun;

const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

pub struct Recording {
    entry: Entry,
    observers: Arc<Observers>,
    span: Option<Begun>,
    begun: Instant,
    sent_at: Option<Instant>,
    answered_at: Option<Instant>,
}

impl Recording {
    /// `None` where nobody wants to know.
    pub fn begin<B>(
        observers: &Arc<Observers>,
        route: &Arc<Route>,
        request: &Request<B>,
        client: &Client,
    ) -> Option<Box<Recording>> {
        let place = route.balancer.access_log.as_ref().filter(|_| observers.logs.is_some()).cloned();
        let span = observers.tracer.as_ref().and_then(|tracer| tracer.begin(request.headers()));
        if place.is_none() && span.is_none() {
            return None;
        }
        let now = SystemTime::now();
        let record = &route.balancer.record;
        let headers = request.headers();
        let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
        let host = host.or_else(|| headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()));
        let upgrade =
            headers.get(UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let entry = Entry {
            place,
            load_balancer: format!("{}/{}/{}", record.kind.in_arns(), record.name, record.id),
            client: client.peer,
            connection: client.connection,
            tls: client.tls.clone(),
            created_at: now,
            ended_at: now,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            host: host.unwrap_or_default(),
            port: route.record.port,
            is_grpc: is_grpc(headers),
            is_websocket: upgrade,
            user_agent: headers.get(USER_AGENT).cloned(),
            trace_id: headers.get(TRACE_ID).cloned(),
            received_bytes: 0,
            sent_bytes: 0,
            rule: MatchedRule::None,
            actions: "",
            target_group: None,
            target: None,
            times: None,
            target_status: None,
            status: 0,
            redirect_url: None,
            error_reason: None,
            failure: None,
            classification: None,
            transformed: Transformed::default(),
        };
        let observers = Arc::clone(observers);
        Some(Box::new(Recording { entry, observers, span, begun: Instant::now(), sent_at: None, answered_at: None }))
    }

    pub fn classified(&mut self, classification: Classification) {
        let Classification { class, reason } = classification;
        self.entry.classification = (class != Class::Compliant).then(|| (class.name(), reason));
    }

    pub fn matched(&mut self, rule: &RuleRoute) {
        self.entry.rule = match &rule.record {
            Some(record) => MatchedRule::Priority(record.priority),
            None => MatchedRule::Default,
        };
        let is_guarded = !rule.guards.is_empty();
        self.entry.actions = match &rule.action {
            RouteAction::Forward(_) if is_guarded => "jwt-validation,forward",
            RouteAction::FixedResponse { .. } if is_guarded => "jwt-validation,fixed-response",
            RouteAction::Redirect(_) if is_guarded => "jwt-validation,redirect",
            RouteAction::Forward(_) => "forward",
            RouteAction::FixedResponse { .. } => "fixed-response",
            RouteAction::Redirect(_) => "redirect",
            RouteAction::Nothing => "",
        };
    }

    pub fn forwards(&mut self, headers: &mut HeaderMap) {
        self.entry.trace_id = headers.get(TRACE_ID).cloned();
        if let Some(span) = &self.span {
            span.pass_on(headers);
        }
    }

    pub fn sent(&mut self, target: SocketAddrV4) {
        self.entry.target = Some(target);
        self.sent_at = Some(Instant::now());
    }

    pub fn answered(&mut self) {
        self.answered_at = Some(Instant::now());
    }

    pub fn transformed(&mut self, parts: &Parts, done: Result<(), TransformError>) {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        self.entry.transformed = match done {
            Ok(()) => Transformed {
                host: host.map(str::to_owned),
                uri: Some(parts.uri.to_string()),
                status: Some("TransformSuccess"),
            },
            Err(error) => Transformed { status: Some(error.reason()), ..Transformed::default() },
        };
    }

    pub fn failed(&mut self, error: &ForwardError) {
        self.answered_at = None;
        let mut failure = error.to_string();
        if let Some(cause) = std::error::Error::source(error) {
            failure = format!("{failure}: {cause}");
        }
        self.entry.failure = Some(failure);
        self.entry.error_reason = error.reason();
        if matches!(error, ForwardError::Jwt(_)) {
            // It came to nothing else.
            self.entry.actions = "jwt-validation";
        }
    }

    pub fn responds(&mut self, location: Option<&HeaderValue>) {
        if self.entry.actions.ends_with("redirect") {
            self.entry.redirect_url = location.cloned();
        }
    }

    /// Hands over what was recorded.
    pub fn end(self: Box<Recording>, exchange: &Exchange, status: StatusCode, received_bytes: u64) {
        let Recording { mut entry, observers, span, begun, sent_at, answered_at } = *self;
        let now = Instant::now();
        entry.ended_at = entry.created_at + now.saturating_duration_since(begun);
        entry.status = status.as_u16();
        // What no target got has a name all the same.
        if exchange.group.is_none() {
            let mut headers = HeaderMap::from_iter(entry.trace_id.take().map(|sent| (TRACE_ID, sent)));
            headers::add_trace(&mut headers);
            entry.trace_id = headers.remove(TRACE_ID);
        }
        entry.received_bytes = received_bytes;
        entry.sent_bytes = exchange.sent_bytes;
        entry.target_status = exchange.target_status.map(|status| status.as_u16());
        entry.target_group = exchange.group.as_ref().map(|group| group.arn.clone());
        entry.times = sent_at.zip(answered_at).map(|(sent_at, answered_at)| Times {
            request: sent_at.saturating_duration_since(begun),
            target: answered_at.saturating_duration_since(sent_at),
            response: now.saturating_duration_since(answered_at),
        });
        if let (Some(tracer), Some(span)) = (&observers.tracer, span) {
            tracer.end(span, &entry);
        }
        if let Some(logs) = &observers.logs
            && entry.place.is_some()
        {
            logs.put(Message::Request(Box::new(entry)));
        }
    }
}
