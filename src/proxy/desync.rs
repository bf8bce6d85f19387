//! Whether two servers could read a request differently, in ELB's words, and what a load balancer does about it.
//!
//! A request whose end the next server finds elsewhere carries another one inside: that is request smuggling. ELB sorts
//! requests of HTTP/1 into four classes, each with a reason, and the mode of the load balancer says which of them pass.
//!
//! What is left for us to sort is what hyper lets through. It refuses by itself, in every mode, with 400: lengths that
//! differ or are no number (`MultipleContentLength`, `BadContentLength`), a transfer coding that does not end in `chunked`
//! (`BadTransferEncoding`), bad methods, versions and targets (`BadMethod`, `BadVersion`, `BadUri`, `AmbiguousUri`,
//! `SpaceInUri`), and names or values with control characters in them (`BadHeader`, `EmptyHeader`). It reads equal lengths
//! as one, and drops a length that came with `chunked` and ends the connection after it, as ELB does.

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Method, Request, Version};

/// `routing.http.desync_mitigation_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DesyncMode {
    Monitor,
    Defensive,
    Strictest,
}

/// How far a request is from being read in one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Compliant,
    /// Not as the RFC has it, and harmless.
    Acceptable,
    /// Servers may read it differently.
    Ambiguous,
    /// Made to be read differently, or broken.
    Severe,
}

/// A request's class and the reason for it, as access logs show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classification {
    pub class: Class,
    pub reason: &'static str,
}

/// What is done with a request of some class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// It passes; the client's and the target's connections end with it, so that nothing can be left over in them.
    PassAlone,
    Refuse,
}

impl DesyncMode {
    pub fn judge(self, class: Class) -> Verdict {
        match (self, class) {
            (_, Class::Compliant) | (DesyncMode::Monitor, _) => Verdict::Pass,
            (DesyncMode::Defensive, Class::Acceptable) => Verdict::Pass,
            (DesyncMode::Defensive, Class::Ambiguous) => Verdict::PassAlone,
            (DesyncMode::Defensive, Class::Severe) | (DesyncMode::Strictest, _) => Verdict::Refuse,
        }
    }
}

impl Classification {
    pub const COMPLIANT: Classification = Classification { class: Class::Compliant, reason: "-" };

    const fn new(class: Class, reason: &'static str) -> Classification {
        Classification { class, reason }
    }

    /// The worse of both; the first where they are equal.
    pub fn or(self, other: Classification) -> Classification {
        if other.class > self.class { other } else { self }
    }
}

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Class::Compliant => "-",
            Class::Acceptable => "Acceptable",
            Class::Ambiguous => "Ambiguous",
            Class::Severe => "Severe",
        }
    }
}

/// Sorts a request. HTTP/2 frames its messages itself: there is nothing in it to read differently.
pub fn classify<B>(request: &Request<B>) -> Classification {
    if request.version() >= Version::HTTP_2 {
        return Classification::COMPLIANT;
    }
    let headers = request.headers();
    let mut worst = framing(request.method(), headers);
    for (name, value) in headers {
        if is_suspicious(name.as_str()) {
            worst = worst.or(Classification::new(Class::Ambiguous, "SuspiciousHeader"));
        } else if !value.as_bytes().is_ascii() {
            worst = worst.or(Classification::new(Class::Acceptable, "NonCompliantHeader"));
        }
    }
    worst
}

fn framing(method: &Method, headers: &HeaderMap) -> Classification {
    let has_no_body = *method == Method::GET || *method == Method::HEAD;
    if headers.contains_key(TRANSFER_ENCODING) {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let is_chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if codings.next().is_some() {
            return Classification::new(Class::Severe, "MultipleTransferEncodingChunked");
        }
        if !is_chunked {
            return Classification::new(Class::Severe, "BadTransferEncoding");
        }
        if has_no_body {
            return Classification::new(Class::Ambiguous, "UndefinedTransferEncodingSemantics");
        }
    }
    match headers.get(CONTENT_LENGTH) {
        Some(length) if has_no_body && length.as_bytes().iter().all(|digit| *digit == b'0') => {
            Classification::new(Class::Acceptable, "GetHeadZeroContentLength")
        }
        Some(_) if has_no_body => Classification::new(Class::Ambiguous, "UndefinedContentLengthSemantics"),
        _ => Classification::COMPLIANT,
    }
}

/// Whether a name has the letters of a framing header and is none: `Transfer_Encoding`, `Content.Length`.
fn is_suspicious(name: &str) -> bool {
    // A few characters more or less, and their first letter: nearly every header is none of these.
    let wanted = match name.bytes().find(u8::is_ascii_alphabetic) {
        Some(b't') if (16..=24).contains(&name.len()) && name != "transfer-encoding" => "transferencoding",
        Some(b'c') if (13..=20).contains(&name.len()) && name != "content-length" => "contentlength",
        _ => return false,
    };
    name.bytes().filter(u8::is_ascii_alphabetic).eq(wanted.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(method: &str, headers: &[(&str, &str)]) -> String {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, value.as_bytes());
        }
        let found = classify(&request.body(()).unwrap());
        format!("{} {}", found.class.name(), found.reason)
    }

    #[test]
    fn requests_are_sorted_as_elb_sorts_them() {
        for (method, headers, wanted) in [
            ("GET", &[("accept", "*/*"), ("cookie", "a=b")][..], "- -"),
            ("POST", &[("content-length", "3")], "- -"),
            ("POST", &[("transfer-encoding", "Chunked")], "- -"),
            ("GET", &[("content-length", "0")], "Acceptable GetHeadZeroContentLength"),
            ("POST", &[("x-name", "caf\u{e9}")], "Acceptable NonCompliantHeader"),
            ("HEAD", &[("content-length", "7")], "Ambiguous UndefinedContentLengthSemantics"),
            ("GET", &[("transfer-encoding", "chunked")], "Ambiguous UndefinedTransferEncodingSemantics"),
            ("POST", &[("transfer_encoding", "chunked")], "Ambiguous SuspiciousHeader"),
            ("POST", &[("transferencoding", "chunked")], "Ambiguous SuspiciousHeader"),
            ("POST", &[("content--length", "8"), ("x-name", "\u{e9}")], "Ambiguous SuspiciousHeader"),
            ("POST", &[("content-language", "de")], "- -"),
            ("POST", &[("transfer-encoding", "gzip, chunked")], "Severe BadTransferEncoding"),
            (
                "POST",
                &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                "Severe MultipleTransferEncodingChunked",
            ),
        ] {
            assert_eq!(class(method, headers), wanted, "{method} {headers:?}");
        }
    }

    #[test]
    fn modes_pass_what_elb_passes() {
        let table = [
            (DesyncMode::Monitor, [Verdict::Pass, Verdict::Pass, Verdict::Pass, Verdict::Pass]),
            (DesyncMode::Defensive, [Verdict::Pass, Verdict::Pass, Verdict::PassAlone, Verdict::Refuse]),
            (DesyncMode::Strictest, [Verdict::Pass, Verdict::Refuse, Verdict::Refuse, Verdict::Refuse]),
        ];
        for (mode, wanted) in table {
            let classes = [Class::Compliant, Class::Acceptable, Class::Ambiguous, Class::Severe];
            assert_eq!(classes.map(|class| mode.judge(class)), wanted, "{mode:?}");
        }
    }

    #[test]
    fn framing_of_http2_is_not_the_headers_business() {
        let request = Request::get("/").version(Version::HTTP_2).header("content-length", "3").body(()).unwrap();
        assert_eq!(classify(&request), Classification::COMPLIANT);
    }
}
