//! The embedded database: one file in the data directory, nothing to install.
//!
//! A commit is one flush of the file. At start the whole file is read anyway, so every checksum in it is verified: an
//! altered file is refused by name, not half believed. Until the first write nothing at all is changed in the file, the
//! repair after a crash included (see [`held_file`]): whoever finds a data directory unreadable finds it as it was.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend, StorageError,
    TableDefinition, TableError,
};

use crate::store::backend::redb::held_file::HeldFile;
use crate::store::backend::{Backend, BackendError, Contents, FORMAT, Put};
use crate::store::record::Revision;

mod held_file;

#[cfg(test)]
mod tests;

/// The database's name in the data directory.
pub const FILE_NAME: &str = "store.redb";

/// Memory for pages of the file. All records are in memory as snapshots; what is cached here are the inner pages that
/// the next write replaces, of which 100,000 tasks have some 3 MiB.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// The progress that redb 4.5 reports when the newest state of a file did not verify and the one before it did.
const ROLLED_BACK: Range<f64> = 0.2..0.5;

const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";
const META_REVISION: &str = "revision";

/// A database file, locked against other processes while it is open.
pub struct Redb {
    database: Database,
    file: HeldFile,
    path: PathBuf,
}

impl Redb {
    /// Opens the database of a data directory, or prepares a new one; the directory is made where it is missing.
    pub fn open(directory: &Path) -> Result<Redb, BackendError> {
        let path = directory.join(FILE_NAME);
        let file = open_file(directory, &path).map_err(|source| BackendError::Open { file: path.clone(), source })?;
        let refused = |error| refusal(error, directory, &path);
        let file = HeldFile::new(FileBackend::new(file).map_err(refused)?).map_err(|error| refused(error.into()))?;

        let was_closed = was_closed(&file).map_err(|error| refused(error.into()))?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).set_repair_callback({
            let path = path.clone();
            move |session| {
                // Of a commit that was under way when the power went, nobody was told.
                if ROLLED_BACK.contains(&session.progress()) {
                    tracing::warn!(file = %path.display(), "the last write did not reach the disk whole: going back to the one before");
                }
            }
        });
        let database = builder.create_with_backend(file.clone()).map_err(refused)?;
        // Not before: whoever has the database in use has not closed it either.
        if !was_closed {
            tracing::warn!(file = %path.display(), "the database was not closed, as after a crash: verified and repaired it");
        }
        Ok(Redb { database, file, path })
    }

    fn corrupt(&self, reason: impl ToString) -> BackendError {
        BackendError::Corrupt { file: self.path.clone(), reason: reason.to_string() }
    }
}

/// Whether whoever wrote the file last has closed it. The flag is part of redb's stable file format: nine bytes that say
/// what the file is, then one of flags. A file that is no database counts as closed: opening it says more.
fn was_closed(file: &HeldFile) -> io::Result<bool> {
    const MAGIC: &[u8; 9] = b"redb\x1a\x0a\xa9\x0d\x0a";
    const RECOVERY_REQUIRED: u8 = 2;
    let mut header = [0; MAGIC.len() + 1];
    if file.len()? < header.len() as u64 {
        return Ok(true);
    }
    file.read(0, &mut header)?;
    Ok(!header.starts_with(MAGIC) || header[MAGIC.len()] & RECOVERY_REQUIRED == 0)
}

fn open_file(directory: &Path, path: &Path) -> io::Result<File> {
    fs::create_dir_all(directory)?;
    let is_new = !path.try_exists()?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // What tasks are given in their environment is nobody else's to read.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    if is_new {
        // A file is durable only when its name is.
        File::open(directory)?.sync_all()?;
    }
    Ok(file)
}

/// What it means that redb would not open a file.
fn refusal(error: DatabaseError, directory: &Path, path: &Path) -> BackendError {
    let corrupt = |reason: String| BackendError::Corrupt { file: path.to_path_buf(), reason };
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            BackendError::InUse { directory: directory.to_path_buf() }
        }
        DatabaseError::Storage(StorageError::Corrupted(reason)) => corrupt(reason),
        DatabaseError::Storage(StorageError::Io(source)) => match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => corrupt(source.to_string()),
            _ => BackendError::Open { file: path.to_path_buf(), source },
        },
        DatabaseError::UpgradeRequired(version) => corrupt(format!("redb file format {version}, which is too old")),
        other => BackendError::Failed { doing: "open", source: Box::new(other) },
    }
}

fn failed<E: std::error::Error + Send + Sync + 'static>(doing: &'static str) -> impl Fn(E) -> BackendError {
    move |error| BackendError::Failed { doing, source: Box::new(error) }
}

impl Backend for Redb {
    fn load(&mut self) -> Result<Contents, BackendError> {
        let transaction = self.database.begin_read().map_err(failed("read"))?;
        let meta = match transaction.open_table(META) {
            Ok(meta) => meta,
            Err(TableError::TableDoesNotExist(_)) => {
                // A new file has no table at all.
                let mut tables = transaction.list_tables().map_err(failed("read"))?;
                return match tables.next() {
                    None => Ok(Contents::default()),
                    Some(_) => Err(self.corrupt("its tables are not those of Coracle")),
                };
            }
            Err(error) => return Err(self.corrupt(error)),
        };
        let number = |name| meta.get(name).map(|found| found.map(|number| number.value())).map_err(failed("read"));
        match number(META_FORMAT)? {
            None => return Err(self.corrupt("it does not say its format")),
            Some(found) if found > FORMAT => {
                return Err(BackendError::NewerFormat { file: self.path.clone(), found });
            }
            Some(_) => {}
        }
        let revision = Revision(number(META_REVISION)?.ok_or_else(|| self.corrupt("it does not say its revision"))?);
        let table = transaction.open_table(RECORDS).map_err(|error| self.corrupt(error))?;
        let mut records = Vec::new();
        for record in table.iter().map_err(failed("read"))? {
            let (key, value) = record.map_err(failed("read"))?;
            records.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(Contents { revision, records })
    }

    fn write(&mut self, revision: Revision, batch: Vec<Put>) -> Result<(), BackendError> {
        self.file.release().map_err(failed("write"))?;
        let mut transaction = self.database.begin_write().map_err(failed("write"))?;
        transaction.set_durability(Durability::Immediate).map_err(failed("write"))?;
        {
            let mut table = transaction.open_table(RECORDS).map_err(failed("write"))?;
            for put in &batch {
                let key = put.key.as_slice();
                match &put.value {
                    Some(value) => table.insert(key, value.as_slice()).map_err(failed("write"))?,
                    None => table.remove(key).map_err(failed("write"))?,
                };
            }
            let mut meta = transaction.open_table(META).map_err(failed("write"))?;
            meta.insert(META_FORMAT, FORMAT).map_err(failed("write"))?;
            meta.insert(META_REVISION, revision.0).map_err(failed("write"))?;
        }
        transaction.commit().map_err(failed("flush"))
    }

    fn close(self: Box<Redb>) -> Result<(), BackendError> {
        self.file.release().map_err(failed("close"))?;
        self.database.close().map_err(failed("close"))
    }
}
