//! HTTP/2 on the wire: the cases of h2spec, by sections of RFC 9113 and RFC 7541, that matter to a server.

use super::frames::*;
use super::raw::{echoing, settled};

/// What follows the preface and the client's settings, and the events of which one must come first that ends anything.
struct Case(&'static str, Vec<u8>, &'static [&'static str]);

const ANSWERED: &[&str] = &["status 200"];
const PROTOCOL: &[&str] = &["goaway PROTOCOL_ERROR", "closed"];
// RFC 9113, 5.4: a server may end the connection where it could end the stream, and need not say more than that the
// protocol was broken.
const MALFORMED: &[&str] = &["reset PROTOCOL_ERROR", "goaway PROTOCOL_ERROR"];
const SIZE: &[&str] = &["goaway FRAME_SIZE_ERROR", "goaway PROTOCOL_ERROR", "closed"];
const FLOW: &[&str] = &["goaway FLOW_CONTROL_ERROR", "goaway PROTOCOL_ERROR", "closed"];
const HPACK: &[&str] = &["goaway COMPRESSION_ERROR", "goaway PROTOCOL_ERROR", "closed"];
const STREAM_CLOSED: &[&str] = &["reset STREAM_CLOSED", "goaway STREAM_CLOSED", "goaway PROTOCOL_ERROR", "closed"];

fn case(name: &'static str, frames: &[Vec<u8>], wanted: &'static [&'static str]) -> Case {
    Case(name, frames.concat(), wanted)
}

/// A request with this header block.
fn with(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, block)
}

fn extra(fields: &[(&str, &str)]) -> Vec<u8> {
    with(&asking("GET", "/", fields))
}

/// A stream that is open as long as its client does not end it.
fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &asking("POST", "/hang", &[]))
}

fn frames_and_streams() -> Vec<Case> {
    let id = |stream: u32| stream | 0x8000_0000;
    vec![
        case("4.1 a frame of an unknown type", &[frame(0xfe, 0, 0, b"abc"), ask(1)], ANSWERED),
        case("4.1 unknown flags", &[frame(PING, 0xf6, 0, &[0, 0, 0, 0, 0, 0, 0, 7])], &["ping ack 7"]),
        case("4.1 the reserved bit of a stream", &[frame(PING, 0, id(0), &[0, 0, 0, 0, 0, 0, 0, 8])], &["ping ack 8"]),
        case("4.2 the largest DATA", &[post(1, &[]), frame(DATA, END_STREAM, 1, &[0; 16384])], ANSWERED),
        case("4.2 DATA that is too large", &[post(1, &[]), frame(DATA, END_STREAM, 1, &[0; 16385])], SIZE),
        case("4.2 HEADERS that are too large", &[frame(HEADERS, END_HEADERS, 1, &[0; 16385])], SIZE),
        case("4.3 a block that is no HPACK", &[with(&[0xff; 8])], HPACK),
        case(
            "4.3 PRIORITY within a block",
            &[frame(HEADERS, END_STREAM, 1, &asking("GET", "/", &[])), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])],
            PROTOCOL,
        ),
        case(
            "4.3 another stream within a block",
            &[frame(HEADERS, END_STREAM, 1, &asking("GET", "/", &[])), ask(3)],
            PROTOCOL,
        ),
        case("5.1 DATA on an idle stream", &[frame(DATA, END_STREAM, 1, b"x")], PROTOCOL),
        case("5.1 RST_STREAM on an idle stream", &[number(RST_STREAM, 1, 8)], PROTOCOL),
        case("5.1 WINDOW_UPDATE on an idle stream", &[number(WINDOW_UPDATE, 1, 100)], PROTOCOL),
        case(
            "5.1 CONTINUATION on an idle stream",
            &[frame(CONTINUATION, END_HEADERS, 1, &asking("GET", "/", &[]))],
            PROTOCOL,
        ),
        case(
            "5.1 DATA on a half-closed stream",
            &[
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &asking("GET", "/hang", &[])),
                frame(DATA, END_STREAM, 1, b"x"),
            ],
            STREAM_CLOSED,
        ),
        case(
            "5.1 HEADERS on a half-closed stream",
            &[frame(HEADERS, END_HEADERS | END_STREAM, 1, &asking("GET", "/hang", &[])), ask(1)],
            STREAM_CLOSED,
        ),
        // What was sent before a reset arrived is nobody's error: RFC 9113, 5.1; and the connection goes on.
        case(
            "5.1 DATA after RST_STREAM",
            &[open(1), number(RST_STREAM, 1, 8), frame(DATA, END_STREAM, 1, b"x"), ask(3)],
            &["status 200", "reset STREAM_CLOSED", "goaway STREAM_CLOSED", "closed"],
        ),
        case("5.1.1 an even stream", &[ask(2)], PROTOCOL),
        case("5.1.1 a stream below the last", &[open(5), ask(3)], PROTOCOL),
        case(
            "5.1.2 more streams than allowed",
            &[(0..129).flat_map(|at| open(2 * at + 1)).collect()],
            &["reset REFUSED_STREAM", "reset PROTOCOL_ERROR", "goaway PROTOCOL_ERROR"],
        ),
        case(
            "5.5 an unknown frame within a block",
            &[frame(HEADERS, END_STREAM, 1, &asking("GET", "/", &[])), frame(0xfe, 0, 1, b"")],
            PROTOCOL,
        ),
    ]
}

