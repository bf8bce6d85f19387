//! The table itself: tenants by address, and published sockets by what tasks call them and by where they really are.
//!
//! Entries are guards: an address and a publication end when the last holder drops them, so that nothing of a task that
//! ended, however it ended, can be found any more.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use super::Protocol;
use super::addresses::{Addresses, MACHINE, NoAddress, is_task_address};
use super::groups::Peer;
use super::policy::{Denial, Policy, Verdict};
use super::remote::{Answer, Question, Server};
use super::resolved::Resolved;
use crate::model::TaskId;

/// Who is where on this node. Clones are handles of the same table.
#[derive(Clone)]
pub struct Table {
    state: Arc<RwLock<State>>,
    /// In a worker process: its server's table, which knows everybody else.
    server: Option<Arc<dyn Server>>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("state", &self.state).field("remote", &self.server.is_some()).finish()
    }
}

#[derive(Debug)]
struct State {
    addresses: Addresses,
    tenants: HashMap<Ipv4Addr, Arc<Tenant>>,
    published: HashMap<Name, Endpoint>,
    /// The way back: what tasks call a real socket. Keys are as many as in `published`.
    names: HashMap<(SocketAddr, Protocol), Name>,
}

/// What tasks call a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    ip: Ipv4Addr,
    port: u16,
    protocol: Protocol,
}

/// A published socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where it really is.
    pub real: SocketAddr,
    /// Whether a port mapping opens it to others than its own task.
    pub is_mapped: bool,
}

/// The port of the task, or the real socket, is published already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{protocol} port {port} of {ip} is in use")]
pub struct PortInUse {
    pub ip: Ipv4Addr,
    pub port: u16,
    pub protocol: Protocol,
}

/// A task's address. It goes back to the table when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Address {
    lease: Arc<Lease>,
}

#[derive(Debug)]
struct Lease {
    ip: Ipv4Addr,
    tenant: Arc<Tenant>,
    table: Table,
}

/// A task, as the rules know it.
#[derive(Debug)]
struct Tenant {
    task: TaskId,
    policy: Policy,
    /// What its own look-ups found for the host names of its rules.
    resolved: Mutex<Resolved>,
}

impl Address {
    pub fn ip(&self) -> Ipv4Addr {
        self.lease.ip
    }

    pub fn task(&self) -> TaskId {
        self.lease.tenant.task
    }

    pub fn policy(&self) -> &Policy {
        &self.lease.tenant.policy
    }

    /// Notes what a look-up of the task found, where a rule of its security groups names the host.
    pub fn remember(&self, name: &str, found: &[Ipv4Addr]) {
        if let Some(server) = &self.lease.table.server {
            let _ = server.ask(&Question::Remember { name: name.to_owned(), found: found.to_vec() });
            return;
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        for host in self.lease.tenant.policy.rules.names_of(&name) {
            self.lease.tenant.resolved.lock().note(host, found);
        }
    }

    /// The table that gave this address.
    pub fn table(&self) -> &Table {
        &self.lease.table
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.table.state.write();
        state.tenants.remove(&self.ip);
        state.addresses.give_back(self.ip);
    }
}

/// A publication. It ends when this is dropped; until then the task keeps its address.
#[derive(Debug)]
pub struct Published {
    name: Name,
    real: SocketAddr,
    address: Address,
}

impl Published {
    pub fn port(&self) -> u16 {
        self.name.port
    }

    pub fn real(&self) -> SocketAddr {
        self.real
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let table = &self.address.lease.table;
        let mut state = table.state.write();
        state.published.remove(&self.name);
        state.names.remove(&(self.real, self.name.protocol));
        drop(state);
        if let Some(server) = &table.server {
            let _ = server.ask(&Question::Withdraw { port: self.name.port, protocol: self.name.protocol });
        }
    }
}

impl Default for Table {
    fn default() -> Table {
        Table::starting_at(0)
    }
}

impl Table {
    /// An empty table whose first address is the `start`th. Two nodes on one machine should start apart (by their process
    /// ids, say): they work on the same addresses too, but then not every task listens on the port that it asked for.
    pub fn starting_at(start: u32) -> Table {
        let addresses = Addresses::starting_at(start);
        let (tenants, published, names) = (HashMap::new(), HashMap::new(), HashMap::new());
        Table { state: Arc::new(RwLock::new(State { addresses, tenants, published, names })), server: None }
    }

