//! What a request must be to be forwarded, and what its headers become on the way.
//!
//! Whatever two servers may read differently is a way to smuggle one request inside another. Framing reaches us settled:
//! hyper refuses lengths that differ and codings that are not `chunked`, and drops a length beside `chunked`; here it goes
//! out again by what was really read. An ambiguous Host is refused.

mod forwarded;

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, SERVER, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Request, Uri, Version};

use crate::proxy::answer::ForwardError;
use crate::proxy::client::Client;
use crate::proxy::headers::forwarded::FORWARDED_FOR;
use crate::proxy::routes::{Entrance, Route, split_port};
use crate::proxy::settings::{ListenerSettings, ProtocolVersion};

pub use forwarded::add_trace;

/// Where ELB answers 463.
const FORWARDED_FOR_MAX: usize = 30;
/// ELB's limit of the request line. Of it the method and the version are little.
const TARGET_BYTES_MAX: usize = 16 * 1024;
/// ELB's limit of one header.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// ELB's limit of all headers of a request together.
pub const HEADERS_BYTES_MAX: usize = 64 * 1024;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// What ELB says it is, in what it answers itself.
const ELB: HeaderValue = HeaderValue::from_static("awselb/2.0");

/// The host that the client called: of HTTP/2's authority, or of the one Host header.
pub fn host<B>(request: &Request<B>) -> Result<&str, ForwardError> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(ForwardError::BadRequest("more than one Host header"));
    }
    if let Some(authority) = request.uri().authority() {
        // RFC 9112, 3.2.2: the target counts, and what Host says is replaced by it.
        return Ok(authority.as_str());
    }
    match first {
        Some(host) => host.to_str().map_err(|_| ForwardError::BadRequest("a Host header that is no host")),
        None if request.version() <= Version::HTTP_10 => Ok(""),
        None => Err(ForwardError::BadRequest("no Host header")),
    }
}

/// Refuses what must not reach a target.
pub fn check<B>(request: &Request<B>) -> Result<(), ForwardError> {
    match *request.method() {
        Method::TRACE => return Err(ForwardError::MethodNotAllowed),
        Method::CONNECT => return Err(ForwardError::BadRequest("CONNECT is not for load balancers")),
        _ => {}
    }
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > TARGET_BYTES_MAX {
        return Err(ForwardError::TargetTooLong);
    }
    let mut all = 0;
    let mut addresses = 0;
    for (name, value) in request.headers() {
        let bytes = name.as_str().len() + value.len() + 4;
        all += bytes;
        if bytes > HEADER_BYTES_MAX {
            return Err(ForwardError::BadRequest("a header of more than 16 KiB"));
        }
        if *name == FORWARDED_FOR {
            addresses += value.as_bytes().iter().filter(|byte| **byte == b',').count() + 1;
        }
    }
    if all > HEADERS_BYTES_MAX {
        return Err(ForwardError::BadRequest("headers of more than 64 KiB together"));
    }
    if addresses > FORWARDED_FOR_MAX {
        return Err(ForwardError::TooManyForwarders);
    }
    Ok(())
}

/// Whether targets that speak `version` can be given the request at all: what they speak is not translated.
pub fn check_version(parts: &Parts, version: ProtocolVersion) -> Result<(), ForwardError> {
    let is_http2 = parts.version >= Version::HTTP_2;
    match version {
        ProtocolVersion::Http1 if is_grpc(&parts.headers) => Err(ForwardError::ProtocolVersion(
            "the request is one of gRPC, the protocol version of the target group HTTP1",
        )),
        ProtocolVersion::Http1 => Ok(()),
        ProtocolVersion::Http2 | ProtocolVersion::Grpc if !is_http2 => {
            Err(ForwardError::ProtocolVersion("the target group speaks HTTP/2, the request came over HTTP/1.1"))
        }
        ProtocolVersion::Grpc if parts.method != Method::POST => {
            Err(ForwardError::ProtocolVersion("the target group speaks gRPC, the request is no POST"))
        }
        ProtocolVersion::Http2 | ProtocolVersion::Grpc => Ok(()),
    }
}

/// `application/grpc`, with or without what messages are written in; gRPC-Web is something else, and speaks HTTP/1.1.
fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) else { return false };
    match content_type.split_at_checked(b"application/grpc".len()) {
        Some((kind, rest)) => {
            kind.eq_ignore_ascii_case(b"application/grpc") && rest.first().is_none_or(|next| b"+; ".contains(next))
        }
        None => false,
    }
}

