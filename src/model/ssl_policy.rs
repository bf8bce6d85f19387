//! The security policies of Elastic Load Balancing: which versions of TLS and which ciphers a listener offers.
//!
//! Their names are AWS's and never change their meaning, so this is one table, read by the API that lists them and by the
//! front that honours them. A policy with PQ in its name has the ciphers of the one without, and a hybrid key exchange.

#[derive(Debug, PartialEq, Eq)]
pub struct SslPolicy {
    pub name: &'static str,
    /// The oldest first, as `TLSv1.2`.
    pub protocols: &'static [&'static str],
    /// Those that are listed first are preferred.
    pub cipher_groups: &'static [&'static [&'static str]],
}

/// What a listener has whose creator named none.
pub const DEFAULT: &str = "ELBSecurityPolicy-2016-08";

const TLS_1_3: &str = "TLSv1.3";
const TLS_1_2: &str = "TLSv1.2";
const TLS_1_1: &str = "TLSv1.1";
const TLS_1_0: &str = "TLSv1";

const ONLY_1_3: &[&str] = &[TLS_1_3];
const FROM_1_2_TO_1_3: &[&str] = &[TLS_1_2, TLS_1_3];
const FROM_1_1_TO_1_3: &[&str] = &[TLS_1_1, TLS_1_2, TLS_1_3];
const FROM_1_0_TO_1_3: &[&str] = &[TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3];
const ONLY_1_2: &[&str] = &[TLS_1_2];
const FROM_1_1_TO_1_2: &[&str] = &[TLS_1_1, TLS_1_2];
const FROM_1_0_TO_1_2: &[&str] = &[TLS_1_0, TLS_1_1, TLS_1_2];

/// Of TLS 1.3.
const NEW: &[&str] = &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
/// Of TLS 1.3, as FIPS allows them.
const NEW_FIPS: &[&str] = &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];
/// Forward secrecy and authenticated encryption.
const STRICT: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
];
/// Forward secrecy, SHA-2.
const FORWARD: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
];
/// Forward secrecy, with SHA-1 too.
const FORWARD_AND_SHA1: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-AES256-SHA",
];
/// Without forward secrecy, SHA-2.
const STATIC: &[&str] = &["AES128-GCM-SHA256", "AES128-SHA256", "AES256-GCM-SHA384", "AES256-SHA256"];
/// Without forward secrecy, with SHA-1 too.
const STATIC_AND_SHA1: &[&str] =
    &["AES128-GCM-SHA256", "AES128-SHA256", "AES128-SHA", "AES256-GCM-SHA384", "AES256-SHA256", "AES256-SHA"];
const TRIPLE_DES: &[&str] = &["DES-CBC3-SHA"];

/// Everything that was ever offered up to TLS 1.2.
const BROAD: &[&[&str]] = &[FORWARD_AND_SHA1, STATIC_AND_SHA1];
const NEW_AND_BROAD: &[&[&str]] = &[NEW, FORWARD_AND_SHA1, STATIC_AND_SHA1];
const FIPS_AND_BROAD: &[&[&str]] = &[NEW_FIPS, FORWARD_AND_SHA1, STATIC_AND_SHA1];

const fn policy(
    name: &'static str,
    protocols: &'static [&'static str],
    cipher_groups: &'static [&'static [&'static str]],
) -> SslPolicy {
    SslPolicy { name, protocols, cipher_groups }
}

