//! Conditions, compiled.
//!
//! What cannot be compiled, which the API refuses and only a damaged store or one of another version has, never holds:
//! a rule must not become wider because a part of it is unreadable.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use http::header::HeaderName;
use ipnet::IpNet;
use regex::bytes::Regex;

use crate::model::rule::{self, Condition};
use crate::proxy::routes::split_port;
use crate::proxy::rules::Facts;
use crate::proxy::rules::path::normalized;
use crate::proxy::rules::pattern::{Pattern, Reading};

const HOST: Reading = Reading { folds_case: true, has_escapes: false };
const PATH: Reading = Reading { folds_case: false, has_escapes: false };
const HEADER: Reading = Reading { folds_case: true, has_escapes: false };
const QUERY: Reading = Reading { folds_case: true, has_escapes: true };

/// What conditions look at, made ready once for all rules.
pub struct Asked<'a> {
    pub facts: &'a Facts<'a>,
    /// Without its port.
    pub host: &'a str,
    /// Only normalized when the first rule asks for it.
    path: OnceCell<Cow<'a, str>>,
}

impl<'a> Asked<'a> {
    pub fn new(facts: &'a Facts<'a>) -> Asked<'a> {
        let (host, _port) = split_port(facts.host);
        Asked { facts, host: host.strip_suffix('.').unwrap_or(host), path: OnceCell::new() }
    }

    pub fn path(&self) -> &str {
        self.path.get_or_init(|| normalized(self.facts.path))
    }
}

/// One condition.
#[derive(Debug)]
pub enum Matcher {
    Host(Texts),
    Path(Texts),
    Header(HeaderName, Texts),
    Query(Vec<(Option<Pattern>, Pattern)>),
    Method(Vec<String>),
    Source(Vec<IpNet>),
}

/// Values of a condition; one that fits is enough.
#[derive(Debug)]
pub struct Texts {
    pub patterns: Vec<Pattern>,
    pub regexes: Vec<Regex>,
}

/// Why a record's condition is none.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("a regular expression cannot be used")]
    Regex(#[from] regex::Error),
    #[error("{0} is no name of a header")]
    HeaderName(String),
    #[error("{0} is no block of addresses")]
    Block(String),
}

impl Matcher {
    pub fn new(condition: &Condition) -> Result<Matcher, Damage> {
        Ok(match condition {
            // Hosts have no case, in a regular expression either.
            Condition::HostHeader { values, regex_values } => {
                Matcher::Host(Texts::new(values, HOST, regex_values, true)?)
            }
            Condition::PathPattern { values, regex_values } => {
                Matcher::Path(Texts::new(values, PATH, regex_values, false)?)
            }
            Condition::HttpHeader { name, values, regex_values } => {
                let header = HeaderName::from_bytes(name.as_bytes());
                let header = header.map_err(|_| Damage::HeaderName(name.clone()))?;
                Matcher::Header(header, Texts::new(values, HEADER, regex_values, false)?)
            }
            Condition::QueryString { values } => {
                let pattern = |text: &String| Pattern::new(text, QUERY);
                Matcher::Query(values.iter().map(|(key, value)| (key.as_ref().map(pattern), pattern(value))).collect())
            }
            Condition::HttpRequestMethod { values } => Matcher::Method(values.clone()),
            Condition::SourceIp { values } => {
                let blocks = values.iter().map(|block| {
                    let parsed = block.parse().or_else(|_| block.parse::<IpAddr>().map(IpNet::from));
                    parsed.map_err(|_| Damage::Block(block.clone()))
                });
                Matcher::Source(blocks.collect::<Result<_, _>>()?)
            }
        })
    }

    pub fn holds(&self, asked: &Asked<'_>) -> bool {
        match self {
            Matcher::Host(texts) => texts.fit(asked.host.as_bytes()),
            Matcher::Path(texts) => texts.fit(asked.path().as_bytes()),
            Matcher::Header(name, texts) => {
                asked.facts.headers.get_all(name).iter().any(|value| texts.fit(value.as_bytes()))
            }
            Matcher::Query(wanted) => asked.facts.query.is_some_and(|query| query_holds(wanted, query)),
            Matcher::Method(methods) => methods.iter().any(|method| method == asked.facts.method),
            Matcher::Source(blocks) => {
                let source = asked.facts.source.to_canonical();
                blocks.iter().any(|block| block.contains(&source))
            }
        }
    }
}

impl Texts {
    fn new(values: &[String], reading: Reading, regexes: &[String], folds_case: bool) -> Result<Texts, Damage> {
        let patterns = values.iter().map(|value| Pattern::new(value, reading)).collect();
        let regexes = regexes.iter().map(|text| compile(text, folds_case)).collect::<Result<_, _>>()?;
        Ok(Texts { patterns, regexes })
    }

    fn fit(&self, text: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| pattern.fits(text)) || self.regexes.iter().any(|regex| regex.is_match(text))
    }
}

/// Within the bounds that the API holds expressions to. It may match anywhere: who means the whole text writes `^` and `$`,
/// as ELB's examples do.
pub fn compile(text: &str, folds_case: bool) -> Result<Regex, regex::Error> {
    rule::regex(text, folds_case)
}

/// Whether a pair of the query fits: as it was sent, or as what its percent-encoding stands for.
fn query_holds(wanted: &[(Option<Pattern>, Pattern)], query: &str) -> bool {
    query.split('&').filter(|pair| !pair.is_empty()).any(|pair| {
        let (key, value) = pair.split_once('=').map_or((pair, None), |(key, value)| (key, Some(value)));
        wanted.iter().any(|(wanted_key, wanted_value)| match wanted_key {
            Some(wanted_key) => part_fits(wanted_key, key) && part_fits(wanted_value, value.unwrap_or("")),
            // `?debug` is a value without a key to who asks for a value alone.
            None => part_fits(wanted_value, value.unwrap_or(key)),
        })
    })
}

fn part_fits(pattern: &Pattern, part: &str) -> bool {
    pattern.fits(part.as_bytes()) || (part.contains('%') && pattern.fits_decoded(part.as_bytes()))
}
