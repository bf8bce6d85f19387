//! Everything in memory: for tests, simulations and servers that are to forget.

use std::collections::BTreeMap;

use crate::store::backend::{Backend, BackendError, Contents, Put};
use crate::store::record::Revision;

#[derive(Clone, Debug, Default)]
pub struct Memory {
    revision: Revision,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Backend for Memory {
    fn load(&mut self) -> Result<Contents, BackendError> {
        let records = self.records.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Contents { revision: self.revision, records })
    }

    fn write(&mut self, revision: Revision, batch: Vec<Put>) -> Result<(), BackendError> {
        self.revision = revision;
        for put in batch {
            match put.value {
                Some(value) => self.records.insert(put.key, value),
                None => self.records.remove(&put.key),
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
