//! The node's table of addresses and rules: who is where, who may reach whom.
//!
//! A task's address is an identity, not a route. It is unique on the node, and address, port and protocol map to the
//! socket that really listens: the same port where that may be bound, else another. Whoever wants to reach a task (the
//! load balancer, a peer, a describe call) resolves through this table, so nobody else knows where a task really is.
//!
//! One rule says who may reach whom, and it is asked about the address that is *really* connected to: a name, a
//! translation or a race between looking up and connecting cannot get around it.

mod addresses;
mod groups;
mod machine;
mod policy;
pub mod remote;
mod resolved;
mod table;

pub use addresses::{MACHINE, NoAddress, is_task_address};
pub use groups::{Groups, Rules};
pub use machine::{MACHINE_NAME, MachinePorts, RuleError};
pub use policy::{Denial, Policy, Verdict};
pub use table::{Address, Endpoint, PortInUse, Published, Table};

use std::fmt;

use serde::{Deserialize, Serialize};

/// A transport protocol: the same port of both is two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// As ECS writes it in port mappings and network bindings.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// Reads the `protocol` of a port mapping.
    pub fn parse(text: &str) -> Option<Protocol> {
        match text {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
