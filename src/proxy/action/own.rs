//! What the load balancer answers by rule: redirects and fixed responses.

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};

use crate::proxy::answer::ForwardError;
use crate::proxy::body;
use crate::proxy::routes::split_port;
use crate::proxy::target::Body;

/// Where a client is sent, with parts of its own address in it.
#[derive(Debug)]
pub struct Redirect {
    pub status: StatusCode,
    pub protocol: Template,
    pub host: Template,
    pub port: Template,
    pub path: Template,
    pub query: Template,
}

/// The address that a client called.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    pub protocol: &'a str,
    /// As it was sent, with or without a port.
    pub host: &'a str,
    /// The listener's, for a host without one.
    pub port: u16,
    pub path: &'a str,
    pub query: &'a str,
}

/// A text with `#{protocol}`, `#{host}`, `#{port}`, `#{path}` (without its leading slash) and `#{query}` in it.
#[derive(Debug)]
pub struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Protocol,
    Host,
    Port,
    Path,
    Query,
}

impl Template {
    pub fn new(text: &str) -> Template {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let at = rest.find("#{").unwrap_or(rest.len());
            let (plain, tail) = rest.split_at(at);
            if !plain.is_empty() {
                pieces.push(Piece::Text(plain.to_owned()));
            }
            // What is no placeholder of ELB's is itself.
            let (piece, length) = match tail.split_once('}').map(|(name, _)| name) {
                Some("#{protocol") => (Piece::Protocol, 11),
                Some("#{host") => (Piece::Host, 7),
                Some("#{port") => (Piece::Port, 7),
                Some("#{path") => (Piece::Path, 7),
                Some("#{query") => (Piece::Query, 8),
                _ => (Piece::Text(tail.chars().take(2).collect()), tail.len().min(2)),
            };
            pieces.push(piece);
            rest = &tail[length..];
        }
        Template(pieces)
    }

    /// In one go, so that nothing a client sent is taken for a placeholder.
    fn fill(&self, called: &Called<'_>) -> String {
        let (host, port) = split_port(called.host);
        let parts = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => Cow::Borrowed(text.as_str()),
            Piece::Protocol => Cow::Borrowed(called.protocol),
            Piece::Host => Cow::Borrowed(host),
            Piece::Port => Cow::Owned(port.unwrap_or(called.port).to_string()),
            Piece::Path => Cow::Borrowed(called.path.strip_prefix('/').unwrap_or(called.path)),
            Piece::Query => Cow::Borrowed(called.query),
        });
        parts.collect()
    }
}

impl Redirect {
    /// The port is always named, also where it is the protocol's own, as ELB does.
    fn location(&self, called: &Called<'_>) -> String {
        let protocol = self.protocol.fill(called).to_ascii_lowercase();
        let (host, port, path) = (self.host.fill(called), self.port.fill(called), self.path.fill(called));
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut location = format!("{protocol}://{host}:{port}{slash}{path}");
        let query = self.query.fill(called);
        if !query.is_empty() {
            location.push('?');
            location.push_str(&query);
        }
        location
    }

    pub fn answer<B>(
        &self,
        request: &Request<B>,
        protocol: &str,
        host: &str,
        port: u16,
    ) -> Result<Response<Body>, ForwardError> {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or(""));
        let location = self.location(&Called { protocol, host, port, path, query });
        let location = HeaderValue::from_str(&location);
        let location = location.map_err(|_| ForwardError::BadRequest("an address that no redirect can hold"))?;
        // The page that ELB sends.
        let title = format!("{} {}", self.status.as_str(), self.status.canonical_reason().unwrap_or("Redirect"));
        let page = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
        );
        let mut response = respond(self.status, HeaderValue::from_static("text/html"), page, request.method());
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }
}

/// A response that is always the same.
#[derive(Debug)]
pub struct Fixed {
    pub status: StatusCode,
    pub content_type: HeaderValue,
    pub content: String,
}

