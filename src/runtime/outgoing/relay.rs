//! Datagrams that leave the machine. A guest's socket is bound to its task's loopback address, from which no packet leaves;
//! so each peer outside gets a socket here, bound to loopback and connected to the guest's, and another one connected to
//! the peer: what container networks do by translating addresses.
//!
//! Both sockets are connected, so the system itself drops what comes from anybody else.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::network::MACHINE;

/// Peers outside with whom a task is in conversation at once: two descriptors each.
const RELAYS_MAX: usize = 128;
/// After so long without a datagram in either direction the conversation is over, as connection tracking has it.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// The largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// The conversations of one task.
#[derive(Debug, Default)]
pub struct Relays(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    /// By the guest's real socket and the peer.
    relays: HashMap<(SocketAddr, SocketAddr), Relay>,
    /// The peer behind the socket that stands for it.
    peers: HashMap<SocketAddr, SocketAddr>,
}

#[derive(Debug)]
struct Relay {
    at: SocketAddr,
    _carrying: AbortOnDropHandle<()>,
}

impl Open {
    fn close(&mut self, between: &(SocketAddr, SocketAddr)) {
        if let Some(relay) = self.relays.remove(between) {
            self.peers.remove(&relay.at);
        }
    }
}

impl Relays {
    /// Where the guest's socket `from` sends what is meant for `peer`; `None` where the task has too many peers, or the
    /// system no sockets.
    pub fn to(&self, guests: &Handle, from: SocketAddr, peer: SocketAddr) -> Option<SocketAddr> {
        let mut open = self.0.lock();
        if let Some(relay) = open.relays.get(&(from, peer)) {
            return Some(relay.at);
        }
        if open.relays.len() >= RELAYS_MAX {
            return None;
        }
        let _on_guest_threads = guests.enter();
        let (inner, outer) = sockets(from, peer).ok()?;
        let at = inner.local_addr().ok()?;
        let carrying = guests.spawn(carry(inner, outer, Arc::downgrade(&self.0), (from, peer)));
        open.relays.insert((from, peer), Relay { at, _carrying: AbortOnDropHandle::new(carrying) });
        open.peers.insert(at, peer);
        Some(at)
    }

    /// The peer that a socket of ours stands for.
    pub fn behind(&self, at: SocketAddr) -> Option<SocketAddr> {
        self.0.lock().peers.get(&at).copied()
    }

    /// The guest's socket is gone.
    pub fn forget(&self, from: SocketAddr) {
        let mut open = self.0.lock();
        let of_it: Vec<_> = open.relays.keys().filter(|(of, _)| *of == from).copied().collect();
        for between in of_it {
            open.close(&between);
        }
    }
}

fn sockets(from: SocketAddr, peer: SocketAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    let inner =
        std::net::UdpSocket::bind((MACHINE, 0)).or_else(|_| std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let outer = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    for (socket, to) in [(&inner, from), (&outer, peer)] {
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
    }
    Ok((UdpSocket::from_std(inner)?, UdpSocket::from_std(outer)?))
}

async fn carry(inner: UdpSocket, outer: UdpSocket, all: Weak<Mutex<Open>>, between: (SocketAddr, SocketAddr)) {
    let (mut out, mut back) = (vec![0; DATAGRAM_BYTES_MAX], vec![0; DATAGRAM_BYTES_MAX]);
    loop {
        let turn = async {
            // What cannot be sent or received is lost, as UDP may lose it: the peer refuses, or is gone.
            tokio::select! {
                length = inner.recv(&mut out) => match length {
                    Ok(length) => { let _ = outer.send(&out[..length]).await; }
                    Err(_) => tokio::task::yield_now().await,
                },
                length = outer.recv(&mut back) => match length {
                    Ok(length) => { let _ = inner.send(&back[..length]).await; }
                    Err(_) => tokio::task::yield_now().await,
                },
            }
        };
        if tokio::time::timeout(IDLE_MAX, turn).await.is_err() {
            break;
        }
    }
    if let Some(all) = all.upgrade() {
        all.lock().close(&between);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_go_out_and_come_back() {
        let local = async || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (guest, peer, stranger) = (local().await, local().await, local().await);
        let (from, to) = (guest.local_addr().unwrap(), peer.local_addr().unwrap());
        let relays = Relays::default();
        let at = relays.to(&Handle::current(), from, to).unwrap();
        assert_eq!((relays.to(&Handle::current(), from, to), relays.behind(at)), (Some(at), Some(to)));
        // Nobody else's datagrams are carried.
        stranger.send_to(b"no", at).await.unwrap();
        guest.send_to(b"ahoy", at).await.unwrap();
        let mut buffer = [0; 8];
        let (length, source) = peer.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"ahoy");
        peer.send_to(b"back", source).await.unwrap();
        let (length, source) = guest.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], source), (&b"back"[..], at));
        relays.forget(from);
        assert_eq!(relays.behind(at), None);
    }

    #[tokio::test]
    async fn a_task_has_so_many_peers_and_no_more() {
        let relays = Relays::default();
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let to = |n: u16| relays.to(&Handle::current(), from, SocketAddr::from((Ipv4Addr::LOCALHOST, 1000 + n)));
        assert!((0..RELAYS_MAX as u16).all(|n| to(n).is_some()));
        assert_eq!(to(RELAYS_MAX as u16), None);
    }
}
