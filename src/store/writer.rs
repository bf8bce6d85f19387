//! The one writer: validates against its newest state, flushes many transactions at once, publishes, then answers.
//!
//! The order is the promise: nobody sees a state that a crash could take back, and whoever was answered sees at least
//! what he wrote. A conflict is answered after the flush too, so that the caller who runs again does so on the state that
//! it conflicted with.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::store::backend::{Backend, BackendError, Put};
use crate::store::changes::{Log, Phantom};
use crate::store::record::Revision;
use crate::store::snapshot::{Effect, Snapshot};
use crate::store::transaction::{CommitError, Transaction};

/// Transactions that wait for the writer; further callers wait for a place. One batch takes them all.
pub(crate) const QUEUE_MAX: usize = 1_024;

/// Transactions of one flush: as many as can wait. With etcd's bounds on each, a batch of typical ones is a few MiB.
const BATCH_MAX: usize = QUEUE_MAX;

/// Bytes after which a batch takes no more: ten of the largest transactions, some 10 ms of writing.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What readers see: shared by all handles, written by the writer alone.
pub(crate) struct Published {
    pub(crate) head: ArcSwap<Snapshot>,
    pub(crate) log: Mutex<Log>,
    pub(crate) revision: watch::Sender<Revision>,
}

impl Published {
    pub(crate) fn new(head: Snapshot) -> Published {
        let revision = head.revision();
        Published {
            head: ArcSwap::from_pointee(head),
            log: Mutex::new(Log::new(revision)),
            revision: watch::Sender::new(revision),
        }
    }
}

/// What is sent to the writer's thread.
pub(crate) enum Message {
    Commit(Box<Transaction>, oneshot::Sender<Result<Revision, CommitError>>),
    Close(oneshot::Sender<Result<(), Arc<BackendError>>>),
}

pub(crate) struct Writer {
    backend: Option<Box<dyn Backend>>,
    published: Arc<Published>,
    /// The write that failed: from then on nothing is written.
    failed: Option<Arc<BackendError>>,
}

/// Transactions that will be made durable together.
struct Batch {
    head: Snapshot,
    effects: Vec<(Revision, Effect)>,
    puts: Vec<Put>,
    bytes: usize,
}

impl Writer {
    pub(crate) fn new(backend: Box<dyn Backend>, published: Arc<Published>) -> Writer {
        Writer { backend: Some(backend), published, failed: None }
    }

    /// Serves the queue until it is closed or every handle is gone. The thread's whole life.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(first) = queue.blocking_recv() {
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Message::Commit(transaction, answer) => {
                        next = self.commit_waiting((*transaction, answer), &mut queue);
                    }
                    Message::Close(answer) => {
                        // Nobody waits for it where the caller's future was dropped.
                        let _ = answer.send(self.close());
                    }
                }
            }
        }
        if let Err(error) = self.close() {
            tracing::error!(error = &error as &dyn std::error::Error, "the store was not closed cleanly");
        }
    }

    /// Commits the first with all that wait behind it. Returns the message that ended the batch, if one did.
    fn commit_waiting(
        &mut self,
        first: (Transaction, oneshot::Sender<Result<Revision, CommitError>>),
        queue: &mut mpsc::Receiver<Message>,
    ) -> Option<Message> {
        let mut batch = self.begin();
        let mut answers = Vec::new();
        let mut last = None;
        let mut next = Some(first);
        while let Some((transaction, answer)) = next.take() {
            answers.push((answer, self.add(&mut batch, transaction)));
            if answers.len() == BATCH_MAX || batch.bytes >= BATCH_BYTES_MAX {
                break;
            }
            match queue.try_recv() {
                Ok(Message::Commit(transaction, answer)) => next = Some((*transaction, answer)),
                Ok(close @ Message::Close(_)) => last = Some(close),
                Err(_) => {}
            }
        }
        let flushed = self.flush(batch);
        for (answer, result) in answers {
            let result = match &flushed {
                Err(error) => Err(error.clone()),
                Ok(()) => result,
            };
            // Nobody waits for it where the caller's future was dropped; what was committed stays.
            let _ = answer.send(result);
        }
        last
    }

    /// Commits one transaction at once, in the caller's thread.
    pub(crate) fn commit_in_place(&mut self, transaction: Transaction) -> Result<Revision, CommitError> {
        let mut batch = self.begin();
        let result = self.add(&mut batch, transaction);
        self.flush(batch).and(result)
    }

    fn begin(&self) -> Batch {
        let head = Snapshot::clone(&self.published.head.load());
        Batch { head, effects: Vec::new(), puts: Vec::new(), bytes: 0 }
    }

    /// Validates a transaction against the newest state, this batch's earlier ones included, and adds what it writes.
    fn add(&self, batch: &mut Batch, transaction: Transaction) -> Result<Revision, CommitError> {
        if let Some(error) = &self.failed {
            return Err(CommitError::ReadOnly(Arc::clone(error)));
        }
        if self.backend.is_none() {
            return Err(CommitError::Closed);
        }
        self.validate(batch, &transaction)?;
        let revision = batch.head.revision().next();
        for write in transaction.writes {
            let (record, value) = write.record.map(|(record, encoded)| (record, encoded.at(revision))).unzip();
            let Some(effect) = batch.head.apply(&write.key, revision, record) else { continue };
            batch.effects.push((revision, effect));
            let put = Put { key: write.key.as_bytes().to_vec(), value };
            batch.bytes += put.key.len() + put.value.as_ref().map_or(0, Vec::len);
            batch.puts.push(put);
        }
        batch.head.set_revision(revision);
        Ok(revision)
    }

    fn validate(&self, batch: &Batch, transaction: &Transaction) -> Result<(), CommitError> {
        let Transaction { base, reads, .. } = transaction;
        for key in reads.single_keys() {
            if batch.head.revision_of(key) != base.revision_of(key) {
                return Err(CommitError::Conflict(key.to_string()));
            }
        }
        if let Some((_, effect)) = batch.effects.iter().find(|(_, effect)| reads.is_touched_by(effect)) {
            return Err(CommitError::Conflict(effect.change.key.to_string()));
        }
        match self.published.log.lock().phantom(base.revision(), reads) {
            Phantom::None => Ok(()),
            Phantom::Found(change) => Err(CommitError::Conflict(change.key.to_string())),
            Phantom::Unknown => Err(CommitError::Conflict(String::from("the view is older than what is remembered"))),
        }
    }

    /// Durable, then visible.
    fn flush(&mut self, batch: Batch) -> Result<(), CommitError> {
        let revision = batch.head.revision();
        if revision == self.published.head.load().revision() {
            return Ok(());
        }
        let backend = self.backend.as_mut().ok_or(CommitError::Closed)?;
        if let Err(error) = backend.write(revision, batch.puts) {
            let error = Arc::new(error);
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a write failed: the store is read-only from now on"
            );
            self.failed = Some(Arc::clone(&error));
            return Err(CommitError::Backend(error));
        }
        // The log first: who sees the new state can ask how it came about.
        self.published.log.lock().append(revision, batch.effects);
        self.published.head.store(Arc::new(batch.head));
        self.published.revision.send_replace(revision);
        Ok(())
    }

    pub(crate) fn close(&mut self) -> Result<(), Arc<BackendError>> {
        self.backend.take().map_or(Ok(()), |backend| backend.close().map_err(Arc::new))
    }
}
