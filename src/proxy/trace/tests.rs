use std::fmt;
use std::sync::Mutex;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use tokio::runtime::Handle;

use super::*;
use crate::proxy::access_log::testing::entry;

/// Keeps what it is given, or refuses it.
#[derive(Clone)]
struct Collector {
    batches: Arc<Mutex<Vec<Vec<SpanData>>>>,
    refuses: bool,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        if self.refuses {
            return Err(OTelSdkError::InternalFailure("refused".into()));
        }
        self.batches.lock().unwrap().push(batch);
        Ok(())
    }
}

fn collector(refuses: bool) -> Collector {
    Collector { batches: Arc::default(), refuses }
}

fn headers(traceparent: &str) -> HeaderMap {
    HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(traceparent).unwrap())])
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|found| found.value.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_span_joins_the_trace_of_the_client_and_is_the_targets_parent() {
    let collector = collector(false);
    let tracer = Tracer::over(collector.clone(), &Handle::current());
    let mut headers = headers("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let begun = tracer.begin(&headers).unwrap();
    begun.pass_on(&mut headers);
    tracer.end(begun, &Entry { status: 502, target_status: None, failure: Some("it broke".into()), ..entry() });
    tracer.close().await;

    let batches = collector.batches.lock().unwrap();
    let span = &batches[0][0];
    assert_eq!(span.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    let passed_on = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", span.span_context.span_id());
    assert_eq!(headers[TRACEPARENT], passed_on);
    assert_eq!(attribute(span, "http.response.status_code").as_deref(), Some("502"));
    assert_eq!(attribute(span, "url.query").as_deref(), Some("b=c"));
    assert_eq!(attribute(span, "server.address").as_deref(), Some("www.example.com"));
    assert_eq!(attribute(span, "error.type").as_deref(), Some("502"));
    let trace_id = attribute(span, "http.request.header.x-amzn-trace-id").unwrap();
    assert!(trace_id.contains("Root=1-58337262"), "{trace_id}");
    assert_eq!(span.status, opentelemetry::trace::Status::error("it broke"));
    assert_eq!((span.start_time, span.end_time), (entry().created_at, entry().ended_at));
}

#[tokio::test(start_paused = true)]
async fn a_trace_that_is_not_sampled_is_left_alone_and_a_broken_one_begins_anew() {
    let tracer = Tracer::over(collector(false), &Handle::current());
    assert!(tracer.begin(&headers("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")).is_none());
    let anew = tracer.begin(&headers("00-nonsense")).unwrap();
    assert_eq!(anew.parent, SpanId::INVALID);
    assert!(anew.context.is_valid() && anew.context.is_sampled());
}

#[tokio::test(start_paused = true)]
async fn spans_are_sent_in_batches_and_those_that_are_refused_are_counted() {
    let kept = collector(false);
    let tracer = Tracer::over(kept.clone(), &Handle::current());
    for _ in 0..BATCH_MAX + 1 {
        tracer.end(tracer.begin(&HeaderMap::new()).unwrap(), &entry());
    }
    tracer.close().await;
    let sizes: Vec<_> = kept.batches.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes, [BATCH_MAX, 1]);
    assert_eq!(tracer.lost(), 0);

    let tracer = Tracer::over(collector(true), &Handle::current());
    tracer.end(tracer.begin(&HeaderMap::new()).unwrap(), &entry());
    tracer.close().await;
    assert_eq!(tracer.lost(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_does_not_hold_is_counted() {
    // Nothing here lets the sender run.
    let tracer = Tracer::over(collector(false), &Handle::current());
    for _ in 0..QUEUED_MAX + 3 {
        tracer.end(tracer.begin(&HeaderMap::new()).unwrap(), &entry());
    }
    assert_eq!(tracer.lost(), 3);
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_used_is_refused() {
    for url in ["https://collector.example/v1/traces", "localhost:4318", ""] {
        assert!(Tracer::start(url, &Handle::current()).is_err(), "{url}");
    }
}
