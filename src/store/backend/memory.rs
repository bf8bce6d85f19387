//! Everything in memory: for tests, simulations and servers that are to forget.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::backend::{Backend, BackendError, Contents, Put};
use crate::store::record::Revision;

/// Clones are the same storage, as two openings of a file are: a test restarts a server by opening another store on one.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    revision: Revision,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Backend for Memory {
    fn load(&mut self) -> Result<Contents, BackendError> {
        let state = self.0.lock();
        let records = state.records.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Contents { revision: state.revision, records })
    }

    fn write(&mut self, revision: Revision, batch: Vec<Put>) -> Result<(), BackendError> {
        let mut state = self.0.lock();
        state.revision = revision;
        for put in batch {
            match put.value {
                Some(value) => state.records.insert(put.key, value),
                None => state.records.remove(&put.key),
            };
        }
        Ok(())
    }

    fn commits_in_place(&self) -> bool {
        true
    }

    fn close(self: Box<Memory>) -> Result<(), BackendError> {
        Ok(())
    }
}
