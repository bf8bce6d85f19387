//! What makes transactions durable. One trait, one backend a file, one list of conformance tests for all of them.
//!
//! A backend keeps bytes under bytes and knows nothing of records, snapshots or conflicts. It has one caller, the writer.

use std::path::PathBuf;

use crate::store::record::Revision;

pub mod memory;
pub mod redb;

#[cfg(test)]
mod tests;

/// The layout of keys and values. A backend that holds a newer one is refused.
pub const FORMAT: u64 = 1;

/// One change of a batch: `None` deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// Everything that a backend holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub revision: Revision,
    /// In the order of the keys.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
}

pub trait Backend: Send + 'static {
    /// All that was ever written and not deleted, with the revision of the last batch.
    fn load(&mut self) -> Result<Contents, BackendError>;

    /// Makes all of `batch` durable, or none, before it returns. `revision` is that of the last transaction in it.
    /// After an error the backend is not written to again.
    fn write(&mut self, revision: Revision, batch: Vec<Put>) -> Result<(), BackendError>;

    /// True where a write costs less than waking another thread, so that callers commit in place. Then nothing waits for
    /// anything outside the runtime, and tests with paused time see no time pass.
    fn commits_in_place(&self) -> bool {
        false
    }

    /// Releases what it holds, flushed.
    fn close(self: Box<Self>) -> Result<(), BackendError>;
}

#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error("data directory {} is in use by another process", .directory.display())]
    InUse { directory: PathBuf },
    #[error("{} is corrupt or no database of Coracle; nothing in it was changed ({reason})", .file.display())]
    Corrupt { file: PathBuf, reason: String },
    #[error(
        "{} has format {found}, written by a newer version of Coracle; this one knows {FORMAT}; nothing in it was changed",
        .file.display()
    )]
    NewerFormat { file: PathBuf, found: u64 },
    #[error("cannot open {}", .file.display())]
    Open {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot {doing} the database")]
    Failed {
        doing: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("record {key} cannot be read; nothing was changed")]
    Record {
        key: String,
        #[source]
        source: crate::store::record::DecodeError,
    },
    #[error("a key cannot be read, so this is no data of Coracle; nothing was changed: {0:02x?}")]
    Key(Vec<u8>),
}
