//! What a target is told of the client: `X-Forwarded-*`, the TLS session, and the request's `X-Amzn-Trace-Id`.
//!
//! Lines are put together on the stack and allocated once, as the header's value: this runs for each request.

use std::cell::Cell;
use std::io::{Cursor, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::client::Client;
use crate::proxy::group::scatter;
use crate::proxy::settings::{ForwardedFor, HttpSettings, ListenerSettings};

pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// An address with its port, in brackets where it is one of IPv6, is at most 47 bytes long.
const ADDRESS_BYTES_MAX: usize = 64;
/// `Root=1-` or `Self=1-`, 8 and 24 hexadecimal digits.
const TRACE_BYTES: usize = 40;

/// `port` is where the client thinks it is.
pub fn add(
    headers: &mut HeaderMap,
    settings: &HttpSettings,
    listener: &ListenerSettings,
    client: &Client,
    port: Option<u16>,
) {
    add_forwarded_for(headers, settings, client.peer);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(client.scheme()));
    headers.insert(FORWARDED_PORT, port.map_or_else(|| listener.port.clone(), HeaderValue::from));
    if settings.tells_tls {
        // What a client says of its own session is no statement of ours.
        headers.remove(&listener.tls_version);
        headers.remove(&listener.tls_cipher);
        if let Some(tls) = &client.tls {
            headers.insert(&listener.tls_version, HeaderValue::from_static(tls.version));
            headers.insert(&listener.tls_cipher, HeaderValue::from_static(tls.cipher));
        }
    }
    add_trace(headers);
}

