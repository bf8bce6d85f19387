//! What rules mean, said as plainly as possible, and compared with what the compiled ones find: no index, no compiled
//! pattern, tables instead of backtracking. The fuzz target `rules` and a property test both run [`agree`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::model::Rule;
use crate::model::rule::{self, Condition};
use crate::proxy::rules::{Facts, Rules};
use crate::proxy::testing;

const RULES_MAX: usize = 8;
const TEXT_PIECES_MAX: usize = 7;

/// Makes rules and a request of `data`, and panics if the compiled rules and the plain ones find another rule.
pub fn agree(data: &[u8]) {
    let mut data = Data(data);
    let records: Vec<Arc<Rule>> = (0..data.below(RULES_MAX + 1)).map(|number| data.rule(number)).collect();
    let request = data.request();
    let facts = request.facts();
    let expected = plain(&records, &facts);
    // Once all at the same time, and once half of them after the other half, as publications do.
    let listener = testing::listener(80, vec![testing::fixed("default")]);
    let some: Vec<_> = records.iter().step_by(2).cloned().collect();
    let before = Rules::next(&listener, &some, &HashMap::new(), None);
    for before in [None, Some(&before)] {
        let rules = Rules::next(&listener, &records, &HashMap::new(), before);
        let found = rules.find(&facts).record.as_ref().map(|record| record.priority);
        assert_eq!(
            found,
            expected,
            "{facts:?} of {:?}",
            records.iter().map(|rule| &rule.conditions).collect::<Vec<_>>()
        );
    }
}

/// The priority of the first rule that holds.
fn plain(records: &[Arc<Rule>], facts: &Facts<'_>) -> Option<u32> {
    let holding = records.iter().filter(|rule| rule.conditions.iter().all(|condition| holds(condition, facts)));
    holding.map(|rule| rule.priority).min()
}

fn holds(condition: &Condition, facts: &Facts<'_>) -> bool {
    let any = |values: &[String], text: &str| values.iter().any(|value| like(value, text));
    let any_regex = |values: &[String], text: &str, ignore_case| {
        let mut regexes = values.iter().filter_map(|value| rule::regex(value, ignore_case).ok());
        regexes.any(|regex| regex.is_match(text.as_bytes()))
    };
    let lower = |values: &[String]| values.iter().map(|value| value.to_lowercase()).collect::<Vec<_>>();
    match condition {
        Condition::HostHeader { values, regex_values } => {
            let host = facts.host.split(':').next().unwrap_or_default().to_lowercase();
            let host = host.strip_suffix('.').unwrap_or(&host);
            any(&lower(values), host) || any_regex(regex_values, host, true)
        }
        Condition::PathPattern { values, regex_values } => {
            let path = plain_path(facts.path);
            any(values, &path) || any_regex(regex_values, &path, false)
        }
        Condition::HttpHeader { name, values, regex_values } => {
            let of_name = facts.headers.iter().filter(|(key, _)| key.as_str() == name);
            let mut texts = of_name.map(|(_, value)| value.to_str().unwrap_or_default());
            texts.any(|text| any(&lower(values), &text.to_lowercase()) || any_regex(regex_values, text, false))
        }
        Condition::QueryString { values } => {
            let Some(query) = facts.query else { return false };
            let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
            pairs.any(|pair| values.iter().any(|(key, value)| pair_holds(key.as_deref(), value, pair)))
        }
        Condition::HttpRequestMethod { values } => values.iter().any(|value| value == facts.method),
        Condition::SourceIp { values } => values.iter().any(|block| is_in(block, facts.source)),
    }
}

fn pair_holds(key: Option<&str>, value: &str, pair: &str) -> bool {
    let fits = |pattern: &str, part: &str| {
        let pattern = escaped(&pattern.to_lowercase());
        let lower = |text: &[u8]| text.to_ascii_lowercase();
        table(&pattern, &lower(part.as_bytes())) || table(&pattern, &lower(&decoded_where(part, |_| true)))
    };
    match (key, pair.split_once('=')) {
        (Some(key), Some((sent_key, sent))) => fits(key, sent_key) && fits(value, sent),
        (Some(key), None) => fits(key, pair) && fits(value, ""),
        (None, Some((_, sent))) => fits(value, sent),
        (None, None) => fits(value, pair),
    }
}

