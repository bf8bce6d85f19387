//! Tasks, containers and waiters come and go. A task outlives its containers and a container its waiters: the callers'
//! handles hold on to each other in that order.

use std::collections::BTreeSet;

use super::{
    Container, ContainerKey, CpuUsage, MIN_WEIGHT, Place, Scheduler, State, Task, TaskKey, TaskShare, Waiter, WaiterId,
};
use crate::runtime::cpu::bucket::Bucket;

impl<W> Scheduler<W> {
    pub fn register_task(&mut self, now_ns: u64, share: TaskShare) -> TaskKey {
        self.now_ns = self.now_ns.max(now_ns);
        TaskKey(self.tasks.insert(Task {
            weight: share.weight.max(MIN_WEIGHT),
            virtual_ns: self.virtual_now,
            bucket: share.cap_units.map(|units| Bucket::new(units, self.now_ns)),
            throttled_until_ns: None,
            held_since_ns: None,
            waiting: BTreeSet::new(),
            virtual_now: 0,
            place: Place::Nowhere,
            permits: 0,
            usage: CpuUsage::default(),
        }))
    }

    /// `None` where there is no such task.
    pub fn register_container(&mut self, task: TaskKey, weight: u32) -> Option<ContainerKey> {
        let virtual_ns = self.tasks.get(task.0)?.virtual_now;
        Some(ContainerKey(self.containers.insert(Container {
            task: task.0,
            weight: weight.max(MIN_WEIGHT),
            virtual_ns,
            queue: BTreeSet::new(),
            permits: 0,
            held_since_ns: None,
            usage: CpuUsage::default(),
        })))
    }

    /// `None` where there is no such container.
    pub fn register_waiter(&mut self, container: ContainerKey, payload: W) -> Option<WaiterId> {
        self.containers.get(container.0)?;
        Some(WaiterId(self.waiters.insert(Waiter { container: container.0, state: State::Asleep, payload })))
    }

    pub fn payload_mut(&mut self, id: WaiterId) -> Option<&mut W> {
        self.waiters.get_mut(id.0).map(|waiter| &mut waiter.payload)
    }

    /// The waiter goes, whatever it was doing; a permit that it had, or was offered, goes to the next one.
    pub fn remove(&mut self, now_ns: u64, id: WaiterId) -> Option<W> {
        self.advance(now_ns);
        let Waiter { container, state, payload } = self.waiters.remove(id.0)?;
        match state {
            State::Asleep | State::Lapsed { .. } => {}
            State::Queued { seat } => self.dequeue(id.0, container, seat),
            State::Offered { lapses_at_ns, .. } => {
                self.offers.remove(&(lapses_at_ns, id.0));
                self.release(container);
            }
            State::Running { .. } => self.release(container),
        }
        self.dispatch();
        Some(payload)
    }

    /// Call it when its waiters are gone.
    pub fn remove_container(&mut self, key: ContainerKey) {
        let container = self.containers.remove(key.0);
        debug_assert!(container.is_none_or(|it| it.queue.is_empty() && it.permits == 0), "its waiters go first");
    }

    /// Call it when its containers are gone.
    pub fn remove_task(&mut self, key: TaskKey) {
        let task = self.tasks.remove(key.0);
        debug_assert!(task.is_none_or(|it| it.waiting.is_empty() && it.permits == 0), "its containers go first");
    }

    pub fn task_usage(&self, now_ns: u64, key: TaskKey) -> CpuUsage {
        self.tasks.get(key.0).map(|task| task.usage(now_ns.max(self.now_ns))).unwrap_or_default()
    }

    pub fn container_usage(&self, now_ns: u64, key: ContainerKey) -> CpuUsage {
        self.containers.get(key.0).map(|container| container.usage(now_ns.max(self.now_ns))).unwrap_or_default()
    }

    /// Permits that guests have or are offered; never more than cores.
    pub fn permits_used(&self) -> u32 {
        self.permits_used
    }

    /// Tasks, containers and waiters that are registered.
    pub fn registered(&self) -> (usize, usize, usize) {
        (self.tasks.len(), self.containers.len(), self.waiters.len())
    }
}
