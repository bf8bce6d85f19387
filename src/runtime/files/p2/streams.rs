//! Files as streams of WASI 0.2. Each has at most one operation under way.

use std::fs::File;
use std::io;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::runtime::files::io::{CHUNK_BYTES_MAX, Gate, Job, Place};

/// What is read ahead for a guest that waits without saying how much it wants.
const READ_AHEAD_BYTES: usize = 4096;

pub struct Reader {
    gate: Gate,
    file: Arc<File>,
    offset: u64,
    state: Reading,
}

enum Reading {
    Idle,
    Waiting(Job<io::Result<Bytes>>),
    /// Not empty.
    Here(Bytes),
    Failed(io::Error),
    Ended,
}

impl Reader {
    pub fn new(gate: Gate, file: Arc<File>, offset: u64) -> Reader {
        Reader { gate, file, offset, state: Reading::Idle }
    }

    fn begin(&mut self, bytes_max: usize) {
        let (gate, file, offset) = (self.gate.clone(), Arc::clone(&self.file), self.offset);
        self.state = Reading::Waiting(Job::start(async move { gate.read(file, offset, bytes_max).await }));
    }

    async fn settle(&mut self) {
        if let Reading::Waiting(job) = &mut self.state {
            self.state = came(job.done().await.unwrap_or_else(|| Err(io::Error::other("the read was given up"))));
        }
    }
}

fn came(read: io::Result<Bytes>) -> Reading {
    match read {
        Ok(bytes) if bytes.is_empty() => Reading::Ended,
        Ok(bytes) => Reading::Here(bytes),
        Err(error) => Reading::Failed(error),
    }
}

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match &mut self.state {
            Reading::Idle => {
                if size > 0 {
                    self.begin(size);
                }
                Ok(Bytes::new())
            }
            Reading::Waiting(_) => Ok(Bytes::new()),
            Reading::Here(bytes) => {
                let piece = bytes.split_to(bytes.len().min(size));
                if bytes.is_empty() {
                    self.state = Reading::Idle;
                }
                self.offset += piece.len() as u64;
                Ok(piece)
            }
            Reading::Failed(_) => match mem::replace(&mut self.state, Reading::Ended) {
                Reading::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
                _ => Err(StreamError::Closed),
            },
            Reading::Ended => Err(StreamError::Closed),
        }
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.settle().await;
        if matches!(self.state, Reading::Idle) && size > 0 {
            self.state = came(self.gate.read(Arc::clone(&self.file), self.offset, size).await);
        }
        self.read(size)
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        if matches!(self.state, Reading::Idle) {
            self.begin(READ_AHEAD_BYTES);
        }
        self.settle().await;
    }
}

pub struct Writer {
    gate: Gate,
    file: Arc<File>,
    place: Place,
    state: Writing,
}

enum Writing {
    Idle,
    Waiting(Job<io::Result<()>>),
    Failed(io::Error),
    Closed,
}

impl Writer {
    pub fn new(gate: Gate, file: Arc<File>, place: Place) -> Writer {
        Writer { gate, file, place, state: Writing::Idle }
    }

    /// The write that begins now, of bytes that are then behind the place of the next.
    fn write_next(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (gate, file, place) = (self.gate.clone(), Arc::clone(&self.file), self.place);
        if let Place::At(offset) = &mut self.place {
            *offset = offset.saturating_add(bytes.len() as u64);
        }
        async move { gate.write(file, place, bytes).await }
    }

    async fn settle(&mut self) {
        if let Writing::Waiting(job) = &mut self.state {
            let done = job.done().await.unwrap_or_else(|| Err(io::Error::other("the write was given up")));
            self.state = done.map_or_else(Writing::Failed, |()| Writing::Idle);
        }
    }

    /// Says a failure once, and is closed then.
    fn check(&mut self) -> StreamResult<()> {
        match &self.state {
            Writing::Idle | Writing::Waiting(_) => Ok(()),
            Writing::Closed => Err(StreamError::Closed),
            Writing::Failed(_) => match mem::replace(&mut self.state, Writing::Closed) {
                Writing::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
                _ => Err(StreamError::Closed),
            },
        }
    }
}

#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match self.state {
            Writing::Idle => {
                let write = self.write_next(bytes);
                self.state = Writing::Waiting(Job::start(write));
                Ok(())
            }
            Writing::Closed => Err(StreamError::Closed),
            Writing::Waiting(_) | Writing::Failed(_) => Err(StreamError::trap("a write before check-write allowed it")),
        }
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.settle().await;
        self.check()?;
        let written = self.write_next(bytes).await;
        written.map_err(|error| {
            self.state = Writing::Closed;
            StreamError::LastOperationFailed(error.into())
        })
    }

    fn flush(&mut self) -> StreamResult<()> {
        // Nothing is kept back.
        self.check()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.check()?;
        Ok(if matches!(self.state, Writing::Idle) { CHUNK_BYTES_MAX } else { 0 })
    }

    /// What the guest was told is written, is: a stream that is dropped while it writes is waited for.
    async fn cancel(&mut self) {
        self.settle().await;
        self.state = Writing::Closed;
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        self.settle().await;
    }
}
