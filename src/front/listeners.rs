//! The listeners' own ports: opened when wanted, elsewhere when busy, closed when the listener goes.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::front::socket::{Opened, Opener, listen, listen_to_datagrams};
use crate::model::Arn;
use crate::proxy::{Proxy, Transport, WantedListener};

/// When to try again where not even a free port could be opened, which is mostly for want of descriptors.
const RETRY: Duration = Duration::from_secs(5);

/// Free ports tried where one has to be free for streams and datagrams both, which it nearly always is.
const FREE_PORTS_TRIED: usize = 8;

pub struct OwnPorts {
    opener: Opener,
    address: IpAddr,
    open: Mutex<HashMap<Arn, OwnPort>>,
}

struct OwnPort {
    /// The listener's port, which may not be the one that is open.
    wanted: (u16, Transport),
    opened: Opened,
}

/// What a listener needs, at one port.
struct Sockets {
    stream: Option<TcpListener>,
    datagrams: Option<UdpSocket>,
    address: SocketAddr,
}

impl Sockets {
    fn open(mut address: SocketAddr, transport: Transport) -> io::Result<Sockets> {
        let stream = match transport {
            Transport::Tcp | Transport::TcpUdp => Some(listen(address)?),
            Transport::Udp => None,
        };
        if let Some(stream) = &stream {
            address = stream.local_addr()?;
        }
        let datagrams = match transport {
            Transport::Udp | Transport::TcpUdp => Some(listen_to_datagrams(address)?),
            Transport::Tcp => None,
        };
        if let Some(datagrams) = &datagrams {
            address = datagrams.local_addr()?;
        }
        Ok(Sockets { stream, datagrams, address })
    }
}

impl OwnPorts {
    pub fn new(opener: Opener, address: IpAddr) -> OwnPorts {
        OwnPorts { opener, address, open: Mutex::new(HashMap::new()) }
    }

    /// Keeps open what the proxy wants, until it is gone.
    pub async fn keep(self: Arc<OwnPorts>, proxy: Arc<Proxy>) {
        let mut listeners = proxy.listeners();
        loop {
            let wanted = listeners.borrow_and_update().clone();
            let is_complete = self.adjust(&proxy, &wanted);
            let changed = async {
                match is_complete {
                    true => listeners.changed().await,
                    false => tokio::time::timeout(RETRY, listeners.changed()).await.unwrap_or(Ok(())),
                }
            };
            if changed.await.is_err() {
                return;
            }
        }
    }

    /// Whether all that is wanted is open afterwards.
    fn adjust(&self, proxy: &Proxy, wanted: &[WantedListener]) -> bool {
        let mut open = self.open.lock();
        open.retain(|arn, own| {
            let stays =
                wanted.iter().any(|listener| listener.arn == *arn && (listener.port, listener.transport) == own.wanted);
            if !stays {
                own.opened.close();
                proxy.set_bound(arn, None);
                tracing::info!(listener = %arn, "closed the listener's port");
            }
            stays
        });
        let mut is_complete = true;
        for listener in wanted {
            if open.contains_key(&listener.arn) {
                continue;
            }
            match self.open_one(listener) {
                Ok((opened, bound)) => {
                    proxy.set_bound(&listener.arn, Some(bound));
                    open.insert(listener.arn.clone(), OwnPort { wanted: (listener.port, listener.transport), opened });
                }
                Err(error) => {
                    tracing::warn!(%error, listener = %listener.arn, "no port could be opened for the listener");
                    is_complete = false;
                }
            }
        }
        is_complete
    }

    fn open_one(&self, listener: &WantedListener) -> std::io::Result<(Opened, SocketAddr)> {
        let name = &listener.load_balancer;
        let sockets = Sockets::open(SocketAddr::new(self.address, listener.port), listener.transport);
        let sockets = sockets.or_else(|error| {
            tracing::info!(%error, load_balancer = name, port = listener.port, "taking a free port instead");
            self.free(listener.transport)
        })?;
        let Sockets { stream, datagrams, address } = sockets;
        tracing::info!(load_balancer = name, port = listener.port, bound = %address, "opened the listener's port");
        Ok((self.opener.open_all(stream, datagrams, &listener.arn), address))
    }

    /// Sockets at a free port. One that is free for streams may be taken for datagrams.
    fn free(&self, transport: Transport) -> io::Result<Sockets> {
        let mut opened = Sockets::open(SocketAddr::new(self.address, 0), transport);
        for _ in 1..FREE_PORTS_TRIED {
            if opened.is_ok() {
                break;
            }
            opened = Sockets::open(SocketAddr::new(self.address, 0), transport);
        }
        opened
    }

    /// Closes all of them.
    pub fn close(&self) {
        self.open.lock().clear();
    }
}