/// The protocol that the client wants to switch to, such as `websocket`.
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let mut connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let wants = connection.any(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("upgrade")));
    // HTTP/2 is spoken with prior knowledge only; the offer to switch to it is for us, and is declined by ignoring it.
    Some(protocol).filter(|protocol| wants && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).cloned()
}

/// Makes of the client's request the one that a target gets: in origin form, with a Host, without what was between the
/// client and us only, and with what says where it came from.
pub fn to_target(
    parts: &mut Parts,
    route: &Route,
    entrance: Entrance<'_>,
    client: &Client,
    upgrade: Option<HeaderValue>,
) {
    let settings = &route.balancer.settings.http;
    let authority = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let port = client_port(authority.as_ref().or(parts.headers.get(HOST)));
    if let Some(authority) = authority {
        parts.headers.insert(HOST, authority);
    }
    // At the open port the port of Host is ours, not the listener's, and the way back there leads through it.
    if !settings.preserves_host && matches!(entrance, Entrance::Listener(_)) {
        set_host(&mut parts.headers, route);
    }
    if parts.version >= Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    parts.uri = origin_form(std::mem::take(&mut parts.uri));
    parts.version = Version::HTTP_11;
    remove_hop_by_hop(&mut parts.headers);
    parts.headers.remove(EXPECT);
    if settings.drops_invalid_headers {
        drop_invalid(&mut parts.headers);
    }
    if let Some(protocol) = upgrade {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, protocol);
    }
    forwarded::add(&mut parts.headers, settings, &route.settings, client, port);
}

/// The port as the client sees it, where its Host says one: on the open port that is where a redirect must lead back.
pub fn client_port(host: Option<&HeaderValue>) -> Option<u16> {
    host.and_then(|host| host.to_str().ok()).and_then(|host| split_port(host).1)
}

/// What ELB makes of Host unless it preserves it: at a default port it takes away the port, at another it adds its own
/// where the client gave none. A request of HTTP/1.0 without any gets the load balancer's name.
fn set_host(headers: &mut HeaderMap, route: &Route) {
    let is_default = matches!(route.record.port, 80 | 443);
    let changed = {
        let sent = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty());
        match sent.map(|sent| (sent, split_port(sent))) {
            Some((_, (name, Some(_)))) if is_default => HeaderValue::from_str(name),
            Some((sent, (_, None))) if !is_default => HeaderValue::from_str(&format!("{sent}:{}", route.record.port)),
            Some(_) => return,
            None => HeaderValue::from_str(&route.balancer.record.dns_name()),
        }
    };
    if let Ok(changed) = changed {
        headers.insert(HOST, changed);
    }
}

/// HTTP/2 may send a cookie's pairs in lines of their own, which only HTTP/2 may: RFC 9113, 8.2.3.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    uri.path_and_query().and_then(|path| Uri::try_from(path.as_str()).ok()).unwrap_or_else(|| Uri::from_static("/"))
}

/// Removes headers whose names have anything but letters, digits and hyphens, as some servers read them as others.
fn drop_invalid(headers: &mut HeaderMap) {
    let is_valid = |name: &HeaderName| name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let invalid: Vec<HeaderName> = headers.keys().filter(|name| !is_valid(name)).cloned().collect();
    for name in invalid {
        headers.remove(name);
    }
}

/// Removes what concerns one connection, from requests and from responses.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let mut named: Vec<HeaderName> = Vec::new();
        for value in headers.get_all(CONNECTION) {
            let words = value.to_str().unwrap_or_default().split(',').map(str::trim);
            // What a client names here must not take away what we, or the framing, rely on.
            let may_go = |name: &HeaderName| *name != HOST && *name != CONTENT_LENGTH && *name != FORWARDED_FOR;
            named.extend(words.filter_map(|word| word.parse::<HeaderName>().ok()).filter(may_go));
        }
        for name in named {
            headers.remove(name);
        }
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE, HTTP2_SETTINGS] {
        headers.remove(name);
    }
    // gRPC wants `TE: trailers`, and it is all that HTTP/2 allows.
    if headers.get(TE).is_some_and(|te| !te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        headers.remove(TE);
    }
}

/// What the listener says on every response, its own and the targets'.
pub fn to_client(headers: &mut HeaderMap, listener: &ListenerSettings) {
    for (name, value) in &listener.response_headers {
        headers.insert(name, value.clone());
    }
}

/// Says whose answer it is, where it is the load balancer's.
pub fn sign(headers: &mut HeaderMap) {
    headers.insert(SERVER, ELB);
}

#[cfg(test)]
mod tests;
