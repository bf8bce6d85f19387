//! Answers a request of wasi:http 0.2.
//!
//! The answer is handed over (`ResponseOutparam::set`) before its body is written: a host sends what it gets while the
//! guest goes on, and a long body never has to fit in memory. A client that goes away closes the body's stream; that is
//! no failure of the guest, so writing then just ends.

use std::io::Write;

use wasip2::http::types::ResponseOutparam;
use wasip2::http::types::{Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// Read at once from a request's body, and so held in memory of it: big enough that calls to the host do not dominate.
const CHUNK_BYTES: u64 = 64 * 1024;

/// The head of an answer. A body's length belongs into `headers` where it is known; without, HTTP/1.1 sends chunks.
pub struct Head<'a> {
    pub status: u16,
    pub headers: &'a [(&'a str, &'a str)],
}

/// Answers with a body that is at hand.
pub fn whole(out: ResponseOutparam, head: &Head, body: &[u8]) {
    let length = body.len().to_string();
    let mut headers = head.headers.to_vec();
    headers.push(("content-length", &length));
    streamed(out, &Head { status: head.status, headers: &headers }, |stream| {
        // Fails when the client is gone.
        let _ = stream.write_all(body);
    });
}

/// Answers with a body that `write` produces while it is sent.
pub fn streamed(out: ResponseOutparam, head: &Head, write: impl FnOnce(&mut OutputStream)) {
    let response = response(head);
    let body = response.body().expect("the body of a new response was not taken yet");
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().expect("the stream of a new body was not taken yet");
    write(&mut stream);
    drop(stream);
    // Fails when the client is gone, or when less was written than content-length promised: the host cuts the answer.
    let _ = OutgoingBody::finish(body, None);
}

/// Answers without a body, as HEAD, 204 and 304 want it. A content-length given here is sent and not waited for, because
/// the response's body is never asked for.
pub fn bodiless(out: ResponseOutparam, head: &Head) {
    ResponseOutparam::set(out, Ok(response(head)));
}

fn response(head: &Head) -> OutgoingResponse {
    let fields = Fields::new();
    for (name, value) in head.headers {
        fields.append(name, value.as_bytes()).expect("the guests set no header that a host forbids");
    }
    let response = OutgoingResponse::new(fields);
    response.set_status_code(head.status).expect("the guests answer with statuses from 200 to 599");
    response
}

/// Hands the request's body to `each`, chunk by chunk, until it ends or `each` fails.
pub fn read_body(request: &IncomingRequest, mut each: impl FnMut(&[u8]) -> std::io::Result<()>) {
    let Ok(body) = request.consume() else { return };
    let Ok(stream) = body.stream() else { return };
    while let Some(chunk) = next_chunk(&stream) {
        if each(&chunk).is_err() {
            break;
        }
    }
    drop(stream);
    drop(IncomingBody::finish(body));
}

fn next_chunk(stream: &InputStream) -> Option<Vec<u8>> {
    loop {
        match stream.blocking_read(CHUNK_BYTES) {
            Ok(chunk) if chunk.is_empty() => {}
            Ok(chunk) => return Some(chunk),
            Err(StreamError::Closed | StreamError::LastOperationFailed(_)) => return None,
        }
    }
}

/// The method's name, as on the wire.
pub fn method_name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}
