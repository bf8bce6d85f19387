//! The moves of entities between the sets of the scheduler, in the order in which the life of a poll goes through them.

use super::{Container, MAX_OWED_NS, OFFER_NS, Place, Scheduler, State, Task, VIRTUAL_SCALE, WaiterId};
use crate::runtime::cpu::slab::Key;

impl<W> Scheduler<W> {
    /// Catches up with the clock. Readings of several threads may arrive out of order; time never goes back.
    pub(super) fn advance(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while let Some(&(until_ns, task)) = self.held.first()
            && until_ns <= self.now_ns
        {
            self.place(task);
        }
        // A permit is taken back only for somebody who waits for it.
        while let Some(&(lapses_at_ns, id)) = self.offers.first()
            && lapses_at_ns <= self.now_ns
            && !self.ready.is_empty()
        {
            self.lapse(id);
            self.dispatch();
        }
    }

    pub(super) fn enqueue(&mut self, id: Key, seat: u64) {
        let waiter = self.waiters.get_mut(id).expect("only called for waiters that were found");
        waiter.state = State::Queued { seat };
        let key = waiter.container;
        let container = self.containers.get_mut(key).expect("a container outlives its waiters");
        let task = self.tasks.get_mut(container.task).expect("a task outlives its containers");
        if container.queue.is_empty() {
            let owed = if container.permits == 0 { 0 } else { virtual_time(MAX_OWED_NS, container.weight) };
            container.virtual_ns = container.virtual_ns.max(task.virtual_now.saturating_sub(owed));
            task.waiting.insert((container.virtual_ns, key));
        }
        container.queue.insert((seat, id));
        if task.place == Place::Nowhere {
            let owed = if task.permits == 0 { 0 } else { virtual_time(MAX_OWED_NS, task.weight) };
            task.virtual_ns = task.virtual_ns.max(self.virtual_now.saturating_sub(owed));
        }
        let task = container.task;
        self.place(task);
        self.count_held_container(key);
    }

    /// Takes a waiter out of its container's queue.
    pub(super) fn dequeue(&mut self, id: Key, key: Key, seat: u64) {
        let container = self.containers.get_mut(key).expect("a container outlives its waiters");
        let task = self.tasks.get_mut(container.task).expect("a task outlives its containers");
        container.queue.remove(&(seat, id));
        if container.queue.is_empty() {
            task.waiting.remove(&(container.virtual_ns, key));
        }
        let task = container.task;
        self.place(task);
        self.count_held_container(key);
    }

    /// Offers free permits to those whose turn it is.
    pub(super) fn dispatch(&mut self) {
        while self.permits_used < self.cores
            && let Some(&(virtual_ns, task_key)) = self.ready.first()
        {
            self.virtual_now = self.virtual_now.max(virtual_ns);
            let task = self.tasks.get_mut(task_key).expect("a task leaves the queue before it goes");
            let &(virtual_ns, key) = task.waiting.first().expect("a ready task has a container that waits");
            task.virtual_now = task.virtual_now.max(virtual_ns);
            task.permits += 1;
            let container = self.containers.get_mut(key).expect("a container leaves the queue before it goes");
            let &(seat, id) = container.queue.first().expect("a waiting container has a waiter");
            container.permits += 1;
            self.permits_used += 1;
            let lapses_at_ns = self.now_ns.saturating_add(OFFER_NS);
            self.offers.insert((lapses_at_ns, id));
            self.waiters.get_mut(id).expect("a waiter leaves the queue before it goes").state =
                State::Offered { seat, lapses_at_ns };
            self.granted.push_back(WaiterId(id));
            self.dequeue(id, key, seat);
        }
    }

    /// Adds CPU time to a container and its task, and throttles the task where that is more than its cap.
    pub(super) fn charge(&mut self, key: Key, cpu_ns: u64) {
        let container = self.containers.get_mut(key).expect("a container outlives its waiters");
        let task = self.tasks.get_mut(container.task).expect("a task outlives its containers");
        if !container.queue.is_empty() {
            task.waiting.remove(&(container.virtual_ns, key));
        }
        container.virtual_ns += virtual_time(cpu_ns, container.weight);
        if !container.queue.is_empty() {
            task.waiting.insert((container.virtual_ns, key));
        }
        task.virtual_ns += virtual_time(cpu_ns, task.weight);
        for usage in [&mut container.usage, &mut task.usage] {
            usage.charged_ns += cpu_ns;
            usage.polls += 1;
        }
        if let Some(until_ns) = task.bucket.as_mut().and_then(|bucket| bucket.charge(self.now_ns, cpu_ns)) {
            task.usage.throttled_times += u64::from(task.throttled_until_ns.is_none());
            task.throttled_until_ns = Some(until_ns);
        }
        let task = container.task;
        self.place(task);
    }

