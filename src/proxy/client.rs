//! Who a request comes from: one value for each connection.

use std::net::SocketAddr;

/// A client's connection, as it was accepted.
#[derive(Clone, Debug)]
pub struct Client {
    pub peer: SocketAddr,
    /// What its TLS session is; `None` for a connection in the clear.
    pub tls: Option<TlsSession>,
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
        Client { peer, tls: None }
    }

    /// `https` or `http`: what the client speaks to us.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}
