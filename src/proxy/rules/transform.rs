//! Transforms, compiled: what becomes of host and address of a request on its way to a target.
//!
//! They change what is forwarded, not what rules are asked about, nor what logs show: those have what the client sent.
//! What an expression finds first is replaced, and `$1` to `$9` in the replacement are its groups. A request that does not
//! match goes on as it is; one of which no valid request would become is answered 500, as a target that gets something
//! else than it was promised could let it in.

use http::Uri;
use http::header::{HOST, HeaderValue};
use http::request::Parts;
use regex::bytes::{Captures, Regex};

use crate::model::rule::Transform;
use crate::proxy::routes::split_port;
use crate::proxy::rules::condition::compile;

/// The longest name of a host.
const HOST_BYTES_MAX: usize = 255;

/// The longest path with its query, which is what ELB lets clients send: a group may be repeated sixty times over.
const ADDRESS_BYTES_MAX: usize = 16 << 10;

/// The changes of one rule, in their order.
#[derive(Debug, Default)]
pub struct Transforms {
    hosts: Vec<Rewrite>,
    addresses: Vec<Rewrite>,
}

#[derive(Debug)]
struct Rewrite {
    regex: Regex,
    replacement: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(Vec<u8>),
    Group(usize),
}

/// Why a request cannot be what its rule makes of it, with the words of ELB's access logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    #[error("the rewritten host is no host")]
    InvalidHost,
    #[error("the rewritten path is no path")]
    InvalidPath,
    #[error("the rewritten request is too long")]
    TooLong,
}

impl TransformError {
    /// The `error_reason` of access logs.
    pub fn reason(self) -> &'static str {
        match self {
            TransformError::InvalidHost => "TransformInvalidHost",
            TransformError::InvalidPath => "TransformInvalidPath",
            TransformError::TooLong => "TransformBufferTooSmall",
        }
    }
}

impl Transforms {
    pub fn new(transforms: &[Transform]) -> Result<Transforms, regex::Error> {
        let mut compiled = Transforms::default();
        for transform in transforms {
            match transform {
                Transform::HostHeaderRewrite { regex, replace } => {
                    compiled.hosts.push(Rewrite::new(compile(regex, true)?, replace));
                }
                Transform::UrlRewrite { regex, replace } => {
                    compiled.addresses.push(Rewrite::new(compile(regex, false)?, replace));
                }
            }
        }
        Ok(compiled)
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.addresses.is_empty()
    }

    pub fn apply(&self, parts: &mut Parts) -> Result<(), TransformError> {
        if !self.hosts.is_empty() {
            self.apply_to_host(parts)?;
        }
        if !self.addresses.is_empty() {
            self.apply_to_address(parts)?;
        }
        Ok(())
    }

    /// The port that a client named stays: the expression is of the host alone, as conditions are.
    fn apply_to_host(&self, parts: &mut Parts) -> Result<(), TransformError> {
        let sent = parts.uri.authority().map(|authority| authority.as_str());
        let sent = sent.or_else(|| parts.headers.get(HOST).and_then(|host| host.to_str().ok())).unwrap_or_default();
        let (host, _) = split_port(sent);
        let Some(rewritten) = rewritten(&self.hosts, host.as_bytes(), HOST_BYTES_MAX)? else { return Ok(()) };
        let port = &sent[host.len()..];
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if rewritten.is_empty() || !rewritten.iter().all(is_name) {
            return Err(TransformError::InvalidHost);
        }
        let value = HeaderValue::from_bytes(&[rewritten.as_slice(), port.as_bytes()].concat());
        let value = value.map_err(|_| TransformError::InvalidHost)?;
        // HTTP/2 has the host in its authority, which would be taken for it again.
        if parts.uri.authority().is_some() {
            let address = parts.uri.path_and_query().map_or("/", |address| address.as_str());
            parts.uri = Uri::try_from(address).map_err(|_| TransformError::InvalidPath)?;
        }
        parts.headers.insert(HOST, value);
        Ok(())
    }

    fn apply_to_address(&self, parts: &mut Parts) -> Result<(), TransformError> {
        let sent = parts.uri.path_and_query().map_or("/", |address| address.as_str());
        let rewritten = rewritten(&self.addresses, sent.as_bytes(), ADDRESS_BYTES_MAX)?;
        let Some(rewritten) = rewritten else { return Ok(()) };
        // It has to stay a path here: `//other` or `http://other/` would be an address elsewhere to some targets.
        if rewritten.first() != Some(&b'/') {
            return Err(TransformError::InvalidPath);
        }
        let address = rewritten.as_slice().try_into().map_err(|_| TransformError::InvalidPath)?;
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.path_and_query = Some(address);
        parts.uri = Uri::from_parts(uri).map_err(|_| TransformError::InvalidPath)?;
        Ok(())
    }
}