impl Fixed {
    pub fn new(status: u16, content_type: &str, content: &str) -> Fixed {
        let default = || HeaderValue::from_static("text/plain; charset=utf-8");
        Fixed {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
            content_type: match content_type {
                "" => default(),
                content_type => HeaderValue::from_str(content_type).unwrap_or_else(|_| default()),
            },
            content: content.to_owned(),
        }
    }

    pub fn answer(&self, method: &Method) -> Response<Body> {
        respond(self.status, self.content_type.clone(), self.content.clone(), method)
    }
}

/// To HEAD only the length of the content is told.
fn respond(status: StatusCode, content_type: HeaderValue, content: String, method: &Method) -> Response<Body> {
    let length = HeaderValue::from(content.len());
    let content = if *method == Method::HEAD { body::empty() } else { body::full(content) };
    let mut response = Response::new(content);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    // Neither has one in HTTP.
    if status != StatusCode::NO_CONTENT && !status.is_informational() {
        headers.insert(CONTENT_LENGTH, length);
    }
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn redirect(parts: [&str; 5]) -> Redirect {
        let [protocol, host, port, path, query] = parts.map(Template::new);
        Redirect { status: StatusCode::MOVED_PERMANENTLY, protocol, host, port, path, query }
    }

    const SAME: [&str; 5] = ["#{protocol}", "#{host}", "#{port}", "/#{path}", "#{query}"];

    #[test]
    fn placeholders_are_parts_of_the_clients_address() {
        let called = Called { protocol: "http", host: "Shop.test:8080", port: 80, path: "/a/b", query: "x=1&y" };
        let location = |parts| redirect(parts).location(&called);
        assert_eq!(location(SAME), "http://Shop.test:8080/a/b?x=1&y");
        assert_eq!(location(["HTTPS", "#{host}", "443", "/#{path}", "#{query}"]), "https://Shop.test:443/a/b?x=1&y");
        assert_eq!(
            location(["#{protocol}", "www.#{host}", "#{port}", "/old/#{path}/#{port}", "from=#{host}&#{query}"]),
            "http://www.Shop.test:8080/old/a/b/8080?from=Shop.test&x=1&y"
        );
        assert_eq!(location(["#{protocol}", "other.test", "81", "/", ""]), "http://other.test:81/");
        assert_eq!(
            location(["http", "#{ho#{host}", "81", "/#{}#{other}#", ""]),
            "http://#{hoShop.test:81/#{}#{other}#"
        );
    }

    #[test]
    fn a_client_cannot_bring_its_own_placeholders() {
        let called = Called { protocol: "https", host: "a.test", port: 443, path: "/#{query}", query: "#{host}" };
        assert_eq!(redirect(SAME).location(&called), "https://a.test:443/#{query}?#{host}");
        let called = Called { path: "//evil.test", query: "", ..called };
        assert_eq!(redirect(SAME).location(&called), "https://a.test:443//evil.test");
    }

    #[tokio::test]
    async fn own_answers_have_their_length_and_none_has_content_for_head() {
        let fixed = Fixed::new(503, "text/html", "<p>later");
        let response = fixed.answer(&Method::GET);
        assert_eq!((response.status().as_u16(), &response.headers()[CONTENT_TYPE]), (503, &fixed.content_type));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "<p>later");
        let response = fixed.answer(&Method::HEAD);
        assert_eq!(response.headers()[CONTENT_LENGTH], "8");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "");
        assert!(!Fixed::new(204, "", "").answer(&Method::GET).headers().contains_key(CONTENT_LENGTH));
        assert_eq!(Fixed::new(200, "", "").answer(&Method::GET).headers()[CONTENT_TYPE], "text/plain; charset=utf-8");

        let request = Request::get("/a").body(()).unwrap();
        let response = redirect(SAME).answer(&request, "http", "a.test", 80).unwrap();
        assert_eq!(response.headers()[LOCATION], "http://a.test:80/a");
        assert_eq!(response.headers()[CONTENT_LENGTH], "134");
        let page = response.into_body().collect().await.unwrap().to_bytes();
        assert!(page.starts_with(b"<html>\r\n<head><title>301 Moved Permanently</title>"));
    }
}
