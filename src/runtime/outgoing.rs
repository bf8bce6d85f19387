//! What leaves a task: the node's gateway, through which guests reach what is not a socket of a task.
//!
//! A guest says where it wants to go; the gateway finds what that really is, asks the network's one rule about the address
//! that it then really connects to, and opens it on the guest threads, below the priority of everything that serves others.

pub mod endpoint;

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::runtime::endpoint::TaskEndpoint;
use crate::runtime::outgoing::endpoint::Callers;

/// What all tasks of the node go out through.
pub struct Gateway {
    /// Where connections are opened, and their data is moved.
    guests: Handle,
    endpoint: Arc<dyn TaskEndpoint>,
    callers: Callers,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    /// Opens the socket at which plain connections to the task endpoint arrive.
    pub fn open(guests: &Handle, endpoint: Arc<dyn TaskEndpoint>) -> std::io::Result<Arc<Gateway>> {
        let callers = Callers::open(guests, &endpoint)?;
        Ok(Arc::new(Gateway { guests: guests.clone(), endpoint, callers }))
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
