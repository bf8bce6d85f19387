//! `/api/<id>/coracle/stop`: a long poll that is answered when the container is asked to stop.
//!
//! WebAssembly has no signals. A program that is not `interactive` learns here what SIGTERM tells a Linux process: at the
//! same moment, in the same order among the containers, with `stopTimeout` left from then on.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;

use crate::agent::{Agent, Asker, answer};

/// How long a poll is held before it is answered with 204, to be asked again: below the minute after which clients and
/// their libraries give up a silent connection.
pub const POLL_TIMEOUT: Duration = Duration::from_secs(50);

/// ECS's default `stopTimeout`.
const STOP_TIMEOUT_SECONDS: u32 = 30;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stop<'a> {
    #[serde(rename = "TaskARN")]
    task_arn: String,
    container_name: &'a str,
    desired_status: &'static str,
    /// Seconds until it is cut off, counted from the moment of the stop.
    stop_timeout: u32,
}

impl Agent {
    pub(super) async fn stop(&self, asker: &Asker, id: &str) -> Response<Bytes> {
        let Some((_, container)) = asker.container(id) else {
            return answer::text(StatusCode::NOT_FOUND, "Failed to find a task for the request");
        };
        let stopping = self.stops.stopping(asker.task.id, &container.name);
        if tokio::time::timeout(POLL_TIMEOUT, stopping).await.is_err() {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        let asked = asker.definition.as_ref().and_then(|definition| definition.container(&container.name));
        let stop = Stop {
            task_arn: asker.task.arn().into(),
            container_name: &container.name,
            desired_status: "STOPPED",
            stop_timeout: asked.and_then(|asked| asked.stop_timeout).unwrap_or(STOP_TIMEOUT_SECONDS),
        };
        answer::json(StatusCode::OK, &stop)
    }
}
