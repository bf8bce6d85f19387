//! The local authority: signs a certificate for each ARN that is in no file.
//!
//! It is made once for a data directory, and so are the certificates: whoever trusts `tls/ca.pem` of it, or pins one of
//! them, does so over restarts. Of names it may sign for `localhost` and those below it only, and says so itself: a
//! person who lets a browser trust it gives away no site that has a name, even when its key is stolen.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::proxy::tls::certificate::{Certificate, CertificateError};

const AUTHORITY_FILE: &str = "ca";
const CERTIFICATES: &str = "certificates";
const AUTHORITY_LIFETIME: Duration = Duration::days(3650);
/// As long as systems take a certificate of an authority that the user added.
const LIFETIME: Duration = Duration::days(825);
/// A certificate that ends within this time is made anew when it is next asked for.
const RENEWAL: Duration = Duration::days(30);
/// Clocks of machines that share certificates are not the same.
const BACKDATED: Duration = Duration::days(1);

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("cannot use {0}")]
    Files(PathBuf, #[source] io::Error),
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    #[error("{0} is damaged; remove the pair of files to have another made")]
    Damaged(PathBuf, #[source] CertificateError),
    #[error("{0} is damaged; remove ca.pem and ca.key to have another authority made")]
    DamagedAuthority(PathBuf, #[source] rcgen::Error),
}

pub struct Authority {
    /// `None`: nothing is kept, as in tests.
    directory: Option<PathBuf>,
    issuer: OnceLock<(Issuer<'static, KeyPair>, String)>,
    /// One is made at a time, so none is made twice.
    making: Mutex<()>,
}

impl Authority {
    /// Nothing is read or made before the first certificate is needed.
    pub fn new(directory: Option<PathBuf>) -> Authority {
        Authority { directory, issuer: OnceLock::new(), making: Mutex::new(()) }
    }

    /// Its own certificate, which clients trust.
    pub fn certificate(&self) -> Result<&str, AuthorityError> {
        let _making = self.making.lock();
        Ok(&self.issuer()?.1)
    }

    /// The certificate of an ARN: the one that was made earlier, or a new one.
    pub fn certify(&self, arn: &str, names: &[String]) -> Result<Certificate, AuthorityError> {
        let _making = self.making.lock();
        let name = format!("{CERTIFICATES}/{}", file_name(arn));
        if let Some((path, chain, key)) = self.read(&name)? {
            let kept = Certificate::read(arn, chain.as_bytes(), key.as_bytes())
                .map_err(|error| AuthorityError::Damaged(path, error))?;
            if kept.not_after > (now() + RENEWAL).unix_timestamp() {
                return Ok(kept);
            }
        }
        let (issuer, _) = self.issuer()?;
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let made = leaf(arn, names).signed_by(&key, issuer).map_err(AuthorityError::Make)?;
        self.keep(&name, &made.pem(), &key.serialize_pem())?;
        let der = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|_| AuthorityError::Make(rcgen::Error::CouldNotParseKeyPair))?;
        tracing::info!(arn, ?names, "made a certificate, signed by the local authority");
        Certificate::new(arn, vec![made.der().clone()], &der)
            .map_err(|error| AuthorityError::Damaged(PathBuf::from(name), error))
    }

    fn issuer(&self) -> Result<&(Issuer<'static, KeyPair>, String), AuthorityError> {
        if let Some(issuer) = self.issuer.get() {
            return Ok(issuer);
        }
        let made = match self.read(AUTHORITY_FILE)? {
            Some((path, certificate, key)) => read_authority(&certificate, &key)
                .map_err(|error| AuthorityError::DamagedAuthority(path, error))
                .map(|issuer| (issuer, certificate))?,
            None => {
                let key = KeyPair::generate().map_err(AuthorityError::Make)?;
                let params = authority();
                let certificate = params.self_signed(&key).map_err(AuthorityError::Make)?.pem();
                self.keep(AUTHORITY_FILE, &certificate, &key.serialize_pem())?;
                (Issuer::new(params, key), certificate)
            }
        };
        Ok(self.issuer.get_or_init(|| made))
    }

    /// The pair of files of this name, where there is one.
    fn read(&self, name: &str) -> Result<Option<(PathBuf, String, String)>, AuthorityError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let (path, key) = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
        let read = |path: &Path| match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(AuthorityError::Files(path.to_owned(), error)),
        };
        // The key is written first: a certificate without one was never shown to anybody.
        Ok(match (read(&path)?, read(&key)?) {
            (Some(chain), Some(key)) => Some((path, chain, key)),
            _ => None,
        })
    }

    fn keep(&self, name: &str, certificate: &str, key: &str) -> Result<(), AuthorityError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        for (end, text, mode) in [("key", key, 0o600), ("pem", certificate, 0o644)] {
            let path = directory.join(format!("{name}.{end}"));
            write_whole(&path, text, mode).map_err(|error| AuthorityError::Files(path, error))?;
        }
        Ok(())
    }
}

/// Names that every certificate made here has.
pub fn common_names(region: &str) -> Vec<String> {
    [
        "localhost".into(),
        "*.elb.localhost".into(),
        format!("*.{region}.elb.localhost"),
        "127.0.0.1".into(),
        "::1".into(),
    ]
    .into()
}

fn read_authority(certificate: &str, key: &str) -> Result<Issuer<'static, KeyPair>, rcgen::Error> {
    let der =
        CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
    // That it is an X.509 certificate is looked at; what is signed with is the key and the name, which is always the same.
    x509_parser::parse_x509_certificate(&der).map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
    Ok(Issuer::new(authority(), KeyPair::from_pem(key)?))
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name("Coracle local authority");
    params.not_before = now() - BACKDATED;
    params.not_after = now() + AUTHORITY_LIFETIME;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    // Addresses are not constrained: BoringSSL, and so gRPC and Chrome, refuses a whole chain that says something of them.
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("localhost".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    params
}

fn leaf(arn: &str, names: &[String]) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = arn.rsplit('/').next().unwrap_or(arn);
    // A common name has at most 64 characters; nobody goes by it.
    params.distinguished_name = distinguished_name(&id.chars().take(64).collect::<String>());
    params.not_before = now() - BACKDATED;
    params.not_after = now() + LIFETIME;
    params.subject_alt_names = names
        .iter()
        .filter_map(|name| match name.parse() {
            Ok(ip) => Some(SanType::IpAddress(ip)),
            Err(_) => name.as_str().try_into().ok().map(SanType::DnsName),
        })
        .collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn distinguished_name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Coracle");
    name.push(DnType::CommonName, common);
    name
}

/// ARNs have characters that names of files cannot have.
fn file_name(arn: &str) -> String {
    let digest = Sha256::digest(arn.as_bytes());
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file whole or not at all, readable by others only as `mode` says.
fn write_whole(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from(SystemTime::now())
}