    /// The table of a worker process, which asks that of its server.
    pub fn remote(server: Arc<dyn Server>) -> Table {
        Table { server: Some(server), ..Table::default() }
    }

    /// Gives `task` an address of its own, and no way beyond the tasks of this node.
    pub fn attach(&self, task: TaskId) -> Result<Address, NoAddress> {
        self.attach_with(task, Policy::default())
    }

    /// Gives `task` an address of its own, from which it may reach what the policy says.
    pub fn attach_with(&self, task: TaskId, policy: Policy) -> Result<Address, NoAddress> {
        let tenant = Arc::new(Tenant { task, policy, resolved: Mutex::default() });
        let mut state = self.state.write();
        let ip = state.addresses.take()?;
        state.tenants.insert(ip, Arc::clone(&tenant));
        Ok(Address { lease: Arc::new(Lease { ip, tenant, table: self.clone() }) })
    }

    /// Gives `task` an address that another table has given it: that of its server, in a worker process.
    pub fn adopt(&self, ip: Ipv4Addr, task: TaskId, policy: Policy) -> Address {
        let tenant = Arc::new(Tenant { task, policy, resolved: Mutex::default() });
        self.state.write().tenants.insert(ip, Arc::clone(&tenant));
        Address { lease: Arc::new(Lease { ip, tenant, table: self.clone() }) }
    }

    /// Makes the real socket known as `port` of `address`.
    pub fn publish(
        &self,
        address: &Address,
        port: u16,
        protocol: Protocol,
        endpoint: Endpoint,
    ) -> Result<Published, PortInUse> {
        let name = Name { ip: address.ip(), port, protocol };
        let mut state = self.state.write();
        if state.published.contains_key(&name) || state.names.contains_key(&(endpoint.real, protocol)) {
            return Err(PortInUse { ip: name.ip, port, protocol });
        }
        state.published.insert(name, endpoint);
        state.names.insert((endpoint.real, protocol), name);
        drop(state);
        if let Some(server) = &self.server
            && server.ask(&Question::Publish { port, protocol, endpoint }) != Some(Answer::Done)
        {
            let mut state = self.state.write();
            state.published.remove(&name);
            state.names.remove(&(endpoint.real, protocol));
            return Err(PortInUse { ip: name.ip, port, protocol });
        }
        Ok(Published { name, real: endpoint.real, address: address.clone() })
    }

    /// The task that has this address now.
    pub fn owner(&self, ip: Ipv4Addr) -> Option<TaskId> {
        Some(self.state.read().tenants.get(&ip)?.task)
    }

    /// What is published as this address and port, whoever asks.
    pub fn endpoint(&self, ip: Ipv4Addr, port: u16, protocol: Protocol) -> Option<Endpoint> {
        let known = self.state.read().published.get(&Name { ip, port, protocol }).copied();
        match &self.server {
            Some(server) if known.is_none() && is_task_address(ip) => {
                match server.ask(&Question::Endpoint { ip, port, protocol }) {
                    Some(Answer::Endpoint(endpoint)) => endpoint,
                    _ => None,
                }
            }
            _ => known,
        }
    }

    /// The real socket behind this address and port, whoever asks: for the node itself (the load balancer, describe calls).
    pub fn resolve(&self, ip: Ipv4Addr, port: u16, protocol: Protocol) -> Option<SocketAddr> {
        Some(self.endpoint(ip, port, protocol)?.real)
    }

    /// The real socket behind an address as tasks write it, for a task: refused where [`Table::may_connect`] would.
    pub fn resolve_for(&self, from: &Address, to: SocketAddr, protocol: Protocol) -> Result<SocketAddr, Denial> {
        let real = match to.ip().to_canonical() {
            IpAddr::V4(ip) => self.resolve(ip, to.port(), protocol).unwrap_or(SocketAddr::from((ip, to.port()))),
            IpAddr::V6(_) => to,
        };
        match self.may_connect(from, real, protocol) {
            Verdict::Allowed => Ok(real),
            Verdict::Denied(denial) => Err(denial),
        }
    }

    /// What tasks call a real socket: the way back of [`Table::resolve`].
    pub fn name_of(&self, real: SocketAddr, protocol: Protocol) -> Option<(Ipv4Addr, u16)> {
        let known = self.state.read().names.get(&(real, protocol)).map(|name| (name.ip, name.port));
        match &self.server {
            Some(server) if known.is_none() => match server.ask(&Question::NameOf { real, protocol }) {
                Some(Answer::Name(name)) => name,
                _ => None,
            },
            _ => known,
        }
    }

