//! A handler of wasi:http 0.2 that attacks its host in the way that the request's path names.
//!
//! Where an attempt is stopped without ending the guest, the answer's body says `held WHY`, or `BREACH WHAT`.

use std::cell::RefCell;
use std::hint::black_box;
use std::io::Write;

use guest::answer::{self, Head};
use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam,
};

wasip2::http::proxy::export!(Hostile);

const MIB_BYTES: usize = 1 << 20;
const TEXT: &[(&str, &str)] = &[("content-type", "text/plain")];

/// What one request leaves and another looks for.
const STAIN: u8 = 0xa5;

struct Hostile;

thread_local! {
    /// What a request took with it from the table, so that it is dropped with the instance and not before.
    static TAKEN: RefCell<Vec<IncomingRequest>> = const { RefCell::new(Vec::new()) };
}

impl wasip2::exports::http::incoming_handler::Guest for Hostile {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_else(|| "/".to_owned());
        let path = target.trim_start_matches('/').to_owned();
        let (first, rest) = path.split_once('/').unwrap_or((&path, ""));
        let number: usize = rest.parse().unwrap_or(0);
        match first {
            "plain" => text(out, "plain\n"),
            "spin" => spin(),
            "recurse" => text(out, &recurse(black_box(0)).to_string()),
            "grow" => grow(out, number),
            "header" => giant_header(out, number),
            "headers" => many_headers(out, number),
            "splitting" => splitting(out),
            "status" => status(out, number),
            "silent" => drop((out, request)),
            "late" => late(out),
            "never" => never(out),
            "endless" => endless(out),
            "short" => short(out, number),
            "trap" => panic!("asked to"),
            "trap-in-body" => trap_in_body(out),
            "trap-after" => trap_after(out),
            "exit-in-body" => exit_in_body(out),
            "unread" => unread(request, out),
            "slow-read" => slow_read(request, out),
            "fork" => fork(out, number),
            "stain" => stain(out, number),
            "search" => search(out, number),
            "error" => ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("e".repeat(number))))),
            "flood" => flood(out, number),
            _ => text(out, "unknown\n"),
        }
    }
}

fn text(out: ResponseOutparam, body: &str) {
    answer::whole(out, &Head { status: 200, headers: TEXT }, body.as_bytes());
}

fn spin() -> ! {
    let mut step = 0u64;
    loop {
        step = black_box(step + 1);
    }
}

#[expect(unconditional_recursion, reason = "exhausting the stack is what it is for")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + 1
}

fn grow(out: ResponseOutparam, mib: usize) {
    let mut memory = vec![0u8; mib * MIB_BYTES];
    memory.fill(black_box(1));
    text(out, "grown\n");
    drop(black_box(memory));
}

/// One header of so many bytes.
fn giant_header(out: ResponseOutparam, bytes: usize) {
    let fields = Fields::new();
    match fields.append("x-giant", &vec![b'g'; bytes]) {
        Ok(()) => respond(out, fields, "sent\n"),
        Err(error) => text(out, &format!("held {error}\n")),
    }
}

/// So many headers.
fn many_headers(out: ResponseOutparam, count: usize) {
    let fields = Fields::new();
    for number in 0..count {
        if let Err(error) = fields.append(&format!("x-{number}"), b"1") {
            return text(out, &format!("held {error} after {number}\n"));
        }
    }
    respond(out, fields, "sent\n");
}

/// Headers that would end the head, or tell the proxy in front about the connection.
fn splitting(out: ResponseOutparam) {
    let mut body = String::new();
    for (name, value) in [
        ("x-split", "a\r\nx-injected: 1"),
        ("x-split", "a\r\n\r\n<script>"),
        ("x-split\r\nx-injected", "1"),
        ("transfer-encoding", "chunked"),
        ("connection", "upgrade"),
        ("keep-alive", "timeout=1000000"),
        ("upgrade", "websocket"),
        ("x-zero", "a\0b"),
        ("", "empty"),
    ] {
        match Fields::new().append(name, value.as_bytes()) {
            Ok(()) => body.push_str(&format!("BREACH {name:?}: {value:?}\n")),
            Err(error) => body.push_str(&format!("held {name:?}: {error}\n")),
        }
    }
    text(out, &body);
}

fn status(out: ResponseOutparam, status: usize) {
    let response = OutgoingResponse::new(Fields::new());
    let set = u16::try_from(status).map_err(|_| ()).and_then(|status| response.set_status_code(status));
    match set {
        Ok(()) => ResponseOutparam::set(out, Ok(response)),
        Err(()) => text(out, "held the status\n"),
    }
}

