//! What our own command line asks a server for beyond the AWS APIs: logs as a stream, images, where listeners are bound.
//! Under `/_coracle/`, guarded as the API is: by Host, by Origin and, where keys are configured, by signature.

mod balancers;
mod usage;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::front::LocalApi;
use crate::identity::{AccessKeys, signature};
use crate::model::{Task, TaskId, Timestamp};
use crate::proxy::{Body, BoxError, Proxy};
use crate::runtime::Runtime;
use crate::store::{Prefix, Store};
use crate::telemetry::logs::LogLine;
use crate::telemetry::{Logs, UsageSource};

/// Lines that are read and sent at once.
const PAGE_LINES: usize = 512;
/// Pages on their way to a slow reader; then the reading waits.
const PAGES_QUEUED_MAX: usize = 4;

pub struct LocalEndpoints {
    store: Store,
    logs: Logs,
    runtime: Runtime,
    proxy: Arc<Proxy>,
    usage: Arc<dyn UsageSource>,
    keys: AccessKeys,
}

impl LocalEndpoints {
    pub fn new(
        store: Store,
        logs: Logs,
        runtime: Runtime,
        proxy: Arc<Proxy>,
        usage: Arc<dyn UsageSource>,
        keys: AccessKeys,
    ) -> LocalEndpoints {
        LocalEndpoints { store, logs, runtime, proxy, usage, keys }
    }

    /// What tasks use, those of one region where it is named.
    fn usage(&self, query: &str) -> Value {
        let region = parameter(query, "region");
        usage::ledger(&self.store.snapshot(), &*self.usage, region.as_deref())
    }

    /// What load balancers did, those of one region where it is named.
    fn balancers(&self, query: &str) -> Value {
        let region = parameter(query, "region");
        balancers::report(&self.proxy.balancer_stats(), &self.proxy.stats(), region.as_deref())
    }

    fn images(&self) -> Value {
        let mut rows = Vec::new();
        for image in self.runtime.images() {
            for name in &image.names {
                rows.push(json!({
                    "name": name,
                    "source": image.file.as_ref().map_or_else(|| String::from("built in"), |file| file.display().to_string()),
                    "sizeBytes": image.size_bytes,
                    "digest": image.digest,
                }));
            }
        }
        Value::Array(rows)
    }

    /// The lines of a task. Of one that has stopped, or that is not known, none will follow.
    fn logs(&self, id: TaskId, query: &str) -> Response<Body> {
        let snapshot = self.store.snapshot();
        let task = snapshot.iter::<Task>(&Prefix::all_tasks()).find(|task| task.id == id);
        match task {
            Some(task) => stream(self.logs.clone(), id, query, !task.is_stopped()),
            None => text(StatusCode::NOT_FOUND, format!("there is no task {id}\n")),
        }
    }

    fn node(&self) -> Value {
        let bound = self.proxy.bound();
        let listeners: Vec<Value> = bound
            .borrow()
            .iter()
            .map(|(arn, address)| json!({"listenerArn": arn.as_str(), "address": address.to_string()}))
            .collect();
        json!({
            "capacity": self.runtime.capacity().to_string(),
            "instances": self.runtime.instances(),
            "memoryHeldBytes": self.runtime.memory_use().held_bytes,
            "listeners": listeners,
        })
    }
}

#[async_trait]
impl LocalApi for LocalEndpoints {
    async fn call(&self, request: Request<Bytes>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if self.keys.are_configured() {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let now = Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
            if let Err(error) = signature::verify(&parts, &body, &self.keys, "ecs", now) {
                return text(StatusCode::FORBIDDEN, format!("{error}\n"));
            }
        }
        if parts.method != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, String::from("only GET is answered here\n"));
        }
        match parts.uri.path().strip_prefix("/_coracle/").unwrap_or_default() {
            "images" => answer(&self.images()),
            "node" => answer(&self.node()),
            "metrics" => open_metrics(self.proxy.metrics()),
            "balancers" => answer(&self.balancers(parts.uri.query().unwrap_or_default())),
            "usage" => answer(&self.usage(parts.uri.query().unwrap_or_default())),
            path => match path.strip_prefix("logs/").and_then(|id| id.parse::<TaskId>().ok()) {
                Some(task) => self.logs(task, parts.uri.query().unwrap_or_default()),
                None => text(StatusCode::NOT_FOUND, String::from("there is nothing here\n")),
            },
        }
    }
}

fn body_of(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(body_of(text));
    *response.status_mut() = status;
    response
}

fn open_metrics(metrics: String) -> Response<Body> {
    let mut response = Response::new(body_of(metrics));
    let content_type = http::HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn answer(value: &Value) -> Response<Body> {
    let mut response = Response::new(body_of(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn parameter(query: &str, wanted: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
}

/// The lines of one task, one JSON object each. With `follow=true` it ends with the task; a reader that goes away ends it.
fn stream(logs: Logs, task: TaskId, query: &str, may_follow: bool) -> Response<Body> {
    let parameter = |wanted: &str| parameter(query, wanted);
    let follow = may_follow && parameter("follow").as_deref() == Some("true");
    let after = match parameter("tail").and_then(|count| count.parse().ok()) {
        Some(count) => logs.tail(task, count),
        None => 0,
    };
    let (sender, mut pages) = mpsc::channel::<Bytes>(PAGES_QUEUED_MAX);
    tokio::spawn(async move {
        tokio::select! {
            () = send_lines(&logs, task, after, follow, &sender) => {}
            () = sender.closed() => {}
        }
    });
    let frames = futures_util::stream::poll_fn(move |cx| {
        pages.poll_recv(cx).map(|page| page.map(|bytes| Ok::<_, BoxError>(Frame::data(bytes))))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/x-ndjson"));
    response
}

async fn send_lines(logs: &Logs, task: TaskId, mut after: u64, follow: bool, sender: &mpsc::Sender<Bytes>) {
    let mut signal = follow.then(|| logs.follow(task));
    loop {
        if let Some(signal) = &mut signal {
            signal.mark_unchanged();
        }
        let page = logs.read(task, after, PAGE_LINES);
        let mut bytes = Vec::new();
        for line in &page.lines {
            after = line.sequence;
            bytes.extend_from_slice(object(task, line).to_string().as_bytes());
            bytes.push(b'\n');
        }
        if !bytes.is_empty() && sender.send(Bytes::from(bytes)).await.is_err() {
            return;
        }
        if page.ended {
            return;
        }
        if page.lines.is_empty() {
            let Some(signal) = &mut signal else { return };
            if signal.changed().await.is_err() {
                return;
            }
        }
    }
}

fn object(task: TaskId, line: &LogLine) -> Value {
    json!({
        "task": task.to_string(),
        "container": &*line.container,
        "stream": line.stream.as_str(),
        "timestamp": line.at.rfc3339(),
        "message": &*line.message,
    })
}