fn add_forwarded_for(headers: &mut HeaderMap, settings: &HttpSettings, peer: SocketAddr) {
    match settings.forwarded_for {
        ForwardedFor::Preserve => return,
        ForwardedFor::Remove => {
            headers.remove(FORWARDED_FOR);
            return;
        }
        ForwardedFor::Append => {}
    }
    let mut address = Cursor::new([0; ADDRESS_BYTES_MAX]);
    let written = match (peer.ip().to_canonical(), settings.forwards_port) {
        (ip, false) => write!(address, "{ip}"),
        (IpAddr::V4(ip), true) => write!(address, "{ip}:{}", peer.port()),
        (IpAddr::V6(ip), true) => write!(address, "[{ip}]:{}", peer.port()),
    };
    written.expect("an address is shorter than the buffer");
    let length = usize::try_from(address.position()).unwrap_or(ADDRESS_BYTES_MAX);
    let address = &address.get_ref()[..length];
    let value = if headers.contains_key(FORWARDED_FOR) {
        let mut line = Vec::with_capacity(4 * ADDRESS_BYTES_MAX);
        for earlier in headers.get_all(FORWARDED_FOR) {
            line.extend_from_slice(earlier.as_bytes());
            line.extend_from_slice(b", ");
        }
        line.extend_from_slice(address);
        HeaderValue::from_maybe_shared(bytes::Bytes::from(line))
    } else {
        HeaderValue::from_bytes(address)
    };
    if let Ok(value) = value {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// Names the request as ELB does: `Root=1-TIME-ID` where the client gave it no name; otherwise `Self=1-TIME-ID;` before
/// what the client sent, in place of another's `Self`.
pub fn add_trace(headers: &mut HeaderMap) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let count = TRACES.get().wrapping_add(1);
    TRACES.set(count);
    let sent =
        headers.get(&TRACE_ID).and_then(|sent| sent.to_str().ok()).map(str::trim).filter(|sent| !sent.is_empty());
    let key = match sent {
        Some(sent) if fields(sent).any(|field| is_named(field, "Root")) => "Self",
        _ => "Root",
    };
    let mut id = Cursor::new([0; TRACE_BYTES]);
    let seconds = seconds & 0xffff_ffff;
    write!(id, "{key}=1-{seconds:08x}-{:016x}{:08x}", scatter(count), scatter(!count) >> 32)
        .expect("it is as long as the buffer");
    let mut value = HeaderValue::from_bytes(id.get_ref());
    if let Some(sent) = sent {
        let mut line = Vec::with_capacity(TRACE_BYTES + 1 + sent.len());
        line.extend_from_slice(id.get_ref());
        for field in fields(sent).filter(|field| !is_named(field, "Self")) {
            line.push(b';');
            line.extend_from_slice(field.as_bytes());
        }
        value = HeaderValue::from_maybe_shared(bytes::Bytes::from(line));
    }
    if let Ok(value) = value {
        headers.insert(TRACE_ID, value);
    }
}

fn fields(sent: &str) -> impl Iterator<Item = &str> {
    sent.split(';').map(str::trim).filter(|field| !field.is_empty())
}

fn is_named(field: &str, name: &str) -> bool {
    field.split_once('=').is_some_and(|(key, _)| key.trim().eq_ignore_ascii_case(name))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::proxy::client::TlsSession;
    use crate::proxy::testing::listener;

    fn told(attributes: &[(&str, &str)], sent: &[(&'static str, &str)], client: &Client) -> HeaderMap {
        let set: BTreeMap<String, String> =
            attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let mut listener = listener(8080, Vec::new());
        listener.attributes = set.clone();
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().unwrap());
        }
        add(&mut headers, &HttpSettings::of(&set), &ListenerSettings::of(&listener), client, None);
        headers
    }

    fn from(peer: &str) -> Client {
        Client::plain(peer.parse().unwrap())
    }

    #[test]
    fn forwarded_for_is_appended_kept_or_removed() {
        let mode = |mode| vec![("routing.http.xff_header_processing.mode", mode)];
        let port = vec![("routing.http.xff_client_port.enabled", "true")];
        for (attributes, sent, peer, wanted) in [
            (vec![], vec![], "10.1.2.3:5000", Some("10.1.2.3")),
            (vec![], vec!["1.1.1.1, 2.2.2.2", "3.3.3.3"], "10.1.2.3:5000", Some("1.1.1.1, 2.2.2.2, 3.3.3.3, 10.1.2.3")),
            (vec![], vec![], "[::ffff:10.1.2.3]:5000", Some("10.1.2.3")),
            (mode("preserve"), vec!["1.1.1.1"], "10.1.2.3:5000", Some("1.1.1.1")),
            (mode("preserve"), vec![], "10.1.2.3:5000", None),
            (mode("remove"), vec!["1.1.1.1"], "10.1.2.3:5000", None),
            (port.clone(), vec!["1.1.1.1"], "10.1.2.3:5000", Some("1.1.1.1, 10.1.2.3:5000")),
            (port, vec![], "[2001:db8::1]:5000", Some("[2001:db8::1]:5000")),
        ] {
            let sent: Vec<_> = sent.into_iter().map(|value| ("x-forwarded-for", value)).collect();
            let headers = told(&attributes, &sent, &from(peer));
            let found = headers.get(FORWARDED_FOR).map(|value| value.to_str().unwrap());
            assert_eq!(found, wanted, "{attributes:?} {sent:?} {peer}");
            assert_eq!(
                (&headers[FORWARDED_PROTO], &headers[FORWARDED_PORT]),
                (&"http".parse().unwrap(), &"8080".parse().unwrap())
            );
        }
    }

    #[test]
    fn a_trace_goes_on_under_its_root() {
        let trace = |sent: &str| {
            let sent: Vec<_> =
                Some(sent).filter(|sent| !sent.is_empty()).map(|sent| ("x-amzn-trace-id", sent)).into_iter().collect();
            let headers = told(&[], &sent, &from("10.1.2.3:5000"));
            let (id, rest) = headers[TRACE_ID].to_str().unwrap().split_at(TRACE_BYTES);
            let digits = id[7..].split('-').map(|digits| digits.len()).collect::<Vec<_>>();
            assert_eq!((digits, &id[5..7]), (vec![8, 24], "1-"), "{id}");
            format!("{}{rest}", &id[..5])
        };
        for (sent, wanted) in [
            ("", "Root="),
            ("Root=1-67891233-abcdef012345678912345678", "Self=;Root=1-67891233-abcdef012345678912345678"),
            ("Root=1-5-6;CalledFrom=app", "Self=;Root=1-5-6;CalledFrom=app"),
            ("Self=1-2-3; Root=1-5-6", "Self=;Root=1-5-6"),
            ("CalledFrom=app", "Root=;CalledFrom=app"),
        ] {
            assert_eq!(trace(sent), wanted, "{sent}");
        }
    }

    #[test]
    fn the_tls_session_is_told_where_wanted_under_the_names_that_were_given() {
        let mut client = from("10.1.2.3:5000");
        client.tls = Some(TlsSession {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            server_name: None,
            certificate: None,
        });
        let on = ("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "true");
        let renamed = ("routing.http.request.x_amzn_tls_version.header_name", "X-My-TLS");
        let lie = ("x-amzn-tls-version", "TLSv9");
        let headers = told(&[on], &[lie], &client);
        assert_eq!(headers["x-amzn-tls-version"], "TLSv1.3");
        assert_eq!(headers["x-amzn-tls-cipher-suite"], "TLS_AES_128_GCM_SHA256");
        assert_eq!(told(&[on, renamed], &[], &client)["x-my-tls"], "TLSv1.3");
        assert!(!told(&[on], &[lie], &from("10.1.2.3:5000")).contains_key("x-amzn-tls-version"));
        assert!(!told(&[], &[], &client).contains_key("x-amzn-tls-version"));
    }
}
