//! `AllowedPattern`: regular expressions, held against a whole value in time linear in its length.
//!
//! A pattern comes from a caller and is run by the control plane, so it must not be able to hold it up. The engine never
//! goes back; what needs going back (references, looking around) it refuses, and so do we.

use regex::{Regex, RegexBuilder};

/// A compiled pattern in memory: at 8 KiB of value even the worst takes some milliseconds.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// How deep groups may nest.
const DEPTH_MAX: u32 = 50;

/// Why a text is no pattern that is understood here. One line, as the last of the engine's own, which draws the pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern(Regex);

impl Pattern {
    pub fn compile(text: &str) -> Result<Pattern, Invalid> {
        let invalid = |error: regex::Error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            Invalid(last.trim_start_matches("error: ").to_owned())
        };
        // By itself first: a parenthesis too many must not close the one that we add.
        let bounded = |text: &str| {
            RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).nest_limit(DEPTH_MAX).build().map_err(invalid)
        };
        bounded(text)?;
        Ok(Pattern(bounded(&format!(r"\A(?:{text})\z"))?))
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::compile(pattern).unwrap().matches(text)
    }

    #[test]
    fn the_whole_value_has_to_match() {
        for (pattern, yes, no) in [
            (r"^\d+$", "123", "12a"),
            (r"\d+", "123", "a123"),
            (r"[a-zA-Z_][a-zA-Z0-9_-]*", "a-b_1", "1a"),
            (r"(dev|test|prod)-[0-9]{1,3}", "prod-42", "prod-1234"),
            (r"^(?:https?://)?[^/\s]+\.example\.com$", "https://a.example.com", "https://a/b.example.com"),
            (r"a{2,}b?", "aaa", "a"),
            (r"a|b", "b", "ab"),
            (r".*", "", "\n"),
            (r"|x", "", "y"),
            (r"[^\]]", "a", "]"),
        ] {
            assert!(matches(pattern, yes), "{pattern} does not match {yes}");
            assert!(!matches(pattern, no), "{pattern} matches {no:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_in_one_line() {
        for (pattern, reason) in [
            ("(a", "unclosed group"),
            ("a)|(b", "unopened group"),
            ("[a", "unclosed character class"),
            ("*a", "repetition operator missing expression"),
            ("(?=a)b", "look-around"),
            (r"(a)\1", "backreferences are not supported"),
            ("(a{1000}){1000}", "size limit"),
            (&format!("{}a{}", "(".repeat(100), ")".repeat(100)), "nested"),
        ] {
            let error = Pattern::compile(pattern).map(drop).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{pattern}: {error}");
        }
    }

    #[test]
    fn no_pattern_takes_longer_than_its_length_allows() {
        let value = "a".repeat(8192);
        assert!(!matches(r"(a*)*(a*)*(a|aa)+b", &value));
    }
}
