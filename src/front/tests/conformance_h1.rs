//! HTTP/1.1 on the wire: cases of RFC 9112, its limits and ways around it, each with what we answer.

use super::raw::{converse, echoing, settled, statuses};

/// What is sent, the statuses that come back until the connection ends, and a part of what is said.
struct Case(&'static str, Vec<u8>, &'static str, &'static str);

fn case(name: &'static str, sent: impl AsRef<[u8]>, wanted: &'static str, part: &'static str) -> Case {
    Case(name, sent.as_ref().to_vec(), wanted, part)
}

/// A whole request, after which the connection ends.
fn last(line: &str, headers: &str, body: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{headers}\r\n{body}")
}

fn get(headers: &str) -> String {
    last("GET /", headers, "")
}

fn post(headers: &str, body: &str) -> String {
    last("POST /", headers, body)
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

fn messages() -> Vec<Case> {
    vec![
        case("a request", get(""), "200", "GET / a.example 0"),
        case("names in any case", "get / HTTP/1.1\r\nhOST: a\r\nCONNECTION: CLOSE\r\n\r\n", "200", "get / a 0"),
        case("a method that nobody knows", last("BREW /pot", "", ""), "200", "BREW /pot"),
        case("HEAD has no body", last("HEAD /", "", ""), "200", "content-length"),
        case("two in a row", format!("GET /a HTTP/1.1\r\nHost: a\r\n\r\n{NEXT}"), "200 200", "GET /next"),
        case(
            "a body, then another request",
            format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc{NEXT}"),
            "200 200",
            "POST /a a 3",
        ),
        case("an empty line before it", format!("\r\n{}", get("")), "200", "GET /"),
        case("lines that end with LF alone", get("").replace("\r\n", "\n"), "200", "GET /"),
        case("HTTP/1.0 ends", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "200", "GET / a 0"),
        case("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "200", "GET /"),
        case(
            "HTTP/1.0 that is kept",
            format!("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n{NEXT}"),
            "200 200",
            "GET /next",
        ),
        case("the absolute form", last("GET http://a.example/p?q", "", ""), "200", "GET /p?q a.example"),
        case("its host is the one that counts", last("GET http://b.example/p", "", ""), "200", "GET /p b.example"),
        case("the asterisk form", last("OPTIONS *", "", ""), "200", "OPTIONS *"),
        case("percent-encoding stays", last("GET /%2e%2E/%41?%20", "", ""), "200", "GET /%2e%2E/%41?%20"),
        case("white space around a value", get("X-A: \t b \t\r\n"), "200", ""),
        case("an empty value", get("X-A:\r\n"), "200", ""),
        case(
            "bytes above 127 in a value",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-A: \xff\r\n\r\n",
            "200",
            "",
        ),
        case(
            "Expect is answered first",
            post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"),
            "100 200",
            "POST / a.example 3",
        ),
        case("an offer of h2c is declined", get("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), "200", ""),
    ]
}

fn bodies() -> Vec<Case> {
    vec![
        case("a length", post("Content-Length: 5\r\n", "hello"), "200", "POST / a.example 5"),
        case("a length of nothing", post("Content-Length: 0\r\n", ""), "200", "POST / a.example 0"),
        case("neither length nor coding", post("", ""), "200", "POST / a.example 0"),
        case("chunks", chunked("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), "200", "POST / a.example 11"),
        case(
            "a chunk's size with zeros and capitals",
            chunked("00A\r\n0123456789\r\n0\r\n\r\n"),
            "200",
            "a.example 10",
        ),
        case("extensions of chunks", chunked("5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n"), "200", "POST / a.example 5"),
        case("trailers", chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), "200", "POST / a.example 5"),
        case(
            "chunks, then another request",
            format!("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n{NEXT}"),
            "200 200",
            "GET /next",
        ),
        case(
            "a body of GET ends the connection",
            format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc{NEXT}"),
            "200",
            "GET / a 3",
        ),
        case("a size that is no number", chunked("zz\r\nhello\r\n0\r\n\r\n"), "400", ""),
        case("a negative size", chunked("-5\r\nhello\r\n0\r\n\r\n"), "400", ""),
        case("a size that no machine has", chunked("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), "400", ""),
        case("a size in other digits", chunked("0x5\r\nhello\r\n0\r\n\r\n"), "400", ""),
        case("a chunk that is longer than its size", chunked("3\r\nhello\r\n0\r\n\r\n"), "400", ""),
        case("a size line that ends with LF alone", chunked("5\nhello\r\n0\r\n\r\n"), "400", ""),
        case("LF within an extension", chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"), "400", ""),
    ]
}

fn smuggling() -> Vec<Case> {
    let te_cl = "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n";
    vec![
        // The coding counts, the length does not go on, and what follows is not a request.
        case(
            "CL.TE",
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG{NEXT}"
            ),
            "200",
            "POST / a 0",
        ),
        case(
            "TE.CL",
            format!("POST / HTTP/1.1\r\nHost: a\r\n{te_cl}\r\n1\r\nx\r\n0\r\n\r\n{NEXT}"),
            "200",
            "POST / a 1",
        ),
        case(
            "TE.TE with another name",
            post("Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n", "0\r\n\r\n"),
            "400",
            "",
        ),
        case(
            "a coding twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            "400",
            "",
        ),
        case("chunked that is not last", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), "400", ""),
        case("a coding that we do not read", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), "400", ""),
        case("identity", post("Transfer-Encoding: identity\r\nContent-Length: 1\r\n", "x"), "400", ""),
        case("xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), "400", ""),
        case("a coding after a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"), "400", ""),
        case(
            "a coding in HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
            "",
        ),
        case("a space before the colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), "400", ""),
        case("a folded line", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), "400", ""),
        case("a folded line of its own", get("X-A: b\r\n c\r\n"), "400", ""),
        case("a header that begins with a space", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400", ""),
        case(
            "Transfer_Encoding ends the connection",
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n{NEXT}"),
            "200",
            "POST / a 0",
        ),
        case("lengths that differ", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"), "400", ""),
        case(
            "equal lengths are one",
            post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
            "200",
            "POST / a.example 3",
        ),
        case("a list of lengths", post("Content-Length: 3, 4\r\n", "abcd"), "400", ""),
        case("a length with a sign", post("Content-Length: +3\r\n", "abc"), "400", ""),
        case("a negative length", post("Content-Length: -3\r\n", "abc"), "400", ""),
        case("a length in other digits", post("Content-Length: 0x3\r\n", "abc"), "400", ""),
        case("a length that no machine has", post("Content-Length: 18446744073709551616\r\n", "abc"), "400", ""),
        case("an empty length", post("Content-Length:\r\n", ""), "400", ""),
        case("CR within a value", get("X-A: b\rTransfer-Encoding: chunked\r\n"), "400", ""),
        case("NUL within a value", get("X-A: b\0c\r\n"), "400", ""),
        case("NUL within a name", get("X\0A: b\r\n"), "400", ""),
    ]
}

fn refused() -> Vec<Case> {
    let long = |bytes: usize| "a".repeat(bytes);
    let addresses = vec!["1.1.1.1"; 31].join(",");
    vec![
        case("no Host", "GET / HTTP/1.1\r\n\r\n", "400", "no Host"),
        case("two Hosts", get("Host: b.example\r\n"), "400", "more than one Host"),
        case("no version", "GET /\r\n\r\n", "400", ""),
        case("HTTP/2.0 that is none", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "400", ""),
        case("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "400", ""),
        case("http in small letters", "GET / http/1.1\r\nHost: a\r\n\r\n", "400", ""),
        case("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400", ""),
        case("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400", ""),
        case("a control character in the target", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "400", ""),
        case("a method that is no token", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400", ""),
        case("a name that is no token", get("X(A): b\r\n"), "400", ""),
        case("a line without a colon", get("nonsense\r\n"), "400", ""),
        case("TLS where HTTP is spoken", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400", ""),
        case("nonsense", "\0\0\0\0\0\0\0\0", "400", ""),
        case("TRACE", last("TRACE /", "", ""), "405", ""),
        case("CONNECT", last("CONNECT b.example:443", "", ""), "400", ""),
        case(
            "a switch of protocols at a handler",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n",
            "501",
            "",
        ),
        case("31 addresses", get(&format!("X-Forwarded-For: {addresses}\r\n")), "463", ""),
        case("gRPC over HTTP/1.1", post("Content-Type: application/grpc\r\nContent-Length: 0\r\n", ""), "464", ""),
        case("a target over 16 KiB", last(&format!("GET /{}", long(17 << 10)), "", ""), "414", ""),
        case("a target over 64 KiB", last(&format!("GET /{}", long(65 << 10)), "", ""), "431", ""),
        case("a header over 16 KiB", get(&format!("X-A: {}\r\n", long(17 << 10))), "400", "16 KiB"),
        case("headers over 64 KiB", get(&format!("X-A: {}\r\n", long(8 << 10)).repeat(9)), "431", ""),
        case("more than 128 headers", get(&"X-A: b\r\n".repeat(129)), "431", ""),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn http1_is_spoken_as_rfc_9112_says() {
    let (scene, address) = echoing().await;
    let cases: Vec<Case> = [messages(), bodies(), smuggling(), refused()].into_iter().flatten().collect();
    assert!(cases.len() >= 80);
    let mut wrong = Vec::new();
    for Case(name, sent, wanted, part) in &cases {
        let heard = converse(address, sent).await;
        let found = statuses(&heard);
        let text = String::from_utf8_lossy(&heard);
        println!("| {name} | {found} |");
        if found != *wanted || !text.contains(part) {
            wrong.push(format!("{name}: {wanted} {part:?} was wanted:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
    assert_eq!(settled(&scene).await, 0, "requests in flight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn strictest_mode_refuses_what_is_ambiguous() {
    let (mut scene, address) = echoing().await;
    scene.spec.change_balancer(|balancer| {
        balancer.attributes.insert("routing.http.desync_mitigation_mode".into(), "strictest".into());
    });
    scene.proxy.publish(&scene.spec);
    for (name, request) in [
        ("a body of GET", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_owned()),
        ("a length of GET", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("Transfer_Encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n".to_owned()),
    ] {
        let heard = converse(address, format!("{request}{NEXT}").as_bytes()).await;
        assert_eq!(statuses(&heard), "400", "{name}: {}", String::from_utf8_lossy(&heard));
    }
    assert_eq!(statuses(&converse(address, NEXT.as_bytes()).await), "200");
}
