//! Images: from what a definition names to a component that is compiled, linked and ready to be instantiated.
//!
//! A name is looked for among the aliases of the configuration, then among the built-in images; `file://` names a file; the
//! alias `*` takes every name that has no alias of its own. An image is known by the digest of its bytes: a file that changed is another image at the
//! next start of a task, while running tasks keep theirs.

pub mod built_in;
pub mod inspect;
pub mod load;
pub mod probe;
pub mod reference;
pub mod source;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::model::StartFailure;
use crate::runtime::compile::artifact::hex_digest;
use crate::runtime::image::load::{Image, Loader};
use crate::runtime::image::source::{Found, Sources};

/// Images that are kept ready. Each is some mapped code (not resident until used) and 100 KiB of tables.
const LOADED_MAX: usize = 256;
/// How long a failure is remembered, so that a service that restarts a broken image does not compile it each time.
const FAILURE_KEPT: Duration = Duration::from_secs(60);

/// An image that can be named, for `coracle images`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    pub names: Vec<String>,
    /// The file of an alias; `None` for what is built in.
    pub file: Option<PathBuf>,
    /// Zero where the file cannot be read.
    pub size_bytes: u64,
    /// `sha256:…`; absent where the file cannot be read.
    pub digest: Option<String>,
}

/// The images of this node.
pub struct Images {
    sources: Sources,
    loader: Loader,
    loaded: Mutex<Loaded>,
}

/// By digest. A cell is filled once, however many starts wait for it.
#[derive(Default)]
struct Loaded {
    entries: HashMap<String, Entry>,
    clock: u64,
}

struct Entry {
    cell: Cell,
    /// When it was last asked for, by the count of questions.
    used: u64,
    made: Instant,
}

type Cell = Arc<OnceCell<Result<Arc<Image>, StartFailure>>>;

impl Images {
    pub fn new(sources: Sources, loader: Loader) -> Images {
        Images { sources, loader, loaded: Mutex::default() }
    }

    /// Resolves, reads, compiles and links an image, as far as that was not done before.
    pub async fn pull(&self, written: &str, may_name_any_file: bool) -> Result<Arc<Image>, StartFailure> {
        let found = self.sources.find(written, may_name_any_file)?;
        let digest = match self.sources.known_digest(&found) {
            Some(digest) => digest,
            None => self.read(written, &found).await?.1,
        };
        let cell = self.loaded.lock().cell(&digest);
        let image = cell.get_or_init(|| async {
            let (bytes, now) = self.read(written, &found).await?;
            // The file may have changed since: what is run is what was read.
            self.loader.load(now, bytes).await.map(Arc::new)
        });
        image.await.clone().map_err(|failure| about(written, failure))
    }

    /// What can be named: the aliases, then what is built in.
    /// The file that a name leads to, where it is one of the configuration's.
    pub fn file_of(&self, written: &str) -> Option<PathBuf> {
        match self.sources.find(written, true) {
            Ok(Found::File(file)) => Some(file),
            _ => None,
        }
    }

    pub fn summaries(&self) -> Vec<ImageSummary> {
        self.sources.summaries()
    }

    async fn read(&self, written: &str, found: &Found) -> Result<(Bytes, String), StartFailure> {
        self.sources.read(found).await.map_err(|failure| about(written, failure))
    }
}

/// Puts the image's name in front.
fn about(written: &str, failure: StartFailure) -> StartFailure {
    let with = |message: String| format!("image '{written}': {message}");
    match failure {
        StartFailure::CannotPull(message) => StartFailure::CannotPull(with(message)),
        StartFailure::CannotCreate(message) => StartFailure::CannotCreate(with(message)),
        StartFailure::CannotStart(message) => StartFailure::CannotStart(with(message)),
        StartFailure::ResourceInitialization(message) => StartFailure::ResourceInitialization(with(message)),
        StartFailure::Timeout(message) => StartFailure::Timeout(message),
    }
}

impl Loaded {
    fn cell(&mut self, digest: &str) -> Cell {
        self.clock += 1;
        let stale = |entry: &Entry| matches!(entry.cell.get(), Some(Err(_))) && entry.made.elapsed() > FAILURE_KEPT;
        if self.entries.get(digest).is_some_and(stale) {
            self.entries.remove(digest);
        }
        if self.entries.len() >= LOADED_MAX && !self.entries.contains_key(digest) {
            // Tasks that run it keep it; only the next start pays.
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(digest, _)| digest.clone());
            oldest.and_then(|digest| self.entries.remove(&digest));
        }
        let used = self.clock;
        let entry = self.entries.entry(digest.to_owned()).or_insert_with(|| Entry {
            cell: Cell::default(),
            used,
            made: Instant::now(),
        });
        entry.used = used;
        Arc::clone(&entry.cell)
    }
}

/// The digest of an image as Docker writes it.
pub fn written_digest(hex: &str) -> String {
    format!("sha256:{hex}")
}

/// The digest of an image's bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    hex_digest(bytes)
}

#[cfg(test)]
mod tests;
