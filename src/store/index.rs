//! Secondary indexes: derived from the records in memory, rebuilt at start, never stored.
//!
//! An index is a set of tuples `(index, what is looked for…, key)`. Membership of a record is a pure function of the
//! record, so an index can never disagree with what it indexes.

use std::fmt;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::model::service::ServiceStatus;
use crate::model::{ClusterName, Family, NodeId, Scope, Service, Target, Task, TaskId, TaskStatus};
use crate::store::key::Key;
use crate::store::tuple::{Part, Tuple, decode};

/// A place in an index: what a record is found by, or the beginning of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexKey(Arc<[u8]>);

const TASK_BY_ID: &str = "task by id";
const LIVE_TASKS: &str = "live tasks";
const STOPPED_TASKS: &str = "stopped tasks";
const TASKS_BY_STATUS: &str = "tasks by status";
const TASKS_OF_SERVICE: &str = "tasks of service";
const TASKS_OF_FAMILY: &str = "tasks of family";
const TASKS_STARTED_BY: &str = "tasks started by";
const TASKS_OF_NODE: &str = "tasks of node";
const TASKS_OF_INSTANCE: &str = "tasks of container instance";
const SERVICES_BY_STATUS: &str = "services by status";
const TARGETS_OF_TASK: &str = "targets of task";

impl IndexKey {
    fn new(index: &str, parts: impl FnOnce(Tuple) -> Tuple) -> IndexKey {
        IndexKey(parts(Tuple::new().text(index)).finish())
    }

    fn in_cluster(index: &str, scope: &Scope, cluster: &ClusterName, parts: impl FnOnce(Tuple) -> Tuple) -> IndexKey {
        IndexKey::new(index, |tuple| parts(tuple.scope(scope).text(cluster.as_str())))
    }

    /// The one task with this id, whatever its cluster.
    pub(crate) fn task_by_id(id: TaskId) -> IndexKey {
        IndexKey::new(TASK_BY_ID, |tuple| tuple.id(id.0))
    }

    /// Tasks that are not STOPPED, everywhere.
    pub(crate) fn live_tasks() -> IndexKey {
        IndexKey::new(LIVE_TASKS, |tuple| tuple)
    }

    /// STOPPED tasks everywhere, in the order in which they stopped.
    pub(crate) fn stopped_tasks() -> IndexKey {
        IndexKey::new(STOPPED_TASKS, |tuple| tuple)
    }

    pub(crate) fn tasks_by_status(scope: &Scope, cluster: &ClusterName, status: TaskStatus) -> IndexKey {
        IndexKey::in_cluster(TASKS_BY_STATUS, scope, cluster, |tuple| tuple.text(status.as_str()))
    }

    pub(crate) fn tasks_of_service(scope: &Scope, cluster: &ClusterName, service: &str) -> IndexKey {
        IndexKey::in_cluster(TASKS_OF_SERVICE, scope, cluster, |tuple| tuple.text(service))
    }

    pub(crate) fn tasks_of_service_by_status(
        scope: &Scope,
        cluster: &ClusterName,
        service: &str,
        status: TaskStatus,
    ) -> IndexKey {
        IndexKey::in_cluster(TASKS_OF_SERVICE, scope, cluster, |tuple| tuple.text(service).text(status.as_str()))
    }

    pub(crate) fn tasks_of_family(scope: &Scope, cluster: &ClusterName, family: &Family) -> IndexKey {
        IndexKey::in_cluster(TASKS_OF_FAMILY, scope, cluster, |tuple| tuple.text(family.as_str()))
    }

    pub(crate) fn tasks_started_by(scope: &Scope, cluster: &ClusterName, started_by: &str) -> IndexKey {
        IndexKey::in_cluster(TASKS_STARTED_BY, scope, cluster, |tuple| tuple.text(started_by))
    }

    /// Tasks that were placed on a node, whatever their cluster.
    pub(crate) fn tasks_of_node(node: NodeId) -> IndexKey {
        IndexKey::new(TASKS_OF_NODE, |tuple| tuple.id(node.0))
    }

    pub(crate) fn live_tasks_of_node(node: NodeId) -> IndexKey {
        IndexKey::new(TASKS_OF_NODE, |tuple| tuple.id(node.0).text("live"))
    }

    pub(crate) fn tasks_of_instance(scope: &Scope, cluster: &ClusterName, node: NodeId) -> IndexKey {
        IndexKey::in_cluster(TASKS_OF_INSTANCE, scope, cluster, |tuple| tuple.id(node.0))
    }

    pub(crate) fn services_by_status(scope: &Scope, cluster: &ClusterName, status: ServiceStatus) -> IndexKey {
        let status = match status {
            ServiceStatus::Active => "ACTIVE",
            ServiceStatus::Draining => "DRAINING",
            ServiceStatus::Inactive => "INACTIVE",
        };
        IndexKey::in_cluster(SERVICES_BY_STATUS, scope, cluster, |tuple| tuple.text(status))
    }