/// Whether the pattern is like the text: a table of which prefixes are like each other.
fn like(pattern: &str, text: &str) -> bool {
    table(&pattern.bytes().map(|byte| (byte, matches!(byte, b'*' | b'?'))).collect::<Vec<_>>(), text.as_bytes())
}

/// The pattern's bytes, and whether each is a wildcard.
fn escaped(pattern: &str) -> Vec<(u8, bool)> {
    let mut pieces = Vec::new();
    let mut bytes = pattern.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek().copied()) {
            (b'\\', Some(next @ (b'*' | b'?' | b'\\'))) => {
                bytes.next();
                pieces.push((next, false));
            }
            _ => pieces.push((byte, matches!(byte, b'*' | b'?'))),
        }
    }
    pieces
}

fn table(pattern: &[(u8, bool)], text: &[u8]) -> bool {
    let mut like = vec![vec![false; text.len() + 1]; pattern.len() + 1];
    like[0][0] = true;
    for (row, (byte, is_wild)) in pattern.iter().enumerate() {
        for column in 0..=text.len() {
            like[row + 1][column] = match (byte, is_wild) {
                (b'*', true) => like[row][column] || (column > 0 && like[row + 1][column - 1]),
                (b'?', true) => column > 0 && like[row][column - 1],
                (byte, _) => column > 0 && like[row][column - 1] && text[column - 1] == *byte,
            };
        }
    }
    like[pattern.len()][text.len()]
}

fn decoded_where(text: &str, may: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let code = rest.strip_prefix('%').and_then(|code| code.get(..2));
        let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|code| may(*code)) {
            Some(code) => {
                out.push(code);
                rest = &rest[3..];
            }
            // All texts here are of ASCII.
            None => {
                out.push(first);
                rest = &rest[1..];
            }
        }
    }
    out
}

/// By removing from a text what RFC 3986, 5.2.4 says, step by step.
fn plain_path(path: &str) -> String {
    let decoded = decoded_where(path, |code| code.is_ascii_alphanumeric() || b"-._~".contains(&code));
    let decoded = String::from_utf8(decoded).unwrap_or_default();
    if !decoded.starts_with('/') {
        return decoded;
    }
    let (mut input, mut output) = (decoded, String::new());
    while !input.is_empty() {
        if input.starts_with("/./") || input == "/." {
            input = format!("/{}", input.get(3..).unwrap_or_default());
        } else if input.starts_with("/../") || input == "/.." {
            input = format!("/{}", input.get(4..).unwrap_or_default());
            output.truncate(output.rfind('/').unwrap_or(0));
        } else {
            let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
            output.push_str(&input[..end]);
            input = input[end..].to_owned();
        }
    }
    output
}

/// Whether the first bits of both are the same.
fn is_in(block: &str, address: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (4, u128::from(u32::from(ip)) << 96),
        IpAddr::V6(ip) => (6, u128::from(ip)),
    };
    let Some((network, length)) = block.split_once('/') else { return false };
    let (Ok(network), Ok(length)) = (network.parse(), length.parse::<u32>()) else { return false };
    let ((family, network), (other, address)) = (bits(network), bits(address.to_canonical()));
    family == other && (length == 0 || (network ^ address) >> (128 - length) == 0)
}

/// Bytes as choices.
struct Data<'a>(&'a [u8]);

/// A request as its parts own it.
struct Asking {
    host: String,
    method: &'static str,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    source: IpAddr,
}

impl Asking {
    fn facts(&self) -> Facts<'_> {
        Facts {
            host: &self.host,
            method: self.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            source: self.source,
        }
    }
}

