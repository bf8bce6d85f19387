//! TLS: what listeners end, and what targets are spoken to with.
//!
//! A listener's certificates are found when it is published, off the data path: in files that the operator names, or made
//! on the spot. A handshake looks at what the client asks for, then takes one of the configurations that are ready.

mod acceptor;
mod authority;
mod certificate;
mod certificates;
pub mod client;
mod policy;
mod session;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::model::{Arn, Listener, LoadBalancer};

pub use acceptor::{HandshakeError, ListenerTls};
pub use certificates::Certificates;

/// Handshakes at once. Each holds some ten kilobytes until it is done, and two cores do a few thousand a second: who waits
/// for one of these places waits for less than a second.
const HANDSHAKES_MAX: usize = 1_024;
/// How often the operator's files are looked at: a renewed certificate has days.
const FILES_LOOK: Duration = Duration::from_secs(5);

/// What the listeners of a proxy share.
pub struct Tls {
    certificates: Certificates,
    /// Those that are published, and those that connections still use.
    listeners: Mutex<HashMap<Arn, Weak<ListenerTls>>>,
    handshakes: Semaphore,
}

impl Tls {
    pub fn new(certificates: Certificates) -> Tls {
        Tls { certificates, listeners: Mutex::default(), handshakes: Semaphore::new(HANDSHAKES_MAX) }
    }

    /// What a listener of HTTPS or TLS is ended with; the same as before while nothing of it changed.
    pub fn listener(&self, record: &Arc<Listener>, balancer: &Arc<LoadBalancer>) -> Option<Arc<ListenerTls>> {
        if !matches!(record.protocol.as_str(), "HTTPS" | "TLS") {
            return None;
        }
        let mut listeners = self.listeners.lock();
        let known = listeners.get(&record.arn()).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| known.is_of(record, balancer)) {
            return Some(known);
        }
        let made = Arc::new(ListenerTls::new(record, balancer, &self.certificates));
        listeners.retain(|_, known| known.strong_count() > 0);
        listeners.insert(record.arn(), Arc::downgrade(&made));
        Some(made)
    }

    /// Looks at the operator's files for as long as there is a proxy; ends at once where there are none.
    pub async fn watch_files(this: Weak<Tls>) {
        loop {
            match this.upgrade() {
                Some(tls) if tls.certificates.has_files() => tls.reload(),
                _ => return,
            }
            tokio::time::sleep(FILES_LOOK).await;
        }
    }

    /// Reads again what changed, for every listener that it is a certificate of.
    pub fn reload(&self) {
        if !self.certificates.refresh() {
            return;
        }
        let listeners: Vec<_> = self.listeners.lock().values().filter_map(Weak::upgrade).collect();
        for listener in listeners {
            listener.renew(&self.certificates);
        }
    }
}
