//! What a request must be to be forwarded, and what its headers become on the way.
//!
//! Whatever two servers may read differently is a way to smuggle one request inside another. Framing reaches us settled:
//! hyper refuses lengths that differ and codings that are not `chunked`, and drops a length beside `chunked`; here it goes
//! out again by what was really read. An ambiguous Host is refused.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Request, Uri, Version};

use crate::proxy::answer::ForwardError;
use crate::proxy::client::Client;
use crate::proxy::group::scatter;
use crate::proxy::routes::{Route, split_port};
use crate::proxy::settings::ForwardedFor;

/// Where ELB answers 463.
const FORWARDED_FOR_MAX: usize = 30;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The host that the client called: of HTTP/2's authority, or of the one Host header.
pub fn host<B>(request: &Request<B>) -> Result<&str, ForwardError> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(ForwardError::BadRequest("more than one Host header"));
    }
    if let Some(authority) = request.uri().authority() {
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
    let forwarded = request.headers().get_all(FORWARDED_FOR).iter();
    let addresses = forwarded.map(|value| value.as_bytes().iter().filter(|byte| **byte == b',').count() + 1);
    if addresses.sum::<usize>() > FORWARDED_FOR_MAX {
        return Err(ForwardError::TooManyForwarders);
    }
    Ok(())
}

/// The protocol that the client wants to switch to, such as `websocket`.
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let wants = connection.any(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("upgrade")));
    // HTTP/2 is spoken with prior knowledge only; the offer to switch to it is for us, and is declined by ignoring it.
    headers.get(UPGRADE).filter(|protocol| wants && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).cloned()
}

/// Makes of the client's request the one that a target gets: in origin form, with a Host, without what was between the
/// client and us only, and with what says where it came from.
pub fn to_target(parts: &mut Parts, route: &Route, client: &Client, upgrade: Option<HeaderValue>) {
    let authority = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let port = client_port(authority.as_ref().or(parts.headers.get(HOST)), route.record.port);
    if let Some(authority) = authority {
        parts.headers.insert(HOST, authority);
    }
    parts.uri = origin_form(std::mem::take(&mut parts.uri));
    parts.version = Version::HTTP_11;
    remove_hop_by_hop(&mut parts.headers);
    parts.headers.remove(EXPECT);
    if let Some(protocol) = upgrade {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, protocol);
    }
    add_forwarded_for(&mut parts.headers, route.balancer.settings.forwarded_for, client.peer.ip());
    parts.headers.insert(FORWARDED_PROTO, HeaderValue::from_static(client.scheme()));
    parts.headers.insert(FORWARDED_PORT, HeaderValue::from(port));
    add_trace(&mut parts.headers);
}

/// The port as the client sees it: on the open port that is what its Host says, which is where a redirect must lead back.
pub fn client_port(host: Option<&HeaderValue>, listener: u16) -> u16 {
    host.and_then(|host| host.to_str().ok()).and_then(|host| split_port(host).1).unwrap_or(listener)
}

fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    uri.path_and_query().and_then(|path| Uri::try_from(path.as_str()).ok()).unwrap_or_else(|| Uri::from_static("/"))
}

/// Removes what concerns one connection, from requests and from responses.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let mut named: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(CONNECTION) {
        let words = value.to_str().unwrap_or_default().split(',').map(str::trim);
        // What a client names here must not take away what we, or the framing, rely on.
        let may_go = |name: &HeaderName| *name != HOST && *name != CONTENT_LENGTH && *name != FORWARDED_FOR;
        named.extend(words.filter_map(|word| word.parse::<HeaderName>().ok()).filter(may_go));
    }
    for name in
        named.iter().chain(&[CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE, HTTP2_SETTINGS])
    {
        headers.remove(name);
    }
    // gRPC wants `TE: trailers`, and it is all that HTTP/2 allows.
    if headers.get(TE).is_some_and(|te| !te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        headers.remove(TE);
    }
}

fn add_forwarded_for(headers: &mut HeaderMap, mode: ForwardedFor, peer: IpAddr) {
    match mode {
        ForwardedFor::Preserve => return,
        ForwardedFor::Remove => {
            headers.remove(FORWARDED_FOR);
            return;
        }
        ForwardedFor::Append => {}
    }
    let mut line = Vec::new();
    for earlier in headers.get_all(FORWARDED_FOR) {
        line.extend_from_slice(earlier.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(peer.to_canonical().to_string().as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&line) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// Names the request as ELB does: `Root=1-TIME-ID`, or `Self=1-TIME-ID;` before what the client sent.
fn add_trace(headers: &mut HeaderMap) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let count = TRACES.get().wrapping_add(1);
    TRACES.set(count);
    let id = format!("1-{seconds:08x}-{:016x}{:08x}", scatter(count), scatter(!count) >> 32);
    let line = match headers.get(TRACE_ID).and_then(|sent| sent.to_str().ok()) {
        Some(sent) => format!("Self={id};{sent}"),
        None => format!("Root={id}"),
    };
    if let Ok(value) = HeaderValue::from_str(&line) {
        headers.insert(TRACE_ID, value);
    }
}

thread_local! {
    /// Where this thread's ids go on. They have to be different, not unpredictable; so one seed for a thread is enough.
    static TRACES: Cell<u64> = {
        let mut seed = [0; 8];
        // Without randomness ids may repeat after a restart, which only makes traces harder to tell apart.
        let _ = getrandom::fill(&mut seed);
        Cell::new(u64::from_le_bytes(seed))
    };
}
