//! A view on its way to be committed: within the limits, encoded, and the ways in which that can fail.
//!
//! Encoding happens here, in the caller's thread, so that the one writer only validates and flushes.

use std::sync::Arc;

use crate::store::backend::BackendError;
use crate::store::key::Key;
use crate::store::reads::Reads;
use crate::store::record::{AnyRecord, Encoded};
use crate::store::snapshot::Snapshot;
use crate::store::view::View;

/// Writes of one transaction, and comparisons of one: etcd's default `--max-txn-ops`, held by every backend so that none
/// needs other code. A list counts as one comparison, and covers the keys under its prefix.
pub const OPERATIONS_MAX: usize = 128;

/// Keys and values of one transaction: etcd's default `--max-request-bytes`.
pub const TRANSACTION_BYTES_MAX: usize = 1_572_864;

/// Why a view was not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Something that the view read is not so any more: run again on what is there now.
    #[error("what was read has changed: {0}")]
    Conflict(String),
    #[error("the transaction is too large: {0}")]
    TooLarge(String),
    /// The write failed. Whether it is durable is unknown, so the store takes no more of them.
    #[error("the store could not make the transaction durable")]
    Backend(#[source] Arc<BackendError>),
    /// An earlier write failed: what is there can be read until the server is started again.
    #[error("the store is read-only, because an earlier write failed")]
    ReadOnly(#[source] Arc<BackendError>),
    #[error("the store is closed")]
    Closed,
}

/// Why `Store::transact` gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactError<E> {
    /// What the operation itself answered.
    #[error("{0}")]
    Operation(E),
    #[error(transparent)]
    Commit(CommitError),
}

impl PartialEq for CommitError {
    fn eq(&self, other: &CommitError) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for CommitError {}

/// One write of a transaction: `None` deletes.
pub(crate) struct Write {
    pub(crate) key: Key,
    pub(crate) record: Option<(AnyRecord, Encoded)>,
}

/// What the writer gets.
pub(crate) struct Transaction {
    pub(crate) base: Snapshot,
    pub(crate) reads: Reads,
    pub(crate) writes: Vec<Write>,
}

impl Transaction {
    pub(crate) fn of(view: View) -> Result<Transaction, CommitError> {
        let (base, reads, writes) = view.into_parts();
        let comparisons = reads.comparisons();
        if writes.len() > OPERATIONS_MAX || comparisons > OPERATIONS_MAX {
            return Err(CommitError::TooLarge(format!(
                "{} writes and {comparisons} comparisons, where at most {OPERATIONS_MAX} of each are possible",
                writes.len()
            )));
        }
        let mut bytes = 0;
        let mut encoded = Vec::with_capacity(writes.len());
        for (key, record) in writes {
            let record = record.map(|record| encode(&key, record)).transpose()?;
            bytes += key.as_bytes().len() + record.as_ref().map_or(0, |(_, encoded)| encoded.len());
            encoded.push(Write { key, record });
        }
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(CommitError::TooLarge(format!(
                "{bytes} bytes, where at most {TRANSACTION_BYTES_MAX} are possible"
            )));
        }
        Ok(Transaction { base, reads, writes: encoded })
    }
}

fn encode(key: &Key, record: AnyRecord) -> Result<(AnyRecord, Encoded), CommitError> {
    // A record of ours always has a JSON form; were one ever to lack it, this transaction alone fails.
    let encoded = Encoded::new(&record).map_err(|error| CommitError::TooLarge(format!("{key}: {error}")))?;
    Ok((record, encoded))
}
