//! Who may reach whom, as a function of facts about one real address.
//!
//! A task may reach itself, and what other tasks publish through their port mappings as far as both sides' security groups
//! let it. What lies beyond the node it may reach where its policy says so; the machine's own services only at the ports
//! that the operator names; link-local addresses, where clouds keep a machine's credentials, never.
//!
//! Tasks have no IPv6, as in a subnet without it: one family has one set of rules, and none is forgotten.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::network::Protocol;
use crate::network::addresses::MACHINE;
use crate::network::groups::{Peer, Rules};
use crate::network::machine::{MachinePorts, is_this_machine};

/// What a task may reach beyond other tasks, and the rules for all of it. The default reaches nothing beyond, and has no rules.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Policy {
    /// Whether it may connect beyond this machine.
    pub outside: bool,
    pub machine_ports: MachinePorts,
    /// Of its security groups.
    pub rules: Rules,
}

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

impl From<Result<(), Denial>> for Verdict {
    fn from(result: Result<(), Denial>) -> Verdict {
        result.map_or_else(Verdict::Denied, |()| Verdict::Allowed)
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Denial {
    UnknownTask,
    NotItsOwnAddress,
    NobodyListens,
    NotMapped,
    ThisMachine,
    LinkLocal,
    MachineCredentials,
    NotUnicast,
    NoIpv6,
    Outside,
    Egress,
    Ingress,
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
            Denial::MachineCredentials => "a cloud keeps the machine's credentials there: out of reach of tasks",
            Denial::NotUnicast => "tasks send to one peer at a time: no multicast, no broadcast",
            Denial::NoIpv6 => "tasks have no IPv6",
            Denial::Outside => "the network outside this node is out of reach of this task",
            Denial::Egress => "no rule of the task's security groups allows it",
            Denial::Ingress => "no rule of the security groups of that task allows it",
        })
    }
}

/// Beside 169.254.169.254: Azure's, Alibaba Cloud's and Oracle's addresses for the machine's own metadata and credentials,
/// which they put outside of the link-local block.
const MACHINE_CREDENTIALS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

impl Policy {
    /// Whether the task may reach a real address that belongs to no task. `named` are the host names of its rules that
    /// its own look-ups found this address for.
    pub(super) fn elsewhere(
        &self,
        ip: IpAddr,
        port: u16,
        protocol: Protocol,
        named: impl Fn(&str) -> bool,
    ) -> Result<(), Denial> {
        // An IPv4 address in IPv6's clothes is judged as what it is.
        let ip = match ip.to_canonical() {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() => return Err(Denial::ThisMachine),
            IpAddr::V6(ip) if ip.is_unicast_link_local() => return Err(Denial::LinkLocal),
            IpAddr::V6(ip) if ip.is_multicast() => return Err(Denial::NotUnicast),
            IpAddr::V6(_) if self.outside => return Err(Denial::NoIpv6),
            IpAddr::V6(_) => return Err(Denial::Outside),
        };
        let shown = if ip == Ipv4Addr::LOCALHOST && self.machine_ports.contains(port, protocol) {
            MACHINE
        } else {
            self.beyond(ip)?;
            ip
        };
        let peer = Peer { addresses: &[shown], groups: &[], named: &named };
        if self.rules.allow_egress(&peer, port, protocol) { Ok(()) } else { Err(Denial::Egress) }
    }

    /// Whether an address may be gone to at all.
    fn beyond(&self, ip: Ipv4Addr) -> Result<(), Denial> {
        // Linux takes all of 0.0.0.0/8 for "this host on this network".
        if ip.is_loopback() || ip.octets()[0] == 0 {
            return Err(Denial::ThisMachine);
        }
        if ip.is_link_local() {
            return Err(Denial::LinkLocal);
        }
        if MACHINE_CREDENTIALS.contains(&ip) {
            return Err(Denial::MachineCredentials);
        }
        if ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] >= 240 {
            return Err(Denial::NotUnicast);
        }
        if !self.outside {
            return Err(Denial::Outside);
        }
        if is_this_machine(ip) { Err(Denial::ThisMachine) } else { Ok(()) }
    }

    /// Whether an address that a name server gave may be told to the task: none that would lead it back into this machine,
    /// whatever the policy says of connecting there.
    pub fn may_be_told(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => Policy { outside: true, ..Policy::default() }.beyond(ip).is_ok(),
            IpAddr::V6(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &Policy, ip: &str, expected: Result<(), Denial>) {
        let found = policy.elsewhere(ip.parse().unwrap(), 80, Protocol::Tcp, |_| false);
        assert_eq!(found, expected, "{ip}");
    }

    #[test]
    fn what_belongs_to_no_task_is_refused_for_its_own_reason() {
        let inside = Policy::default();
        for ip in ["127.0.0.1", "127.0.0.53", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1"] {
            check(&inside, ip, Err(Denial::ThisMachine));
        }
        for ip in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "169.254.170.2"] {
            check(&inside, ip, Err(Denial::LinkLocal));
        }
        for ip in ["192.0.2.1", "2001:db8::1", "10.0.0.1"] {
            check(&inside, ip, Err(Denial::Outside));
        }
        check(&inside, "168.63.129.16", Err(Denial::MachineCredentials));
        check(&inside, "224.0.0.1", Err(Denial::NotUnicast));
        check(&inside, "ff02::1", Err(Denial::NotUnicast));
        check(&inside, "255.255.255.255", Err(Denial::NotUnicast));
    }

    #[test]
    fn outside_opens_the_outside_and_nothing_of_the_machine() {
        let outside = Policy { outside: true, ..Policy::default() };
        check(&outside, "192.0.2.1", Ok(()));
        check(&outside, "::ffff:192.0.2.1", Ok(()));
        check(&outside, "2001:db8::1", Err(Denial::NoIpv6));
        for ip in ["127.0.0.1", "127.0.0.53", "0.0.0.0", "::1"] {
            check(&outside, ip, Err(Denial::ThisMachine));
        }
        check(&outside, "169.254.169.254", Err(Denial::LinkLocal));
        check(&outside, "100.100.100.200", Err(Denial::MachineCredentials));
    }

    #[test]
    fn the_machine_is_reached_at_the_ports_that_the_operator_names() {
        let machine_ports = MachinePorts::compile(&[String::from("80"), String::from("53/udp")]).unwrap();
        let policy = Policy { machine_ports, ..Policy::default() };
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let may = |port, protocol| policy.elsewhere(localhost, port, protocol, |_| false).is_ok();
        assert!(may(80, Protocol::Tcp) && may(53, Protocol::Udp));
        assert!(!may(81, Protocol::Tcp) && !may(53, Protocol::Tcp) && !may(80, Protocol::Udp));
        check(&policy, "127.0.0.2", Err(Denial::ThisMachine));
    }

    #[test]
    fn answers_of_name_servers_do_not_lead_back_into_the_machine() {
        let policy = Policy::default();
        for ip in ["127.0.0.1", "127.64.0.7", "169.254.170.2", "0.0.0.0", "224.0.0.1", "::1", "2001:db8::1"] {
            assert!(!policy.may_be_told(ip.parse().unwrap()), "{ip}");
        }
        assert!(policy.may_be_told("192.0.2.1".parse().unwrap()));
    }
}
