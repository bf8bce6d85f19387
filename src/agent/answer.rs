//! Answers in the forms of the ECS agent: JSON always, also where it is one string that says what is wrong.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::agent::Version;

/// As much of what was sent as an answer repeats.
const REPEATED_CHARS_MAX: usize = 128;

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(body) => with_type(status, Bytes::from(body), HeaderValue::from_static("application/json")),
        Err(error) => {
            tracing::error!(%error, "an answer to a task could not be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "{}")
        }
    }
}

/// The agent's errors: a string of JSON.
pub(super) fn text(status: StatusCode, text: &str) -> Response<Bytes> {
    json(status, &text)
}

/// Text as it is.
pub fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    with_type(status, Bytes::from_static(text.as_bytes()), HeaderValue::from_static("text/plain; charset=utf-8"))
}

fn with_type(status: StatusCode, body: Bytes, content_type: HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A path that is none.
pub(super) fn not_found() -> Response<Bytes> {
    plain(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// An id that is none of the asking task's. The fourth version says 404; the third, for whatever reason, says 400.
pub(super) fn unknown_id(version: Version, what: &str, id: &str) -> Response<Bytes> {
    let id = cut(id);
    let reason = match what {
        "container metadata" => {
            format!("unable to get container ID from request: unable to get docker ID from v3 endpoint ID: {id}")
        }
        "container associations" => {
            format!("unable to get container id from request: unable to get docker ID from v3 endpoint ID: {id}")
        }
        _ => format!("unable to get task arn from request: unable to get task Arn from v3 endpoint ID: {id}"),
    };
    let status = match (version, what) {
        (_, "container associations") | (Version::V2 | Version::V3, _) => StatusCode::BAD_REQUEST,
        (Version::V4, _) => StatusCode::NOT_FOUND,
    };
    text(status, &format!("{version:?} {what} handler: {reason}"))
}

/// The container is the task's own, but the node does not run it at the moment.
pub(super) fn no_stats(version: Version, id: &str) -> Response<Bytes> {
    let status = if version == Version::V4 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::BAD_REQUEST };
    text(status, &format!("Unable to get container stats for: {id}"))
}

pub(super) fn no_associations(rest: &[&str]) -> Response<Bytes> {
    let (kind, name) = (rest.get(1).copied().unwrap_or_default(), rest.get(2..).unwrap_or_default().join("/"));
    text(
        StatusCode::NOT_FOUND,
        &format!(
            "Unable to write container association response: unable to get association from association type {} and \
             association name {}",
            cut(kind),
            cut(&name)
        ),
    )
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(REPEATED_CHARS_MAX).collect()
}