/// `None` if no expression matches.
fn rewritten(rewrites: &[Rewrite], text: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>, TransformError> {
    let mut now: Option<Vec<u8>> = None;
    for rewrite in rewrites {
        let next = rewrite.apply(now.as_deref().unwrap_or(text));
        if next.as_ref().is_some_and(|next| next.len() > bytes_max) {
            return Err(TransformError::TooLong);
        }
        now = next.or(now);
    }
    Ok(now)
}

impl Rewrite {
    fn new(regex: Regex, replace: &str) -> Rewrite {
        let mut replacement = Vec::new();
        let mut text = Vec::new();
        let mut bytes = replace.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let group = bytes.peek().filter(|next| byte == b'$' && next.is_ascii_digit()).map(|next| next - b'0');
            match group {
                Some(group) => {
                    bytes.next();
                    replacement.push(Piece::Text(std::mem::take(&mut text)));
                    replacement.push(Piece::Group(usize::from(group)));
                }
                None => text.push(byte),
            }
        }
        replacement.push(Piece::Text(text));
        Rewrite { regex, replacement }
    }

    fn apply(&self, text: &[u8]) -> Option<Vec<u8>> {
        let captures = self.regex.captures(text)?;
        let found = captures.get(0)?;
        let mut out = text[..found.start()].to_vec();
        self.expand(&captures, &mut out);
        out.extend_from_slice(&text[found.end()..]);
        Some(out)
    }

    /// A group that took no part is empty.
    fn expand(&self, captures: &Captures<'_>, out: &mut Vec<u8>) {
        for piece in &self.replacement {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Group(group) => {
                    out.extend_from_slice(captures.get(*group).map_or(&[], |group| group.as_bytes()))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn url(regex: &str, replace: &str) -> Transform {
        Transform::UrlRewrite { regex: regex.into(), replace: replace.into() }
    }

    fn host(regex: &str, replace: &str) -> Transform {
        Transform::HostHeaderRewrite { regex: regex.into(), replace: replace.into() }
    }

    /// Host and address that a target gets.
    fn transformed(transforms: &[Transform], sent: &str, address: &str) -> Result<(String, String), TransformError> {
        let (mut parts, ()) = Request::get(address).header(HOST, sent).body(()).unwrap().into_parts();
        Transforms::new(transforms).unwrap().apply(&mut parts)?;
        let address = parts.uri.path_and_query().unwrap().as_str();
        Ok((parts.headers[HOST].to_str().unwrap().to_owned(), address.to_owned()))
    }

    #[track_caller]
    fn check(transform: Transform, sent: (&str, &str), expected: (&str, &str)) {
        let found = transformed(&[transform], sent.0, sent.1).unwrap();
        assert_eq!((found.0.as_str(), found.1.as_str()), expected);
    }

    #[test]
    fn what_is_found_is_replaced_and_groups_are_filled_in() {
        check(url(r"^\/dp\/([A-Za-z0-9]+)\/?$", "/product.php?id=$1"), ("a", "/dp/B09/"), ("a", "/product.php?id=B09"));
        check(url("^/v1/(.*)", "/v2/$1"), ("a", "/v1/x?y=1"), ("a", "/v2/x?y=1"));
        check(url("/old", "/new"), ("a", "/old/old"), ("a", "/new/old"));
        check(url("^/v1/", "/v2/"), ("a", "/V1/x"), ("a", "/V1/x"));
        check(url("^/(a)(z)?", "/$1-$2$$9$x"), ("a", "/a"), ("a", "/a-$$x"));
        check(
            host(r"^mywebsite-(.+)\.com$", "internal.dev.$1.myweb.com"),
            ("MyWebsite-a.com:81", "/"),
            ("internal.dev.a.myweb.com:81", "/"),
        );
        check(host(r"^x$", "y"), ("xx", "/"), ("xx", "/"));
    }

    #[test]
    fn http2_has_its_host_in_the_authority() {
        let (mut parts, ()) = Request::get("http://api.test:80/v1/x").body(()).unwrap().into_parts();
        let transforms = [host("^api", "www"), url("^/v1", "/v2")];
        Transforms::new(&transforms).unwrap().apply(&mut parts).unwrap();
        assert_eq!((parts.headers[HOST].to_str().unwrap(), parts.uri.to_string().as_str()), ("www.test:80", "/v2/x"));
    }

    #[test]
    fn what_would_be_no_request_is_an_error() {
        assert_eq!(transformed(&[url("^/", "")], "a", "/x"), Err(TransformError::InvalidPath));
        assert_eq!(transformed(&[url("x", "a b")], "a", "/x"), Err(TransformError::InvalidPath));
        assert_eq!(transformed(&[host("a", "b/c")], "a", "/x"), Err(TransformError::InvalidHost));
        assert_eq!(transformed(&[host(".*", "")], "a", "/x"), Err(TransformError::InvalidHost));
        let long = format!("/{}", "x".repeat(8000));
        assert_eq!(transformed(&[url("^/(.*)", "/$1$1$1")], "a", &long), Err(TransformError::TooLong));
    }
}
