//! Security policies, as far as rustls has what they allow.
//!
//! A policy is a set of versions and cipher suites. rustls has TLS 1.2 and 1.3, and of 1.2 the suites with forward secrecy
//! and authenticated encryption, which every policy of ELB has too. So what a policy allows beyond them (TLS 1.0 and 1.1,
//! CBC, RSA key exchange) is what a client of a dozen years ago would need, and such a client is refused.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};

/// What ELB takes for a listener of HTTPS or TLS that names none.
const DEFAULT: &str = "ELBSecurityPolicy-2016-08";

static ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
static ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];
static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

pub struct Policy {
    pub versions: &'static [&'static SupportedProtocolVersion],
    pub provider: Arc<CryptoProvider>,
    /// It allows versions that are not spoken here.
    pub allows_older: bool,
}

impl Policy {
    /// Names say what a policy allows: `ELBSecurityPolicy-TLS13-1-2-Res-2021-06` is TLS 1.3 and nothing below 1.2.
    pub fn named(name: Option<&str>) -> Policy {
        let name = name.unwrap_or(DEFAULT);
        let versions = match name {
            _ if name.contains("-TLS13-1-3-") => ONLY_13,
            _ if name.contains("-TLS13-") => BOTH,
            _ => ONLY_12,
        };
        let least_is_12 =
            ["-TLS13-1-3-", "-TLS13-1-2-", "-TLS-1-2-", "-FS-1-2-"].iter().any(|part| name.contains(part));
        let is_fips = name.contains("-FIPS-");
        let mut provider = ring::default_provider();
        // In the order of ELB's own lists, which go by the server's preference.
        let order = |suite: &SupportedCipherSuite| match suite.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => Some(0),
            CipherSuite::TLS13_AES_256_GCM_SHA384 => Some(1),
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 if !is_fips => Some(2),
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => Some(3),
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => Some(4),
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => Some(5),
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Some(6),
            // No policy has ChaCha20 for TLS 1.2.
            _ => None,
        };
        provider.cipher_suites.retain(|suite| order(suite).is_some());
        provider.cipher_suites.sort_by_key(order);
        Policy { versions, provider: Arc::new(provider), allows_older: !least_is_12 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites(name: &str) -> Vec<CipherSuite> {
        Policy::named(Some(name)).provider.cipher_suites.iter().map(SupportedCipherSuite::suite).collect()
    }

    #[test]
    fn versions_and_suites_follow_from_the_name() {
        for (name, versions, allows_older) in [
            ("ELBSecurityPolicy-2016-08", ONLY_12, true),
            ("ELBSecurityPolicy-TLS-1-1-2017-01", ONLY_12, true),
            ("ELBSecurityPolicy-TLS-1-2-Ext-2018-06", ONLY_12, false),
            ("ELBSecurityPolicy-FS-1-2-Res-2020-10", ONLY_12, false),
            ("ELBSecurityPolicy-TLS13-1-0-2021-06", BOTH, true),
            ("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", BOTH, false),
            ("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", BOTH, false),
            ("ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04", ONLY_13, false),
        ] {
            let policy = Policy::named(Some(name));
            assert!(std::ptr::eq(policy.versions, versions), "{name}");
            assert_eq!(policy.allows_older, allows_older, "{name}");
        }
        assert_eq!(suites("ELBSecurityPolicy-TLS13-1-3-2021-06")[2], CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
        let fips = suites("ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04");
        assert!(!fips.contains(&CipherSuite::TLS13_CHACHA20_POLY1305_SHA256));
        assert!(fips.contains(&CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384));
    }
}