    pub(crate) fn targets_of_task(scope: &Scope, cluster: &ClusterName, task: TaskId) -> IndexKey {
        IndexKey::in_cluster(TARGETS_OF_TASK, scope, cluster, |tuple| tuple.id(task.0))
    }

    /// True where `other` begins with all parts of this one.
    pub(crate) fn contains(&self, other: &IndexKey) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl fmt::Display for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = decode(&self.0).unwrap_or_default().into_iter();
        if let Some(Part::Text(index)) = parts.next() {
            f.write_str(&index)?;
        }
        let parts: Vec<String> = parts.map(|part| part.to_string()).collect();
        write!(f, "({})", parts.join(", "))
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(crate) fn of_task(task: &Task) -> Vec<IndexKey> {
    let (scope, cluster) = (&task.scope, &task.cluster);
    let mut keys = Vec::with_capacity(8);
    keys.push(IndexKey::task_by_id(task.id));
    keys.push(IndexKey::tasks_by_status(scope, cluster, task.last_status));
    keys.push(IndexKey::tasks_of_family(scope, cluster, &task.definition.family));
    if let Some(membership) = &task.service {
        keys.push(IndexKey::tasks_of_service_by_status(scope, cluster, &membership.service, task.last_status));
    }
    if let Some(started_by) = &task.started_by {
        keys.push(IndexKey::tasks_started_by(scope, cluster, started_by));
    }
    if let Some(placement) = &task.placement {
        let state = if task.is_stopped() { "stopped" } else { "live" };
        keys.push(IndexKey::new(TASKS_OF_NODE, |tuple| tuple.id(placement.node.0).text(state)));
        keys.push(IndexKey::tasks_of_instance(scope, cluster, placement.node));
    }
    if task.is_stopped() {
        let at = task.stopped_at.map_or(0, |at| at.0);
        keys.push(IndexKey::new(STOPPED_TASKS, |tuple| tuple.time(at)));
    } else {
        keys.push(IndexKey::live_tasks());
    }
    keys
}

pub(crate) fn of_service(service: &Service) -> Vec<IndexKey> {
    vec![IndexKey::services_by_status(&service.scope, &service.cluster, service.status)]
}

pub(crate) fn of_target(target: &Target) -> Vec<IndexKey> {
    let task = target.task.iter();
    task.map(|task| IndexKey::targets_of_task(&target.scope, &task.cluster, task.task)).collect()
}

/// How a change touched one place of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    Entered,
    Left,
    /// The record was there and still is, with another content.
    Stayed,
}

/// All indexes of one snapshot, persistent like the records.
#[derive(Clone, Default)]
pub(crate) struct Indexes {
    entries: OrdSet<(IndexKey, Key)>,
    /// How many entries each complete place holds: counting costs no walk.
    counts: OrdMap<IndexKey, usize>,
}

impl Indexes {
    /// Moves `key` from the places of its old record to those of its new one, and says how each was touched.
    pub(crate) fn update(&mut self, key: &Key, old: Vec<IndexKey>, new: Vec<IndexKey>) -> Vec<(IndexKey, Touch)> {
        let mut touched = Vec::with_capacity(old.len().max(new.len()));
        for place in &new {
            if !old.contains(place) {
                touched.push((self.insert(place, key), Touch::Entered));
            }
        }
        for place in old {
            if new.contains(&place) {
                touched.push((place, Touch::Stayed));
            } else {
                self.remove(&place, key);
                touched.push((place, Touch::Left));
            }
        }
        touched
    }

    fn insert(&mut self, place: &IndexKey, key: &Key) -> IndexKey {
        // All entries of a place share its bytes.
        let shared = self.counts.get_key_value(place).map_or_else(|| place.clone(), |(shared, _)| shared.clone());
        self.entries.insert((shared.clone(), key.clone()));
        *self.counts.entry(shared.clone()).or_insert(0) += 1;
        shared
    }

    fn remove(&mut self, place: &IndexKey, key: &Key) {
        if self.entries.remove(&(place.clone(), key.clone())).is_none() {
            return;
        }
        match self.counts.get_mut(place) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.counts.remove(place)),
        }
    }

    /// The keys under a place or a beginning of places, in the index's order.
    pub(crate) fn keys<'a>(&'a self, place: &'a IndexKey) -> impl Iterator<Item = &'a Key> {
        let start = (place.clone(), Key::first());
        self.entries.range(start..).take_while(|(found, _)| place.contains(found)).map(|(_, key)| key)
    }

    pub(crate) fn count(&self, place: &IndexKey) -> usize {
        let counts = self.counts.range(place.clone()..);
        counts.take_while(|(found, _)| place.contains(found)).map(|(_, count)| count).sum()
    }
}
