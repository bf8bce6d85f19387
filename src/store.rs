//! The one durable state, shared with optimistic concurrency.
//!
//! A [`Snapshot`] is immutable and cheap. An operation works on a [`View`], which records what it reads and collects what
//! it writes; a commit applies all of it or nothing, and only if everything that was read is still so, phantoms included.
//! One writer makes many transactions durable with one flush, then publishes them, then answers: nobody ever sees a state
//! that a crash could take back. Loops [`watch`](Store::watch) the revision, and ask what [changed](Store::changes).
//!
//! The whole state is in memory, so that a read is a walk of a tree; the backend is read once, at start.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

mod backend;
mod changes;
mod index;
mod key;
mod prefix;
mod reads;
mod record;
mod snapshot;
mod transaction;
mod tuple;
mod view;
mod writer;

#[cfg(test)]
mod tests;

pub use backend::memory::Memory;
pub use backend::redb::Redb;
pub use backend::{Backend, BackendError, Contents, FORMAT, Put};
pub use changes::{CHANGES_MAX, Change, ChangeKind, Changes};
pub use key::Key;
pub use prefix::Prefix;
pub use record::{DecodeError, Kind, Record, Revision};
pub use snapshot::Snapshot;
pub use transaction::{CommitError, OPERATIONS_MAX, TRANSACTION_BYTES_MAX, TransactError};
pub use view::{Explanation, View};

use transaction::Transaction;
use writer::{Message, Published, QUEUE_MAX, Writer};

/// Attempts of `transact`. Of transactions that want the same record one in each flush succeeds, and those that failed
/// `TRIES_AT_LARGE` times go one after another, so only a flood of newcomers can use this up.
const ATTEMPTS_MAX: usize = 100;

/// Attempts before a transaction queues up with the others that conflicted.
const TRIES_AT_LARGE: usize = 3;

/// A handle of the store; clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    published: Arc<Published>,
    commits: Commits,
    /// Held by one of those whose attempts conflicted, so that they do not keep each other from succeeding.
    turn: tokio::sync::Mutex<()>,
}

/// Where commits happen.
enum Commits {
    InPlace(Mutex<Writer>),
    Queued(WriterThread),
}

/// The writer's thread and the way to it.
struct WriterThread {
    queue: Option<mpsc::Sender<Message>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl WriterThread {
    async fn send(&self, message: Message) -> Result<(), CommitError> {
        let queue = self.queue.as_ref().ok_or(CommitError::Closed)?;
        queue.send(message).await.map_err(|_| CommitError::Closed)
    }
}

/// Whoever drops the last handle waits until what is queued is flushed and the backend released, so that it can be opened
/// again at once.
impl Drop for WriterThread {
    fn drop(&mut self) {
        drop(self.queue.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Store {
    /// Reads all that the backend holds. Blocks, as opening a file does.
    pub fn open(mut backend: impl Backend) -> Result<Store, BackendError> {
        let contents = backend.load()?;
        let mut head = Snapshot::default();
        for (key, value) in &contents.records {
            let key = Key::from_bytes(key).ok_or_else(|| BackendError::Key(key.clone()))?;
            let (revision, record) = record::decode(key.kind(), value)
                .map_err(|source| BackendError::Record { key: key.to_string(), source })?;
            head.apply(&key, revision, Some(record));
        }
        head.set_revision(contents.revision);

        let published = Arc::new(Published::new(head));
        let in_place = backend.commits_in_place();
        let writer = Writer::new(Box::new(backend), Arc::clone(&published));
        let commits = if in_place {
            Commits::InPlace(Mutex::new(writer))
        } else {
            let (sender, queue) = mpsc::channel(QUEUE_MAX);
            let thread = thread::Builder::new().name(String::from("store-writer"));
            let thread = thread
                .spawn(move || writer.run(queue))
                .map_err(|source| BackendError::Failed { doing: "start the writer of", source: source.into() })?;
            Commits::Queued(WriterThread { queue: Some(sender), thread: Some(thread) })
        };
        Ok(Store(Arc::new(Shared { published, commits, turn: tokio::sync::Mutex::default() })))
    }

    /// Keeps nothing. Commits are made in place, so time that is paused in a test stays so.
    pub fn in_memory() -> Store {
        Store::open(Memory::default()).expect("an empty backend in memory holds nothing that could be unreadable")
    }

    /// Opens the database in the data directory, or makes one there. Commits are made on a thread of their own: a runtime
    /// with paused time would see time pass while it waits for one, so simulations use `Memory`.
    pub fn open_redb(directory: &Path) -> Result<Store, BackendError> {
        Store::open(Redb::open(directory)?)
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.0.published.head.load())
    }

    pub fn view(&self) -> View {
        View::new(self.snapshot())
    }

    pub fn revision(&self) -> Revision {
        self.0.published.head.load().revision()
    }

    /// Makes what the view writes durable and visible, if everything that it read is still so.
    ///
    /// A view that writes nothing is consistent in itself and costs nothing. Where the future is dropped, the transaction
    /// is either committed or not, as after a lost answer of any server.
    pub async fn commit(&self, view: View) -> Result<Revision, CommitError> {
        if view.is_read_only() {
            return Ok(view.base().revision());
        }
        let transaction = Transaction::of(view)?;
        match &self.0.commits {
            Commits::InPlace(writer) => writer.lock().commit_in_place(transaction),
            Commits::Queued(writer) => {
                let (answer, answered) = oneshot::channel();
                writer.send(Message::Commit(Box::new(transaction), answer)).await?;
                answered.await.map_err(|_| CommitError::Closed)?
            }
        }
    }

    /// Runs `operation` on a fresh view and commits it; again on a newer one as long as it conflicts.
    pub async fn transact<T, E>(
        &self,
        mut operation: impl FnMut(&mut View) -> Result<T, E>,
    ) -> Result<T, TransactError<E>> {
        let mut turn = None;
        for attempt in 1.. {
            if attempt > TRIES_AT_LARGE && turn.is_none() {
                turn = Some(self.0.turn.lock().await);
            }
            let mut view = self.view();
            let value = operation(&mut view).map_err(TransactError::Operation)?;
            match self.commit(view).await {
                Ok(_) => return Ok(value),
                Err(CommitError::Conflict(_)) if attempt < ATTEMPTS_MAX => {}
                Err(error) => return Err(TransactError::Commit(error)),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// The revision that is visible now, and a wake-up whenever it has grown. It never says what changed.
    pub fn watch(&self) -> watch::Receiver<Revision> {
        self.0.published.revision.subscribe()
    }

    /// What changed after `since`, or that this is too long ago to say.
    pub fn changes(&self, since: Revision) -> Changes {
        self.0.published.log.lock().since(since)
    }

    /// Finishes what is queued, flushes and releases the backend. Later commits answer `Closed`; reads go on.
    /// Dropping the last handle does the same, blocks for it, and can only log that it failed.
    pub async fn close(&self) -> Result<(), Arc<BackendError>> {
        match &self.0.commits {
            Commits::InPlace(writer) => writer.lock().close(),
            Commits::Queued(writer) => {
                let (answer, answered) = oneshot::channel();
                if writer.send(Message::Close(answer)).await.is_err() {
                    return Ok(());
                }
                answered.await.unwrap_or(Ok(()))
            }
        }
    }
}
