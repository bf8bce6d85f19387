//! What was agreed on with a client, in the words of access logs: OpenSSL's.

use rustls::{CipherSuite, ProtocolVersion, ServerConnection};

use crate::proxy::client::TlsSession;

impl TlsSession {
    /// Of a connection whose handshake is done.
    pub(super) fn of(connection: &ServerConnection, certificate: &str) -> TlsSession {
        TlsSession {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: connection.negotiated_cipher_suite().map_or("-", |suite| in_openssl_words(suite.suite())),
            server_name: connection.server_name().map(str::to_owned),
            certificate: Some(certificate.to_owned()),
        }
    }
}

fn in_openssl_words(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        // The policies offer no other.
        _ => "-",
    }
}