    /// Returns one permit of a container.
    pub(super) fn release(&mut self, key: Key) {
        let container = self.containers.get_mut(key).expect("a container outlives its waiters");
        container.permits -= 1;
        self.tasks.get_mut(container.task).expect("a task outlives its containers").permits -= 1;
        self.permits_used -= 1;
    }

    fn lapse(&mut self, id: Key) {
        let waiter = self.waiters.get_mut(id).expect("an offer goes with its waiter");
        let container = waiter.container;
        if let State::Offered { seat, lapses_at_ns } = waiter.state {
            waiter.state = State::Lapsed { seat };
            self.offers.remove(&(lapses_at_ns, id));
            self.release(container);
        }
    }

    /// Puts a task into the set where it belongs now, and keeps count of the time that its cap held it.
    fn place(&mut self, key: Key) {
        let now_ns = self.now_ns;
        let task = self.tasks.get_mut(key).expect("only called for tasks that were found");
        if task.throttled_until_ns.is_some_and(|until_ns| until_ns <= now_ns) {
            task.throttled_until_ns = None;
            // What it was held back is not owed to it: the cap is its own.
            task.virtual_ns = task.virtual_ns.max(self.virtual_now);
        }
        let place = match task.throttled_until_ns {
            _ if task.waiting.is_empty() => Place::Nowhere,
            Some(until_ns) => Place::Held(until_ns),
            None => Place::Ready(task.virtual_ns),
        };
        task.count_held(now_ns, place);
        if place == task.place {
            return;
        }
        let before = std::mem::replace(&mut task.place, place);
        let held_or_not = before.is_held() != place.is_held();
        let waiting: Vec<Key> =
            if held_or_not { task.waiting.iter().map(|(_, key)| *key).collect() } else { Vec::new() };
        match before {
            Place::Nowhere => false,
            Place::Ready(virtual_ns) => self.ready.remove(&(virtual_ns, key)),
            Place::Held(until_ns) => self.held.remove(&(until_ns, key)),
        };
        match place {
            Place::Nowhere => false,
            Place::Ready(virtual_ns) => self.ready.insert((virtual_ns, key)),
            Place::Held(until_ns) => self.held.insert((until_ns, key)),
        };
        waiting.into_iter().for_each(|key| self.count_held_container(key));
    }

    /// Keeps count of the time that its task's cap holds guests of a container.
    fn count_held_container(&mut self, key: Key) {
        let now_ns = self.now_ns;
        let is_held = self.task_of(key).place.is_held();
        let container = self.containers.get_mut(key).expect("only called for containers that were found");
        match (container.held_since_ns, is_held && !container.queue.is_empty()) {
            (None, true) => {
                container.held_since_ns = Some(now_ns);
                container.usage.throttled_times += 1;
            }
            (Some(since_ns), false) => {
                container.held_since_ns = None;
                container.usage.throttled_ns += now_ns.saturating_sub(since_ns);
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    pub(super) fn task_of(&self, container: Key) -> &Task {
        let Container { task, .. } = self.containers.get(container).expect("a container outlives its waiters");
        self.tasks.get(*task).expect("a task outlives its containers")
    }
}

impl Task {
    /// What was used until now, the present hold included.
    pub(super) fn usage(&self, now_ns: u64) -> super::CpuUsage {
        let held_ns = self.held_since_ns.map_or(0, |since_ns| now_ns.saturating_sub(since_ns));
        super::CpuUsage { throttled_ns: self.usage.throttled_ns + held_ns, ..self.usage }
    }

    fn count_held(&mut self, now_ns: u64, place: Place) {
        match (self.held_since_ns, place) {
            (None, Place::Held(_)) => self.held_since_ns = Some(now_ns),
            (Some(since_ns), Place::Nowhere | Place::Ready(_)) => {
                self.usage.throttled_ns += now_ns.saturating_sub(since_ns);
                self.held_since_ns = None;
            }
            (None, _) | (Some(_), Place::Held(_)) => {}
        }
    }
}

impl Container {
    /// What was used until now, the present hold included.
    pub(super) fn usage(&self, now_ns: u64) -> super::CpuUsage {
        let held_ns = self.held_since_ns.map_or(0, |since_ns| now_ns.saturating_sub(since_ns));
        super::CpuUsage { throttled_ns: self.usage.throttled_ns + held_ns, ..self.usage }
    }
}

impl Place {
    fn is_held(self) -> bool {
        matches!(self, Place::Held(_))
    }
}

fn virtual_time(cpu_ns: u64, weight: u32) -> u128 {
    u128::from(cpu_ns) * VIRTUAL_SCALE / u128::from(weight)
}