fn definitions() -> Vec<Case> {
    let long = asking("GET", "/", &[]);
    let (first, second) = long.split_at(20);
    vec![
        case("6.1 DATA without a stream", &[frame(DATA, END_STREAM, 0, b"x")], PROTOCOL),
        case("6.1 padding", &[post(1, &[]), frame(DATA, END_STREAM | PADDED, 1, &[2, b'x', 0, 0])], ANSWERED),
        case(
            "6.1 more padding than payload",
            &[post(1, &[]), frame(DATA, END_STREAM | PADDED, 1, &[9, 0, 0])],
            PROTOCOL,
        ),
        case("6.2 HEADERS without a stream", &[frame(HEADERS, END_HEADERS | END_STREAM, 0, &long)], PROTOCOL),
        case(
            "6.2 padding and priority",
            &[frame(
                HEADERS,
                END_HEADERS | END_STREAM | PADDED | PRIORITIZED,
                1,
                &[&[1, 0, 0, 0, 0, 9][..], &long, &[0]].concat(),
            )],
            ANSWERED,
        ),
        case(
            "6.2 more padding than payload",
            &[frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[200, 0, 0])],
            PROTOCOL,
        ),
        case("6.3 PRIORITY is passed over", &[frame(PRIORITY, 0, 9, &[0, 0, 0, 0, 16]), ask(11)], ANSWERED),
        case("6.3 PRIORITY without a stream", &[frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 1])], PROTOCOL),
        case("6.3 PRIORITY of a wrong size", &[open(1), frame(PRIORITY, 0, 1, &[0; 4])], SIZE),
        case("6.4 RST_STREAM without a stream", &[number(RST_STREAM, 0, 8)], PROTOCOL),
        case("6.4 RST_STREAM of a wrong size", &[open(1), frame(RST_STREAM, 0, 1, &[0; 3])], SIZE),
        case("6.5 SETTINGS are acknowledged", &[settings(&[(4, 100)])], &["settings ack"]),
        case("6.5 an acknowledgement with a payload", &[frame(SETTINGS, END_STREAM, 0, &[0; 6])], SIZE),
        case("6.5 SETTINGS on a stream", &[frame(SETTINGS, 0, 1, &[])], PROTOCOL),
        case("6.5 SETTINGS of a wrong size", &[frame(SETTINGS, 0, 0, &[0; 5])], SIZE),
        case("6.5.2 ENABLE_PUSH that is no Boolean", &[settings(&[(2, 2)])], PROTOCOL),
        case("6.5.2 a window over the limit", &[settings(&[(4, 1 << 31)])], FLOW),
        case("6.5.2 frames under the limit", &[settings(&[(5, 16383)])], PROTOCOL),
        case("6.5.2 frames over the limit", &[settings(&[(5, 1 << 24)])], PROTOCOL),
        case("6.5.2 an unknown setting", &[settings(&[(0xff, 1)]), ask(1)], ANSWERED),
        case("6.7 PING comes back", &[frame(PING, 0, 0, &[1, 2, 3, 4, 5, 6, 7, 9])], &["ping ack 9"]),
        case("6.7 an acknowledgement does not", &[frame(PING, END_STREAM, 0, &[0; 8]), ask(1)], ANSWERED),
        case("6.7 PING on a stream", &[frame(PING, 0, 1, &[0; 8])], PROTOCOL),
        case("6.7 PING of a wrong size", &[frame(PING, 0, 0, &[0; 6])], SIZE),
        case("6.8 GOAWAY on a stream", &[frame(GOAWAY, 0, 1, &[0; 8])], PROTOCOL),
        case("6.9 a window grows by nothing", &[number(WINDOW_UPDATE, 0, 0)], PROTOCOL),
        case(
            "6.9 a stream's grows by nothing",
            &[open(1), number(WINDOW_UPDATE, 1, 0)],
            &["reset PROTOCOL_ERROR", "goaway PROTOCOL_ERROR"],
        ),
        case("6.9 WINDOW_UPDATE of a wrong size", &[frame(WINDOW_UPDATE, 0, 0, &[0; 3])], SIZE),
        case(
            "6.9.1 a window over the limit",
            &[number(WINDOW_UPDATE, 0, 0x7fff_ffff), number(WINDOW_UPDATE, 0, 0x7fff_ffff)],
            FLOW,
        ),
        case(
            "6.9.1 a stream's over the limit",
            &[open(1), number(WINDOW_UPDATE, 1, 0x7fff_ffff)],
            &["reset FLOW_CONTROL_ERROR"],
        ),
        case("6.9.2 a window of one byte", &[settings(&[(4, 1)]), ask(1)], &["status 200"]),
        case(
            "6.10 CONTINUATION",
            &[frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, second)],
            ANSWERED,
        ),
        case(
            "6.10 CONTINUATION in pieces",
            &[
                frame(HEADERS, END_STREAM, 1, first),
                frame(CONTINUATION, 0, 1, &[]),
                frame(CONTINUATION, END_HEADERS, 1, second),
            ],
            ANSWERED,
        ),
        case(
            "6.10 CONTINUATION of another stream",
            &[frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 3, second)],
            PROTOCOL,
        ),
        case(
            "6.10 CONTINUATION without a stream",
            &[frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 0, second)],
            PROTOCOL,
        ),
        case(
            "6.10 CONTINUATION after a whole block",
            &[open(1), frame(CONTINUATION, END_HEADERS, 1, second)],
            PROTOCOL,
        ),
        case("6.10 DATA within a block", &[frame(HEADERS, 0, 1, first), frame(DATA, END_STREAM, 1, b"x")], PROTOCOL),
        case("7 an unknown error", &[open(1), number(RST_STREAM, 1, 0xff), ask(3)], ANSWERED),
    ]
}

