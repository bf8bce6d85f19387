//! Who may reach whom, as a function of facts about one real address.
//!
//! A task may reach itself, and what other tasks publish through their port mappings. Everything else is refused: the
//! services of the machine on its own loopback, link-local addresses (where clouds keep their credentials), the outside.

use std::fmt;
use std::net::IpAddr;

/// The answer to a question whether a task may use an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Denied(Denial),
}

impl Verdict {
    pub fn is_allowed(self) -> bool {
        self == Verdict::Allowed
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    UnknownTask,
    NotItsOwnAddress,
    NobodyListens,
    NotMapped,
    ThisMachine,
    LinkLocal,
    Outside,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Denial::UnknownTask => "the task has no address on this node",
            Denial::NotItsOwnAddress => "a task may only listen on its own address",
            Denial::NobodyListens => "no task listens there",
            Denial::NotMapped => "that task has no port mapping for this port",
            Denial::ThisMachine => "the machine's own services are out of reach of tasks",
            Denial::LinkLocal => "link-local addresses are out of reach of tasks",
            Denial::Outside => "the network outside this node is out of reach of tasks",
        })
    }
}

/// What the table knows about a real address that a task would like to reach.
#[derive(Clone, Copy, Debug)]
pub(super) enum Destination {
    /// A socket that a task published.
    Published {
        is_its_own: bool,
        is_mapped: bool,
    },
    /// An address of a task, where it does not listen.
    Silent,
    Elsewhere(IpAddr),
}

pub(super) fn judge(destination: Destination) -> Verdict {
    match destination {
        Destination::Published { is_its_own: true, .. } => Verdict::Allowed,
        Destination::Published { is_mapped: true, .. } => Verdict::Allowed,
        Destination::Published { .. } => Verdict::Denied(Denial::NotMapped),
        Destination::Silent => Verdict::Denied(Denial::NobodyListens),
        Destination::Elsewhere(ip) => Verdict::Denied(place(ip)),
    }
}

/// Whose an address is that belongs to no task.
fn place(ip: IpAddr) -> Denial {
    // An IPv4 address in IPv6's clothes is judged as what it is.
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_unspecified() => Denial::ThisMachine,
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() => Denial::ThisMachine,
        IpAddr::V4(ip) if ip.is_link_local() => Denial::LinkLocal,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Denial::LinkLocal,
        IpAddr::V4(_) | IpAddr::V6(_) => Denial::Outside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_no_task_is_refused_for_its_own_reason() {
        let check = |ip: &str, expected| assert_eq!(place(ip.parse().unwrap()), expected, "{ip}");
        check("127.0.0.1", Denial::ThisMachine);
        check("127.0.0.53", Denial::ThisMachine);
        check("0.0.0.0", Denial::ThisMachine);
        check("::1", Denial::ThisMachine);
        check("::ffff:127.0.0.1", Denial::ThisMachine);
        check("169.254.169.254", Denial::LinkLocal);
        check("::ffff:169.254.169.254", Denial::LinkLocal);
        check("fe80::1", Denial::LinkLocal);
        check("192.0.2.1", Denial::Outside);
        check("2001:db8::1", Denial::Outside);
    }
}
