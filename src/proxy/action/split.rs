//! Target groups with their weights, and clients that stay with the group they got first.
//!
//! A sticky client is known by a sealed cookie that says its group and until when. That time begins with the first
//! choice and is not moved by later requests; the cookie is told again with each response, as ELB does. A cookie that
//! does not open, is over, or names a group that the rule has no more is as good as none. A group whose weight became 0
//! gets no new clients and keeps those it has, as long as it has a target at all: so a version is drained of sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::proxy::cookie;
use crate::proxy::group::Group;
use crate::proxy::seal::Seal;

/// The cookie that names a target group; its twin for requests of other sites ends with `CORS`.
const COOKIE: &str = "AWSALBTG";
const COOKIE_CORS: &str = "AWSALBTGCORS";

/// A group's name inside of a cookie: the start of its ARN's hash.
type Mark = [u8; 16];

pub struct Split {
    choices: Vec<Choice>,
    weight_total: u64,
    turn: AtomicU64,
    /// For how long a client stays; `None`: it does not.
    stays_seconds: Option<u64>,
}

struct Choice {
    group: Arc<Group>,
    weight: u64,
    mark: Mark,
}

/// Where one request goes.
pub struct Chosen<'a> {
    pub group: &'a Arc<Group>,
    /// What the client is to bring with its next request.
    cookie: Option<String>,
}

impl Chosen<'_> {
    pub fn remember(&self, response: &mut HeaderMap, now: SystemTime) {
        if let Some(value) = &self.cookie {
            cookie::set_pair(response, COOKIE, value, now);
        }
    }
}

impl Split {
    /// `before` is what the same rule had in the snapshot before.
    pub fn new(groups: Vec<(Arc<Group>, u64)>, stays_seconds: Option<u32>, before: Option<&Split>) -> Split {
        let weight_total = groups.iter().map(|(_, weight)| weight).sum();
        let choices = groups.into_iter().map(|(group, weight)| Choice { mark: mark(&group), group, weight });
        // The split goes on where it was, or each publication would favour the first group.
        let turn = before.map_or(0, |before| before.turn.load(Ordering::Relaxed));
        Split {
            choices: choices.collect(),
            weight_total,
            turn: AtomicU64::new(turn),
            stays_seconds: stays_seconds.map(u64::from),
        }
    }

    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.choices.iter().map(|choice| &choice.group)
    }

    /// The group for one more request. Without any weight there is none: ELB then answers 503.
    pub fn choose(&self, request: &HeaderMap, seal: &Seal, now: SystemTime) -> Option<Chosen<'_>> {
        let Some(stays_seconds) = self.stays_seconds else {
            return Some(Chosen { group: &self.next()?.group, cookie: None });
        };
        let now = cookie::unix_seconds(now);
        if let Some((choice, value)) = self.known(request, seal, now) {
            return Some(Chosen { group: &choice.group, cookie: Some(value.to_owned()) });
        }
        let choice = self.next()?;
        let until = now.saturating_add(stays_seconds);
        let content = [choice.mark.as_slice(), &until.to_be_bytes()].concat();
        Some(Chosen { group: &choice.group, cookie: seal.seal(COOKIE, &content) })
    }

    /// The group for a connection, which brings no cookie.
    pub fn in_turn(&self) -> Option<&Arc<Group>> {
        self.next().map(|choice| &choice.group)
    }

    /// The group that a request's cookie names, and that cookie.
    fn known<'a>(&self, request: &'a HeaderMap, seal: &Seal, now: u64) -> Option<(&Choice, &'a str)> {
        cookie::values(request, COOKIE).chain(cookie::values(request, COOKIE_CORS)).find_map(|value| {
            let content = seal.open(COOKIE, value)?;
            let (mark, until) = content.split_first_chunk::<16>()?;
            let until = u64::from_be_bytes(until.try_into().ok()?);
            let choice = self.choices.iter().find(|choice| choice.mark == *mark)?;
            let may_stay = now < until && (choice.weight > 0 || has_target(&choice.group));
            may_stay.then_some((choice, value))
        })
    }

    fn next(&self) -> Option<&Choice> {
        if self.weight_total == 0 {
            return None;
        }
        if let [choice] = self.choices.as_slice() {
            return Some(choice);
        }
        let mut point = golden(self.turn.fetch_add(1, Ordering::Relaxed), self.weight_total);
        for choice in &self.choices {
            if point < choice.weight {
                return Some(choice);
            }
            point -= choice.weight;
        }
        None
    }
}

fn mark(group: &Group) -> Mark {
    let hash: [u8; 32] = Sha256::digest(group.arn.as_str()).into();
    let mut mark = Mark::default();
    mark.copy_from_slice(&hash[..16]);
    mark
}

fn has_target(group: &Group) -> bool {
    group.members.load().all.iter().any(|target| !target.state.is_draining())
}

/// The `count`th point of the golden-ratio sequence on `0..total`: after any number of requests each group has had its
/// share within about one, and no group gets its share in one burst.
fn golden(count: u64, total: u64) -> u64 {
    let fraction = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let point = (u128::from(fraction) * u128::from(total)) >> 64;
    u64::try_from(point).unwrap_or(0)
}
