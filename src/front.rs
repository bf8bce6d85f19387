//! The open port, and the load balancers' own: connections come in here, and each request is handed to who answers it.
//!
//! - One loop accepts and deals connections out in turn to as many threads as there are cores, each with a runtime of its
//!   own: nothing moves between cores afterwards, and that was measured faster than one runtime for all, or than a socket
//!   per thread, where connections hash unevenly.
//! - Those threads carry the data path. What concerns the API runs on the control runtime, so that neither delays the other.
//! - By Host: `NAME.REGION.elb.localhost` is a load balancer's traffic, whoever sends it. Everything else is the API,
//!   which a web page must not be able to drive: see [`guard`].

mod connection;
mod dispatch;
mod guard;
mod listeners;
mod service;
mod socket;
mod stream;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::front::dispatch::Dispatch;
use crate::front::guard::Guard;
use crate::front::listeners::OwnPorts;
use crate::front::socket::{Opened, Opener, Site};
use crate::front::workers::Workers;
use crate::proxy::Proxy;

pub use service::{ApiService, LocalApi};

/// Connections open at once, on all ports together. Each costs one descriptor and some tens of kilobytes; servers are
/// commonly started with 1,024 or 65,536 descriptors, so who runs more raises both.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Why the port could not be opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "{address} is in use. Another server may be running there: stop it, or give another address with --listen \
         (port 0 takes a free one)"
    )]
    InUse { address: SocketAddr },
    #[error("{address} may not be opened by this user: give a port of 1024 or above with --listen")]
    NotPermitted { address: SocketAddr },
    #[error("{address} is no address of this machine: give 127.0.0.1, or one that it has, with --listen")]
    NotOurs { address: SocketAddr },
    #[error("{address} could not be opened")]
    Other { address: SocketAddr, source: io::Error },
}

/// What the front needs to know of its surroundings.
#[derive(Clone, Debug)]
pub struct FrontConfig {
    /// Hosts that mean the API, besides `localhost`, loopback addresses and the address it listens at.
    pub hosts: Vec<String>,
    /// Threads of the data path: the machine's cores.
    pub workers: usize,
    pub connections_max: usize,
}

/// Who answers.
#[derive(Clone)]
pub struct Services {
    pub proxy: Arc<Proxy>,
    pub api: Arc<dyn ApiService>,
    pub local: Arc<dyn LocalApi>,
}

/// A port that is ours already, and answers nothing yet: so that a port in use is known before anything is started.
pub struct OpenPort {
    listener: TcpListener,
    address: SocketAddr,
}

impl OpenPort {
    /// Where it really is, where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The running front.
pub struct Front {
    address: SocketAddr,
    open: Opened,
    own_ports: AbortHandle,
    ports: Arc<OwnPorts>,
    workers: Arc<Workers>,
    connections: Arc<AtomicUsize>,
}

impl Front {
    /// Opens the port. Needs a tokio runtime with I/O: the control runtime.
    pub fn bind(address: SocketAddr) -> Result<OpenPort, BindError> {
        let listener = socket::listen(address).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            io::ErrorKind::PermissionDenied => BindError::NotPermitted { address },
            io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address },
            _ => BindError::Other { address, source: error },
        })?;
        let real = listener.local_addr().map_err(|source| BindError::Other { address, source })?;
        Ok(OpenPort { listener, address: real })
    }

    /// Begins to answer. `control` runs the API, the accept loops and whatever else is not the data path.
    pub fn serve(port: OpenPort, config: &FrontConfig, services: Services, control: &Handle) -> io::Result<Front> {
        let address = port.address;
        let guard = Guard::new(address, &config.hosts);
        let proxy = Arc::clone(&services.proxy);
        let dispatch = Arc::new(Dispatch::new(services, guard, control.clone()));
        let workers = Arc::new(Workers::start(config.workers)?);
        let opener = Opener::new(dispatch, Arc::clone(&workers), config.connections_max, control.clone());
        let connections = opener.connections();
        let open = opener.open(port.listener, Site::Open);
        let ports = Arc::new(OwnPorts::new(opener, address.ip()));
        let own_ports = control.spawn(Arc::clone(&ports).keep(proxy)).abort_handle();
        Ok(Front { address, open, own_ports, ports, workers, connections })
    }

    /// Connections that are open now, on all ports together.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing any more, lets requests end for at most `drain`, then closes whatever is left.
    pub async fn shutdown(self, drain: Duration) {
        self.own_ports.abort();
        self.ports.close();
        self.open.close();
        self.workers.end(drain).await;
    }
}

#[cfg(test)]
mod tests;
