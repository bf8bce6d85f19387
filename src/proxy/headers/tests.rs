use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::*;
use crate::proxy::spec::RoutesSpec;
use crate::proxy::testing::*;
use crate::proxy::{Body, Endpoint, Proxy, TargetSpec};

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn outcome(checked: Result<(), ForwardError>) -> u16 {
    checked.err().map_or(200, |error| error.status().as_u16())
}

#[test]
fn elbs_limits_hold() {
    let long = |bytes: usize| "a".repeat(bytes);
    let many = |count: usize| vec![("x-name", "a".repeat(1024)); count];
    for (uri, headers, wanted) in [
        (format!("/{}", long(TARGET_BYTES_MAX - 1)), vec![], 200),
        (format!("/{}", long(TARGET_BYTES_MAX)), vec![], 414),
        (format!("/?{}", long(TARGET_BYTES_MAX)), vec![], 414),
        ("/".into(), vec![("x-name", long(15 * 1024))], 200),
        ("/".into(), vec![("x-name", long(HEADER_BYTES_MAX))], 400),
        ("/".into(), many(60), 200),
        ("/".into(), many(64), 400),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(outcome(check(&request("GET", &uri, &headers))), wanted, "{} {}", uri.len(), headers.len());
    }
}

#[test]
fn what_targets_speak_is_not_translated() {
    let grpc = [("content-type", "application/grpc+proto")];
    for (version, http2, method, headers, wanted) in [
        (ProtocolVersion::Http1, true, "POST", &grpc[..], 464),
        (ProtocolVersion::Http1, false, "POST", &[("content-type", "application/grpc-web")], 200),
        (ProtocolVersion::Http1, true, "GET", &[], 200),
        (ProtocolVersion::Http2, false, "GET", &[], 464),
        (ProtocolVersion::Http2, true, "GET", &[], 200),
        (ProtocolVersion::Grpc, true, "POST", &grpc, 200),
        (ProtocolVersion::Grpc, true, "GET", &[], 464),
        (ProtocolVersion::Grpc, false, "POST", &grpc, 464),
    ] {
        let (mut parts, ()) = request(method, "/", headers).into_parts();
        parts.version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        assert_eq!(outcome(check_version(&parts, version)), wanted, "{version:?} {http2} {method} {headers:?}");
    }
}

#[test]
fn cookies_of_http2_become_one_line() {
    let mut headers = HeaderMap::new();
    for pair in ["a=1", "b=2", "c=3"] {
        headers.append(COOKIE, HeaderValue::from_static(pair));
    }
    join_cookies(&mut headers);
    assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
}

/// What a target sees, and what a client gets, with these attributes.
async fn through(
    balancer: &[(&str, &str)],
    listener: (u16, &[(&str, &str)]),
    request: Request<()>,
) -> (String, HeaderMap) {
    let proxy = Proxy::new(&tokio::runtime::Handle::current());
    let target = TargetSpec {
        address: Ipv4Addr::LOCALHOST,
        port: 80,
        task: None,
        endpoint: Endpoint::Local(Arc::new(Echo)),
        check: None,
        draining: false,
        unusable: None,
    };
    let mut spec: RoutesSpec = forwarding(vec![target]);
    spec.change_balancer(|record| record.attributes = texts(balancer));
    spec.change_listener(|record| {
        record.port = listener.0;
        record.attributes = texts(listener.1);
    });
    proxy.publish(&spec);
    let arn = listener_arn();
    let client = Client::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)));
    let response = proxy.forward(Entrance::Listener(&arn), request.map(|()| crate::proxy::empty()), &client).await;
    let (parts, body) = response.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    (String::from_utf8(body.to_vec()).unwrap(), parts.headers)
}