#[rustfmt::skip] // A table: one row a line.
pub const POLICIES: &[SslPolicy] = &[
    policy("ELBSecurityPolicy-2016-08", FROM_1_0_TO_1_2, BROAD),
    policy("ELBSecurityPolicy-TLS13-1-2-2021-06", FROM_1_2_TO_1_3, &[NEW, FORWARD]),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", FROM_1_2_TO_1_3, &[NEW, STRICT]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", FROM_1_2_TO_1_3, &[NEW, FORWARD, STATIC]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", FROM_1_2_TO_1_3, NEW_AND_BROAD),
    policy("ELBSecurityPolicy-TLS13-1-1-2021-06", FROM_1_1_TO_1_3, NEW_AND_BROAD),
    policy("ELBSecurityPolicy-TLS13-1-0-2021-06", FROM_1_0_TO_1_3, NEW_AND_BROAD),
    policy("ELBSecurityPolicy-TLS13-1-3-2021-06", ONLY_1_3, &[NEW]),
    policy("ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04", ONLY_1_3, &[NEW_FIPS]),
    policy("ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", FROM_1_2_TO_1_3, &[NEW_FIPS, FORWARD]),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-FIPS-2023-04", FROM_1_2_TO_1_3, &[NEW_FIPS, STRICT]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext0-FIPS-2023-04", FROM_1_2_TO_1_3, &[NEW_FIPS, FORWARD_AND_SHA1]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-FIPS-2023-04", FROM_1_2_TO_1_3, &[NEW_FIPS, FORWARD, STATIC]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext2-FIPS-2023-04", FROM_1_2_TO_1_3, FIPS_AND_BROAD),
    policy("ELBSecurityPolicy-TLS13-1-1-FIPS-2023-04", FROM_1_1_TO_1_3, FIPS_AND_BROAD),
    policy("ELBSecurityPolicy-TLS13-1-0-FIPS-2023-04", FROM_1_0_TO_1_3, FIPS_AND_BROAD),
    policy("ELBSecurityPolicy-TLS13-1-3-PQ-2025-09", ONLY_1_3, &[NEW]),
    policy("ELBSecurityPolicy-TLS13-1-2-PQ-2025-09", FROM_1_2_TO_1_3, &[NEW, FORWARD]),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", FROM_1_2_TO_1_3, &[NEW, STRICT]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09", FROM_1_2_TO_1_3, &[NEW, FORWARD, STATIC]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09", FROM_1_2_TO_1_3, NEW_AND_BROAD),
    policy("ELBSecurityPolicy-TLS13-1-0-PQ-2025-09", FROM_1_0_TO_1_3, NEW_AND_BROAD),
    policy("ELBSecurityPolicy-TLS13-1-3-FIPS-PQ-2025-09", ONLY_1_3, &[NEW_FIPS]),
    policy("ELBSecurityPolicy-TLS13-1-2-FIPS-PQ-2025-09", FROM_1_2_TO_1_3, &[NEW_FIPS, FORWARD]),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-FIPS-PQ-2025-09", FROM_1_2_TO_1_3, &[NEW_FIPS, STRICT]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext0-FIPS-PQ-2025-09", FROM_1_2_TO_1_3, &[NEW_FIPS, FORWARD_AND_SHA1]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-FIPS-PQ-2025-09", FROM_1_2_TO_1_3, &[NEW_FIPS, FORWARD, STATIC]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext2-FIPS-PQ-2025-09", FROM_1_2_TO_1_3, FIPS_AND_BROAD),
    policy("ELBSecurityPolicy-TLS13-1-0-FIPS-PQ-2025-09", FROM_1_0_TO_1_3, FIPS_AND_BROAD),
    policy("ELBSecurityPolicy-TLS-1-2-2017-01", ONLY_1_2, &[FORWARD, STATIC]),
    policy("ELBSecurityPolicy-TLS-1-1-2017-01", FROM_1_1_TO_1_2, BROAD),
    policy("ELBSecurityPolicy-TLS-1-2-Ext-2018-06", ONLY_1_2, BROAD),
    policy("ELBSecurityPolicy-FS-2018-06", FROM_1_0_TO_1_2, &[FORWARD_AND_SHA1]),
    policy("ELBSecurityPolicy-2015-05", FROM_1_0_TO_1_2, BROAD),
    policy("ELBSecurityPolicy-TLS-1-0-2015-04", FROM_1_0_TO_1_2, &[FORWARD_AND_SHA1, STATIC_AND_SHA1, TRIPLE_DES]),
    policy("ELBSecurityPolicy-FS-1-2-Res-2019-08", ONLY_1_2, &[FORWARD]),
    policy("ELBSecurityPolicy-FS-1-1-2019-08", FROM_1_1_TO_1_2, &[FORWARD_AND_SHA1]),
    policy("ELBSecurityPolicy-FS-1-2-2019-08", ONLY_1_2, &[FORWARD_AND_SHA1]),
    policy("ELBSecurityPolicy-FS-1-2-Res-2020-10", ONLY_1_2, &[STRICT]),
];

/// The policy of that name.
pub fn find(name: &str) -> Option<&'static SslPolicy> {
    POLICIES.iter().find(|policy| policy.name == name)
}

impl SslPolicy {
    /// All of its ciphers by the names of OpenSSL, the preferred ones first.
    pub fn ciphers(&self) -> impl Iterator<Item = &'static str> {
        self.cipher_groups.iter().flat_map(|group| group.iter().copied())
    }

    pub fn has_protocol(&self, protocol: &str) -> bool {
        self.protocols.contains(&protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_say_by_their_names_what_they_offer() {
        for policy in POLICIES {
            let is_new = policy.name.contains("-TLS13-");
            assert_eq!(policy.has_protocol(TLS_1_3), is_new, "{}", policy.name);
            assert_eq!(policy.ciphers().any(|cipher| cipher.starts_with("TLS_")), is_new, "{}", policy.name);
            let is_fips = policy.name.contains("-FIPS-");
            assert_eq!(
                policy.ciphers().any(|cipher| cipher.contains("CHACHA20")),
                is_new && !is_fips,
                "{}",
                policy.name
            );
            if policy.name.contains("-FS-") || policy.name.contains("-Res-") {
                assert!(policy.ciphers().all(|cipher| cipher.starts_with("ECDHE-") || cipher.starts_with("TLS_")));
            }
            let is_named_so = POLICIES.iter().filter(|other| other.name == policy.name);
            assert_eq!(is_named_so.count(), 1, "{}", policy.name);
            let mut ciphers: Vec<_> = policy.ciphers().collect();
            ciphers.sort_unstable();
            ciphers.dedup();
            assert_eq!(ciphers.len(), policy.ciphers().count(), "{}", policy.name);
        }
        assert_eq!(find(DEFAULT).map(|policy| policy.ciphers().count()), Some(18));
        assert_eq!(find("ELBSecurityPolicy-TLS13-1-2-2021-06").map(|policy| policy.ciphers().count()), Some(11));
        assert_eq!(find("ELBSecurityPolicy-1999-01"), None);
    }
}
