//! What leaves a task: the node's gateway, through which guests reach what is not a socket of a task.
//!
//! A guest says where it wants to go; the gateway finds what that really is, asks the network's one rule about the address
//! that it then really connects to, and opens it on the guest threads, below the priority of everything that serves others.

pub mod endpoint;
pub mod http;
pub mod names;
pub mod relay;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::runtime::endpoint::TaskEndpoint;
use crate::runtime::outgoing::endpoint::Callers;
use crate::runtime::outgoing::names::{NODE_LOOKUPS_MAX, NodeResolver};
use crate::runtime::outgoing::tls::Tls;

/// What all tasks of the node go out through.
pub struct Gateway {
    /// Where connections are opened, and their data is moved.
    guests: Handle,
    endpoint: Arc<dyn TaskEndpoint>,
    callers: Callers,
    resolver: NodeResolver,
    /// Places for look-ups, of all tasks.
    lookups: Semaphore,
    tls: Tls,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    /// Opens the socket at which plain connections to the task endpoint arrive. Names are asked of the machine's own
    /// servers where there are no `dns_servers`.
    pub fn open(
        guests: &Handle,
        endpoint: Arc<dyn TaskEndpoint>,
        dns_servers: Vec<SocketAddr>,
    ) -> std::io::Result<Arc<Gateway>> {
        let callers = Callers::open(guests, &endpoint)?;
        let resolver = NodeResolver::new(dns_servers);
        let lookups = Semaphore::new(NODE_LOOKUPS_MAX);
        Ok(Arc::new(Gateway { guests: guests.clone(), endpoint, callers, resolver, lookups, tls: Tls::default() }))
    }

    pub fn resolver(&self) -> &NodeResolver {
        &self.resolver
    }

    pub fn lookups(&self) -> &Semaphore {
        &self.lookups
    }

    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    pub fn guests(&self) -> &Handle {
        &self.guests
    }

    pub fn task_endpoint(&self) -> &Arc<dyn TaskEndpoint> {
        &self.endpoint
    }
}

#[cfg(test)]
mod tests;