    /// Whether the task at `from` may connect, or send, to this *real* address.
    pub fn may_connect(&self, from: &Address, to: SocketAddr, protocol: Protocol) -> Verdict {
        if let Some(server) = &self.server {
            return match server.ask(&Question::MayConnect { to, protocol }) {
                Some(Answer::May(may)) => may.into(),
                _ => Verdict::Denied(Denial::UnknownTask),
            };
        }
        let (source, policy) = (&from.lease.tenant, from.policy());
        let state = self.state.read();
        let Some(name) = state.names.get(&(to, protocol)).copied() else {
            let is_silent = matches!(to.ip().to_canonical(), IpAddr::V4(ip) if state.tenants.contains_key(&ip));
            // What follows asks the system: nobody is to wait for that.
            drop(state);
            if is_silent {
                return Verdict::Denied(Denial::NobodyListens);
            }
            let named = |host: &str| source.resolved.lock().has(host, to.ip());
            return policy.elsewhere(to.ip(), to.port(), protocol, named).into();
        };
        if name.ip == from.ip() {
            return Verdict::Allowed;
        }
        if !state.published.get(&name).is_some_and(|endpoint| endpoint.is_mapped) {
            return Verdict::Denied(Denial::NotMapped);
        }
        let Some(destination) = state.tenants.get(&name.ip).map(Arc::clone) else {
            return Verdict::Denied(Denial::NobodyListens);
        };
        drop(state);
        let peer = Peer { addresses: &[name.ip], groups: &destination.policy.rules.ids, named: &|_| false };
        if !policy.rules.allow_egress(&peer, name.port, protocol) {
            return Verdict::Denied(Denial::Egress);
        }
        let peer = Peer { addresses: &[from.ip()], groups: &policy.rules.ids, named: &|_| false };
        if !destination.policy.rules.allow_ingress(&peer, name.port, protocol) {
            return Verdict::Denied(Denial::Ingress);
        }
        Verdict::Allowed
    }

    /// Whether a peer with this *real* address may come to a port of the task, as its security groups say; whether the port
    /// is mapped is another question. A client of this machine counts as what it is and as [`MACHINE`].
    pub fn may_enter(&self, to: &Address, port: u16, from: SocketAddr, protocol: Protocol) -> bool {
        let IpAddr::V4(ip) = from.ip().to_canonical() else { return false };
        // The load balancer was asked about when it was told of the task: see `lets_in`.
        if ip == to.ip() || ip == MACHINE {
            return true;
        }
        if let Some(server) = &self.server {
            return server.ask(&Question::MayEnter { port, from, protocol }) == Some(Answer::May(Ok(())));
        }
        let peer = self.state.read().tenants.get(&ip).map(Arc::clone);
        let groups: &[String] = peer.as_ref().map_or(&[], |peer| &peer.policy.rules.ids);
        let (itself, machine) = ([ip], [ip, MACHINE]);
        let addresses = if peer.is_none() && ip.is_loopback() { &machine[..] } else { &itself[..] };
        to.policy().rules.allow_ingress(&Peer { addresses, groups, named: &|_| false }, port, protocol)
    }

    /// Whether a load balancer of these security groups may come to a task's port. Beside them it counts as [`MACHINE`].
    pub fn lets_in(&self, task: Ipv4Addr, port: u16, groups: &[String]) -> bool {
        let tenant = self.state.read().tenants.get(&task).map(Arc::clone);
        let peer = Peer { addresses: &[MACHINE], groups, named: &|_| false };
        tenant.is_none_or(|tenant| tenant.policy.rules.allow_ingress(&peer, port, Protocol::Tcp))
    }

    /// Whether `task` may bind this real address. It may use every port: the mappings decide who else may reach it.
    pub fn may_listen(&self, task: TaskId, at: SocketAddr) -> Verdict {
        let IpAddr::V4(ip) = at.ip() else { return Verdict::Denied(Denial::NotItsOwnAddress) };
        match self.owner(ip) {
            Some(owner) if owner == task => Verdict::Allowed,
            _ => Verdict::Denied(Denial::NotItsOwnAddress),
        }
    }
}

#[cfg(test)]
mod tests;
