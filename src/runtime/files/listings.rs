//! What the host holds of directories that guests are listing.
//!
//! In WASI 0.2 wasmtime-wasi reads a directory as a whole and keeps it until the guest drops the listing. A guest could make
//! one large directory and list it a thousand times; so what all guests of a container hold is bounded together.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cap_std::fs::Dir;

use crate::runtime::files::disk::ContainerFiles;

/// Some 100 bytes each.
pub const ENTRIES_MAX: usize = 200_000;

/// The listings of one store.
#[derive(Default)]
pub struct Listings {
    /// By the listing's place in the store's table, with its entries.
    open: HashMap<u32, Entries>,
}

/// Entries that are counted, until this is dropped.
pub struct Entries {
    files: Arc<ContainerFiles>,
    count: usize,
}

impl Entries {
    /// `None` where there is no room for so many.
    pub fn count(files: &Arc<ContainerFiles>, count: usize) -> Option<Entries> {
        let counted = Entries { files: Arc::clone(files), count };
        let others = files.listed.fetch_add(count, Ordering::Relaxed);
        (others + count <= ENTRIES_MAX).then_some(counted)
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.files.listed.fetch_sub(self.count, Ordering::Relaxed);
    }
}

impl Listings {
    pub fn opened(&mut self, listing: u32, entries: Entries) {
        self.open.insert(listing, entries);
    }

    pub fn dropped(&mut self, listing: u32) {
        self.open.remove(&listing);
    }
}

/// How many entries a directory has; one more than may be listed is enough.
pub fn entries_of(dir: &File) -> io::Result<usize> {
    Ok(Dir::reopen_dir(dir)?.entries()?.take(ENTRIES_MAX + 1).count())
}
