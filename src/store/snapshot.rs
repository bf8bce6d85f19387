//! An immutable state of the store. A clone costs a few counters, whatever is in it, and never waits for a writer.

use std::sync::Arc;

use imbl::OrdMap;

use crate::model::service::ServiceStatus;
use crate::model::{ClusterName, Family, NodeId, Scope, Service, Target, Task, TaskId, TaskStatus};
use crate::store::changes::{Change, ChangeKind};
use crate::store::index::{IndexKey, Indexes, Touch};
use crate::store::key::Key;
use crate::store::prefix::Prefix;
use crate::store::record::{AnyRecord, Record, Revision};

/// A record and the transaction that wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) revision: Revision,
    pub(crate) record: AnyRecord,
}

/// A revision writes a key once, so it stands for what it wrote.
impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.revision == other.revision
    }
}

/// What one write did to a state: enough to judge, later, whether somebody's read of it still holds.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) change: Change,
    pub(crate) touched: Vec<(IndexKey, Touch)>,
}

/// All records and indexes as one transaction left them.
#[derive(Clone, Default)]
pub struct Snapshot {
    revision: Revision,
    records: OrdMap<Key, Entry>,
    indexes: Indexes,
}

impl Snapshot {
    /// The transaction that made this state.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The number of records of all kinds.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn get<R: Record>(&self, key: &Key) -> Option<Arc<R>> {
        debug_assert_eq!(key.kind(), R::KIND, "a key of another kind");
        R::from_any(&self.records.get(key)?.record).cloned()
    }

    /// The transaction that last wrote the record of this key.
    pub fn revision_of(&self, key: &Key) -> Option<Revision> {
        self.records.get(key).map(|entry| entry.revision)
    }

    /// All records under a prefix, in the order of their keys.
    pub fn list<R: Record>(&self, prefix: &Prefix) -> Vec<Arc<R>> {
        self.iter(prefix).cloned().collect()
    }

    /// The same, one at a time: for those that look at few of many.
    pub fn iter<R: Record>(&self, prefix: &Prefix) -> impl Iterator<Item = &Arc<R>> {
        debug_assert_eq!(prefix.kind(), R::KIND, "a prefix of another kind");
        let entries = self.records.range(prefix.start()..).take_while(|(key, _)| prefix.contains(key));
        entries.filter_map(|(_, entry)| R::from_any(&entry.record))
    }

    pub fn count(&self, prefix: &Prefix) -> usize {
        self.records.range(prefix.start()..).take_while(|(key, _)| prefix.contains(key)).count()
    }

    /// Everything that differs between `older` and this state, by key. Costs what changed, not what there is.
    pub fn changes_since(&self, older: &Snapshot) -> Vec<Change> {
        let diff = older.records.diff(&self.records);
        let changes = diff.map(|item| match item {
            imbl::ordmap::DiffItem::Add(key, _) => Change { key: key.clone(), kind: ChangeKind::Created },
            imbl::ordmap::DiffItem::Remove(key, _) => Change { key: key.clone(), kind: ChangeKind::Deleted },
            imbl::ordmap::DiffItem::Update { new: (key, _), .. } => {
                Change { key: key.clone(), kind: ChangeKind::Updated }
            }
        });
        changes.collect()
    }

    /// The records that an index holds under a place, in the index's order.
    pub(crate) fn indexed<'a, R: Record>(&'a self, place: &'a IndexKey) -> impl Iterator<Item = &'a Arc<R>> {
        self.indexes.keys(place).filter_map(|key| R::from_any(&self.records.get(key)?.record))
    }

    fn indexed_list<R: Record>(&self, place: &IndexKey) -> Vec<Arc<R>> {
        self.indexed(place).cloned().collect()
    }

    pub(crate) fn indexed_count(&self, place: &IndexKey) -> usize {
        self.indexes.count(place)
    }

    /// The one task with this id, whatever its cluster.
    pub fn task(&self, id: TaskId) -> Option<Arc<Task>> {
        self.indexed(&IndexKey::task_by_id(id)).next().cloned()
    }

    /// Tasks that are not STOPPED, everywhere.
    pub fn live_tasks(&self) -> Vec<Arc<Task>> {
        self.indexed_list(&IndexKey::live_tasks())
    }

    /// At most `limit` of the STOPPED tasks, those that stopped first. Reads no more than it returns.
    pub fn oldest_stopped_tasks(&self, limit: usize) -> Vec<Arc<Task>> {
        self.indexed(&IndexKey::stopped_tasks()).take(limit).cloned().collect()
    }

    /// The tasks of one cluster.
    pub fn tasks_of_cluster(&self, scope: &Scope, cluster: &ClusterName) -> Vec<Arc<Task>> {
        self.list(&Prefix::tasks(scope, cluster))
    }

    pub fn tasks_of_service(&self, scope: &Scope, cluster: &ClusterName, service: &str) -> Vec<Arc<Task>> {
        self.indexed_list(&IndexKey::tasks_of_service(scope, cluster, service))
    }

    pub fn tasks_of_family(&self, scope: &Scope, cluster: &ClusterName, family: &Family) -> Vec<Arc<Task>> {
        self.indexed_list(&IndexKey::tasks_of_family(scope, cluster, family))
    }

    pub fn tasks_started_by(&self, scope: &Scope, cluster: &ClusterName, started_by: &str) -> Vec<Arc<Task>> {
        self.indexed_list(&IndexKey::tasks_started_by(scope, cluster, started_by))
    }

    /// Every task that was ever placed on this node and is still kept, in all clusters.
    pub fn tasks_of_node(&self, node: NodeId) -> Vec<Arc<Task>> {
        self.indexed_list(&IndexKey::tasks_of_node(node))
    }

    /// Those of them that are not STOPPED.
    pub fn live_tasks_of_node(&self, node: NodeId) -> Vec<Arc<Task>> {
        self.indexed_list(&IndexKey::live_tasks_of_node(node))
    }

    pub fn tasks_of_container_instance(&self, scope: &Scope, cluster: &ClusterName, node: NodeId) -> Vec<Arc<Task>> {
        self.indexed_list(&IndexKey::tasks_of_instance(scope, cluster, node))
    }

    /// The targets behind which a task stands, in all target groups of its scope.
    pub fn targets_of_task(&self, scope: &Scope, cluster: &ClusterName, task: TaskId) -> Vec<Arc<Target>> {
        self.indexed_list(&IndexKey::targets_of_task(scope, cluster, task))
    }

    pub fn services_of_cluster(&self, scope: &Scope, cluster: &ClusterName) -> Vec<Arc<Service>> {
        self.list(&Prefix::services(scope, cluster))
    }

    /// How many tasks of a cluster have this last status. Costs no walk.
    pub fn count_tasks(&self, scope: &Scope, cluster: &ClusterName, status: TaskStatus) -> usize {
        self.indexed_count(&IndexKey::tasks_by_status(scope, cluster, status))
    }

    /// How many tasks of a service have this last status. Costs no walk.
    pub fn count_tasks_of_service(
        &self,
        scope: &Scope,
        cluster: &ClusterName,
        service: &str,
        status: TaskStatus,
    ) -> usize {
        self.indexed_count(&IndexKey::tasks_of_service_by_status(scope, cluster, service, status))
    }

    /// How many services of a cluster have this status. Costs no walk.
    pub fn count_services(&self, scope: &Scope, cluster: &ClusterName, status: ServiceStatus) -> usize {
        self.indexed_count(&IndexKey::services_by_status(scope, cluster, status))
    }

    pub(crate) fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }

    /// Writes (`Some`) or deletes (`None`) one record; says what that did, or `None` where there was nothing to delete.
    pub(crate) fn apply(&mut self, key: &Key, revision: Revision, record: Option<AnyRecord>) -> Option<Effect> {
        let places = |record: Option<&AnyRecord>| record.map(AnyRecord::indexes).unwrap_or_default();
        let new = places(record.as_ref());
        let deleted = record.is_none();
        let before = match record {
            Some(record) => self.records.insert(key.clone(), Entry { revision, record }),
            None => self.records.remove(key),
        };
        let kind = match (&before, deleted) {
            (None, true) => return None,
            (None, false) => ChangeKind::Created,
            (Some(_), true) => ChangeKind::Deleted,
            (Some(_), false) => ChangeKind::Updated,
        };
        let old = places(before.as_ref().map(|entry| &entry.record));
        let touched = self.indexes.update(key, old, new);
        Some(Effect { change: Change { key: key.clone(), kind }, touched })
    }
}
