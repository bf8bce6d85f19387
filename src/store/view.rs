//! A snapshot that records what is read of it and collects what is to be written: all that an operation sees.
//!
//! Own writes are visible to own reads, in lists and indexes too. Nothing leaves the view before it is committed, and it
//! is committed only if everything that it read is still so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::service::ServiceStatus;
use crate::model::{ClusterName, Family, NodeId, Scope, Service, Target, Task, TaskId, TaskStatus};
use crate::store::index::IndexKey;
use crate::store::key::Key;
use crate::store::prefix::Prefix;
use crate::store::reads::Reads;
use crate::store::record::{AnyRecord, Record};
use crate::store::snapshot::Snapshot;

/// One attempt of one transaction.
pub struct View {
    base: Snapshot,
    /// The base with the writes of this view.
    working: Snapshot,
    /// Behind a lock of its own, so that reading needs no exclusive borrow; it is never contended.
    reads: Mutex<Reads>,
    writes: BTreeMap<Key, Option<AnyRecord>>,
}

impl View {
    pub fn new(snapshot: Snapshot) -> View {
        View { working: snapshot.clone(), base: snapshot, reads: Mutex::default(), writes: BTreeMap::new() }
    }

    /// The state that this view began with.
    pub fn base(&self) -> &Snapshot {
        &self.base
    }

    pub fn get<R: Record>(&self, key: &Key) -> Option<Arc<R>> {
        self.reads.lock().key(key);
        self.working.get(key)
    }

    pub fn exists(&self, key: &Key) -> bool {
        self.reads.lock().key(key);
        self.working.revision_of(key).is_some()
    }

    /// All records under a prefix, in the order of their keys.
    pub fn list<R: Record>(&self, prefix: &Prefix) -> Vec<Arc<R>> {
        self.reads.lock().prefix(prefix);
        self.working.list(prefix)
    }

    pub fn count(&self, prefix: &Prefix) -> usize {
        self.reads.lock().prefix(prefix);
        self.working.count(prefix)
    }

    /// Creates or replaces the record of its own key.
    pub fn put<R: Record>(&mut self, record: impl Into<Arc<R>>) {
        let record = R::into_any(record.into());
        self.write(record.key(), Some(record));
    }

    /// Deletes what is at `key`; nothing there is as well.
    pub fn delete<R: Record>(&mut self, key: &Key) {
        debug_assert_eq!(key.kind(), R::KIND, "a key of another kind");
        self.write(key.clone(), None);
    }

    fn write(&mut self, key: Key, record: Option<AnyRecord>) {
        self.working.apply(&key, self.base.revision().next(), record.clone());
        self.writes.insert(key, record);
    }

    fn indexed<R: Record>(&self, place: IndexKey) -> Vec<Arc<R>> {
        let records = self.working.indexed(&place).cloned().collect();
        self.reads.lock().list(place);
        records
    }

    fn indexed_count(&self, place: IndexKey) -> usize {
        let count = self.working.indexed_count(&place);
        self.reads.lock().count(place);
        count
    }

    /// Tasks that are not STOPPED, everywhere.
    pub fn live_tasks(&self) -> Vec<Arc<Task>> {
        self.indexed(IndexKey::live_tasks())
    }

    pub fn tasks_of_cluster(&self, scope: &Scope, cluster: &ClusterName) -> Vec<Arc<Task>> {
        self.list(&Prefix::tasks(scope, cluster))
    }

    pub fn tasks_of_service(&self, scope: &Scope, cluster: &ClusterName, service: &str) -> Vec<Arc<Task>> {
        self.indexed(IndexKey::tasks_of_service(scope, cluster, service))
    }

    pub fn tasks_of_family(&self, scope: &Scope, cluster: &ClusterName, family: &Family) -> Vec<Arc<Task>> {
        self.indexed(IndexKey::tasks_of_family(scope, cluster, family))
    }

    pub fn tasks_started_by(&self, scope: &Scope, cluster: &ClusterName, started_by: &str) -> Vec<Arc<Task>> {
        self.indexed(IndexKey::tasks_started_by(scope, cluster, started_by))
    }

    /// Every task that was ever placed on this node and is still kept, in all clusters.
    pub fn tasks_of_node(&self, node: NodeId) -> Vec<Arc<Task>> {
        self.indexed(IndexKey::tasks_of_node(node))
    }

    /// Those of them that are not STOPPED.
    pub fn live_tasks_of_node(&self, node: NodeId) -> Vec<Arc<Task>> {
        self.indexed(IndexKey::live_tasks_of_node(node))
    }

    pub fn tasks_of_container_instance(&self, scope: &Scope, cluster: &ClusterName, node: NodeId) -> Vec<Arc<Task>> {
        self.indexed(IndexKey::tasks_of_instance(scope, cluster, node))
    }

    /// The targets behind which a task stands, in all target groups of its scope.
    pub fn targets_of_task(&self, scope: &Scope, cluster: &ClusterName, task: TaskId) -> Vec<Arc<Target>> {
        self.indexed(IndexKey::targets_of_task(scope, cluster, task))
    }

    pub fn services_of_cluster(&self, scope: &Scope, cluster: &ClusterName) -> Vec<Arc<Service>> {
        self.list(&Prefix::services(scope, cluster))
    }

    /// How many tasks of a cluster have this last status. Costs no walk, and conflicts only where the number may change.
    pub fn count_tasks(&self, scope: &Scope, cluster: &ClusterName, status: TaskStatus) -> usize {
        self.indexed_count(IndexKey::tasks_by_status(scope, cluster, status))
    }

    /// The same of a service's tasks.
    pub fn count_tasks_of_service(
        &self,
        scope: &Scope,
        cluster: &ClusterName,
        service: &str,
        status: TaskStatus,
    ) -> usize {
        self.indexed_count(IndexKey::tasks_of_service_by_status(scope, cluster, service, status))
    }

    /// How many services of a cluster have this status. Costs no walk.
    pub fn count_services(&self, scope: &Scope, cluster: &ClusterName, status: ServiceStatus) -> usize {
        self.indexed_count(IndexKey::services_by_status(scope, cluster, status))
    }

    /// True while the view would write nothing.
    pub fn is_read_only(&self) -> bool {
        self.writes.is_empty()
    }

    /// What this view read and what it would write, a line each, for a person.
    pub fn explain(&self) -> Explanation<'_> {
        Explanation(self)
    }

    pub(crate) fn into_parts(self) -> (Snapshot, Reads, BTreeMap<Key, Option<AnyRecord>>) {
        (self.base, self.reads.into_inner(), self.writes)
    }
}

/// `Display`s what a decision depended on.
pub struct Explanation<'a>(&'a View);

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.0;
        writeln!(f, "at revision {}", view.base.revision())?;
        write!(f, "{}", view.reads.lock())?;
        for (key, record) in &view.writes {
            let verb = match (record, view.base.revision_of(key)) {
                (None, _) => "deleted",
                (Some(_), None) => "created",
                (Some(_), Some(_)) => "replaced",
            };
            writeln!(f, "{verb} {key}")?;
        }
        Ok(())
    }
}
