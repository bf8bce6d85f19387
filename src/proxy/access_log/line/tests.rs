use std::time::UNIX_EPOCH;

use http::{HeaderValue, Method, Version};

use super::*;
use crate::proxy::access_log::testing::entry;
use crate::proxy::client::TlsSession;
use crate::proxy::exchange::{Times, Transformed};

fn line(entry: &Entry) -> String {
    Line(entry).to_string()
}

#[test]
fn a_forwarded_request() {
    assert_eq!(
        line(&entry()),
        "http 2018-07-02T22:23:00.186641Z app/web/0000000000000002 192.168.131.39:2817 10.0.0.1:80 0.000 0.001 0.000 \
         200 200 34 366 \"GET http://www.example.com:80/a?b=c HTTP/1.1\" \"curl/7.46.0\" - - \
         arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0000000000000001 \
         \"Root=1-58337262-36d228ad5d99923122bbe354\" \"-\" \"-\" 0 2018-07-02T22:22:48.364000Z \"forward\" \"-\" \"-\" \
         \"10.0.0.1:80\" \"200\" \"-\" \"-\" TID_3180a73013c8ca4bac2f731159d4b0fe \"-\" \"-\" \"-\""
    );
}

#[test]
fn a_redirect_over_tls_and_http2() {
    let redirected = Entry {
        tls: Some(TlsSession {
            version: "TLSv1.2",
            cipher: "ECDHE-RSA-AES128-GCM-SHA256",
            server_name: Some("api.example.com".into()),
            certificate: Some("arn:aws:acm:eu-west-1:123456789012:certificate/1".into()),
        }),
        version: Version::HTTP_2,
        host: "10.0.2.105:773".into(),
        port: 443,
        target_group: None,
        target: None,
        target_status: None,
        times: None,
        status: 301,
        rule: MatchedRule::Priority(7),
        actions: "redirect",
        redirect_url: Some(HeaderValue::from_static("https://example.com:80/")),
        classification: Some(("Acceptable", "SuspiciousHeader")),
        transformed: Transformed {
            host: Some("a.example".into()),
            uri: Some("/b".into()),
            status: Some("TransformSuccess"),
        },
        ..entry()
    };
    assert_eq!(
        line(&redirected),
        "h2 2018-07-02T22:23:00.186641Z app/web/0000000000000002 192.168.131.39:2817 - -1 -1 -1 301 - 34 366 \
         \"GET https://10.0.2.105:773/a?b=c HTTP/2.0\" \"curl/7.46.0\" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 - \
         \"Root=1-58337262-36d228ad5d99923122bbe354\" \"api.example.com\" \
         \"arn:aws:acm:eu-west-1:123456789012:certificate/1\" 7 2018-07-02T22:22:48.364000Z \"redirect\" \
         \"https://example.com:80/\" \"-\" \"-\" \"-\" \"Acceptable\" \"SuspiciousHeader\" TID_3180a73013c8ca4bac2f731159d4b0fe \
         \"a.example\" \"/b\" \"TransformSuccess\""
    );
}

#[test]
fn a_failure_names_the_target_and_no_times() {
    let failed = Entry { target_status: None, times: None, status: 502, ..entry() };
    let line = line(&failed);
    assert!(line.contains(" 192.168.131.39:2817 10.0.0.1:80 -1 -1 -1 502 - 34 "), "{line}");
    assert!(line.contains(" \"forward\" \"-\" \"-\" \"10.0.0.1:80\" \"-\" "), "{line}");
}

#[test]
fn no_client_writes_a_line_of_its_own() {
    let hostile = Entry { user_agent: HeaderValue::from_bytes(b"a\" \\\xff\t\"").ok(), ..entry() };
    assert!(line(&hostile).contains(r#" "a\x22 \x5c\xff\x09\x22" "#), "{}", line(&hostile));
    let long = Entry { user_agent: HeaderValue::from_bytes(&[b'x'; 9000]).ok(), ..entry() };
    assert_eq!(line(&long).matches('x').count(), USER_AGENT_BYTES_MAX + "example".matches('x').count());
}

#[test]
fn types_are_those_of_elb() {
    let tls = TlsSession { version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", server_name: None, certificate: None };
    let over = |tls: Option<&TlsSession>, version, is_grpc, is_websocket| {
        Entry { tls: tls.cloned(), version, is_grpc, is_websocket, method: Method::POST, ..entry() }.kind()
    };
    assert_eq!(over(Some(&tls), Version::HTTP_11, false, false), "https");
    assert_eq!(over(Some(&tls), Version::HTTP_2, true, false), "grpcs");
    assert_eq!(over(Some(&tls), Version::HTTP_11, false, true), "wss");
    assert_eq!(over(None, Version::HTTP_11, false, true), "ws");
    assert_eq!(over(None, Version::HTTP_2, true, false), "http");
}

#[test]
fn times_are_in_seconds() {
    let slow = Entry {
        times: Some(Times {
            request: Duration::from_micros(1500),
            target: Duration::from_millis(61_234),
            response: Duration::ZERO,
        }),
        ..entry()
    };
    assert!(line(&slow).contains(" 0.002 61.234 0.000 "), "{}", line(&slow));
    assert_eq!(iso_8601(UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
}
