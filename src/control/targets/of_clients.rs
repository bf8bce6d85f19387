//! Targets that clients registered and took away again: what they still have in flight has the deregistration delay, and
//! no longer. When nothing is in flight before, the proxy says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::control::Shared;
use crate::control::tasks::succeeded;
use crate::control::turn::{Concern, Passed, Turn};
use crate::model::{Target, TargetGroup, Timestamp};
use crate::plan::targets::plan_target_of_client;
use crate::store::{Key, Kind, Prefix, Snapshot};

/// Targets that are taken away in one transaction: each is a read and a write.
const BATCH: usize = 50;

pub struct OfClients {
    shared: Arc<Shared>,
    /// When the delay of a draining target is over.
    wakes: BTreeMap<Key, Timestamp>,
}

impl Concern for OfClients {
    async fn pass(&mut self, turn: Turn) -> Passed {
        let mut over = Vec::new();
        for key in self.keys(&turn) {
            self.wakes.remove(&key);
            let Some(target) = turn.now.get::<Target>(&key) else { continue };
            let group = turn.now.get::<TargetGroup>(&Key::target_group(&target.scope, &target.group));
            let plan = plan_target_of_client(&target, group.as_deref(), turn.at);
            if let Some(at) = plan.wake_at {
                self.wakes.insert(key.clone(), at);
            }
            if !plan.is_empty() {
                over.push(key);
            }
        }
        let mut failed = false;
        for batch in over.chunks(BATCH) {
            failed |= !self.remove(batch).await;
        }
        Passed { wake_at: self.wakes.values().min().copied(), failed }
    }
}

impl OfClients {
    pub fn new(shared: Arc<Shared>) -> OfClients {
        OfClients { shared, wakes: BTreeMap::new() }
    }

    /// Those whose time has come, and those of which something changed; a group's attributes say how long its targets drain.
    fn keys(&self, turn: &Turn) -> BTreeSet<Key> {
        let Some(changes) = turn.changes() else { return draining(&turn.now, &Prefix::all_targets()) };
        let due = self.wakes.iter().filter(|(_, at)| **at <= turn.at).map(|(key, _)| key.clone());
        let mut keys: BTreeSet<Key> = due.collect();
        for change in changes {
            match change.key.kind() {
                Kind::Target => {
                    keys.insert(change.key);
                }
                Kind::TargetGroup => {
                    if let Some(group) = turn.now.get::<TargetGroup>(&change.key) {
                        keys.extend(draining(&turn.now, &Prefix::targets(&group.scope, &group.name)));
                    }
                }
                _ => {}
            }
        }
        keys
    }

    async fn remove(&self, keys: &[Key]) -> bool {
        let done = self.shared.store.transact(|view| {
            for key in keys {
                let found = view.get::<Target>(key);
                // It may have been registered anew meanwhile.
                if found.is_some_and(|target| target.task.is_none() && target.draining_since.is_some()) {
                    view.delete::<Target>(key);
                }
            }
            Ok(())
        });
        succeeded("take away the targets of clients", done.await).is_some()
    }
}

fn draining(now: &Snapshot, prefix: &Prefix) -> BTreeSet<Key> {
    let drains = |target: &&Arc<Target>| target.task.is_none() && target.draining_since.is_some();
    let key = |target: &Arc<Target>| Key::target(&target.scope, &target.group, target.address, target.port);
    now.iter::<Target>(prefix).filter(drains).map(key).collect()
}
