//! A guest's sockets as it sees them, and the way between its addresses and the real ones.
//!
//! What the guest asked for (`0.0.0.0:80`, `127.0.0.1:80`) is what it is shown; the rest is looked up in the node's table.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::outlet::Outlet;
use super::refused::Refused;
use super::task::{Accepted, Binding, Judge, ListenerSlot, Shared, Shown, Slot};
use crate::network::{Address, Denial, Endpoint, MACHINE, Protocol, Published, Verdict, is_task_address};
use crate::runtime::endpoint::is_task_endpoint;
use crate::runtime::outgoing::Gateway;
use crate::runtime::outgoing::endpoint::Calling;
use crate::runtime::outgoing::names::{ContainerNames, Names};

/// The network of a task, as one guest of it sees it: part of the data of its store.
///
/// Sockets are known by their protocol and the number of their resource. They end with the guest's handle or with the store.
#[derive(Debug)]
pub struct TaskNetwork {
    shared: Arc<Shared>,
    accepted: Arc<Accepted>,
    sockets: HashMap<Key, Socket>,
    /// The UDP socket of each stream of datagrams that is open (0.2 only).
    streams: HashMap<u32, u32>,
    /// Of the guest's container.
    names: Arc<ContainerNames>,
    /// Where not, the guest's container makes no sockets and looks up no names.
    is_open: bool,
}

