//! The last changes, with their revisions: what a commit is validated against, and what a reader catches up with.
//!
//! It is bounded. Whoever is further behind than it reaches is told so, and takes a new snapshot (a reader) or runs again
//! on one (a transaction): nothing is ever dropped silently.

use std::collections::VecDeque;

use crate::store::key::Key;
use crate::store::reads::Reads;
use crate::store::record::Revision;
use crate::store::snapshot::Effect;

/// Changes that are remembered. A reader that polls ten times a second keeps up with 160,000 changes a second; at some
/// 600 bytes for a task's change this is at most 10 MB.
pub const CHANGES_MAX: usize = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Created,
    Updated,
    Deleted,
}

/// One key that a transaction changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: Key,
    pub kind: ChangeKind,
}

/// The answer to "what changed since".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// All changes up to and with `revision`, oldest first; a key may come more than once.
    Some { revision: Revision, changes: Vec<Change> },
    /// The question reaches further back than what is remembered: take a new snapshot.
    TooOld,
}

/// The log itself.
pub(crate) struct Log {
    effects: VecDeque<(Revision, Effect)>,
    /// Everything after this revision is in the log.
    complete_after: Revision,
    newest: Revision,
}

impl Log {
    /// Of a store that begins at `revision`: what was before is not known.
    pub(crate) fn new(revision: Revision) -> Log {
        Log { effects: VecDeque::new(), complete_after: revision, newest: revision }
    }

    /// Adds what transactions up to and with `newest` did.
    pub(crate) fn append(&mut self, newest: Revision, effects: impl IntoIterator<Item = (Revision, Effect)>) {
        self.effects.extend(effects);
        self.newest = newest;
        while self.effects.len() > CHANGES_MAX
            && let Some((dropped, _)) = self.effects.pop_front()
        {
            self.complete_after = dropped;
        }
    }

    /// `None` where the log does not reach back to `revision`.
    fn after(&self, revision: Revision) -> Option<impl Iterator<Item = &(Revision, Effect)>> {
        if revision < self.complete_after {
            return None;
        }
        let start = self.effects.partition_point(|(at, _)| *at <= revision);
        Some(self.effects.range(start..))
    }

    pub(crate) fn since(&self, revision: Revision) -> Changes {
        match self.after(revision) {
            None => Changes::TooOld,
            Some(effects) => {
                let changes = effects.map(|(_, effect)| effect.change.clone()).collect();
                Changes::Some { revision: self.newest, changes }
            }
        }
    }

    /// The first change after `base` that makes a list or a count of `reads` untrue. Reads of single keys are not judged
    /// here: the newest state shows those without a log.
    pub(crate) fn phantom(&self, base: Revision, reads: &Reads) -> Phantom<'_> {
        if !reads.has_lists() {
            return Phantom::None;
        }
        match self.after(base) {
            None => Phantom::Unknown,
            Some(mut effects) => match effects.find(|(_, effect)| reads.is_touched_by(effect)) {
                None => Phantom::None,
                Some((_, effect)) => Phantom::Found(&effect.change),
            },
        }
    }
}

/// Whether lists and counts still hold.
#[derive(Debug)]
pub(crate) enum Phantom<'a> {
    None,
    Found(&'a Change),
    /// The view is older than what is remembered.
    Unknown,
}
