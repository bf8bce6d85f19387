//! A file in which nothing is changed until it is released.
//!
//! Opening a database writes to it: a repair after a crash, a flag that says "in use". Where the open then fails, because
//! the file is corrupt or from a newer version, those writes would be traces in a file that somebody may want to rescue.
//! So they are held in memory, visible to the database, and made in their order, flushes included, once it is known
//! that the data is good. After that this is a thin layer over the file.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// Size of the pieces in which held writes are kept: redb's own page.
const PAGE_BYTES: usize = 4096;

/// A handle; clones are the same file.
#[derive(Clone, Debug)]
pub(super) struct HeldFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: FileBackend,
    /// `None` once released.
    held: RwLock<Option<Held>>,
}

/// What was asked of the file and has not been done.
#[derive(Debug)]
struct Held {
    operations: Vec<Operation>,
    /// The pages as the operations leave them, for reads.
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
    len: u64,
    /// What the file itself holds from here on counts as zero: it was cut off since.
    file_valid_to: u64,
}

#[derive(Debug)]
enum Operation {
    SetLen(u64),
    Write(u64, Box<[u8]>),
    Sync,
}

impl HeldFile {
    pub(super) fn new(file: FileBackend) -> io::Result<HeldFile> {
        let len = file.len()?;
        let held = Held { operations: Vec::new(), pages: BTreeMap::new(), len, file_valid_to: len };
        Ok(HeldFile(Arc::new(Inner { file, held: RwLock::new(Some(held)) })))
    }

    /// Makes what was held, and from now on everything at once. After an error the file is as after a crash.
    pub(super) fn release(&self) -> io::Result<()> {
        if self.0.held.read().is_none() {
            return Ok(());
        }
        let mut held = self.0.held.write();
        for operation in held.take().into_iter().flat_map(|held| held.operations) {
            match operation {
                Operation::SetLen(len) => self.0.file.set_len(len)?,
                Operation::Write(offset, data) => self.0.file.write(offset, &data)?,
                Operation::Sync => self.0.file.sync_data()?,
            }
        }
        Ok(())
    }

    /// Runs `held` while the file is held, else `through` on the file itself.
    fn change(
        &self,
        held: impl FnOnce(&mut Held, &FileBackend) -> io::Result<()>,
        through: impl FnOnce(&FileBackend) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.0.held.read().is_none() {
            return through(&self.0.file);
        }
        match self.0.held.write().as_mut() {
            Some(state) => held(state, &self.0.file),
            None => through(&self.0.file),
        }
    }
}

impl Held {
    fn read(&self, file: &FileBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_file(file, offset, out)?;
        let end = offset + out.len() as u64;
        let first_page = offset / PAGE_BYTES as u64;
        for (page, bytes) in self.pages.range(first_page..) {
            let page_start = page * PAGE_BYTES as u64;
            if page_start >= end {
                break;
            }
            let from = offset.max(page_start);
            let to = end.min(page_start + PAGE_BYTES as u64);
            out[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&bytes[(from - page_start) as usize..(to - page_start) as usize]);
        }
        Ok(())
    }

    /// What the file itself holds, and zeros behind that.
    fn read_file(&self, file: &FileBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.file_valid_to.saturating_sub(offset).min(out.len() as u64) as usize;
        let (there, behind) = out.split_at_mut(there);
        behind.fill(0);
        if there.is_empty() { Ok(()) } else { file.read(offset, there) }
    }

    fn write(&mut self, file: &FileBackend, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < data.len() {
            let at = offset + written as u64;
            let (page, start) = (at / PAGE_BYTES as u64, (at % PAGE_BYTES as u64) as usize);
            let length = (PAGE_BYTES - start).min(data.len() - written);
            if !self.pages.contains_key(&page) {
                let mut bytes = Box::new([0; PAGE_BYTES]);
                self.read_file(file, page * PAGE_BYTES as u64, bytes.as_mut_slice())?;
                self.pages.insert(page, bytes);
            }
            if let Some(bytes) = self.pages.get_mut(&page) {
                bytes[start..start + length].copy_from_slice(&data[written..written + length]);
            }
            written += length;
        }
        self.len = self.len.max(offset + data.len() as u64);
        self.operations.push(Operation::Write(offset, data.into()));
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.file_valid_to = self.file_valid_to.min(len);
            let (page, start) = (len / PAGE_BYTES as u64, (len % PAGE_BYTES as u64) as usize);
            self.pages.retain(|at, _| *at <= page);
            if let Some(bytes) = self.pages.get_mut(&page) {
                bytes[start..].fill(0);
            }
        }
        self.len = len;
        self.operations.push(Operation::SetLen(len));
    }
}

impl StorageBackend for HeldFile {
    fn len(&self) -> io::Result<u64> {
        match self.0.held.read().as_ref() {
            Some(held) => Ok(held.len),
            None => self.0.file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.0.held.read().as_ref() {
            Some(held) => held.read(&self.0.file, offset, out),
            None => self.0.file.read(offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let held = |held: &mut Held, _: &FileBackend| {
            held.set_len(len);
            Ok(())
        };
        self.change(held, |file| file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let held = |held: &mut Held, _: &FileBackend| {
            held.operations.push(Operation::Sync);
            Ok(())
        };
        self.change(held, FileBackend::sync_data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|held, file| held.write(file, offset, data), |file| file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}