fn texts(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

/// A target that answers with the headers that it got, and names a server of its own.
struct Echo;

impl crate::proxy::LocalTarget for Echo {
    fn call(
        &self,
        request: Request<Body>,
    ) -> futures_util::future::BoxFuture<'static, Result<http::Response<Body>, crate::proxy::TargetError>> {
        let mut seen = String::new();
        for (name, value) in request.headers() {
            seen += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        let mut response = http::Response::new(crate::proxy::full(seen));
        response.headers_mut().insert(SERVER, HeaderValue::from_static("echo"));
        response.headers_mut().insert("x-frame-options", HeaderValue::from_static("ALLOWALL"));
        Box::pin(std::future::ready(Ok(response)))
    }
}

#[tokio::test]
async fn host_is_changed_as_elb_changes_it_unless_it_is_preserved() {
    let preserved = [("routing.http.preserve_host_header.enabled", "true")];
    for (attributes, port, sent, wanted) in [
        (&[][..], 80, "a.example", "a.example"),
        (&[], 80, "a.example:8080", "a.example"),
        (&[], 443, "a.example:443", "a.example"),
        (&[], 8080, "a.example", "a.example:8080"),
        (&[], 8080, "a.example:9", "a.example:9"),
        (&[], 8080, "[::1]", "[::1]:8080"),
        (&preserved, 80, "a.example:8080", "a.example:8080"),
        (&preserved, 8080, "a.example", "a.example"),
    ] {
        let (seen, _) = through(attributes, (port, &[]), request("GET", "/", &[("host", sent)])).await;
        assert!(seen.contains(&format!("host: {wanted}\n")), "{port} {sent}: {seen}");
    }
    let mut old = request("GET", "/", &[]);
    *old.version_mut() = Version::HTTP_10;
    let (seen, _) = through(&[], (80, &[]), old).await;
    assert!(seen.contains("host: web.eu-west-1.elb.localhost\n"), "{seen}");
}

#[tokio::test]
async fn invalid_names_are_dropped_where_wanted() {
    let sent = || request("GET", "/", &[("host", "a"), ("x_user", "1"), ("x-user", "2"), ("x.y", "3")]);
    let (seen, _) = through(&[], (80, &[]), sent()).await;
    assert!(seen.contains("x_user: 1") && seen.contains("x.y: 3"), "{seen}");
    let (seen, _) = through(&[("routing.http.drop_invalid_header_fields.enabled", "true")], (80, &[]), sent()).await;
    assert!(!seen.contains("x_user") && !seen.contains("x.y") && seen.contains("x-user: 2"), "{seen}");
}

#[tokio::test]
async fn a_listener_adds_headers_to_all_responses_and_its_name_to_its_own() {
    let added = [
        ("routing.http.response.strict_transport_security.header_value", "max-age=31536000"),
        ("routing.http.response.x_frame_options.header_value", "DENY"),
        ("routing.http.response.access_control_allow_origin.header_value", ""),
    ];
    let (_, headers) = through(&[], (80, &added), request("GET", "/", &[("host", "a")])).await;
    assert_eq!(
        (&headers["strict-transport-security"], &headers["server"]),
        (&"max-age=31536000".parse().unwrap(), &"echo".parse().unwrap())
    );
    assert_eq!(headers.get_all("x-frame-options").iter().collect::<Vec<_>>(), ["DENY"]);
    assert!(!headers.contains_key("access-control-allow-origin"));
    // Refused, so answered by the load balancer itself.
    let refused = || request("TRACE", "/", &[("host", "a")]);
    let (_, headers) = through(&[], (80, &added), refused()).await;
    assert_eq!(
        (&headers["server"], &headers["x-frame-options"]),
        (&"awselb/2.0".parse().unwrap(), &"DENY".parse().unwrap())
    );
    let hidden = [("routing.http.response.server.enabled", "false")];
    let (_, headers) = through(&[], (80, &hidden), refused()).await;
    assert!(!headers.contains_key("server"));
}

#[tokio::test]
async fn ambiguous_requests_end_their_connections_and_strictest_refuses_them() {
    let ambiguous = || request("GET", "/", &[("host", "a"), ("content-length", "3")]);
    let mode = |mode| [("routing.http.desync_mitigation_mode", mode)];
    let (seen, headers) = through(&[], (80, &[]), ambiguous()).await;
    assert!(seen.contains("connection: close"), "{seen}");
    assert_eq!(headers["connection"], "close");
    let (seen, headers) = through(&mode("monitor"), (80, &[]), ambiguous()).await;
    assert!(!seen.contains("connection") && !headers.contains_key("connection"), "{seen}");
    let (seen, headers) = through(&mode("strictest"), (80, &[]), ambiguous()).await;
    assert!(seen.contains("UndefinedContentLengthSemantics"), "{seen}");
    assert_eq!(headers["connection"], "close");
}
