//! A handler of wasi:http 0.2 that answers with what it knows: the request, its environment and its task.
//!
//! Some paths do one thing instead, for tests and benchmarks; the README lists them. Everything else gets the
//! JSON, so that it shows what a proxy in front of it made of any path.

use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use guest::answer::{self, Head};
use guest::greeting;
use guest::json::Object;
use guest::task;
use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};
use wasip2::io::streams::OutputStream;

wasip2::http::proxy::export!(Hello);

const TEXT: &[(&str, &str)] = &[("content-type", "text/plain; charset=utf-8")];
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const PAGE_BYTES: usize = 4096;
const MIB_BYTES: usize = 1 << 20;

/// Requests that this instance has answered: it tells fresh instances from kept ones.
static COUNT: AtomicU64 = AtomicU64::new(0);

struct Hello;

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        let target = request.path_with_query().unwrap_or_else(|| "/".to_owned());
        let path = target.split('?').next().unwrap_or("/").trim_start_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        match (first, rest) {
            ("plain", "") => text(out, 200, &format!("Hello from {}\n", task::id())),
            ("count", "") => text(out, 200, &format!("{count}\n")),
            ("echo", "") => echo(&request, out),
            ("headers", "") => json(out, greeting::headers(request.headers().entries())),
            ("environment", "") => json(out, greeting::environment()),
            ("panic", "") => panic!("asked to panic"),
            ("log", message) => log(out, message),
            ("status", status) => numbered(out, status, answer_status),
            ("sleep", ms) => numbered(out, ms, sleep),
            ("spin", ms) => numbered(out, ms, spin),
            ("grow", mib) => numbered(out, mib, grow),
            ("bytes", count) => numbered(out, count, send_bytes),
            ("drip", count) => numbered(out, count, drip),
            _ => json(out, everything(&request, &target)),
        }
    }
}

fn text(out: ResponseOutparam, status: u16, body: &str) {
    answer::whole(out, &Head { status, headers: TEXT }, body.as_bytes());
}

fn json(out: ResponseOutparam, object: Object) {
    let mut body = object.finish();
    body.push('\n');
    answer::whole(out, &Head { status: 200, headers: JSON }, body.as_bytes());
}

/// Calls `route` with the number in the path, or refuses a path without one.
fn numbered(out: ResponseOutparam, number: &str, route: fn(ResponseOutparam, u32)) {
    match number.parse() {
        Ok(number) => route(out, number),
        Err(_) => text(out, 400, "a number is expected after the last slash\n"),
    }
}

fn everything(request: &IncomingRequest, target: &str) -> Object {
    greeting::compose(answer::method_name(&request.method()), target, request.headers().entries())
}

fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    if !matches!(request.method(), Method::Post | Method::Put) {
        return answer::whole(out, &Head { status: 405, headers: &[("allow", "POST, PUT")] }, b"");
    }
    let content_type = request.headers().get("content-type").into_iter().next();
    let content_type = content_type.and_then(|value| String::from_utf8(value).ok());
    let headers = [("content-type", content_type.as_deref().unwrap_or("application/octet-stream"))];
    answer::streamed(out, &Head { status: 200, headers: &headers }, |stream| {
        answer::read_body(request, |chunk| stream.write_all(chunk));
    });
}

fn log(out: ResponseOutparam, message: &str) {
    println!("{message}");
    eprintln!("{message}");
    text(out, 200, &format!("{message}\n"));
}

fn answer_status(out: ResponseOutparam, status: u32) {
    match u16::try_from(status) {
        // These have no body by definition.
        Ok(status @ (204 | 205 | 304)) => answer::bodiless(out, &Head { status, headers: &[] }),
        Ok(status @ 200..=599) => text(out, status, &format!("{status}\n")),
        _ => text(out, 400, "a status from 200 to 599 is expected\n"),
    }
}

fn sleep(out: ResponseOutparam, ms: u32) {
    monotonic_clock::subscribe_duration(u64::from(ms) * 1_000_000).block();
    text(out, 200, &format!("slept {ms} ms\n"));
}

/// Computes until `ms` have passed on the clock: with less than a core to itself it computes less, not longer.
fn spin(out: ResponseOutparam, ms: u32) {
    let end = Instant::now() + Duration::from_millis(u64::from(ms));
    let mut rounds = 0u64;
    while Instant::now() < end {
        for step in 0..10_000u64 {
            black_box(step);
        }
        rounds += 1;
    }
    text(out, 200, &format!("spun {rounds} rounds in {ms} ms\n"));
}

/// Allocates, touches every page so that the memory is really used, and holds it until the answer is given.
fn grow(out: ResponseOutparam, mib: u32) {
    let mut memory: Vec<u8> = Vec::new();
    let bytes = (mib as usize).checked_mul(MIB_BYTES);
    if bytes.is_none_or(|bytes| memory.try_reserve_exact(bytes).is_err()) {
        return text(out, 507, &format!("no room for {mib} MiB\n"));
    }
    memory.resize(memory.capacity(), 0);
    for page in memory.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
    text(out, 200, &format!("held {mib} MiB\n"));
    drop(black_box(memory));
}

fn send_bytes(out: ResponseOutparam, count: u32) {
    let length = count.to_string();
    let headers = [("content-type", "application/octet-stream"), ("content-length", &length)];
    answer::streamed(out, &Head { status: 200, headers: &headers }, |stream| {
        let chunk = [b'.'; PAGE_BYTES];
        let mut left = count as usize;
        while left > 0 {
            let now = left.min(chunk.len());
            if stream.write_all(&chunk[..now]).is_err() {
                return;
            }
            left -= now;
        }
    });
}

/// Sends a line every 100 ms: an answer that is under way for long, for draining and streaming.
fn drip(out: ResponseOutparam, count: u32) {
    answer::streamed(out, &Head { status: 200, headers: TEXT }, |stream: &mut OutputStream| {
        for line in 1..=count {
            if writeln!(stream, "{line}").and_then(|()| stream.flush()).is_err() {
                return;
            }
            monotonic_clock::subscribe_duration(100_000_000).block();
        }
    });
}
