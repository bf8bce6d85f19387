//! What a view has read: the conditions under which its transaction may be committed, and the answer to "why this".

use std::collections::BTreeSet;
use std::fmt;

use crate::store::index::{IndexKey, Touch};
use crate::store::key::Key;
use crate::store::prefix::Prefix;
use crate::store::snapshot::Effect;

/// Single keys, and what was listed or counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    keys: BTreeSet<Key>,
    prefixes: BTreeSet<Prefix>,
    lists: BTreeSet<IndexKey>,
    counts: BTreeSet<IndexKey>,
}

impl Reads {
    pub(crate) fn key(&mut self, key: &Key) {
        if !self.keys.contains(key) {
            self.keys.insert(key.clone());
        }
    }

    pub(crate) fn prefix(&mut self, prefix: &Prefix) {
        if !self.prefixes.contains(prefix) {
            self.prefixes.insert(prefix.clone());
        }
    }

    pub(crate) fn list(&mut self, place: IndexKey) {
        self.lists.insert(place);
    }

    pub(crate) fn count(&mut self, place: IndexKey) {
        self.counts.insert(place);
    }

    /// Single keys that no list covers: those need a comparison of their own.
    pub(crate) fn single_keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|key| !self.prefixes.iter().any(|prefix| prefix.contains(key)))
    }

    pub(crate) fn has_lists(&self) -> bool {
        !(self.prefixes.is_empty() && self.lists.is_empty() && self.counts.is_empty())
    }

    /// How many comparisons a remote backend would need: one for a key, one for a list's generation.
    pub(crate) fn comparisons(&self) -> usize {
        self.single_keys().count() + self.prefixes.len() + self.lists.len() + self.counts.len()
    }

    /// Whether a change makes one of the lists or counts untrue. A list is of contents, a count only of who is there.
    pub(crate) fn is_touched_by(&self, effect: &Effect) -> bool {
        let listed = |place: &IndexKey| self.lists.iter().any(|read| read.contains(place));
        let counted = |place: &IndexKey| self.counts.iter().any(|read| read.contains(place));
        self.prefixes.iter().any(|prefix| prefix.contains(&effect.change.key))
            || effect.touched.iter().any(|(place, touch)| listed(place) || (*touch != Touch::Stayed && counted(place)))
    }
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.keys {
            writeln!(f, "read {key}")?;
        }
        for prefix in &self.prefixes {
            writeln!(f, "listed {prefix}")?;
        }
        for place in &self.lists {
            writeln!(f, "listed {place}")?;
        }
        for place in &self.counts {
            writeln!(f, "counted {place}")?;
        }
        Ok(())
    }
}
