//! `/api/<id>/fault/v1/…`: faults cannot be injected here, which is what the agent answers where the definition does not
//! enable them.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::Serialize;

use crate::agent::{Asker, answer};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    error: String,
}

pub(super) fn answer(asker: &Asker, id: &str, fault: &str, operation: &str, method: &Method) -> Response<Bytes> {
    let is_fault = matches!(fault, "network-blackhole-port" | "network-latency" | "network-packet-loss");
    if !is_fault || !matches!(operation, "start" | "stop" | "status") {
        return answer::not_found();
    }
    if method != Method::POST {
        return answer::plain(StatusCode::METHOD_NOT_ALLOWED, "");
    }
    if asker.container(id).is_none() {
        let error = format!("unable to lookup container: {}", answer::cut(id));
        return answer::json(StatusCode::NOT_FOUND, &Answer { error });
    }
    let error = format!("enableFaultInjection is not enabled for task: {}", asker.task.arn());
    answer::json(StatusCode::BAD_REQUEST, &Answer { error })
}