const HOSTS: &[&str] = &["a", "A", "b", ".", "aa.b", "-"];
const PATHS: &[&str] = &["a", "/", "/a", "/A/", ".", "/..", "%61", "%2f", "%2E", "%"];
const TEXTS: &[&str] = &["a", "B", " ", "\\", "x*", "?"];
const QUERIES: &[&str] = &["a", "=", "&", "B", "%41", "%", "\\", "*"];
const WILD: &[&str] = &["*", "?", "a", "\\*"];
const NAMES: &[&str] = &["x-a", "x-b"];
const METHODS: &[&str] = &["GET", "POST", "get"];
const ADDRESSES: &[&str] = &["10.0.0.1", "10.128.0.1", "::ffff:10.0.0.1", "2001:db8::1", "::1"];
const BLOCKS: &[&str] = &["10.0.0.0/8", "10.0.0.1/32", "10.128.0.0/9", "0.0.0.0/0", "2001:db8::/33", "::/0"];
const REGEXES: &[&str] = &["^a", "a$", "(?:a|b)+\\.", "A", "[^a]"];

impl Data<'_> {
    /// A number below `count`; 0 when there is nothing left.
    fn below(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % count
    }

    fn one<'b>(&mut self, of: &[&'b str]) -> &'b str {
        of[self.below(of.len())]
    }

    fn text(&mut self, of: &[&str]) -> String {
        (0..self.below(TEXT_PIECES_MAX)).map(|_| self.one(of)).collect()
    }

    fn pattern(&mut self, of: &[&str]) -> String {
        (0..self.below(TEXT_PIECES_MAX))
            .map(|_| match self.below(3) {
                0 => self.one(WILD),
                _ => self.one(of),
            })
            .collect()
    }

    fn patterns(&mut self, of: &[&str]) -> Vec<String> {
        (0..1 + self.below(3)).map(|_| self.pattern(of)).collect()
    }

    fn regexes(&mut self) -> Vec<String> {
        (0..self.below(8).saturating_sub(6)).map(|_| self.one(REGEXES).to_owned()).collect()
    }

    fn rule(&mut self, number: usize) -> Arc<Rule> {
        let conditions = (0..self.below(3)).map(|_| self.condition()).collect();
        // Distinct, and in no order.
        let priority = u32::try_from(1 + self.below(100) * RULES_MAX + number).unwrap_or(1);
        Arc::new(testing::rule(priority, conditions, vec![testing::fixed("rule")]))
    }

    fn condition(&mut self) -> Condition {
        match self.below(6) {
            0 => Condition::HostHeader { values: self.patterns(HOSTS), regex_values: self.regexes() },
            1 => {
                let values = self.patterns(PATHS).into_iter().map(|value| format!("/{value}")).collect();
                Condition::PathPattern { values, regex_values: self.regexes() }
            }
            2 => Condition::HttpHeader {
                name: self.one(NAMES).to_owned(),
                values: self.patterns(TEXTS),
                regex_values: self.regexes(),
            },
            3 => {
                let pair = |data: &mut Self| {
                    let key = (data.below(2) == 0).then(|| data.pattern(QUERIES));
                    (key, data.pattern(QUERIES))
                };
                Condition::QueryString { values: (0..1 + self.below(2)).map(|_| pair(self)).collect() }
            }
            4 => Condition::HttpRequestMethod { values: vec![self.one(METHODS).to_owned()] },
            _ => Condition::SourceIp { values: vec![self.one(BLOCKS).to_owned()] },
        }
    }

    fn request(&mut self) -> Asking {
        let mut headers = HeaderMap::new();
        for _ in 0..self.below(4) {
            let name = HeaderName::from_static(NAMES[self.below(NAMES.len())]);
            if let Ok(value) = HeaderValue::from_str(&self.text(TEXTS)) {
                headers.append(name, value);
            }
        }
        let port = self.one(&["", ":80"]);
        Asking {
            host: self.text(HOSTS) + port,
            method: METHODS[self.below(METHODS.len())],
            path: format!("/{}", self.text(PATHS)),
            query: (self.below(3) > 0).then(|| self.text(QUERIES)),
            headers,
            source: self.one(ADDRESSES).parse().unwrap_or(IpAddr::from([0; 4])),
        }
    }
}
