//! One certificate with its key: which names it is for, and until when.

use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;

/// Intermediates between a certificate and its root; browsers refuse chains of ten.
const CHAIN_MAX: usize = 10;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("no certificate in PEM form (BEGIN CERTIFICATE)")]
    NoCertificate,
    #[error("more than {CHAIN_MAX} certificates in one chain")]
    ChainTooLong,
    #[error("no private key in PEM form (PKCS#8, PKCS#1 or SEC1, not encrypted)")]
    NoKey(#[source] pem::Error),
    #[error("a damaged certificate")]
    Damaged(#[source] pem::Error),
    #[error("a certificate that is no X.509: {0}")]
    NotX509(String),
    #[error("a key of a kind that is not supported (RSA, ECDSA P-256 and P-384, and Ed25519 are)")]
    UnsupportedKey(#[source] rustls::Error),
    #[error("the key is not the certificate's")]
    KeyOfAnother,
}

pub struct Certificate {
    /// Of the listener's certificate that it is, or stands for.
    pub arn: String,
    pub key: Arc<CertifiedKey>,
    /// In lower case; `*.` in front stands for one label.
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    pub is_ecdsa: bool,
    pub key_bits: usize,
}

impl Certificate {
    /// `chain` begins with the certificate itself, as servers are usually given it.
    pub fn read(arn: &str, chain: &[u8], key: &[u8]) -> Result<Certificate, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .take(CHAIN_MAX + 1)
            .collect::<Result<_, _>>()
            .map_err(CertificateError::Damaged)?;
        if chain.len() > CHAIN_MAX {
            return Err(CertificateError::ChainTooLong);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateError::NoKey)?;
        Certificate::new(arn, chain, &key)
    }

    pub fn new(
        arn: &str,
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
    ) -> Result<Certificate, CertificateError> {
        let own = chain.first().ok_or(CertificateError::NoCertificate)?.clone();
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&own).map_err(|error| CertificateError::NotX509(error.to_string()))?;
        let key = any_supported_type(key).map_err(CertificateError::UnsupportedKey)?;
        let public = key.public_key();
        if public.is_some_and(|public| public.as_ref() != parsed.public_key().raw) {
            return Err(CertificateError::KeyOfAnother);
        }
        Ok(Certificate {
            arn: arn.to_owned(),
            names: names(&parsed),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            is_ecdsa: key.algorithm() == SignatureAlgorithm::ECDSA,
            key_bits: parsed.public_key().parsed().map_or(0, |key| bits(&key)),
            key: Arc::new(CertifiedKey::new(chain, key)),
        })
    }

    /// How well it is for a name: exactly, or by a wildcard of one label.
    pub fn fits(&self, server_name: &str) -> Option<Fit> {
        if self.names.iter().any(|name| name.eq_ignore_ascii_case(server_name)) {
            return Some(Fit::Exact);
        }
        let (_, parent) = server_name.split_once('.')?;
        let mut parents = self.names.iter().filter_map(|name| name.strip_prefix("*."));
        parents.any(|name| name.eq_ignore_ascii_case(parent)).then_some(Fit::Wildcard)
    }

    pub fn is_valid_at(&self, seconds: i64) -> bool {
        (self.not_before..=self.not_after).contains(&seconds)
    }
}

/// In order of preference, the best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    Wildcard,
    Exact,
}

/// The names that it says it is for; one of old, without any, is for its common name.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let listed: Vec<String> = match certificate.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().filter_map(dns_name).collect(),
        _ => Vec::new(),
    };
    if !listed.is_empty() {
        return listed;
    }
    certificate.subject().iter_common_name().filter_map(|name| Some(name.as_str().ok()?.to_ascii_lowercase())).collect()
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}

fn bits(key: &PublicKey<'_>) -> usize {
    match key {
        PublicKey::RSA(key) => key.key_size(),
        PublicKey::EC(key) => key.key_size(),
        _ => 0,
    }
}