pub(super) type Key = (Protocol, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

#[derive(Debug)]
struct Socket {
    family: Family,
    /// As the guest wrote it, with the port that it got.
    bound: Option<SocketAddr>,
    /// As the guest wrote it.
    connected: Option<SocketAddr>,
    real: Option<SocketAddr>,
    published: Option<Published>,
    listening: Option<(ListenerSlot, Shown)>,
    /// A UDP port that the guest asked for.
    shown: Option<Shown>,
    /// While it connects to 169.254.170.2.
    calling: Option<Calling>,
    _slot: Slot,
}

impl TaskNetwork {
    /// The network of the task that has this address; `mapped` are its containers' port mappings.
    pub fn new(address: Address, mapped: impl IntoIterator<Item = (u16, Protocol)>) -> TaskNetwork {
        TaskNetwork::of(Shared::new(address, mapped.into_iter().collect()), Arc::default(), true)
    }

    /// The same network for another guest of the task: address, mappings and quota are shared, sockets are not.
    pub fn another(&self) -> TaskNetwork {
        TaskNetwork::of(Arc::clone(&self.shared), Arc::clone(&self.names), self.is_open)
    }

    /// Lets the task leave the node's table, as its policy allows.
    pub fn through(self, gateway: Arc<Gateway>) -> TaskNetwork {
        self.shared.go_through(gateway);
        self
    }

    pub fn outlet(&self) -> Outlet {
        Outlet { shared: Arc::clone(&self.shared), names: Arc::clone(&self.names), is_open: self.is_open }
    }

    /// For the guests of a container with names of its own.
    pub fn named(self, names: Names) -> TaskNetwork {
        TaskNetwork { names: Arc::new(ContainerNames::new(names)), ..self }
    }

    /// For the guests of a container that is to have no network.
    pub fn closed_off(self) -> TaskNetwork {
        TaskNetwork { is_open: false, ..self }
    }

    fn of(shared: Arc<Shared>, names: Arc<ContainerNames>, is_open: bool) -> TaskNetwork {
        let accepted = Arc::new(Accepted::new(&shared));
        TaskNetwork { shared, accepted, sockets: HashMap::new(), streams: HashMap::new(), names, is_open }
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub fn address(&self) -> &Address {
        &self.shared.address
    }

    /// The ports on which guests of this task listen, whenever that changes.
    pub fn bindings(&self) -> watch::Receiver<Vec<Binding>> {
        self.shared.bindings()
    }

    pub(super) fn judge(&self) -> Judge {
        Judge { shared: Arc::clone(&self.shared), accepted: Arc::clone(&self.accepted) }
    }

    /// Answers a name without asking anybody: the task itself, its hosts, or a number.
    pub(super) fn lookup(&self, name: &str) -> Option<IpAddr> {
        if self.is_open { self.names.own(name, &self.shared.address) } else { None }
    }

    /// A place for a new socket; [`TaskNetwork::opened`] takes it.
    pub(super) fn reserve(&self) -> Result<Slot, Refused> {
        if self.is_open { Slot::take(&self.shared) } else { Err(Refused::NoNetwork) }
    }

    pub(super) fn opened(&mut self, key: Key, family: Family, slot: Slot) {
        let socket = Socket {
            family,
            bound: None,
            connected: None,
            real: None,
            published: None,
            listening: None,
            shown: None,
            calling: None,
            _slot: slot,
        };
        self.sockets.insert(key, socket);
    }

    pub(super) fn closed(&mut self, key: Key) {
        let known = self.sockets.remove(&key);
        match key.0 {
            Protocol::Tcp if known.is_some() => {}
            Protocol::Tcp => self.accepted.give_back(),
            Protocol::Udp => {
                self.streams.retain(|_, socket| *socket != key.1);
                if let Some(real) = known.and_then(|socket| socket.real) {
                    self.shared.relays.forget(real);
                }
            }
        }
    }

    pub(super) fn family(&self, key: Key) -> Family {
        self.sockets.get(&key).map_or(Family::V4, |socket| socket.family)
    }

    /// The family of the listener from which a socket with this real address was accepted.
    pub(super) fn family_at(&self, key: Key, local: SocketAddr) -> Family {
        let listener = || self.sockets.values().find(|socket| socket.listening.is_some() && socket.real == Some(local));
        self.sockets.get(&key).or_else(listener).map_or(Family::V4, |socket| socket.family)
    }

    /// Whether the guest made this socket; others were accepted.
    pub(super) fn is_known(&self, key: Key) -> bool {
        self.sockets.contains_key(&key)
    }

    pub(super) fn is_bound(&self, key: Key) -> bool {
        self.sockets.get(&key).is_some_and(|socket| socket.real.is_some())
    }

    /// Where an unbound socket is bound before it is used: any port of the task's own address.
    pub(super) fn any_port(&self) -> SocketAddr {
        SocketAddr::from((self.shared.address.ip(), 0))
    }

    /// What a guest that leaves the choice to the system would have written.
    pub(super) fn any_address(&self, key: Key) -> SocketAddr {
        match self.family(key) {
            Family::V4 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            Family::V6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        }
    }

    /// Where to really bind what the guest wants to bind.
    pub(super) fn bind_target(&self, key: Key, wanted: SocketAddr) -> Result<SocketAddr, Refused> {
        let own = self.shared.address.ip();
        let ip = as_v4(wanted.ip(), self.family(key))?.ok_or(Refused::NotBindable)?;
        if !(ip.is_unspecified() || ip == own || is_loopback_of_task(ip)) {
            return Err(Refused::NotBindable);
        }
        let is_taken = |port| self.shared.address.table().endpoint(own, port, key.0).is_some();
        match wanted.port() {
            0 => Ok(self.any_port()),
            port if is_taken(port) => Err(Refused::InUse),
            port => Ok(SocketAddr::from((own, port))),
        }
    }

    /// Notes where a socket was really bound, and publishes it.
    pub(super) fn bound(&mut self, key: Key, wanted: SocketAddr, real: SocketAddr) -> Result<(), Refused> {
        let (protocol, shared) = (key.0, &self.shared);
        let port = if wanted.port() == 0 { real.port() } else { wanted.port() };
        let is_mapped = shared.is_mapped(port, protocol);
        let published = shared.address.table().publish(&shared.address, port, protocol, Endpoint { real, is_mapped });
        let published = published.map_err(|_| Refused::InUse)?;
        // A UDP port that the system chose is a client's: it is reachable, and nobody's business.
        let is_service = protocol == Protocol::Udp && wanted.port() != 0;
        let shown = is_service.then(|| Shown::new(shared, Binding { port, protocol, real, is_mapped }));
        let socket = self.sockets.get_mut(&key).ok_or(Refused::InvalidState)?;
        socket.bound = Some(SocketAddr::new(wanted.ip(), port));
        socket.real = Some(real);
        socket.published = Some(published);
        socket.shown = shown;
        Ok(())
    }

    /// Notes where a socket that connects was bound. It is a client: nobody needs to find it, unless it is UDP.
    pub(super) fn bound_implicitly(&mut self, key: Key, real: SocketAddr) -> Result<(), Refused> {
        if key.0 == Protocol::Udp {
            return self.bound(key, self.any_address(key), real);
        }
        self.sockets.get_mut(&key).ok_or(Refused::InvalidState)?.real = Some(real);
        Ok(())
    }

    /// May this socket listen? Where it does, [`TaskNetwork::listening`] takes the place.
    pub(super) fn may_listen(&self, key: Key) -> Result<ListenerSlot, Refused> {
        let is_published = self.sockets.get(&key).is_some_and(|socket| socket.published.is_some());
        if !is_published {
            return Err(Refused::InvalidState);
        }
        ListenerSlot::take(&self.shared)
    }

    pub(super) fn listening(&mut self, key: Key, slot: ListenerSlot) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        let Some(published) = &socket.published else { return };
        let (port, real) = (published.port(), published.real());
        let is_mapped = self.shared.is_mapped(port, key.0);
        let shown = Shown::new(&self.shared, Binding { port, protocol: key.0, real, is_mapped });
        socket.listening = Some((slot, shown));
    }

    /// From now on accepted sockets are counted as they are accepted: see [`Accepted`].
    pub(super) fn count_accepted(&self) {
        self.accepted.counts.store(true, Ordering::Relaxed);
    }

    /// Whether a peer may use the port at which it was accepted.
    pub(super) fn welcomes(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        let port = self.name_of(local, Protocol::Tcp).port();
        self.shared.is_own(peer)
            || self.shared.is_mapped(port, Protocol::Tcp) && self.shared.may_enter(port, peer, Protocol::Tcp)
    }

    /// Where a connection or datagram of the guest really goes.
    pub(super) fn target(&self, key: Key, to: SocketAddr) -> Result<SocketAddr, Refused> {
        let (own, table) = (&self.shared.address, self.shared.address.table());
        let ip = as_v4(to.ip(), self.family(key))?.ok_or(Refused::Denied(Denial::Outside))?;
        if ip.is_unspecified() || to.port() == 0 {
            return Err(Refused::InvalidArgument);
        }
        if key.0 == Protocol::Tcp
            && is_task_endpoint(to)
            && let Some(real) = self.shared.endpoint_at()
        {
            return Ok(real);
        }
        let real = real_address(own, ip, to.port(), key.0);
        let answers =
            key.0 == Protocol::Udp && self.real_port(key).is_some_and(|port| self.shared.has_flow(port, real));
        match table.may_connect(own, real, key.0) {
            Verdict::Denied(denial) if !answers => Err(Refused::Denied(denial)),
            Verdict::Denied(_) | Verdict::Allowed if key.0 == Protocol::Udp && !real.ip().is_loopback() => {
                self.relayed(key, real)
            }
            Verdict::Denied(_) | Verdict::Allowed => Ok(real),
        }
    }

    /// Where the datagrams of a socket go that are meant for a peer outside.
    fn relayed(&self, key: Key, peer: SocketAddr) -> Result<SocketAddr, Refused> {
        let from = self.sockets.get(&key).and_then(|socket| socket.real).ok_or(Refused::InvalidState)?;
        let gateway = self.shared.gateway().ok_or(Refused::Denied(Denial::Outside))?;
        self.shared.relays.to(gateway.guests(), from, peer).ok_or(Refused::TooManySockets)
    }

    /// Announces the connection that a bound socket is about to make to a real address.
    pub(super) fn connecting(&mut self, key: Key, to: SocketAddr) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        if let (Some(gateway), Some(from)) = (self.shared.gateway(), socket.real)
            && gateway.callers().at() == to
        {
            socket.calling = Some(gateway.callers().expect(from, self.shared.caller()));
        }
    }

    /// The guest's handle now stands for another real socket, which is bound to nothing.
    pub(super) fn replaced(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(&key) {
            (socket.real, socket.published, socket.shown) = (None, None, None);
        }
    }

    pub(super) fn connected(&mut self, key: Key, to: Option<SocketAddr>) {
        if let Some(socket) = self.sockets.get_mut(&key) {
            socket.connected = to;
        }
    }

    /// Notes that the guest sends to a real address: its answers are welcome.
    pub(super) fn sends(&self, key: Key, to: SocketAddr) {
        if let Some(port) = self.real_port(key) {
            self.shared.note_flow(port, to);
        }
    }

    /// Whether a datagram from this real address may reach the socket; if so, it may be answered.
    pub(super) fn receives(&self, key: Key, from: SocketAddr) -> bool {
        let Some(socket) = self.sockets.get(&key) else { return false };
        let (Some(real), Some(published)) = (socket.real, &socket.published) else { return false };
        if self.shared.is_own(from) || self.shared.has_flow(real.port(), from) {
            return true;
        }
        let port = published.port();
        let is_welcome = self.shared.is_mapped(port, Protocol::Udp) && self.shared.may_enter(port, from, Protocol::Udp);
        if is_welcome {
            self.shared.note_flow(real.port(), from);
        }
        is_welcome
    }

    /// The local address, as the guest knows it.
    pub(super) fn local(&self, key: Key, real: SocketAddr) -> SocketAddr {
        let family = self.family_at(key, real);
        let named = self.own_name_of(real, key.0);
        let Some(socket) = self.sockets.get(&key) else { return shown_as(named, family) };
        match (socket.bound, socket.connected) {
            // A socket bound to every address has one of its own once it is connected.
            (Some(bound), Some(_)) if bound.ip().is_unspecified() => {
                shown_as(SocketAddr::new(named.ip(), bound.port()), family)
            }
            (Some(bound), _) => bound,
            // Whoever connects to the loopback does so from the loopback.
            (None, Some(to)) if to.ip().is_loopback() && !is_addressed_to_a_task(to.ip()) => {
                SocketAddr::new(to.ip(), named.port())
            }
            (None, _) => shown_as(named, family),
        }
    }

    /// A peer's address, as the guest knows it.
    pub(super) fn remote(&self, key: Key, local: Option<SocketAddr>, real: SocketAddr) -> SocketAddr {
        let family = local.map_or(self.family(key), |local| self.family_at(key, local));
        match self.sockets.get(&key).and_then(|socket| socket.connected) {
            Some(connected) => connected,
            None => shown_as(self.name_of(real, key.0), family),
        }
    }

    pub(super) fn opened_streams(&mut self, socket: u32, streams: [u32; 2]) {
        self.streams.retain(|_, of| *of != socket);
        self.streams.extend(streams.map(|stream| (stream, socket)));
    }

    pub(super) fn socket_of(&self, stream: u32) -> Result<Key, Refused> {
        self.streams.get(&stream).map(|socket| (Protocol::Udp, *socket)).ok_or(Refused::InvalidState)
    }

    fn real_port(&self, key: Key) -> Option<u16> {
        Some(self.sockets.get(&key)?.real?.port())
    }

    /// What tasks call a real socket; what nobody published is called what it is, but for the machine.
    fn name_of(&self, real: SocketAddr, protocol: Protocol) -> SocketAddr {
        if protocol == Protocol::Udp
            && let Some(peer) = self.shared.relays.behind(real)
        {
            return peer;
        }
        match self.shared.address.table().name_of(real, protocol) {
            Some(name) => SocketAddr::from(name),
            None if matches!(real.ip(), IpAddr::V4(ip) if is_loopback_of_task(ip)) => (MACHINE, real.port()).into(),
            None => real,
        }
    }

    /// A socket that goes outside has an address of the machine, of which a task knows nothing.
    fn own_name_of(&self, real: SocketAddr, protocol: Protocol) -> SocketAddr {
        if real.ip().is_loopback() {
            self.name_of(real, protocol)
        } else {
            SocketAddr::from((self.shared.address.ip(), real.port()))
        }
    }
}

