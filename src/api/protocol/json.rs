//! AWS JSON 1.0 and 1.1: the operation in a header, a JSON object each way.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use serde::Serialize;
use serde_json::Value;

use crate::api::error::ApiError;
use crate::api::protocol::error::DecodeError;

/// Which version the caller speaks: they differ in nothing but the name, which the answer repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1_0,
    V1_1,
}

impl Version {
    pub fn of(headers: &HeaderMap) -> Version {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if content_type.starts_with("application/x-amz-json-1.0") { Version::V1_0 } else { Version::V1_1 }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Version::V1_0 => "application/x-amz-json-1.0",
            Version::V1_1 => "application/x-amz-json-1.1",
        })
    }
}

/// The tree in a body; none at all is an empty object, as some clients send for an operation without members.
pub fn parse(body: &[u8]) -> Result<Value, DecodeError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    serde_json::from_slice(body).map_err(|error| DecodeError::Malformed(format!("The body is not JSON: {error}")))
}

/// The answer of an operation.
pub fn answer(version: Version, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    response.headers_mut().insert(CONTENT_TYPE, version.content_type());
    response
}

/// The answer to what failed; `message_member` is how the service spells the member of the text.
pub fn failure(version: Version, message_member: &'static str, error: &ApiError) -> Response<Bytes> {
    #[derive(Serialize)]
    struct Failure<'a> {
        #[serde(rename = "__type")]
        exception: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
        #[serde(rename = "Message", skip_serializing_if = "Option::is_none")]
        large_message: Option<&'a str>,
        #[serde(rename = "resourceIds", skip_serializing_if = "<[String]>::is_empty")]
        resource_ids: &'a [String],
    }
    let exception = error.kind.exception();
    let text = error.message.as_str();
    let failure = Failure {
        exception,
        message: (message_member == "message").then_some(text),
        large_message: (message_member == "Message").then_some(text),
        resource_ids: &error.resource_ids,
    };
    let body = serde_json::to_vec(&failure).expect("texts always serialize");
    let mut response = answer(version, body);
    *response.status_mut() = error.kind.status();
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(exception));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_body_is_an_empty_object() {
        assert_eq!(parse(b"").unwrap(), serde_json::json!({}));
        assert_eq!(parse(b" \n").unwrap(), serde_json::json!({}));
        assert!(parse(b"{").unwrap_err().to_string().starts_with("The body is not JSON: "));
    }

    #[test]
    fn endless_nesting_is_refused() {
        assert!(matches!(parse("[".repeat(100_000).as_bytes()), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn failures_name_the_exception_and_what_is_in_conflict() {
        let error = ApiError::conflict("Token reused.", vec![String::from("arn:1")]);
        let response = failure(Version::V1_1, "message", &error);
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["x-amzn-errortype"], "ConflictException");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let expected = serde_json::json!({
            "__type": "ConflictException", "message": "Token reused.", "resourceIds": ["arn:1"],
        });
        assert_eq!(body, expected);
        let plain = failure(Version::V1_0, "message", &ApiError::cluster_not_found());
        assert_eq!(plain.headers()[CONTENT_TYPE], "application/x-amz-json-1.0");
        assert_eq!(plain.body().as_ref(), br#"{"__type":"ClusterNotFoundException","message":"Cluster not found."}"#);
        let large = failure(Version::V1_1, "Message", &ApiError::cluster_not_found());
        assert_eq!(large.body().as_ref(), br#"{"__type":"ClusterNotFoundException","Message":"Cluster not found."}"#);
    }
}
