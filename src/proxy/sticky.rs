//! Stickiness: a client stays with the target that it got first, by a cookie of the load balancer.
//!
//! - The cookie holds the target's mark and until when it is good, sealed. Each response renews it, as ELB does.
//! - With an application's cookie the target decides: the session begins with its `Set-Cookie`, and lasts while the
//!   client sends that cookie along.
//! - A target that gets no requests (gone, draining, unhealthy) is nobody's: its clients are given another, and a new
//!   cookie.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use crate::proxy::cookie;
use crate::proxy::group::Group;
use crate::proxy::seal::Seal;
use crate::proxy::settings::{GroupSettings, Stickiness};
use crate::proxy::target::{Mark, TargetKey, TargetStanding};

/// As ELB calls them. The second is the same for requests from other sites, which browsers send no other cookie with.
const BALANCER_COOKIE: &str = "AWSALB";
const BALANCER_COOKIE_CORS: &str = "AWSALBCORS";
const APPLICATION_COOKIE: &str = "AWSALBAPP-0";

const MARK_BYTES: usize = size_of::<Mark>();

/// What one request says of the target that its client had.
pub struct Session {
    /// What the client's cookie holds; of an application only if its own cookie came along.
    pub mark: Option<Mark>,
    settings: Arc<GroupSettings>,
}

impl Session {
    /// `None` where clients do not stay with targets.
    pub fn of(group: &Group, headers: &HeaderMap, seal: &Seal, now: SystemTime) -> Option<Session> {
        let members = group.members.load();
        let stickiness = members.settings.stickiness.as_ref()?;
        let opened = |sent, purpose| cookie::values(headers, sent).find_map(|value| open(seal, purpose, value, now));
        let mark = match stickiness {
            Stickiness::BalancerCookie { .. } => {
                opened(BALANCER_COOKIE, BALANCER_COOKIE).or_else(|| opened(BALANCER_COOKIE_CORS, BALANCER_COOKIE))
            }
            // Without the application's cookie the session is over, whatever is left of ours.
            Stickiness::ApplicationCookie { name, .. } => {
                cookie::values(headers, name).next().and_then(|_| opened(APPLICATION_COOKIE, APPLICATION_COOKIE))
            }
        };
        Some(Session { mark, settings: Arc::clone(&members.settings) })
    }

    /// Tells the client, in the response of `target`, where it belongs from now on.
    pub fn remember(&self, target: &TargetStanding, headers: &mut HeaderMap, seal: &Seal, now: SystemTime) {
        match &self.settings.stickiness {
            Some(Stickiness::BalancerCookie { duration }) => {
                if let Some(value) = sealed(seal, BALANCER_COOKIE, target.mark, now, *duration) {
                    cookie::set_pair(headers, BALANCER_COOKIE, &value, now);
                }
            }
            Some(Stickiness::ApplicationCookie { name, duration }) => {
                let is_session = self.mark.is_some() || cookie::sets(headers, name);
                let value = is_session.then(|| sealed(seal, APPLICATION_COOKIE, target.mark, now, *duration)).flatten();
                if let Some(value) = value {
                    cookie::set(headers, APPLICATION_COOKIE, &value, now);
                }
            }
            None => {}
        }
    }
}

/// What a target is remembered by. A new task at an old address is another target.
pub fn mark(key: &TargetKey) -> Mark {
    let mut hash = Sha256::new_with_prefix(key.group.as_str());
    hash.update(key.address.octets());
    hash.update(key.port.to_be_bytes());
    hash.update(key.task.map_or([0; 16], |task| task.0.to_be_bytes()));
    let mut mark = Mark::default();
    mark.copy_from_slice(&hash.finalize()[..MARK_BYTES]);
    mark
}

/// The value of a cookie.
fn sealed(seal: &Seal, purpose: &str, mark: Mark, now: SystemTime, duration: Duration) -> Option<String> {
    let until = cookie::unix_seconds(now + duration).to_be_bytes();
    seal.seal(purpose, &[mark.as_slice(), &until].concat())
}

/// The mark in a cookie that is still good.
fn open(seal: &Seal, purpose: &str, value: &str, now: SystemTime) -> Option<Mark> {
    let content = seal.open(purpose, value)?;
    let (mark, until) = content.split_first_chunk::<MARK_BYTES>()?;
    let until = u64::from_be_bytes(until.try_into().ok()?);
    (cookie::unix_seconds(now) < until).then_some(*mark)
}

#[cfg(test)]
mod tests;
