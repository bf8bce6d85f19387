//! What every file operation of a guest passes: the count of what it has open, and the turn of its task.
//!
//! File operations block, so they run on tokio's blocking threads, of which all guests share some hundred. A task has a few
//! of them at a time; what it asks for beyond that waits here, behind itself and nobody else.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::runtime::files::watch::{Watched, Watcher};

/// Operations of one task that block at the same time: enough to keep a disk busy.
pub const BLOCKING_MAX: usize = 8;
/// Bytes of one read or write: as wasmtime-wasi has it.
pub const CHUNK_BYTES_MAX: usize = 64 << 10;

/// A task's access to the threads that may wait. A cheap handle.
#[derive(Clone)]
pub struct Gate {
    turns: Arc<Semaphore>,
    watched: Arc<Watched>,
    watcher: Watcher,
}

impl Gate {
    pub fn new(watched: Arc<Watched>, watcher: Watcher) -> Gate {
        Gate { turns: Arc::new(Semaphore::new(BLOCKING_MAX)), watched, watcher }
    }

    /// Waits for the task's turn. For operations that are wasmtime-wasi's own.
    pub async fn turn(&self) -> OwnedSemaphorePermit {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        turn.expect("the semaphore is never closed")
    }

    pub async fn run<R: Send + 'static>(&self, work: impl FnOnce() -> io::Result<R> + Send + 'static) -> io::Result<R> {
        let turn = self.turn().await;
        // The turn is over when the work is, also when nobody waits for it any more.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    pub async fn read(&self, file: Arc<File>, offset: u64, bytes_max: usize) -> io::Result<Bytes> {
        let read = move || {
            let mut buffer = BytesMut::zeroed(bytes_max.min(CHUNK_BYTES_MAX));
            let count = retried(|| file.read_at(&mut buffer, offset))?;
            buffer.truncate(count);
            Ok(buffer.freeze())
        };
        self.run(read).await
    }

    /// Writes all of it.
    pub async fn write(&self, file: Arc<File>, at: Place, bytes: Bytes) -> io::Result<()> {
        self.check_space()?;
        let count = bytes.len() as u64;
        let write = move || match at {
            Place::At(offset) => file.write_all_at(&bytes, offset),
            Place::End => append(&file, &bytes),
        };
        self.run(write).await?;
        self.watched.written.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Guests write no more where the disk is as good as full.
    pub fn check_space(&self) -> io::Result<()> {
        if self.watcher.is_full() { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    pub fn has_written(&self, bytes: u64) {
        self.watched.written.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Place {
    At(u64),
    End,
}

fn retried<R>(mut operation: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// At the end, wherever that is by then: with `RWF_APPEND` the kernel finds it, for each piece.
#[cfg(target_os = "linux")]
fn append(file: &File, mut bytes: &[u8]) -> io::Result<()> {
    use rustix::io::{ReadWriteFlags, pwritev2};
    while !bytes.is_empty() {
        let write = || Ok(pwritev2(file, &[io::IoSlice::new(bytes)], 0, ReadWriteFlags::APPEND)?);
        let count = retried(write)?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn append(file: &File, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, file.metadata()?.len())
}

/// Work of a stream that goes on while the guest does something else. Dropped, what has not begun is not begun.
pub struct Job<T>(JoinHandle<T>);

impl<T: Send + 'static> Job<T> {
    pub fn start(work: impl Future<Output = T> + Send + 'static) -> Job<T> {
        Job(tokio::spawn(work))
    }

    /// Only a panic of the host ends one otherwise.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }

    pub async fn done(&mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the guests of a container have open. A file counts until its last descriptor and its last stream are gone: the
/// handles are wasmtime-wasi's, and these are weak ones to the same.
pub struct OpenFiles {
    max: usize,
    known: Mutex<Vec<Weak<File>>>,
}

/// The container may open no more.
pub struct TooManyOpen;

impl OpenFiles {
    pub fn new(max: u32) -> OpenFiles {
        OpenFiles { max: usize::try_from(max).unwrap_or(usize::MAX), known: Mutex::default() }
    }

    /// Whether there is room for one more. Several opens at once may each find the same room: then one of them is told no
    /// when it is counted.
    pub fn check(&self) -> Result<(), TooManyOpen> {
        Self::make_room(&mut self.known.lock(), self.max)
    }

    pub fn count(&self, file: &Arc<File>) -> Result<(), TooManyOpen> {
        let mut known = self.known.lock();
        Self::make_room(&mut known, self.max)?;
        known.push(Arc::downgrade(file));
        Ok(())
    }

    fn make_room(known: &mut Vec<Weak<File>>, max: usize) -> Result<(), TooManyOpen> {
        if known.len() >= max {
            known.retain(|file| file.strong_count() > 0);
        }
        if known.len() < max { Ok(()) } else { Err(TooManyOpen) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_counted_until_their_last_handle_is_gone() {
        let open = OpenFiles::new(2);
        let file = || Arc::new(tempfile::tempfile().unwrap());
        let (a, b) = (file(), file());
        let stream_of_a = Arc::clone(&a);
        assert!(open.count(&a).is_ok() && open.count(&b).is_ok());
        assert!(open.check().is_err() && open.count(&file()).is_err());
        drop(a);
        assert!(open.check().is_err());
        drop(stream_of_a);
        assert!(open.check().is_ok() && open.count(&file()).is_ok());
    }

    #[test]
    fn appending_finds_the_end() {
        let file = tempfile::tempfile().unwrap();
        append(&file, b"ab").unwrap();
        append(&file, b"cd").unwrap();
        let mut read = [0; 4];
        file.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"abcd");
    }
}