/// Where an address leads that a task names: the machine's own loopback, the task itself, the real socket of a task, or what
/// it says.
pub fn real_address(own: &Address, ip: Ipv4Addr, port: u16, protocol: Protocol) -> SocketAddr {
    let ip = match ip {
        MACHINE => Ipv4Addr::LOCALHOST,
        ip if is_loopback_of_task(ip) => own.ip(),
        ip => ip,
    };
    own.table().resolve(ip, port, protocol).unwrap_or(SocketAddr::from((ip, port)))
}

/// All of 127.0.0.0/8 is a task's own loopback, except where tasks live.
fn is_loopback_of_task(ip: Ipv4Addr) -> bool {
    ip.is_loopback() && !is_task_address(ip)
}

fn is_addressed_to_a_task(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if is_task_address(ip))
}

/// The IPv4 address that an address of the guest stands for; `None` for an IPv6 address that has none.
fn as_v4(ip: IpAddr, family: Family) -> Result<Option<Ipv4Addr>, Refused> {
    match (ip, family) {
        (IpAddr::V4(ip), Family::V4) => Ok(Some(ip)),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), Family::V6) => Ok(Some(Ipv4Addr::UNSPECIFIED)),
        (IpAddr::V6(Ipv6Addr::LOCALHOST), Family::V6) => Ok(Some(Ipv4Addr::LOCALHOST)),
        (IpAddr::V6(ip), Family::V6) => Ok(ip.to_ipv4_mapped()),
        (IpAddr::V4(_), Family::V6) | (IpAddr::V6(_), Family::V4) => Err(Refused::InvalidArgument),
    }
}

fn shown_as(address: SocketAddr, family: Family) -> SocketAddr {
    match (address, family) {
        (SocketAddr::V4(address), Family::V6) => SocketAddr::from((address.ip().to_ipv6_mapped(), address.port())),
        (address, _) => address,
    }
}

#[cfg(test)]
mod tests;
