//! What all guests of one task share of its network: its address, its quota, what listens, and who may send it datagrams.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tracing::debug;

use super::refused::Refused;
use crate::network::{Address, Protocol, Verdict};
use crate::runtime::outgoing::Gateway;
use crate::runtime::outgoing::endpoint::Caller;
use crate::runtime::outgoing::names::LOOKUPS_MAX;
use crate::runtime::outgoing::relay::Relays;

/// Sockets of one task at once, accepted ones included: what a Linux process may open by default.
pub const SOCKETS_MAX: usize = 1024;
/// TCP sockets of one task that listen: ECS allows 100 ports for a container.
pub const LISTENERS_MAX: usize = 128;
/// Peers with whom a task's UDP sockets are in conversation: as many as the task may have connections.
const FLOWS_MAX: usize = SOCKETS_MAX;

/// A port on which something of the task listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The port as the task and its peers know it.
    pub port: u16,
    pub protocol: Protocol,
    /// The socket that really listens.
    pub real: SocketAddr,
    /// Whether a port mapping opens it to others than the task itself.
    pub is_mapped: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub address: Address,
    mapped: BTreeSet<(u16, Protocol)>,
    sockets: AtomicUsize,
    listeners: AtomicUsize,
    bindings: watch::Sender<Vec<Binding>>,
    flows: Mutex<Flows>,
    /// The task, as 169.254.170.2 knows it.
    caller: Caller,
    /// Where there is none, nothing leaves the node's table.
    gateway: OnceLock<Arc<Gateway>>,
    /// Places for look-ups.
    lookups: Semaphore,
    was_refused: AtomicBool,
    /// Its datagrams that leave the machine.
    pub relays: Relays,
}

/// Which peer each UDP port has heard from or spoken to, oldest first. An answer is allowed where a question was.
#[derive(Debug, Default)]
struct Flows {
    known: HashSet<(u16, SocketAddr)>,
    order: VecDeque<(u16, SocketAddr)>,
}

