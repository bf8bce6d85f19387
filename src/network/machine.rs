//! This machine, as tasks may or may not reach it: which addresses are its own, and which of its ports are opened to them.

use std::net::{Ipv4Addr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::network::Protocol;

/// By this name a task reaches the machine's own services, at the ports that the operator opens.
pub const MACHINE_NAME: &str = "host.coracle.internal";

/// `network.machinePorts` of the configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MachinePorts(Arc<[(RangeInclusive<u16>, Protocol)]>);

/// A value of the configuration that means nothing, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct RuleError {
    pub field: String,
    pub problem: String,
}

impl MachinePorts {
    pub fn compile(texts: &[String]) -> Result<MachinePorts, RuleError> {
        let compiled = texts.iter().enumerate().map(|(at, text)| {
            let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            ports_of(ports).zip(Protocol::parse(protocol)).ok_or_else(|| RuleError {
                field: format!("network.machinePorts[{at}]"),
                problem: format!("'{text}' is not a port or a range, such as 5432, 8000-8010 or 53/udp"),
            })
        });
        Ok(MachinePorts(compiled.collect::<Result<_, _>>()?))
    }

    pub fn contains(&self, port: u16, protocol: Protocol) -> bool {
        self.0.iter().any(|(ports, of)| *of == protocol && ports.contains(&port))
    }
}

/// `443` or `8000-8010`.
pub(super) fn ports_of(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (port(from)?, port(to)?);
    (from <= to).then_some(from..=to)
}

/// Whether packets to this address stay on this machine: the system lets a socket be bound to such an address, and to no
/// other. Asked anew each time, because interfaces come and go; it knows what a list of interfaces does not (whole
/// networks routed to the machine itself). Where `ip_nonlocal_bind` is set every address seems to be the machine's, and
/// tasks reach none: closed, not open.
pub(super) fn is_this_machine(ip: Ipv4Addr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_are_read_and_nothing_else() {
        assert_eq!(ports_of("443"), Some(443..=443));
        assert_eq!(ports_of("8000-8010"), Some(8000..=8010));
        for text in ["", "0", "70000", "9-1", "-", "1-2-3", "http"] {
            assert_eq!(ports_of(text), None, "{text}");
        }
        let error = MachinePorts::compile(&[String::from("1"), String::from("2/sctp")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "network.machinePorts[1]: '2/sctp' is not a port or a range, such as 5432, 8000-8010 or 53/udp"
        );
    }

    #[test]
    fn loopback_is_this_machine_and_a_documentation_address_is_not() {
        assert!(is_this_machine(Ipv4Addr::LOCALHOST));
        assert!(!is_this_machine(Ipv4Addr::new(192, 0, 2, 1)));
    }
}
