//! Which addresses tasks get: the next free one of 127.64.0.0/10, always going forward.
//!
//! A released address comes up again only when all the others had their turn. So a client that still holds the address
//! of a task that has ended meets nobody for a long time (four million starts), and no clock is needed for it.

use std::collections::HashSet;
use std::net::Ipv4Addr;

/// The first address of 127.64.0.0/10. All of 127.0.0.0/8 is this machine on Linux, without any set-up; this part of it is
/// far from what is used by hand or by others (127.0.0.1, 127.0.0.53 of systemd, 127.0.1.1 of Debian).
const FIRST: u32 = u32::from_be_bytes([127, 64, 0, 0]);
/// What tasks are shown as the address of the machine itself, like a container network's gateway. To a guest 127.0.0.1 is its
/// own task: were a client of the machine shown so, a guest would take it for itself, and answer to itself. Never given away.
pub const MACHINE: Ipv4Addr = Ipv4Addr::from_bits(FIRST);
/// Addresses in 127.64.0.0/10.
const COUNT: u32 = 1 << 22;

/// Whether this is an address that some task may have: none of the machine's own loopback addresses.
pub fn is_task_address(ip: Ipv4Addr) -> bool {
    (FIRST..FIRST + COUNT).contains(&u32::from(ip))
}

/// Every address is taken: the node runs four million tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no free address is left in {}/{}", Ipv4Addr::from(FIRST), COUNT.leading_zeros() + 1)]
pub struct NoAddress;

/// The addresses in use, and where to look for the next.
#[derive(Debug)]
pub(super) struct Addresses {
    used: HashSet<Ipv4Addr>,
    /// Offset from `FIRST` of the next candidate.
    next: u32,
    count: u32,
}

impl Addresses {
    /// `start` is where to begin, so that two nodes on one machine do not begin with the same addresses.
    pub fn starting_at(start: u32) -> Addresses {
        Addresses::of(start, COUNT)
    }

    fn of(start: u32, count: u32) -> Addresses {
        Addresses { used: HashSet::new(), next: start % count, count }
    }

    pub fn take(&mut self) -> Result<Ipv4Addr, NoAddress> {
        for _ in 0..self.count {
            let candidate = Ipv4Addr::from(FIRST + self.next);
            self.next = (self.next + 1) % self.count;
            // .0 and .255 are legal here, but to people and to many a program they are a network and a broadcast.
            if !matches!(candidate.octets()[3], 0 | 255) && self.used.insert(candidate) {
                return Ok(candidate);
            }
        }
        Err(NoAddress)
    }

    pub fn give_back(&mut self, address: Ipv4Addr) {
        self.used.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_released_address_comes_up_again_only_after_all_others() {
        let mut addresses = Addresses::of(0, 256);
        let first = addresses.take().unwrap();
        assert_eq!(first, Ipv4Addr::new(127, 64, 0, 1));
        addresses.give_back(first);
        for last in 2..=254 {
            assert_eq!(addresses.take().unwrap(), Ipv4Addr::new(127, 64, 0, last));
        }
        assert_eq!(addresses.take().unwrap(), first);
        assert_eq!(addresses.take(), Err(NoAddress));
    }

    #[test]
    fn says_which_network_is_full() {
        assert_eq!(NoAddress.to_string(), "no free address is left in 127.64.0.0/10");
    }

    proptest! {
        #[test]
        fn no_address_has_two_tenants(start: u32, steps in proptest::collection::vec(any::<(bool, u8)>(), 0..600)) {
            let mut addresses = Addresses::of(start, 300);
            let mut held: Vec<Ipv4Addr> = Vec::new();
            for (take, which) in steps {
                if take || held.is_empty() {
                    match addresses.take() {
                        Ok(address) => {
                            prop_assert!(!held.contains(&address));
                            prop_assert!(address.octets()[..2] == [127, 64] && !matches!(address.octets()[3], 0 | 255));
                            held.push(address);
                        }
                        // 300 addresses, of which .0 and .255 of the first block and .0 of the second are not given.
                        Err(NoAddress) => prop_assert_eq!(held.len(), 297),
                    }
                } else {
                    addresses.give_back(held.swap_remove(usize::from(which) % held.len()));
                }
            }
        }
    }
}
