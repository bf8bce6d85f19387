//! What a span says of a request: OpenTelemetry's semantic conventions for HTTP servers, and what is ELB's own.

use std::borrow::Cow;

use http::Version;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::proxy::exchange::{Entry, MatchedRule};
use crate::proxy::routes::split_port;

pub fn of(span_context: SpanContext, parent: SpanId, scope: InstrumentationScope, entry: &Entry) -> SpanData {
    let failure = || Cow::from(entry.failure.clone().unwrap_or_default());
    SpanData {
        span_context,
        parent_span_id: parent,
        parent_span_is_remote: parent != SpanId::INVALID,
        span_kind: SpanKind::Server,
        // Without a route of its own a server is named after the method alone, so that names stay few.
        name: Cow::from(method(entry)),
        start_time: entry.created_at,
        end_time: entry.ended_at,
        attributes: attributes(entry),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if entry.status >= 500 { Status::Error { description: failure() } } else { Status::Unset },
        instrumentation_scope: scope,
    }
}

/// Methods that nobody knows would make as many names as a client likes.
fn method(entry: &Entry) -> String {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let method = entry.method.as_str();
    if KNOWN.contains(&method) { method.to_owned() } else { String::from("HTTP") }
}

fn attributes(entry: &Entry) -> Vec<KeyValue> {
    let (host, port) = split_port(&entry.host);
    let number = |number: u64| Value::I64(i64::try_from(number).unwrap_or(i64::MAX));
    let mut attributes = vec![
        KeyValue::new("http.request.method", entry.method.to_string()),
        KeyValue::new("http.response.status_code", i64::from(entry.status)),
        KeyValue::new("url.scheme", if entry.tls.is_some() { "https" } else { "http" }),
        KeyValue::new("url.path", entry.uri.path().to_owned()),
        KeyValue::new("server.address", host.to_owned()),
        KeyValue::new("server.port", i64::from(port.unwrap_or(entry.port))),
        KeyValue::new("client.address", entry.client.ip().to_canonical().to_string()),
        KeyValue::new("client.port", i64::from(entry.client.port())),
        KeyValue::new("network.protocol.name", "http"),
        KeyValue::new("network.protocol.version", protocol_version(entry.version)),
        KeyValue::new("http.request.size", number(entry.received_bytes)),
        KeyValue::new("http.response.size", number(entry.sent_bytes)),
        KeyValue::new("aws.elb.load_balancer", entry.load_balancer.clone()),
        KeyValue::new("aws.elb.conn_trace_id", entry.connection.to_string()),
    ];
    let mut add = |name: &'static str, value: Option<Value>| {
        attributes.extend(value.map(|value| KeyValue::new(name, value)));
    };
    let text = |text: &[u8]| Value::from(String::from_utf8_lossy(text).into_owned());
    add("url.query", entry.uri.query().map(|query| Value::from(query.to_owned())));
    add("user_agent.original", entry.user_agent.as_ref().map(|agent| text(agent.as_bytes())));
    add(
        "http.request.header.x-amzn-trace-id",
        entry.trace_id.as_ref().map(|id| {
            let id = String::from_utf8_lossy(id.as_bytes()).into_owned();
            Value::Array(Array::String(vec![StringValue::from(id)]))
        }),
    );
    add("tls.protocol.version", entry.tls.as_ref().map(|tls| Value::from(tls.version.trim_start_matches("TLSv"))));
    add("tls.cipher", entry.tls.as_ref().map(|tls| Value::from(tls.cipher)));
    add("aws.elb.actions_executed", (!entry.actions.is_empty()).then(|| Value::from(entry.actions)));
    add(
        "aws.elb.rule_priority",
        match entry.rule {
            MatchedRule::None => None,
            MatchedRule::Default => Some(Value::I64(0)),
            MatchedRule::Priority(priority) => Some(Value::I64(i64::from(priority))),
        },
    );
    add("aws.elb.target_group", entry.target_group.as_ref().map(|group| Value::from(group.to_string())));
    add("aws.elb.target", entry.target.map(|target| Value::from(target.to_string())));
    add("aws.elb.target_status_code", entry.target_status.map(|status| Value::I64(i64::from(status))));
    add("aws.elb.target_processing_time", entry.times.map(|times| Value::F64(times.target.as_secs_f64())));
    add("error.type", (entry.status >= 500).then(|| Value::from(entry.status.to_string())));
    attributes
}

fn protocol_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}
