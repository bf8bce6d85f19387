//! The path of a request, made safe to append to a directory.
//!
//! WASI refuses by itself whatever leaves a preopened directory, links included. Here is the first fence: what is parsed
//! has no `..`, no empty part and no separator hidden behind a percent sign.

/// Parts of a path below the root, and whether it named a directory (it ended with a slash).
#[derive(Debug, PartialEq)]
pub struct WebPath {
    joined: String,
    is_directory: bool,
}

impl WebPath {
    /// Nothing for what is no path of a file: not UTF-8, a control character, or out of the root.
    pub fn parse(target: &str) -> Option<WebPath> {
        let raw = target.split(['?', '#']).next().unwrap_or_default();
        let decoded = String::from_utf8(percent_decode(raw)?).ok()?;
        if !decoded.starts_with('/') || decoded.contains(|c: char| c.is_control() || c == '\\') {
            return None;
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in decoded.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop()?;
                }
                part => parts.push(part),
            }
        }
        let is_directory = matches!(decoded.rsplit('/').next(), Some("" | "." | ".."));
        Some(WebPath { joined: parts.join("/"), is_directory })
    }

    /// Below the root, without a slash at either end; empty for the root.
    pub fn file(&self) -> &str {
        &self.joined
    }

    pub fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// The path as a client has to ask for it when it is a directory. It begins with one slash, so it never names another
    /// host, whatever was asked for.
    pub fn as_directory(&self) -> String {
        let mut location = String::from("/");
        for byte in self.joined.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    location.push(byte.into())
                }
                _ => location.push_str(&format!("%{byte:02X}")),
            }
        }
        if !location.ends_with('/') {
            location.push('/');
        }
        location
    }
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::WebPath;

    #[test]
    fn stays_below_the_root() {
        let file = |target| WebPath::parse(target).map(|path| path.file().to_owned());
        assert_eq!(file("/"), Some(String::new()));
        assert_eq!(file("/a//b/./c?x=/../.."), Some("a/b/c".to_owned()));
        assert_eq!(file("/a/../b"), Some("b".to_owned()));
        assert_eq!(file("/%61%20b"), Some("a b".to_owned()));
        for outside in ["/..", "/a/../../b", "/%2e%2e/etc", "/%2e%2e%2fetc", "/..%5cb", "/%00", "/%f", "x", "/%ff"] {
            assert_eq!(file(outside), None, "{outside}");
        }
    }

    #[test]
    fn a_redirect_never_leaves_the_host() {
        let path = WebPath::parse("//evil.example/x y").expect("a path");
        assert_eq!(path.as_directory(), "/evil.example/x%20y/");
        assert!(!path.is_directory());
        assert!(WebPath::parse("/a/").expect("a path").is_directory());
    }
}
