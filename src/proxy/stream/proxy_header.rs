//! The PROXY protocol, version 2: who a connection really comes from, in front of its first byte.

use std::io;
use std::net::SocketAddr;

use ppp::v2::{Addresses, Builder, Command, Protocol, Version};

/// What a target is told of a client's connection: both its ends, as ELB does. There is no endpoint service here, and so
/// nothing to tell of one.
pub fn of_client(peer: SocketAddr, local: SocketAddr) -> io::Result<Vec<u8>> {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, (canonical(peer), canonical(local)))
        .build()
}

/// Of a connection of our own, such as a health check: it is for nobody.
pub fn of_ourselves() -> io::Result<Vec<u8>> {
    Builder::with_addresses(Version::Two | Command::Local, Protocol::Unspecified, Addresses::Unspecified).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_said() {
        let header = of_client("[::ffff:127.0.0.9]:5000".parse().unwrap(), "127.0.0.1:80".parse().unwrap()).unwrap();
        let parsed = ppp::v2::Header::try_from(header.as_slice()).unwrap();
        assert_eq!(parsed.command, Command::Proxy);
        let wanted = ppp::v2::IPv4::new([127, 0, 0, 9], [127, 0, 0, 1], 5000, 80);
        assert_eq!((parsed.addresses, parsed.protocol), (Addresses::IPv4(wanted), Protocol::Stream));
        assert_eq!(parsed.len(), header.len());
    }

    #[test]
    fn a_check_is_for_nobody() {
        let header = of_ourselves().unwrap();
        let parsed = ppp::v2::Header::try_from(header.as_slice()).unwrap();
        assert_eq!((parsed.command, parsed.len()), (Command::Local, 16));
    }
}
