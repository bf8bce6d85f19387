//! Access logs in ELB's format, written away from the data path.
//!
//! A request that has ended is handed over as it is: making a line of it, compressing and writing are the work of one thread
//! of its own. The queue to it is bounded, and who finds it full goes on: a disk that is slow costs lines, which are counted
//! and reported, never requests.

mod connection;
mod files;
mod line;
mod place;
#[cfg(test)]
pub mod testing;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::proxy::exchange::Entry;

pub use connection::{ConnectionEntry, Outcome};
use files::Files;
pub use line::Line;
pub use place::{LogKind, LogPlace};

/// Entries that wait to be written, about a kilobyte each. The thread writes more than 100,000 a second, so this is for a
/// disk that stands still for a moment.
const QUEUED_MAX: usize = 16 * 1024;
/// How often losses are said, while there are any.
const LOSS_PERIOD: Duration = Duration::from_secs(10);
/// Without any open file the thread still looks up this often, for what was lost.
const IDLE_PERIOD: Duration = Duration::from_secs(60);

/// Takes what logs are made of.
pub struct LogSink {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread that writes is told.
pub enum Message {
    /// A log was enabled.
    Enabled(Arc<LogPlace>),
    Request(Box<Entry>),
    /// A line that is made already.
    Line(Arc<LogPlace>, String),
    /// Nothing comes any more.
    Close,
}

impl LogSink {
    /// Writes below `root`, which stands for S3.
    pub fn start(root: PathBuf) -> io::Result<LogSink> {
        let (sink, queue) = LogSink::queued(QUEUED_MAX);
        let lost = Arc::clone(&sink.lost);
        let run = move || Writer { files: Files::new(root), lost, reported: 0, report_at: Instant::now() }.run(&queue);
        let writer = std::thread::Builder::new().name(String::from("access-logs")).spawn(run)?;
        *sink.writer.lock() = Some(writer);
        Ok(sink)
    }

    fn queued(capacity: usize) -> (LogSink, Receiver<Message>) {
        let (queue, receiver) = sync_channel(capacity);
        (LogSink { queue, lost: Arc::default(), writer: Mutex::new(None) }, receiver)
    }

    /// Hands something over to be written, or counts it as lost; never waits.
    pub fn put(&self, message: Message) {
        if self.queue.try_send(message).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that were not written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything is written and all files are closed.
    pub fn close(&self) {
        let Some(writer) = self.writer.lock().take() else { return };
        if self.queue.send(Message::Close).is_ok() && writer.join().is_err() {
            tracing::error!("the thread that writes access logs panicked");
        }
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        self.close();
    }
}

/// The thread that writes.
struct Writer {
    files: Files,
    lost: Arc<AtomicU64>,
    /// How many losses the log was told of.
    reported: u64,
    report_at: Instant,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Message>) {
        loop {
            let now = Instant::now();
            let wait = self.files.next_close().map_or(IDLE_PERIOD, |close| close.saturating_duration_since(now));
            let message = match queue.recv_timeout(wait) {
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
            };
            if let Some(message) = message
                && let Err(error) = self.write(message)
            {
                self.failed(&error);
            }
            let now = Instant::now();
            if self.files.next_close().is_some_and(|close| close <= now) {
                self.files.close_due(now).iter().for_each(|error| self.failed(error));
            }
            self.report(now);
        }
        self.files.close_all().iter().for_each(|error| self.failed(error));
        self.report_at = Instant::now();
        self.report(self.report_at);
    }

    fn write(&mut self, message: Message) -> io::Result<()> {
        match message {
            Message::Enabled(place) => self.files.enable(&place, SystemTime::now()),
            Message::Request(entry) => match &entry.place {
                Some(place) => self.files.write(place, &Line(&entry).to_string(), Instant::now()),
                None => Ok(()),
            },
            Message::Line(place, line) => self.files.write(&place, &line, Instant::now()),
            Message::Close => Ok(()),
        }
    }

    fn failed(&self, error: &io::Error) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, "a line of an access log could not be written");
    }

    /// Says what was lost since it was last said.
    fn report(&mut self, now: Instant) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > self.reported && now >= self.report_at {
            let lines = lost - self.reported;
            tracing::warn!(lines, "access logs lost lines: the disk does not keep up, or cannot be written to");
            self.reported = lost;
            self.report_at = now + LOSS_PERIOD;
        }
    }
}

#[cfg(test)]
mod tests;
