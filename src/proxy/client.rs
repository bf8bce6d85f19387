//! Who a request comes from: one value for each connection.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use crate::proxy::balancer::{Balancer, OpenConnection};
use crate::proxy::group::scatter;

/// A client's connection, as it was accepted.
#[derive(Clone, Debug)]
pub struct Client {
    pub peer: SocketAddr,
    pub connection: ConnectionId,
    /// What its TLS session is; `None` for a connection in the clear.
    pub tls: Option<TlsSession>,
    open: OnceLock<Arc<OpenConnection>>,
}

/// Tells connections apart, also those of earlier runs: what access logs and connection logs have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u128);

impl ConnectionId {
    pub fn next() -> ConnectionId {
        let count = CONNECTIONS.get().wrapping_add(1);
        CONNECTIONS.set(count);
        ConnectionId(u128::from(scatter(count)) << 64 | u128::from(scatter(!count)))
    }
}

/// As ELB writes it: `TID_3180a73013c8ca4bac2f731159d4b0fe`.
impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TID_{:032x}", self.0)
    }
}

thread_local! {
    /// Where this thread's ids go on: they have to be different, not unpredictable, so one seed for a thread is enough.
    static CONNECTIONS: Cell<u64> = {
        let mut seed = [0; 8];
        // Without randomness ids may repeat after a restart, which only makes logs harder to read.
        let _ = getrandom::fill(&mut seed);
        Cell::new(u64::from_le_bytes(seed))
    };
}

/// What was agreed on with a client over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSession {
    /// As access logs have it: `TLSv1.3`.
    pub version: &'static str,
    /// As access logs have it, in OpenSSL's words: `TLS_AES_128_GCM_SHA256`, `ECDHE-RSA-AES128-GCM-SHA256`.
    pub cipher: &'static str,
    /// What the client asked for by SNI.
    pub server_name: Option<String>,
    /// ARN of the certificate that it was shown.
    pub certificate: Option<String>,
}

impl Client {
    /// One in the clear.
    pub fn plain(peer: SocketAddr) -> Client {
        Client::new(peer, None)
    }

    pub fn new(peer: SocketAddr, tls: Option<TlsSession>) -> Client {
        Client { peer, connection: ConnectionId::next(), tls, open: OnceLock::new() }
    }

    /// The connection is one of this load balancer: of the first that it is used for, where Hosts say which is meant.
    pub fn belongs_to(&self, balancer: &Balancer) {
        self.open.get_or_init(|| Arc::new(balancer.connected()));
    }

    /// `https` or `http`: what the client speaks to us.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}