impl Flows {
    fn note(&mut self, flow: (u16, SocketAddr)) {
        if !self.known.insert(flow) {
            return;
        }
        self.order.push_back(flow);
        if self.order.len() > FLOWS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Shared {
    pub fn new(address: Address, mapped: BTreeSet<(u16, Protocol)>) -> Arc<Shared> {
        let caller = Caller::new(address.task());
        Arc::new(Shared {
            address,
            mapped,
            sockets: AtomicUsize::new(0),
            listeners: AtomicUsize::new(0),
            bindings: watch::Sender::new(Vec::new()),
            flows: Mutex::default(),
            caller,
            gateway: OnceLock::new(),
            lookups: Semaphore::new(LOOKUPS_MAX),
            was_refused: AtomicBool::new(false),
            relays: Relays::default(),
        })
    }

    pub fn go_through(&self, gateway: Arc<Gateway>) {
        // Set before any guest runs, once.
        let _ = self.gateway.set(gateway);
    }

    pub fn gateway(&self) -> Option<&Arc<Gateway>> {
        self.gateway.get()
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn lookups(&self) -> &Semaphore {
        &self.lookups
    }

    /// Whether nothing of this task was refused before.
    pub fn is_first_refusal(&self) -> bool {
        !self.was_refused.swap(true, Ordering::Relaxed)
    }

    /// Where a connection to 169.254.170.2 port 80 really goes.
    pub fn endpoint_at(&self) -> Option<SocketAddr> {
        Some(self.gateway.get()?.callers().at())
    }

    pub fn is_mapped(&self, port: u16, protocol: Protocol) -> bool {
        self.mapped.contains(&(port, protocol))
    }

    pub fn bindings(&self) -> watch::Receiver<Vec<Binding>> {
        self.bindings.subscribe()
    }

    /// Whether the security groups let this peer come to a port.
    pub fn may_enter(&self, port: u16, peer: SocketAddr, protocol: Protocol) -> bool {
        self.address.table().may_enter(&self.address, port, peer, protocol)
    }

    pub fn is_own(&self, peer: SocketAddr) -> bool {
        peer.ip() == IpAddr::V4(self.address.ip())
    }

    /// Remembers that the real UDP port and the peer speak with each other.
    pub fn note_flow(&self, port: u16, peer: SocketAddr) {
        // The task's own sockets need no permission.
        if !self.is_own(peer) {
            self.flows.lock().note((port, peer));
        }
    }

    pub fn has_flow(&self, port: u16, peer: SocketAddr) -> bool {
        self.flows.lock().known.contains(&(port, peer))
    }

    fn has_flow_with(&self, peer: SocketAddr) -> bool {
        self.flows.lock().order.iter().any(|(_, known)| *known == peer)
    }
}

/// A place in the task's quota of sockets.
#[derive(Debug)]
pub struct Slot {
    shared: Arc<Shared>,
}

impl Slot {
    pub(super) fn take(shared: &Arc<Shared>) -> Result<Slot, Refused> {
        take(&shared.sockets, SOCKETS_MAX).then(|| Slot { shared: Arc::clone(shared) }).ok_or(Refused::TooManySockets)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place in the quota of listeners.
#[derive(Debug)]
pub(super) struct ListenerSlot {
    shared: Arc<Shared>,
}

impl ListenerSlot {
    pub fn take(shared: &Arc<Shared>) -> Result<ListenerSlot, Refused> {
        let taken = take(&shared.listeners, LISTENERS_MAX);
        taken.then(|| ListenerSlot { shared: Arc::clone(shared) }).ok_or(Refused::TooManyListeners)
    }
}

impl Drop for ListenerSlot {
    fn drop(&mut self) {
        self.shared.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

fn take(count: &AtomicUsize, max: usize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used < max).then_some(used + 1)).is_ok()
}

/// A binding that is shown as long as this lives.
#[derive(Debug)]
pub(super) struct Shown {
    binding: Binding,
    shared: Arc<Shared>,
}

impl Shown {
    pub fn new(shared: &Arc<Shared>, binding: Binding) -> Shown {
        shared.bindings.send_modify(|all| {
            all.push(binding);
            all.sort();
        });
        Shown { binding, shared: Arc::clone(shared) }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.shared.bindings.send_modify(|all| {
            if let Some(at) = all.iter().position(|binding| *binding == self.binding) {
                all.remove(at);
            }
        });
    }
}

/// The accepted sockets of a guest whose host does not see them pass (0.3 hands them over in a stream): they are counted when
/// they are accepted and given back as the guest drops them, the rest with the store.
#[derive(Debug)]
pub(super) struct Accepted {
    shared: Arc<Shared>,
    /// Set once the guest listens in the way of 0.3. Until then the host counts by itself.
    pub counts: AtomicBool,
    count: AtomicUsize,
}

impl Accepted {
    pub fn new(shared: &Arc<Shared>) -> Accepted {
        Accepted { shared: Arc::clone(shared), counts: AtomicBool::new(false), count: AtomicUsize::new(0) }
    }

    fn take(&self) -> bool {
        if !self.counts.load(Ordering::Relaxed) {
            return true;
        }
        let taken = take(&self.shared.sockets, SOCKETS_MAX);
        if taken {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    pub fn give_back(&self) {
        let less = |count: usize| count.checked_sub(1);
        if self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            self.shared.sockets.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.shared.sockets.fetch_sub(*self.count.get_mut(), Ordering::Relaxed);
    }
}

/// Answers wasmtime-wasi's questions about real addresses. It is asked last, after all translation.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    pub shared: Arc<Shared>,
    pub accepted: Arc<Accepted>,
}

impl Judge {
    pub fn may_bind(&self, address: SocketAddr) -> bool {
        self.said("listen", address, self.shared.address.table().may_listen(self.shared.address.task(), address))
    }

    pub fn may_connect(&self, to: SocketAddr) -> bool {
        Some(to) == self.shared.endpoint_at() || self.said("connect", to, self.verdict(to, Protocol::Tcp))
    }

    /// A peer that is no task of ours (the load balancer, a user of this machine) or another task comes through a mapped
    /// port, and as the security groups say. Which of the task's ports it came to is not known here: the 0.2 host looks
    /// at that itself.
    pub fn may_accept(&self, peer: SocketAddr) -> bool {
        let welcomes = |(port, of): &(u16, Protocol)| *of == Protocol::Tcp && self.shared.may_enter(*port, peer, *of);
        let is_welcome = self.shared.is_own(peer) || self.shared.mapped.iter().any(welcomes);
        is_welcome && self.accepted.take()
    }

    pub fn may_send(&self, to: SocketAddr) -> bool {
        self.shared.has_flow_with(to) || self.said("send", to, self.verdict(to, Protocol::Udp))
    }

    pub fn may_receive(&self, peer: SocketAddr) -> bool {
        self.shared.is_own(peer)
            || self
                .shared
                .mapped
                .iter()
                .any(|(port, of)| *of == Protocol::Udp && self.shared.may_enter(*port, peer, *of))
            || self.shared.has_flow_with(peer)
    }

    fn verdict(&self, to: SocketAddr, protocol: Protocol) -> Verdict {
        self.shared.address.table().may_connect(&self.shared.address, to, protocol)
    }

    fn said(&self, what: &str, address: SocketAddr, verdict: Verdict) -> bool {
        if let Verdict::Denied(why) = verdict {
            debug!(task = %self.shared.address.task(), %address, %why, "a guest may not {what}");
        }
        verdict.is_allowed()
    }
}
