//! The twin of `hello` for wasi:http 0.3: the same paths, written with async functions and streams.
//!
//! `/echo` shows what 0.3 is for: the request's body becomes the answer's body without passing through this guest.

use std::sync::atomic::{AtomicU64, Ordering};

use guest::greeting;
use guest::task;
use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use wasip3::{wit_future, wit_stream};

wasip3::http::service::export!(Hello);

const TEXT: &[(&str, &str)] = &[("content-type", "text/plain; charset=utf-8")];
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// Requests that this instance has answered: it tells fresh instances from kept ones.
static COUNT: AtomicU64 = AtomicU64::new(0);

struct Hello;

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        let target = request.get_path_with_query().unwrap_or_else(|| "/".to_owned());
        let path = target.split('?').next().unwrap_or("/").trim_start_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let response = match (first, rest) {
            ("plain", "") => answer(200, TEXT, format!("Hello from {}\n", task::id())),
            ("count", "") => answer(200, TEXT, format!("{count}\n")),
            ("echo", "") => echo(request),
            ("panic", "") => panic!("asked to panic"),
            ("sleep", ms) => sleep(ms).await,
            _ => answer(200, JSON, everything(&request, &target)),
        };
        Ok(response)
    }
}

/// Answers with a body that is at hand: the response goes first, and the rest of the task feeds its stream.
fn answer(status: u16, headers: &[(&str, &str)], body: String) -> Response {
    let fields = Fields::new();
    for (name, value) in headers {
        append(&fields, name, value.as_bytes());
    }
    append(&fields, "content-length", body.len().to_string().as_bytes());
    let (mut writer, reader) = wit_stream::new();
    // The writer is dropped here, and a future whose writer is gone has the value that this closure makes: no trailers.
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(fields, Some(reader), trailers);
    response.set_status_code(status).expect("the guest answers with statuses from 200 to 599");
    wasip3::spawn_local(async move {
        // What is left over was not wanted: the client is gone, or asked for the head alone.
        let _ = writer.write_all(body.into_bytes()).await;
    });
    response
}

fn append(fields: &Fields, name: &str, value: &[u8]) {
    fields.append(name, value).expect("the guest sets no header that a host forbids");
}

async fn sleep(ms: &str) -> Response {
    let Ok(ms) = ms.parse::<u32>() else {
        return answer(400, TEXT, "a number is expected after the last slash\n".to_owned());
    };
    monotonic_clock::wait_for(u64::from(ms) * 1_000_000).await;
    answer(200, TEXT, format!("slept {ms} ms\n"))
}

fn echo(request: Request) -> Response {
    if !matches!(request.get_method(), Method::Post | Method::Put) {
        return answer(405, &[("allow", "POST, PUT")], String::new());
    }
    let fields = Fields::new();
    let content_type = request.get_headers().get("content-type").into_iter().next();
    append(&fields, "content-type", content_type.as_deref().unwrap_or(b"application/octet-stream"));
    let (_, received) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, received);
    let (response, _sent) = Response::new(fields, Some(body), trailers);
    response
}

fn everything(request: &Request, target: &str) -> String {
    let headers = request.get_headers().copy_all();
    greeting::compose(&method_name(&request.get_method()), target, headers).finish() + "\n"
}

/// The method's name, as on the wire.
fn method_name(method: &Method) -> String {
    match method {
        Method::Other(name) => name.clone(),
        // The names of the cases are the methods' own, in another case.
        known => format!("{known:?}").trim_start_matches("Method::").to_ascii_uppercase(),
    }
}
