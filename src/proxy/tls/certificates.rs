//! Where a listener's certificates come from: the operator's files, else the local authority.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use parking_lot::Mutex;
use time::OffsetDateTime;

use crate::model::settings::CertificateFiles;
use crate::model::{Listener, LoadBalancer};
use crate::proxy::tls::authority::{Authority, AuthorityError, common_names};
use crate::proxy::tls::certificate::{Certificate, CertificateError};

/// A chain of ten certificates with large keys; whoever names a disk image by mistake is told.
const FILE_BYTES_MAX: u64 = 256 * 1024;

pub struct Certificates {
    /// By ARN, by the last part of one (a certificate's id, or an IAM name), or by domain name.
    files: BTreeMap<String, CertificateFiles>,
    authority: Authority,
    loaded: Mutex<HashMap<String, Loaded>>,
    made: Mutex<HashMap<String, Arc<Certificate>>>,
}

/// What is known of an entry's files.
#[derive(Default)]
struct Loaded {
    stamp: Option<Stamp>,
    /// The last one that could be used.
    certificate: Option<Arc<Certificate>>,
}

/// Tells that files changed.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    #[error("{0} has more than {FILE_BYTES_MAX} bytes")]
    TooLarge(PathBuf),
    #[error("{certificate} with {key}")]
    Unusable { certificate: PathBuf, key: PathBuf, source: CertificateError },
}

impl Certificates {
    /// `directory` is where what is made is kept: `tls` of the data directory.
    pub fn new(files: BTreeMap<String, CertificateFiles>, directory: Option<PathBuf>) -> Certificates {
        Certificates { files, authority: Authority::new(directory), loaded: Mutex::default(), made: Mutex::default() }
    }

    /// What signs the certificates that are made on the spot: a client trusts it, and so all of them.
    pub fn authority(&self) -> Result<&str, AuthorityError> {
        self.authority.certificate()
    }

    pub fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// The certificates of a listener, its default first. What cannot be made is left out, and logged.
    pub fn of(&self, listener: &Listener, balancer: &LoadBalancer) -> Vec<Arc<Certificate>> {
        let mut found = Vec::new();
        let mut is_made = false;
        for arn in &listener.certificates {
            match self.of_files(arn) {
                Some(certificate) => found.push(certificate),
                None => {
                    is_made = true;
                    found.extend(self.of_authority(arn, balancer));
                }
            }
        }
        // A certificate that we had to make is in place of one that the operator may have under its domain's name.
        if is_made {
            let domains = self.files.keys().filter(|key| is_domain(key));
            let listed = domains.filter_map(|domain| self.load(domain, domain)).collect::<Vec<_>>();
            found.extend(listed);
        }
        found
    }

    fn of_files(&self, arn: &str) -> Option<Arc<Certificate>> {
        let id = arn.rsplit('/').next().unwrap_or(arn);
        let key = [arn, id].into_iter().find(|key| self.files.contains_key(*key))?;
        self.load(key, arn)
    }

    fn of_authority(&self, arn: &str, balancer: &LoadBalancer) -> Option<Arc<Certificate>> {
        let mut made = self.made.lock();
        if let Some(known) = made.get(arn) {
            return Some(Arc::clone(known));
        }
        let mut names = common_names(balancer.scope.region.as_str());
        names.push(balancer.dns_name());
        match self.authority.certify(arn, &names) {
            Ok(certificate) => {
                let certificate = Arc::new(certificate);
                made.insert(arn.to_owned(), Arc::clone(&certificate));
                Some(certificate)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, arn, "a listener goes without this certificate");
                None
            }
        }
    }

    /// What an entry's files hold now, or held when they last could be used.
    fn load(&self, key: &str, arn: &str) -> Option<Arc<Certificate>> {
        let files = self.files.get(key)?;
        let mut loaded = self.loaded.lock();
        let entry = loaded.entry(key.to_owned()).or_default();
        let stamp = stamp(files);
        if entry.stamp == Some(stamp) {
            return entry.certificate.clone();
        }
        entry.stamp = Some(stamp);
        match read(files, arn) {
            Ok(certificate) => {
                warn_of(key, &certificate);
                entry.certificate = Some(Arc::new(certificate));
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                let instead = if entry.certificate.is_some() { "the former one stays" } else { "one is made instead" };
                tracing::error!(certificate = key, %error, cause, "cannot use this certificate's files: {instead}");
            }
        }
        entry.certificate.clone()
    }

    /// Reads the files that changed; says whether any did.
    pub fn refresh(&self) -> bool {
        let known: Vec<(String, String, Option<Stamp>)> = {
            let loaded = self.loaded.lock();
            let arn =
                |entry: &Loaded, key: &String| entry.certificate.as_ref().map_or(key.clone(), |own| own.arn.clone());
            loaded.iter().map(|(key, entry)| (key.clone(), arn(entry, key), entry.stamp)).collect()
        };
        let mut is_changed = false;
        for (key, arn, _) in known.iter().filter(|(key, _, before)| self.files.get(key).map(stamp) != *before) {
            self.load(key, arn);
            is_changed = true;
        }
        is_changed
    }
}

fn is_domain(key: &str) -> bool {
    !key.contains(':') && key.contains('.')
}

fn stamp(files: &CertificateFiles) -> Stamp {
    let of = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().unwrap_or(UNIX_EPOCH), metadata.len()))
    };
    [of(&files.certificate), of(&files.key)]
}

fn read(files: &CertificateFiles, arn: &str) -> Result<Certificate, FileError> {
    let read = |path: &Path| {
        let cannot = |error| FileError::Read(path.to_owned(), error);
        if fs::metadata(path).map_err(cannot)?.len() > FILE_BYTES_MAX {
            return Err(FileError::TooLarge(path.to_owned()));
        }
        fs::read(path).map_err(cannot)
    };
    let (chain, key) = (read(&files.certificate)?, zeroize::Zeroizing::new(read(&files.key)?));
    Certificate::read(arn, &chain, &key).map_err(|source| FileError::Unusable {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    })
}

/// A certificate that clients will refuse is served all the same, as ELB does: the client decides.
fn warn_of(key: &str, certificate: &Certificate) {
    let date =
        |seconds| OffsetDateTime::from_unix_timestamp(seconds).map(|at| at.date().to_string()).unwrap_or_default();
    let seconds = OffsetDateTime::from(SystemTime::now()).unix_timestamp();
    let (arn, names) = (&certificate.arn, &certificate.names);
    if certificate.not_after < seconds {
        tracing::warn!(%arn, ?names, on = date(certificate.not_after), "a certificate has expired");
    } else if certificate.not_before > seconds {
        tracing::warn!(%arn, ?names, from = date(certificate.not_before), "a certificate is not valid yet");
    }
    if is_domain(key) && certificate.fits(key).is_none() {
        let until = date(certificate.not_after);
        tracing::warn!(%arn, ?names, domain = key, until, "a certificate is not for the domain it is given for");
    }
}
