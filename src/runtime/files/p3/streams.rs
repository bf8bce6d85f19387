//! Files as streams of WASI 0.3. Each has at most one operation under way.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cap_std::fs::{Dir, ReadDir};
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{Destination, Source, StreamConsumer, StreamProducer, StreamResult, VecBuffer};
use wasmtime_wasi::p3::bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode};

use crate::runtime::files::io::{CHUNK_BYTES_MAX, Gate, Job, Place};

/// Entries of a directory that are read at a time.
const ENTRIES_MAX: usize = 256;

/// Tells the guest how it ended, once: well, where nobody said otherwise.
struct Ended(Option<oneshot::Sender<Result<(), ErrorCode>>>);

impl Ended {
    fn tell(&mut self, how: Result<(), ErrorCode>) {
        if let Some(ended) = self.0.take() {
            let _ = ended.send(how);
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.tell(Ok(()));
    }
}

fn given_up<T>(done: Option<io::Result<T>>) -> io::Result<T> {
    done.unwrap_or_else(|| Err(io::Error::other("the operation was given up")))
}

pub struct Reader {
    gate: Gate,
    file: Arc<File>,
    offset: u64,
    job: Option<Job<io::Result<Bytes>>>,
    ended: Ended,
}

impl Reader {
    pub fn new(gate: Gate, file: Arc<File>, offset: u64, ended: oneshot::Sender<Result<(), ErrorCode>>) -> Reader {
        Reader { gate, file, offset, job: None, ended: Ended(Some(ended)) }
    }
}

impl<D> StreamProducer<D> for Reader {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: StoreContextMut<'a, D>,
        mut destination: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let me = &mut *self;
        let job = me.job.get_or_insert_with(|| {
            let (gate, file, offset) = (me.gate.clone(), Arc::clone(&me.file), me.offset);
            Job::start(async move { gate.read(file, offset, CHUNK_BYTES_MAX).await })
        });
        let read = match job.poll(cx) {
            Poll::Ready(read) => given_up(read),
            // What comes of it is read again: nothing is lost.
            Poll::Pending if finish => {
                me.job = None;
                return Poll::Ready(Ok(StreamResult::Cancelled));
            }
            Poll::Pending => return Poll::Pending,
        };
        me.job = None;
        Poll::Ready(Ok(match read {
            Ok(bytes) if bytes.is_empty() => StreamResult::Dropped,
            Ok(bytes) => {
                me.offset = me.offset.saturating_add(bytes.len() as u64);
                destination.set_buffer(bytes);
                StreamResult::Completed
            }
            Err(error) => {
                me.ended.tell(Err(error.into()));
                StreamResult::Dropped
            }
        }))
    }
}

pub struct Writer {
    gate: Gate,
    file: Arc<File>,
    place: Place,
    /// With the number of bytes that it writes.
    job: Option<(Job<io::Result<()>>, usize)>,
    ended: Ended,
}

impl Writer {
    pub fn new(gate: Gate, file: Arc<File>, place: Place, ended: oneshot::Sender<Result<(), ErrorCode>>) -> Writer {
        Writer { gate, file, place, job: None, ended: Ended(Some(ended)) }
    }
}

impl<D: 'static> StreamConsumer<D> for Writer {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<D>,
        source: Source<'_, u8>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let me = &mut *self;
        let mut source = source.as_direct(store);
        let (job, count) = me.job.get_or_insert_with(|| {
            let given = source.remaining();
            let bytes = Bytes::copy_from_slice(&given[..given.len().min(CHUNK_BYTES_MAX)]);
            let (gate, file, place, count) = (me.gate.clone(), Arc::clone(&me.file), me.place, bytes.len());
            (Job::start(async move { gate.write(file, place, bytes).await }), count)
        });
        // Also when the guest wants no more of it: it must be told how much was written.
        let written = given_up(ready!(job.poll(cx)));
        let count = *count;
        me.job = None;
        Poll::Ready(Ok(match written {
            Ok(()) => {
                source.mark_read(count);
                if let Place::At(offset) = &mut me.place {
                    *offset = offset.saturating_add(count as u64);
                }
                StreamResult::Completed
            }
            Err(error) => {
                me.ended.tell(Err(error.into()));
                StreamResult::Dropped
            }
        }))
    }
}

/// A directory that is being listed.
pub struct Listing {
    gate: Gate,
    dir: Arc<File>,
    entries: Option<ReadDir>,
}

type Piece = Result<(ReadDir, Vec<DirectoryEntry>), ErrorCode>;

impl Listing {
    pub fn new(gate: Gate, dir: Arc<File>) -> Listing {
        Listing { gate, dir, entries: None }
    }

    pub fn told(self, ended: oneshot::Sender<Result<(), ErrorCode>>) -> Lister {
        Lister { listing: self, job: None, ended: Ended(Some(ended)) }
    }

    /// The next entries; none at the end.
    fn next(&mut self) -> impl Future<Output = Piece> + Send + 'static {
        let (gate, dir, entries) = (self.gate.clone(), Arc::clone(&self.dir), self.entries.take());
        async move {
            let read = gate.run(move || {
                let mut entries = match entries {
                    Some(entries) => entries,
                    None => Dir::reopen_dir(&*dir)?.entries()?,
                };
                let piece = entries.by_ref().take(ENTRIES_MAX).map(entry).collect::<Vec<_>>();
                Ok((entries, piece))
            });
            let (entries, piece) = read.await?;
            Ok((entries, piece.into_iter().collect::<Result<_, _>>()?))
        }
    }
}

fn entry(entry: io::Result<cap_std::fs::DirEntry>) -> Result<DirectoryEntry, ErrorCode> {
    let entry = entry?;
    let kind = entry.file_type()?;
    let type_ = if kind.is_dir() {
        DescriptorType::Directory
    } else if kind.is_symlink() {
        DescriptorType::SymbolicLink
    } else if kind.is_file() {
        DescriptorType::RegularFile
    } else {
        DescriptorType::Other(None)
    };
    let name = entry.file_name().into_string().map_err(|_| ErrorCode::IllegalByteSequence)?;
    Ok(DirectoryEntry { type_, name })
}

/// A listing that tells how it ended.
pub struct Lister {
    listing: Listing,
    job: Option<Job<Piece>>,
    ended: Ended,
}

impl<D> StreamProducer<D> for Lister {
    type Item = DirectoryEntry;
    type Buffer = VecBuffer<DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, DirectoryEntry, VecBuffer<DirectoryEntry>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let me = &mut *self;
        let job = me.job.get_or_insert_with(|| Job::start(me.listing.next()));
        let piece = match job.poll(cx) {
            Poll::Ready(piece) => piece.unwrap_or(Err(ErrorCode::Io)),
            // The job stays: what it reads is given to the next who asks.
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        me.job = None;
        Poll::Ready(Ok(match piece {
            Ok((_, entries)) if entries.is_empty() => StreamResult::Dropped,
            Ok((rest, entries)) => {
                me.listing.entries = Some(rest);
                destination.set_buffer(VecBuffer::from(entries));
                StreamResult::Completed
            }
            Err(code) => {
                me.ended.tell(Err(code));
                StreamResult::Dropped
            }
        }))
    }
}
