//! Puts the agent at 169.254.170.2: reads what a guest sends, within bounds, and brings time and randomness.
//!
//! Answers are made on the runtime of the control plane. A guest that goes away takes its question with it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::agent::{Agent, Moment, StopSource, plain};
use crate::control::RuntimeHost;
use crate::model::{TaskId, Timestamp};
use crate::runtime::{RequestBody, ResponseBody, TaskEndpoint};

/// The largest thing to send is the state of a protection, or a fault with a list of addresses.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A guest sends its few bytes at once.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions of one task that wait for their answers: some long polls and the SDKs of ten containers.
const UNDER_WAY_MAX: usize = 64;

/// The agent, as the runtime calls it. It is filled once the runtime is there, of which the agent reads the usage; no task
/// starts before that.
pub struct AgentEndpoint {
    inner: Arc<Inner>,
    control: Handle,
}

#[derive(Default)]
struct Inner {
    agent: OnceLock<Agent>,
    under_way: Mutex<HashMap<TaskId, usize>>,
}

/// One question that is under way; counted until it is dropped.
struct UnderWay(Arc<Inner>, TaskId);

impl AgentEndpoint {
    pub fn new(control: Handle) -> AgentEndpoint {
        AgentEndpoint { inner: Arc::default(), control }
    }

    pub fn fill(&self, agent: Agent) {
        // A second agent would be a second start of the server: the first one stays.
        let _ = self.inner.agent.set(agent);
    }
}

impl TaskEndpoint for AgentEndpoint {
    fn call(&self, task: TaskId, request: Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> {
        let Some(under_way) = UnderWay::begin(&self.inner, task) else {
            let refusal = plain(StatusCode::TOO_MANY_REQUESTS, "too many requests of this task are under way");
            return Box::pin(std::future::ready(refusal.map(body)));
        };
        let inner = Arc::clone(&self.inner);
        let answer = AbortOnDropHandle::new(self.control.spawn(async move {
            let response = answer(&inner, task, request).await;
            drop(under_way);
            response
        }));
        Box::pin(async move {
            let response = answer.await.unwrap_or_else(|error| {
                tracing::error!(%task, %error, "a request of a task ended without an answer");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the server's log has more")
            });
            response.map(body)
        })
    }
}

async fn answer(inner: &Inner, task: TaskId, request: Request<RequestBody>) -> Response<Bytes> {
    let Some(agent) = inner.agent.get() else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the server is starting");
    };
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_TIMEOUT, read(body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(refusal)) => return refusal,
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
    };
    let mut entropy = [0; _];
    if let Err(error) = getrandom::fill(&mut entropy) {
        tracing::error!(%error, "the operating system gave no randomness");
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the server's log has more");
    }
    agent.answer(task, Request::from_parts(parts, body), Moment { now: now(), entropy }).await
}

async fn read(mut body: RequestBody) -> Result<Bytes, Response<Bytes>> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(plain(StatusCode::BAD_REQUEST, "the body was cut off")) };
        let data = frame.into_data().unwrap_or_default();
        if read.len() + data.len() > BODY_BYTES_MAX {
            return Err(plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn body(bytes: Bytes) -> ResponseBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

impl UnderWay {
    fn begin(inner: &Arc<Inner>, task: TaskId) -> Option<UnderWay> {
        let mut under_way = inner.under_way.lock();
        let count = under_way.entry(task).or_default();
        if *count >= UNDER_WAY_MAX {
            return None;
        }
        *count += 1;
        Some(UnderWay(Arc::clone(inner), task))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut under_way = self.0.under_way.lock();
        match under_way.get_mut(&self.1) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(under_way.remove(&self.1)),
        }
    }
}

/// The runtime's orders, as the agent waits for them.
pub struct Stops(pub Arc<RuntimeHost>);

impl StopSource for Stops {
    fn stopping(&self, task: TaskId, container: &str) -> BoxFuture<'static, ()> {
        self.0.stopping(task, container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_so_many_questions_under_way_and_no_more() {
        let inner = Arc::new(Inner::default());
        let held: Vec<_> = std::iter::from_fn(|| UnderWay::begin(&inner, TaskId(1))).collect();
        assert_eq!(held.len(), UNDER_WAY_MAX);
        assert!(UnderWay::begin(&inner, TaskId(2)).is_some());
        drop(held);
        assert!(inner.under_way.lock().is_empty());
    }
}
