//! The listeners' own ports: opened when wanted, elsewhere when busy, closed when the listener goes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::front::socket::{Opened, Opener, Site, listen};
use crate::model::Arn;
use crate::proxy::{Proxy, WantedListener};

/// When to try again where not even a free port could be opened, which is mostly for want of descriptors.
const RETRY: Duration = Duration::from_secs(5);

pub struct OwnPorts {
    opener: Opener,
    address: IpAddr,
    open: Mutex<HashMap<Arn, OwnPort>>,
}

struct OwnPort {
    /// The listener's port, which may not be the one that is open.
    wanted: u16,
    opened: Opened,
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
            let stays = wanted.iter().any(|listener| listener.arn == *arn && listener.port == own.wanted);
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
                    open.insert(listener.arn.clone(), OwnPort { wanted: listener.port, opened });
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
        let socket = listen(SocketAddr::new(self.address, listener.port)).or_else(|error| {
            tracing::info!(%error, load_balancer = name, port = listener.port, "taking a free port instead");
            listen(SocketAddr::new(self.address, 0))
        })?;
        let bound = socket.local_addr()?;
        tracing::info!(load_balancer = name, port = listener.port, %bound, "opened the listener's port");
        Ok((self.opener.open(socket, Site::Listener(listener.arn.clone())), bound))
    }

    /// Closes all of them.
    pub fn close(&self) {
        self.open.lock().clear();
    }
}
