//! Security groups: named sets of rules of the configuration, read once at start, and chosen by tasks by their ids.
//!
//! As in EC2: a task of several groups may do what any of them allows; answers to what was allowed always pass; who is in a
//! group is a peer by that group's id. An id that the configuration does not have is no group: a task of such ids alone
//! is as free as one of none.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::settings::{Rule, SecurityGroup};
use crate::network::Protocol;
use crate::network::machine::{RuleError, ports_of};

/// All groups of the configuration. Clones are handles.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    by_id: Arc<BTreeMap<String, Arc<Group>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Group {
    ingress: Vec<Compiled>,
    egress: Vec<Compiled>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Compiled {
    /// `None` is both.
    protocol: Option<Protocol>,
    ports: RangeInclusive<u16>,
    peers: Vec<Named>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Named {
    Block {
        network: u32,
        mask: u32,
    },
    Group(String),
    /// A host name in lower case; `.example.com` for `*.example.com`.
    Host(String),
}

/// The rules of one task: those of its groups.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rules {
    /// As its network configuration names them, known or not: what it is as a peer.
    pub ids: Arc<[String]>,
    known: Arc<[Arc<Group>]>,
}

/// The other side of a connection or datagram, as rules name it.
pub struct Peer<'a> {
    /// A client of the machine itself has two: its own, and the one that tasks are shown.
    pub addresses: &'a [Ipv4Addr],
    pub groups: &'a [String],
    /// Whether the task's own look-ups found the peer's address for a host name of its rules.
    pub named: &'a dyn Fn(&str) -> bool,
}

impl Groups {
    pub fn compile(groups: &BTreeMap<String, SecurityGroup>) -> Result<Groups, RuleError> {
        let mut by_id = BTreeMap::new();
        for (id, group) in groups {
            let compile_all = |direction: &str, rules: &[Rule]| -> Result<Vec<Compiled>, RuleError> {
                let at = |at: usize| format!("securityGroups.{id}.{direction}[{at}]");
                rules.iter().enumerate().map(|(n, rule)| compile(groups, &at(n), rule, direction == "egress")).collect()
            };
            let compiled = Group {
                ingress: compile_all("ingress", &group.ingress)?,
                egress: compile_all("egress", &group.egress)?,
            };
            by_id.insert(id.clone(), Arc::new(compiled));
        }
        Ok(Groups { by_id: Arc::new(by_id) })
    }

    /// The rules of a task that names these groups.
    pub fn choose(&self, ids: &[String]) -> Rules {
        Rules { ids: Arc::from(ids), known: ids.iter().filter_map(|id| self.by_id.get(id).cloned()).collect() }
    }
}

fn compile(
    groups: &BTreeMap<String, SecurityGroup>,
    at: &str,
    rule: &Rule,
    is_egress: bool,
) -> Result<Compiled, RuleError> {
    let wrong = |field: String, problem: String| RuleError { field: format!("{at}.{field}"), problem };
    let protocol =
        match rule.protocol.as_str() {
            "-1" | "all" => None,
            text => Some(Protocol::parse(text).ok_or_else(|| {
                wrong(String::from("protocol"), format!("'{text}' is neither tcp, udp nor -1 (both)"))
            })?),
        };
    let ports = match rule.ports.as_deref() {
        None => 0..=u16::MAX,
        Some(text) => ports_of(text).ok_or_else(|| {
            wrong(String::from("ports"), format!("'{text}' is not a port or a range, such as 443 or 8000-8010"))
        })?,
    };
    if rule.peers.is_empty() {
        return Err(wrong(String::from("peers"), String::from("a rule without peers allows nobody: name some")));
    }
    let peers = rule.peers.iter().enumerate().map(|(n, text)| {
        let peer = named(groups, text).map_err(|problem| wrong(format!("peers[{n}]"), problem))?;
        if matches!(peer, Named::Host(_)) && !is_egress {
            let problem = format!("'{text}' is a host name: a peer that connects has an address or a group, no name");
            return Err(wrong(format!("peers[{n}]"), problem));
        }
        Ok(peer)
    });
    Ok(Compiled { protocol, ports, peers: peers.collect::<Result<_, _>>()? })
}