fn respond(out: ResponseOutparam, fields: Fields, body: &str) {
    let response = OutgoingResponse::new(fields);
    let outgoing = response.body();
    ResponseOutparam::set(out, Ok(response));
    if let Ok(outgoing) = outgoing {
        if let Ok(mut stream) = outgoing.write() {
            let _ = stream.write_all(body.as_bytes());
        }
        let _ = OutgoingBody::finish(outgoing, None);
    }
}

/// No head, ever.
fn late(out: ResponseOutparam) {
    monotonic_clock::subscribe_duration(u64::MAX).block();
    text(out, "late\n");
}

/// A head, and a body that never comes.
fn never(out: ResponseOutparam) {
    answer::streamed(out, &Head { status: 200, headers: TEXT }, |_| {
        monotonic_clock::subscribe_duration(u64::MAX).block();
    });
}

/// A body without an end, as fast as it is taken.
fn endless(out: ResponseOutparam) {
    answer::streamed(out, &Head { status: 200, headers: TEXT }, |stream| {
        let chunk = [b'e'; 4096];
        while stream.write_all(&chunk).is_ok() {}
    });
}

/// Promises more than it sends.
fn short(out: ResponseOutparam, promised: usize) {
    let length = promised.to_string();
    answer::streamed(out, &Head { status: 200, headers: &[("content-length", &length)] }, |stream| {
        let _ = stream.write_all(b"short");
    });
}

fn trap_in_body(out: ResponseOutparam) {
    answer::streamed(out, &Head { status: 200, headers: TEXT }, |stream| {
        let _ = stream.write_all(b"half of it").and_then(|()| stream.flush());
        panic!("asked to, in the body");
    });
}

fn trap_after(out: ResponseOutparam) {
    text(out, "whole\n");
    panic!("asked to, after the answer");
}

fn exit_in_body(out: ResponseOutparam) {
    answer::streamed(out, &Head { status: 200, headers: TEXT }, |stream| {
        let _ = stream.write_all(b"half of it").and_then(|()| stream.flush());
        std::process::exit(1);
    });
}

/// Answers without reading the request's body, and keeps it.
fn unread(request: IncomingRequest, out: ResponseOutparam) {
    TAKEN.with_borrow_mut(|taken| taken.push(request));
    text(out, "unread\n");
}

/// One byte a second.
fn slow_read(request: IncomingRequest, out: ResponseOutparam) {
    let Ok(body) = request.consume() else { return text(out, "no body\n") };
    if let Ok(stream) = body.stream() {
        while stream.blocking_read(1).is_ok() {
            monotonic_clock::subscribe_duration(1_000_000_000).block();
        }
    }
    drop(IncomingBody::finish(body));
    text(out, "read\n");
}

/// So many requests, fields and timers in the table.
fn fork(out: ResponseOutparam, count: usize) {
    let mut kept = Vec::new();
    for _ in 0..count {
        let request = OutgoingRequest::new(Fields::new());
        kept.push((request, monotonic_clock::subscribe_duration(u64::MAX)));
    }
    text(out, &format!("BREACH {} handles\n", 2 * kept.len()));
}

fn stain(out: ResponseOutparam, mib: usize) {
    let memory = vec![black_box(STAIN); mib * MIB_BYTES];
    text(out, &format!("stained {}\n", memory.len()));
    drop(black_box(memory));
}

/// Looks at pages that nobody of this instance wrote to.
fn search(out: ResponseOutparam, mib: usize) {
    let pages = mib * MIB_BYTES / (64 << 10);
    match fresh(pages).iter().filter(|byte| **byte != 0).count() {
        0 => text(out, "held all zero\n"),
        found => text(out, &format!("BREACH {found} bytes of another tenant\n")),
    }
}

#[cfg(target_arch = "wasm32")]
fn fresh(pages: usize) -> &'static [u8] {
    let before = core::arch::wasm32::memory_grow(0, pages);
    if before == usize::MAX {
        return &[];
    }
    // SAFETY: memory.grow just gave these pages to this instance, and nobody else in it knows of them.
    unsafe { std::slice::from_raw_parts((before * (64 << 10)) as *const u8, pages * (64 << 10)) }
}

#[cfg(not(target_arch = "wasm32"))]
fn fresh(_: usize) -> &'static [u8] {
    &[]
}

fn flood(out: ResponseOutparam, count: usize) {
    let line = "a line of a flood\n".repeat(100);
    for _ in 0..count.div_ceil(100) {
        print!("{line}");
    }
    text(out, "flooded\n");
}
