//! Makes a request of HTTP into one of `wasi:http`.

use std::net::Ipv4Addr;

use http_body_util::BodyExt;
use hyper::header::HOST;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Uri};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::runtime::guest::http::{HandlerError, RequestBody};

/// A `wasi:http` request has a scheme, an authority and a path, whichever form the request line had. A request of HTTP/1.0
/// may name no host; it gets the task's own address, as a server without names would see it.
pub(super) fn prepare(request: Request<RequestBody>, own: Ipv4Addr) -> Result<Request<WasiBody>, HandlerError> {
    let (mut parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        return Err(invalid("CONNECT asks for a tunnel, which a handler cannot be"));
    }
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    let authority = match (uri.authority.take(), parts.headers.get(HOST)) {
        (Some(authority), _) => authority,
        (None, Some(host)) => Authority::try_from(host.as_bytes()).map_err(|_| invalid("its Host is no host"))?,
        (None, None) => Authority::try_from(own.to_string()).map_err(|_| invalid("it names no host"))?,
    };
    // The listeners in front end TLS; what the client used is told by X-Forwarded-Proto.
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority);
    uri.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from_parts(uri).map_err(|_| invalid("its target is no path"))?;
    let body = body.map_err(|error| Error::InternalError(Some(error.to_string()))).boxed_unsync();
    Ok(Request::from_parts(parts, body))
}

fn invalid(why: &str) -> HandlerError {
    HandlerError::InvalidRequest(String::from(why))
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;
    use crate::runtime::guest::http::BoxError;

    fn prepared(method: Method, uri: &str, host: Option<&str>) -> Result<String, HandlerError> {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let body = Empty::new().map_err(|never| -> BoxError { match never {} }).boxed_unsync();
        Ok(prepare(request.body(body).unwrap(), Ipv4Addr::new(127, 64, 0, 1))?.uri().to_string())
    }

    #[test]
    fn every_form_of_request_gets_an_authority_and_a_path() {
        for (uri, host, expected) in [
            ("/a?b", Some("example.com:8080"), "http://example.com:8080/a?b"),
            ("http://one.example/a", Some("two.example"), "http://one.example/a"),
            ("https://one.example", None, "http://one.example/"),
            ("/", None, "http://127.64.0.1/"),
        ] {
            assert_eq!(prepared(Method::GET, uri, host).unwrap(), expected);
        }
        assert!(matches!(prepared(Method::GET, "/", Some("a b")), Err(HandlerError::InvalidRequest(_))));
        assert!(matches!(prepared(Method::CONNECT, "host:80", None), Err(HandlerError::InvalidRequest(_))));
    }
}
