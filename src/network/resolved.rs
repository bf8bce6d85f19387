//! What a task's own look-ups found for the host names of its rules: a rule for a name is a rule for addresses, and only
//! for those that the task itself was told.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

/// Addresses kept of one name: a large site answers with a few at a time, and others minutes later. The oldest go.
const ADDRESSES_MAX: usize = 256;

/// By the host name as the rule has it, so there are no more names than the configuration holds.
#[derive(Debug, Default)]
pub(super) struct Resolved(HashMap<String, VecDeque<Ipv4Addr>>);

impl Resolved {
    pub fn note(&mut self, host: &str, found: &[Ipv4Addr]) {
        let known = self.0.entry(host.to_owned()).or_default();
        for ip in found {
            if !known.contains(ip) {
                known.push_back(*ip);
            }
        }
        while known.len() > ADDRESSES_MAX {
            known.pop_front();
        }
    }

    pub fn has(&self, host: &str, ip: IpAddr) -> bool {
        matches!(ip.to_canonical(), IpAddr::V4(ip) if self.0.get(host).is_some_and(|known| known.contains(&ip)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_addresses_are_kept() {
        let mut resolved = Resolved::default();
        let ip = |n: u32| Ipv4Addr::from_bits(n);
        for n in 0..=256 {
            resolved.note("a", &[ip(n), ip(n)]);
        }
        assert!(resolved.has("a", ip(256).into()) && resolved.has("a", ip(1).into()));
        assert!(!resolved.has("a", ip(0).into()) && !resolved.has("b", ip(1).into()));
        assert!(resolved.has("a", ip(1).to_ipv6_mapped().into()));
    }
}
