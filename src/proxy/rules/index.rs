//! Which rules are worth asking: of a thousand, most say at once by host or by the start of the path that a request is
//! not theirs.
//!
//! A rule is listed under each host that it names without wildcards; else under each first segment of a path that it
//! names in full; else among the rest, which are asked always. Asking goes through the three lists of a request at the
//! same time, in the order of priority, so the answer is the one that asking all rules would give.

use std::collections::HashMap;

use crate::proxy::rules::RuleRoute;
use crate::proxy::rules::condition::{Asked, Matcher, Texts};

/// The longest host that is looked up, so that its lower case fits on the stack. ELB bounds those of conditions so.
const HOST_BYTES_MAX: usize = 128;

/// Places in the list of rules, ascending.
type Places = Vec<u32>;

#[derive(Default)]
pub struct Index {
    by_host: HashMap<Box<[u8]>, Places>,
    by_segment: HashMap<Box<[u8]>, Places>,
    rest: Places,
}

impl Index {
    /// `rules` are in the order in which they are asked.
    pub fn new<'a>(rules: impl Iterator<Item = &'a RuleRoute>) -> Index {
        let mut index = Index::default();
        for (place, rule) in (0_u32..).zip(rules) {
            let Some(conditions) = &rule.conditions else { continue };
            if let Some(hosts) = conditions.iter().find_map(hosts) {
                list(&mut index.by_host, hosts, place);
            } else if let Some(segments) = conditions.iter().find_map(segments) {
                list(&mut index.by_segment, segments, place);
            } else {
                index.rest.push(place);
            }
        }
        index
    }

    /// The first place in the order of priority for which `holds`.
    pub fn first(&self, asked: &Asked<'_>, holds: impl Fn(usize) -> bool) -> Option<usize> {
        let mut hosts = self.of_host(asked.host).iter().copied().peekable();
        let mut segments = self.of_path(asked).iter().copied().peekable();
        let mut rest = self.rest.iter().copied().peekable();
        loop {
            let (host, segment, other) = (hosts.peek().copied(), segments.peek().copied(), rest.peek().copied());
            let next = [host, segment, other].into_iter().flatten().min()?;
            // A rule is in one kind of list only, so exactly one of them goes on.
            if host == Some(next) {
                hosts.next();
            } else if segment == Some(next) {
                segments.next();
            } else {
                rest.next();
            }
            let place = usize::try_from(next).unwrap_or(usize::MAX);
            if holds(place) {
                return Some(place);
            }
        }
    }

    fn of_host(&self, host: &str) -> &[u32] {
        let mut buffer = [0; HOST_BYTES_MAX];
        let Some(lower) = buffer.get_mut(..host.len()).filter(|_| !self.by_host.is_empty()) else { return &[] };
        lower.copy_from_slice(host.as_bytes());
        lower.make_ascii_lowercase();
        self.by_host.get(&*lower).map_or(&[], Vec::as_slice)
    }

    fn of_path(&self, asked: &Asked<'_>) -> &[u32] {
        if self.by_segment.is_empty() {
            return &[];
        }
        let segment = asked.path().as_bytes().split(|byte| *byte == b'/').nth(1);
        segment.and_then(|segment| self.by_segment.get(segment)).map_or(&[], Vec::as_slice)
    }
}

fn list(lists: &mut HashMap<Box<[u8]>, Places>, keys: Vec<Box<[u8]>>, place: u32) {
    for key in keys {
        let places = lists.entry(key).or_default();
        // A rule may say the same twice.
        if places.last() != Some(&place) {
            places.push(place);
        }
    }
}

/// The hosts of a condition that has no others.
fn hosts(matcher: &Matcher) -> Option<Vec<Box<[u8]>>> {
    let Matcher::Host(Texts { patterns, regexes }) = matcher else { return None };
    let is_listed = |host: &&[u8]| host.len() <= HOST_BYTES_MAX;
    let hosts = patterns.iter().map(|pattern| pattern.exact().filter(is_listed).map(Box::from));
    hosts.collect::<Option<_>>().filter(|_| regexes.is_empty())
}

/// The first segments of the paths that can fit a condition, if it says them in full.
fn segments(matcher: &Matcher) -> Option<Vec<Box<[u8]>>> {
    let Matcher::Path(Texts { patterns, regexes }) = matcher else { return None };
    let segments = patterns.iter().map(|pattern| {
        let start = pattern.prefix();
        let mut parts = start.split(|byte| *byte == b'/');
        let is_rooted = parts.next() == Some(b"".as_slice());
        let segment = parts.next().filter(|_| is_rooted)?;
        // What follows must be a slash, or the end of the pattern: `/api*` also fits `/apis`.
        let is_whole = parts.next().is_some() || pattern.exact().is_some();
        is_whole.then(|| Box::from(segment))
    });
    segments.collect::<Option<_>>().filter(|_| regexes.is_empty())
}