fn named(groups: &BTreeMap<String, SecurityGroup>, text: &str) -> Result<Named, String> {
    if groups.contains_key(text) || text.starts_with("sg-") {
        return Ok(Named::Group(text.to_owned()));
    }
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(Named::Block { network: ip.to_bits(), mask: u32::MAX });
    }
    if let Some((ip, length)) = text.split_once('/') {
        return block(ip, length).ok_or_else(|| format!("'{text}' is not an IPv4 block, such as 10.0.0.0/8"));
    }
    if text.contains(':') {
        return Err(format!("'{text}': tasks have no IPv6"));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (suffix, name) = match name.strip_prefix("*.") {
        Some(rest) => (".", rest),
        None => ("", name.as_str()),
    };
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let ends_in_a_letter = name.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()));
    if name.len() <= 253 && name.split('.').all(is_label) && ends_in_a_letter {
        return Ok(Named::Host(format!("{suffix}{name}")));
    }
    Err(format!("'{text}' is neither an IPv4 block, nor a security group, nor a host name"))
}

fn block(ip: &str, length: &str) -> Option<Named> {
    let (ip, length): (Ipv4Addr, u32) = (ip.parse().ok()?, length.parse().ok()?);
    let mask = match length {
        0 => 0,
        1..=32 => u32::MAX << (32 - length),
        _ => return None,
    };
    // `10.0.0.1/8` may mean either of two things, so EC2 refuses it, and so do we.
    (ip.to_bits() & !mask == 0).then_some(Named::Block { network: ip.to_bits(), mask })
}

impl Compiled {
    fn allows(&self, peer: &Peer<'_>, port: u16, protocol: Protocol) -> bool {
        self.protocol.is_none_or(|of| of == protocol)
            && self.ports.contains(&port)
            && self.peers.iter().any(|named| named.is(peer))
    }
}

impl Named {
    fn is(&self, peer: &Peer<'_>) -> bool {
        match self {
            Named::Block { network, mask } => peer.addresses.iter().any(|ip| ip.to_bits() & mask == *network),
            Named::Group(id) => peer.groups.contains(id),
            Named::Host(name) => (peer.named)(name),
        }
    }
}

impl Rules {
    /// Whether the task may go to a peer's port.
    pub(super) fn allow_egress(&self, to: &Peer<'_>, port: u16, protocol: Protocol) -> bool {
        self.allow(|group| &group.egress, to, port, protocol)
    }

    /// Whether a peer may come to the task's port.
    pub(super) fn allow_ingress(&self, from: &Peer<'_>, port: u16, protocol: Protocol) -> bool {
        self.allow(|group| &group.ingress, from, port, protocol)
    }

    fn allow(&self, rules: fn(&Group) -> &Vec<Compiled>, peer: &Peer<'_>, port: u16, protocol: Protocol) -> bool {
        let mut all = self.known.iter().flat_map(|group| rules(group));
        self.known.is_empty() || all.any(|rule| rule.allows(peer, port, protocol))
    }

    /// The host names of egress rules that this name falls under, as the rules have them.
    pub(super) fn names_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let peers = self.known.iter().flat_map(|group| &group.egress).flat_map(|rule| &rule.peers);
        peers.filter_map(move |peer| match peer {
            Named::Host(host) if covers(host, name) => Some(host.as_str()),
            _ => None,
        })
    }
}

/// `.example.com` covers what lies under it, and not itself.
fn covers(host: &str, name: &str) -> bool {
    if host.starts_with('.') { name.len() > host.len() && name.ends_with(host) } else { name == host }
}

#[cfg(test)]
mod tests;
