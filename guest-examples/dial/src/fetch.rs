//! One request by `wasi:http`, from a program.

use wasip2::http::outgoing_handler::{RequestOptions, handle};
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use wasip2::io::streams::StreamError;

/// For each phase. No test waits so long for an answer that comes.
const TIMEOUT_NS: u64 = 20_000_000_000;
const CHUNK_BYTES: u64 = 64 * 1024;

/// The status and the body, or the error code of `wasi:http`.
pub fn fetch(url: &str, method: Method, body: Option<&str>) -> Result<String, String> {
    let (scheme, rest) = url.split_once("://").ok_or("a URL begins with its scheme")?;
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(&method).map_err(|()| "method refused")?;
    request.set_scheme(Some(&scheme)).map_err(|()| "scheme refused")?;
    request.set_authority(Some(authority)).map_err(|()| "authority refused")?;
    request.set_path_with_query(Some(path)).map_err(|()| "path refused")?;
    let options = RequestOptions::new();
    let _ = options.set_connect_timeout(Some(TIMEOUT_NS));
    let _ = options.set_first_byte_timeout(Some(TIMEOUT_NS));
    let _ = options.set_between_bytes_timeout(Some(TIMEOUT_NS));
    let outgoing = request.body().map_err(|()| "no body")?;
    let answer = handle(request, Some(options)).map_err(name)?;
    if let Some(body) = body {
        let stream = outgoing.write().map_err(|()| "no stream")?;
        // Whoever does not want the body says so in its answer.
        let _ = stream.blocking_write_and_flush(body.as_bytes());
    }
    let _ = OutgoingBody::finish(outgoing, None);
    answer.subscribe().block();
    let answer = answer.get().ok_or("not ready")?.map_err(|()| "taken")?.map_err(name)?;
    Ok(format!("{} {}", answer.status(), read(&answer)?))
}

fn name(code: ErrorCode) -> String {
    format!("{code:?}")
}

fn read(answer: &IncomingResponse) -> Result<String, String> {
    let body: IncomingBody = answer.consume().map_err(|()| "taken")?;
    let stream = body.stream().map_err(|()| "taken")?;
    let mut all = Vec::new();
    loop {
        match stream.blocking_read(CHUNK_BYTES) {
            Ok(chunk) => all.extend(chunk),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
    Ok(String::from_utf8_lossy(&all).trim_end().replace('\n', " | "))
}
