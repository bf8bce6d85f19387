//! A span for each request, by OpenTelemetry over OTLP/HTTP, where the operator configured a collector.
//!
//! A span is made of what was recorded once the request has ended, and joins the trace that the client began, if it did: a
//! client that says it does not sample is left alone. The target gets our span as its parent. Batches are sent on the
//! control runtime; their queue is bounded, and what finds it full is counted and forgotten.

mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceState};
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanExporter};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::proxy::exchange::Entry;

/// Spans that wait to be sent, about two kilobytes each; OpenTelemetry's own default.
const QUEUED_MAX: usize = 2048;
/// Spans that are sent at once; OpenTelemetry's own default.
const BATCH_MAX: usize = 512;
/// How long the first span of a batch waits for others.
const BATCH_DELAY: Duration = Duration::from_secs(1);
/// How long the collector may take to answer.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// What is left at the end may take this long to be sent: a collector that is gone must not hold the shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

pub struct Tracer {
    queue: mpsc::Sender<Message>,
    lost: Arc<AtomicU64>,
    scope: InstrumentationScope,
    ids: RandomIdGenerator,
}

enum Message {
    Span(Box<SpanData>),
    /// Nothing comes any more; answered when all was sent.
    Close(oneshot::Sender<()>),
}

/// A span that was begun.
pub struct Begun {
    context: SpanContext,
    parent: SpanId,
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("the OTLP endpoint '{url}' cannot be used: {problem}")]
pub struct TracerError {
    url: String,
    problem: String,
}

impl Tracer {
    /// `url` is where the collector takes traces: `http://localhost:4318/v1/traces`.
    pub fn start(url: &str, control: &tokio::runtime::Handle) -> Result<Tracer, TracerError> {
        let wrong = |problem: String| TracerError { url: url.to_owned(), problem };
        if !url.starts_with("http://") {
            return Err(wrong(String::from("it must begin with http://, as only that is spoken to collectors")));
        }
        let runtime = control.enter();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(url.to_owned())
            .with_timeout(EXPORT_TIMEOUT)
            .with_headers([(String::from("user-agent"), format!("coracle/{}", env!("CARGO_PKG_VERSION")))].into())
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        drop(runtime);
        Ok(Tracer::over(exporter, control))
    }

    fn over(mut exporter: impl SpanExporter + 'static, control: &tokio::runtime::Handle) -> Tracer {
        let resource = Resource::builder();
        // `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are read by the builder; the name is ours where they say none.
        let is_named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
        let resource = if is_named { resource.build() } else { resource.with_service_name("coracle").build() };
        exporter.set_resource(&resource);
        let (queue, receiver) = mpsc::channel(QUEUED_MAX);
        let lost = Arc::<AtomicU64>::default();
        control.spawn(send(receiver, exporter, Arc::clone(&lost)));
        let scope = InstrumentationScope::builder("coracle.proxy").with_version(env!("CARGO_PKG_VERSION")).build();
        Tracer { queue, lost, scope, ids: RandomIdGenerator::default() }
    }

    /// Begins a span below the one that the request names. `None` where its trace is not sampled.
    pub fn begin(&self, headers: &HeaderMap) -> Option<Begun> {
        if !headers.contains_key(TRACEPARENT) {
            return Some(self.under(self.ids.new_trace_id(), SpanId::INVALID, TraceState::NONE));
        }
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        let span = context.span();
        let parent = span.span_context();
        // What cannot be read is as if it were not there.
        if !parent.is_valid() {
            return Some(self.under(self.ids.new_trace_id(), SpanId::INVALID, TraceState::NONE));
        }
        let begin = || self.under(parent.trace_id(), parent.span_id(), parent.trace_state().clone());
        parent.is_sampled().then(begin)
    }

    fn under(&self, trace: opentelemetry::trace::TraceId, parent: SpanId, state: TraceState) -> Begun {
        let context = SpanContext::new(trace, self.ids.new_span_id(), TraceFlags::SAMPLED, false, state);
        Begun { context, parent }
    }

    /// The request has ended; never waits.
    pub fn end(&self, begun: Begun, entry: &Entry) {
        let span = span::of(begun.context, begun.parent, self.scope.clone(), entry);
        if self.queue.try_send(Message::Span(Box::new(span))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Spans that were not sent.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until what is queued was sent, for a while.
    pub async fn close(&self) {
        let (closed, is_closed) = oneshot::channel();
        let close = async {
            if self.queue.send(Message::Close(closed)).await.is_ok() {
                // It is dropped, unanswered, only with the whole runtime.
                let _ = is_closed.await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, close).await.is_err() {
            tracing::warn!("the collector of traces does not answer: the last spans are lost");
        }
    }
}

impl Begun {
    /// Makes the span the parent of whatever the target does.
    pub fn pass_on(&self, headers: &mut HeaderMap) {
        let line = format!("00-{}-{}-01", self.context.trace_id(), self.context.span_id());
        if let Ok(value) = HeaderValue::from_str(&line) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// Headers as OpenTelemetry reads them.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Sends spans in batches until it is told to close.
async fn send(mut queue: mpsc::Receiver<Message>, exporter: impl SpanExporter, lost: Arc<AtomicU64>) {
    let mut is_failing = false;
    let mut batch = Vec::new();
    let mut closed = None;
    while closed.is_none() {
        let mut deadline = None;
        while batch.len() < BATCH_MAX {
            let message = match deadline {
                None => queue.recv().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, queue.recv()).await {
                    Ok(message) => message,
                    Err(_) => break,
                },
            };
            match message {
                Some(Message::Span(span)) => batch.push(*span),
                Some(Message::Close(answer)) => {
                    closed = Some(Some(answer));
                    break;
                }
                None => {
                    closed = Some(None);
                    break;
                }
            }
            deadline.get_or_insert_with(|| Instant::now() + BATCH_DELAY);
        }
        let spans = batch.len();
        if spans == 0 {
            continue;
        }
        match exporter.export(std::mem::take(&mut batch)).await {
            Ok(()) => is_failing = false,
            Err(error) => {
                lost.fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Ordering::Relaxed);
                // Once for each time that it breaks down.
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(%error, spans, "spans could not be sent to the collector of traces");
                }
            }
        }
    }
    if let Some(Some(answer)) = closed {
        // Whoever asked may have stopped waiting.
        let _ = answer.send(());
    }
}

#[cfg(test)]
mod tests;