fn semantics() -> Vec<Case> {
    let trailers = |flags: u8, fields: &[(&str, &str)]| frame(HEADERS, END_HEADERS | flags, 1, &block(fields));
    let authority = (":authority", "a.example");
    vec![
        case(
            "8.1 trailers",
            &[post(1, &[]), frame(DATA, 0, 1, b"x"), trailers(END_STREAM, &[("x-sum", "1")])],
            ANSWERED,
        ),
        case("8.1 trailers that do not end", &[post(1, &[]), trailers(0, &[("x-sum", "1")])], MALFORMED),
        // h2 drops it instead of refusing it: no target sees it.
        case("8.1 a pseudo-header in trailers", &[post(1, &[]), trailers(END_STREAM, &[(":path", "/")])], ANSWERED),
        case("8.2 capitals in a name", &[extra(&[("X-Test", "1")])], MALFORMED),
        case("8.2.2 connection", &[extra(&[("connection", "keep-alive")])], MALFORMED),
        case("8.2.2 keep-alive", &[extra(&[("keep-alive", "5")])], MALFORMED),
        case("8.2.2 transfer-encoding", &[extra(&[("transfer-encoding", "chunked")])], MALFORMED),
        case("8.2.2 upgrade", &[extra(&[("upgrade", "websocket")])], MALFORMED),
        case("8.2.2 TE", &[extra(&[("te", "gzip")])], MALFORMED),
        case("8.2.2 TE: trailers", &[extra(&[("te", "trailers")])], ANSWERED),
        case(
            "8.3 an unknown pseudo-header",
            &[with(&block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":test", "1")]))],
            MALFORMED,
        ),
        case(
            "8.3 one of responses",
            &[with(&block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":status", "200")]))],
            MALFORMED,
        ),
        case(
            "8.3 one after a header",
            &[with(&block(&[(":method", "GET"), (":scheme", "http"), ("x-a", "1"), (":path", "/")]))],
            MALFORMED,
        ),
        case("8.3.1 no method", &[with(&block(&[(":scheme", "http"), (":path", "/"), authority]))], MALFORMED),
        case("8.3.1 no scheme", &[with(&block(&[(":method", "GET"), (":path", "/"), authority]))], MALFORMED),
        case("8.3.1 no path", &[with(&block(&[(":method", "GET"), (":scheme", "http"), authority]))], MALFORMED),
        case(
            "8.3.1 an empty path",
            &[with(&block(&[(":method", "GET"), (":scheme", "http"), (":path", ""), authority]))],
            MALFORMED,
        ),
        case(
            "8.3.1 two methods",
            &[with(&block(&[(":method", "GET"), (":method", "GET"), (":scheme", "http"), (":path", "/")]))],
            MALFORMED,
        ),
        case(
            "8.3.1 two paths",
            &[with(&block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":path", "/b")]))],
            MALFORMED,
        ),
        case(
            "8.3.1 two schemes",
            &[with(&block(&[(":method", "GET"), (":scheme", "http"), (":scheme", "http"), (":path", "/")]))],
            MALFORMED,
        ),
        case(
            "8.1.1 a length that is too large",
            &[post(1, &[("content-length", "2")]), frame(DATA, END_STREAM, 1, b"x")],
            MALFORMED,
        ),
        case(
            "8.1.1 a length that is too small",
            &[post(1, &[("content-length", "1")]), frame(DATA, 0, 1, b"x"), frame(DATA, END_STREAM, 1, b"x")],
            MALFORMED,
        ),
        case(
            "8.1.1 a length without a body",
            &[frame(HEADERS, END_HEADERS | END_STREAM, 1, &asking("POST", "/", &[("content-length", "1")]))],
            MALFORMED,
        ),
        case(
            "8.4 PUSH_PROMISE of a client",
            &[open(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &asking("GET", "/", &[])].concat())],
            PROTOCOL,
        ),
        case("HPACK 2.3.3 an index that is not there", &[with(&[0xfe])], HPACK),
        case(
            "HPACK 4.2 a change of size at the end",
            &[with(&[&asking("GET", "/", &[])[..], &[0x20]].concat())],
            HPACK,
        ),
        case("HPACK 5.2 a string that ends in EOS", &[with(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, b'x'])], HPACK),
        case("HPACK 6.1 index 0", &[with(&[0x80])], HPACK),
        case("HPACK 6.3 a table over the limit", &[with(&[0x3f, 0xe2, 0x1f])], HPACK),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn http2_is_spoken_as_rfc_9113_says() {
    let (scene, address) = echoing().await;
    let cases: Vec<Case> = [frames_and_streams(), definitions(), semantics()].into_iter().flatten().collect();
    assert!(cases.len() >= 80, "{}", cases.len());
    let mut wrong = Vec::new();
    for Case(name, sent, wanted) in &cases {
        let seen = events(address, &[PREFACE, &settings(&[]), sent].concat(), wanted).await;
        let last = seen.last().map(String::as_str).unwrap_or_default();
        println!("| {name} | {last} |");
        if !wanted.contains(&last) {
            wrong.push(format!("{name}: {wanted:?} was wanted, {seen:?} came"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(settled(&scene).await, 0, "requests in flight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_connection_begins_with_the_preface() {
    let (_scene, address) = echoing().await;
    let seen = events(address, &[PREFACE, &settings(&[])].concat(), &["settings ack"]).await;
    assert_eq!(seen, ["settings", "settings ack"]);
    let seen = events(address, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &[]).await;
    assert!(seen.last().is_some_and(|last| PROTOCOL.contains(&last.as_str())), "{seen:?}");
}
