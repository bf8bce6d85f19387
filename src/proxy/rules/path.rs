//! The path that rules are asked about: ELB looks at rules after it has normalized the address, or `/public/../admin`
//! and `/%61dmin` would walk past a rule for `/admin`. The target still gets the path as it was sent.

use std::borrow::Cow;

use crate::proxy::rules::pattern::decode;

/// By RFC 3986, 6.2.2: codes of characters that need none are decoded, then the segments `.` and `..` are gone.
pub fn normalized(path: &str) -> Cow<'_, str> {
    let is_plain = !path.contains('%') && !path.contains("/.");
    if is_plain {
        return Cow::Borrowed(path);
    }
    Cow::Owned(without_dots(&decoded(path)))
}

fn decoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let plain = decode(rest.as_bytes()).filter(|byte| is_unreserved(*byte));
        let length = match plain {
            Some(byte) => {
                text.push(char::from(byte));
                3
            }
            None => {
                text.push('%');
                1
            }
        };
        rest = &rest[length..];
    }
    text.push_str(rest);
    text
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn without_dots(path: &str) -> String {
    let Some(relative) = path.strip_prefix('/') else { return path.to_owned() };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = relative.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // `/a/.` is the folder `/a/`.
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalized_as_rfc_3986_says() {
        for (sent, expected) in [
            ("/a/b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/public/../admin", "/admin"),
            ("/a/b/..", "/a/"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a/.", "/a/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/%61dmin", "/admin"),
            ("/x/%2e%2E/admin", "/admin"),
            ("/a%2Fb", "/a%2Fb"),
            ("/100%", "/100%"),
            ("/%zz/%4", "/%zz/%4"),
            ("//a//b", "//a//b"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(normalized(sent), expected, "{sent}");
        }
    }
}
