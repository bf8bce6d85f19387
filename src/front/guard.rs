//! Who may drive the API: a web page that somebody looks at must not.
//!
//! A page can make a browser send requests to this port. Three things tell them apart: a name that the page's owner lets
//! point at this machine (so an unknown Host is refused), an Origin other than where the request goes, and
//! `Sec-Fetch-Site`, which browsers also send where they send no Origin, as for images. Clients of AWS send none of the
//! latter two.

use std::net::{IpAddr, SocketAddr};

use http::HeaderName;
use http::header::{HOST, ORIGIN};
use http::request::Parts;

use crate::proxy::split_port;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub struct Guard {
    listen: IpAddr,
    hosts: Vec<String>,
}

/// Why a request may not drive the API. The text is the response's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("403 Forbidden: the request has no Host, or more than one")]
    NoHost,
    #[error(
        "403 Forbidden: this server is not known as {0:?}. The API answers at localhost, at the address it listens at, \
         and at the names it was given; a load balancer at NAME.REGION.elb.localhost"
    )]
    UnknownHost(String),
    #[error("403 Forbidden: requests from {0:?} may not drive this API")]
    ForeignOrigin(String),
    #[error("403 Forbidden: a web page of another site may not drive this API")]
    CrossSite,
}

impl Guard {
    pub fn new(listen: SocketAddr, hosts: &[String]) -> Guard {
        let hosts = hosts.iter().map(|host| host.trim_end_matches('.').to_ascii_lowercase());
        Guard { listen: listen.ip().to_canonical(), hosts: hosts.collect() }
    }

    pub fn admit(&self, parts: &Parts) -> Result<(), Refusal> {
        let host = called_host(parts).ok_or(Refusal::NoHost)?;
        if !self.knows(split_port(host).0) {
            return Err(Refusal::UnknownHost(shortened(host)));
        }
        for origin in parts.headers.get_all(ORIGIN) {
            let origin = origin.to_str().unwrap_or("?");
            let authority = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
            // Another port of this machine is another site, and may be anyone's.
            if !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
                return Err(Refusal::ForeignOrigin(shortened(origin)));
            }
        }
        match parts.headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes()) {
            // `none`: a person typed it.
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) => Err(Refusal::CrossSite),
        }
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = literal.parse::<IpAddr>() {
            let address = address.to_canonical();
            // No name stands behind an address, so nobody else can let it point here. Where every address of the machine
            // is listened at, every one is right.
            return address.is_loopback() || address == self.listen || self.listen.is_unspecified();
        }
        host.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

/// The host, with its port, that the request was sent to.
pub fn called_host(parts: &Parts) -> Option<&str> {
    if let Some(authority) = parts.uri.authority() {
        return Some(authority.as_str());
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    if hosts.next().is_some() { None } else { Some(host) }
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(listen: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut request = http::Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let guard = Guard::new(listen.parse().unwrap(), &["host.docker.internal".to_owned()]);
        guard.admit(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn knows_its_own_hosts() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:4566", "[::1]:80", "host.docker.internal:4566", "127.9.9.9"]
        {
            assert_eq!(admit("127.0.0.1:4566", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1:4566", "", "evil.localhost"] {
            let refused = admit("127.0.0.1:4566", &[("host", host)]);
            assert_eq!(refused, Err(Refusal::UnknownHost(host.to_owned())), "{host}");
        }
        assert_eq!(admit("127.0.0.1:4566", &[]), Err(Refusal::NoHost));
        assert_eq!(admit("127.0.0.1:4566", &[("host", "localhost"), ("host", "evil")]), Err(Refusal::NoHost));
        assert_eq!(admit("0.0.0.0:4566", &[("host", "10.0.0.1:4566")]), Ok(()));
        assert_eq!(admit("10.0.0.1:4566", &[("host", "10.0.0.1:4566")]), Ok(()));
    }

    #[test]
    fn refuses_pages_of_other_sites() {
        let from = |name, value| admit("127.0.0.1:4566", &[("host", "localhost:4566"), (name, value)]);
        assert_eq!(from("origin", "http://localhost:4566"), Ok(()));
        for origin in
            ["http://localhost:3000", "https://evil.example", "null", "http://127.0.0.1:4566", "localhost:4566"]
        {
            assert_eq!(from("origin", origin), Err(Refusal::ForeignOrigin(origin.to_owned())), "{origin}");
        }
        assert_eq!(from("sec-fetch-site", "cross-site"), Err(Refusal::CrossSite));
        assert_eq!(from("sec-fetch-site", "same-site"), Err(Refusal::CrossSite));
        assert_eq!(from("sec-fetch-site", "same-origin"), Ok(()));
        assert_eq!(from("sec-fetch-site", "none"), Ok(()));
    }
}
