//! A line of a connection log, as ELB writes those of Application Load Balancers.

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::proxy::access_log::line::{Quoted, Seconds, iso_8601, or_hyphen};
use crate::proxy::client::{ConnectionId, TlsSession};

/// A client's connection to an Application Load Balancer.
#[derive(Debug)]
pub struct ConnectionEntry<'a> {
    pub at: SystemTime,
    pub client: SocketAddr,
    /// Of the listener.
    pub port: u16,
    /// `None` in the clear, and where there was no agreement.
    pub tls: Option<&'a TlsSession>,
    pub handshake: Option<Duration>,
    pub outcome: Outcome,
    pub connection: ConnectionId,
}

/// How the beginning of a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In the clear.
    Plain,
    Success,
    /// No TLS session came of it; a code of ELB's list.
    Failed(&'static str),
}

impl fmt::Display for ConnectionEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = self.client.ip().to_canonical();
        write!(f, "{} {ip} {} {} ", iso_8601(self.at), self.client.port(), self.port)?;
        or_hyphen(f, self.tls.map(|tls| tls.version))?;
        f.write_char(' ')?;
        or_hyphen(f, self.tls.map(|tls| tls.cipher))?;
        f.write_char(' ')?;
        or_hyphen(f, self.handshake.map(Seconds))?;
        // Clients are not asked for certificates.
        write!(f, " {} - - ", Quoted(None))?;
        match self.outcome {
            Outcome::Plain => f.write_char('-')?,
            Outcome::Success => f.write_str("Success")?,
            Outcome::Failed(code) => write!(f, "Failed:{code}")?,
        }
        write!(f, " {} -", self.connection)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn session() -> TlsSession {
        TlsSession {
            version: "TLSv1.2",
            cipher: "ECDHE-RSA-AES128-GCM-SHA256",
            server_name: Some("www.example.com".into()),
            certificate: Some("arn:aws:acm:eu-west-1:123456789012:certificate/1".into()),
        }
    }

    #[test]
    fn connections_are_told_as_elb_does() {
        let tls = session();
        let secure = ConnectionEntry {
            at: UNIX_EPOCH + Duration::from_micros(1_696_439_115_514_108),
            client: "203.0.113.1:36280".parse().unwrap(),
            port: 443,
            tls: Some(&tls),
            handshake: Some(Duration::from_millis(36)),
            outcome: Outcome::Success,
            connection: ConnectionId(1),
        };
        assert_eq!(
            secure.to_string(),
            "2023-10-04T17:05:15.514108Z 203.0.113.1 36280 443 TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 0.036 \"-\" - - \
             Success TID_00000000000000000000000000000001 -"
        );
        let refused = ConnectionEntry {
            tls: None,
            handshake: None,
            outcome: Outcome::Failed("UnmappedConnectionError"),
            ..secure
        };
        assert!(refused.to_string().contains(" 443 - - - \"-\" - - Failed:UnmappedConnectionError TID_"), "{refused}");
    }
}
