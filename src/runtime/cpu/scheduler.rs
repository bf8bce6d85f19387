//! Who may be polled next: a weighted fair queue of two levels (task, then container), with as many permits as cores.
//!
//! An entity's *virtual runtime* is the CPU time that it was charged, divided by its weight; the one with the least goes
//! first. Who comes, or comes back, starts at the present virtual time, so that nobody saves up credit by sleeping, and
//! keeps what it is ahead, so that nobody loses a debt by sleeping. All instances of a container share its entity, and
//! all containers of a task share the task's: more instances get no more of the processor. A container may use
//! what its neighbours in the task leave, and a task what other tasks leave, up to its cap (see [`Bucket`]).
//!
//! A *waiter* is one guest. It is in the queue from the moment it was woken, not from the moment some thread polls it:
//! otherwise, with as many threads as permits, the queue would always be empty and the executor's order would decide.
//! When it is its turn, a permit is set aside for it (it is *offered*) until it is polled. If it is not polled in time, it
//! loses the permit to the next one but keeps its seat.
//!
//! Every operation costs O(log n); what is idle is in no queue and costs nothing. Invariant, restored by `dispatch` at
//! the end of each operation: no permit is free while somebody is ready.

mod queue;
mod register;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use super::bucket::Bucket;
use super::slab::{Key, Slab};

/// The kernel's and ECS's own least: a container with `cpu` 0 or none has 2 shares.
const MIN_WEIGHT: u32 = 2;
/// Virtual time is CPU nanoseconds × this / weight: the largest weight (196,608 units) still tells nanoseconds apart.
const VIRTUAL_SCALE: u128 = 1 << 20;
/// How much CPU time an entity that always wanted to run can be owed. Fair queueing owes more only to one that cannot use
/// its share (one instance on two cores with most of the weight); without a bound, that one's second instance would
/// starve all others for as long as the first has run.
const MAX_OWED_NS: u64 = 20_000_000;
/// How long a permit is set aside for a waiter that was woken. Its executor normally takes microseconds; five
/// milliseconds keep the timer at 200 wake-ups a second while cores are short.
const OFFER_NS: u64 = 5_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey(Key);
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerKey(Key);
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(Key);

/// What a task may use of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskShare {
    /// What it gets in proportion to others when cores are short.
    pub weight: u32,
    /// What it gets at most, in units of 1/1024 core; `None` lets it use whatever is idle.
    pub cap_units: Option<u32>,
}

/// What was used, and what was held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// CPU time of the threads that polled the guests.
    pub charged_ns: u64,
    /// Wall time during which some guest wanted to run and the task's own cap held it.
    pub throttled_ns: u64,
    /// How many polls were charged.
    pub polls: u64,
    /// How often the task used up its cap; of a container, how often that held it.
    pub throttled_times: u64,
}

/// The answer to a guest that is about to be polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It has a permit, until `finish` or `remove`.
    Run,
    /// It is in the queue and will be granted a permit.
    Wait,
    /// It is in the queue, and its task is over its cap until then.
    Throttled { until_ns: u64 },
    /// Nothing woke it: there is nothing to poll for.
    Asleep,
}

#[derive(Debug)]
struct Task {
    weight: u32,
    virtual_ns: u128,
    bucket: Option<Bucket>,
    throttled_until_ns: Option<u64>,
    /// Since when the cap has been holding somebody who wants to run.
    held_since_ns: Option<u64>,
    /// Its containers that have somebody in the queue, by virtual runtime.
    waiting: BTreeSet<(u128, Key)>,
    /// The virtual time among its containers.
    virtual_now: u128,
    place: Place,
    /// Permits that its guests have or are offered.
    permits: u32,
    usage: CpuUsage,
}

/// In which set of the scheduler a task is, and under what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Ready(u128),
    Held(u64),
}

#[derive(Debug)]
struct Container {
    task: Key,
    weight: u32,
    virtual_ns: u128,
    /// Who waits, by seat: first come, first served.
    queue: BTreeSet<(u64, Key)>,
    permits: u32,
    /// Since when the task's cap has been holding somebody of it.
    held_since_ns: Option<u64>,
    usage: CpuUsage,
}

#[derive(Debug)]
struct Waiter<W> {
    container: Key,
    state: State,
    payload: W,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asleep,
    Queued {
        seat: u64,
    },
    Offered {
        seat: u64,
        lapses_at_ns: u64,
    },
    /// It was offered a permit and did not come; it need not queue up again from the end when it does.
    Lapsed {
        seat: u64,
    },
    Running {
        woken: bool,
    },
}

/// The queue. `W` is what the caller keeps for each waiter (its waker).
#[derive(Debug)]
pub struct Scheduler<W> {
    cores: u32,
    permits_used: u32,
    now_ns: u64,
    virtual_now: u128,
    next_seat: u64,
    tasks: Slab<Task>,
    containers: Slab<Container>,
    waiters: Slab<Waiter<W>>,
    /// Tasks that may run and want to, by virtual runtime.
    ready: BTreeSet<(u128, Key)>,
    /// Tasks that want to run and are over their cap, by the time when they may go on.
    held: BTreeSet<(u64, Key)>,
    /// Offers that nobody has taken up yet, by the time when they lapse.
    offers: BTreeSet<(u64, Key)>,
    granted: VecDeque<WaiterId>,
}

impl<W> Scheduler<W> {
    pub fn new(cores: u32) -> Self {
        Self {
            cores: cores.max(1),
            permits_used: 0,
            now_ns: 0,
            virtual_now: 0,
            next_seat: 0,
            tasks: Slab::new(),
            containers: Slab::new(),
            waiters: Slab::new(),
            ready: BTreeSet::new(),
            held: BTreeSet::new(),
            offers: BTreeSet::new(),
            granted: VecDeque::new(),
        }
    }

    /// The waiter was woken: it wants to be polled.
    pub fn want(&mut self, now_ns: u64, id: WaiterId) {
        self.advance(now_ns);
        match self.waiters.get_mut(id.0).map(|waiter| &mut waiter.state) {
            Some(State::Asleep) => {
                let seat = self.next_seat;
                self.next_seat += 1;
                self.enqueue(id.0, seat);
            }
            Some(State::Running { woken }) => *woken = true,
            Some(State::Queued { .. } | State::Offered { .. } | State::Lapsed { .. }) | None => {}
        }
        self.dispatch();
    }

    /// The waiter is here to be polled. After `Run` the caller owes a `finish` (or a `remove`).
    pub fn begin(&mut self, now_ns: u64, id: WaiterId) -> Decision {
        self.advance(now_ns);
        if let Some(State::Lapsed { seat }) = self.waiters.get(id.0).map(|waiter| waiter.state) {
            self.enqueue(id.0, seat);
        }
        self.dispatch();
        let Some(waiter) = self.waiters.get_mut(id.0) else { return Decision::Asleep };
        let container = waiter.container;
        match waiter.state {
            State::Offered { lapses_at_ns, .. } => {
                waiter.state = State::Running { woken: false };
                self.offers.remove(&(lapses_at_ns, id.0));
                Decision::Run
            }
            State::Queued { .. } => match self.task_of(container).throttled_until_ns {
                Some(until_ns) => Decision::Throttled { until_ns },
                None => Decision::Wait,
            },
            State::Asleep | State::Lapsed { .. } | State::Running { .. } => Decision::Asleep,
        }
    }

    /// The poll is over and cost this much: charges it and gives the permit on. A waiter that was woken meanwhile is in
    /// the queue again at once.
    pub fn finish(&mut self, now_ns: u64, id: WaiterId, cpu_ns: u64) {
        self.advance(now_ns);
        let Some(waiter) = self.waiters.get_mut(id.0) else { return };
        let State::Running { woken } = waiter.state else { return };
        waiter.state = State::Asleep;
        let container = waiter.container;
        self.charge(container, cpu_ns);
        if woken {
            // Before the permit is returned: an entity that never stops wanting is not a newcomer.
            let seat = self.next_seat;
            self.next_seat += 1;
            self.enqueue(id.0, seat);
        }
        self.release(container);
        self.dispatch();
    }

    /// The same where the caller would go on at once: true where it is its turn again, without anybody being woken for it.
    pub fn finish_and_stay(&mut self, now_ns: u64, id: WaiterId, cpu_ns: u64) -> bool {
        self.finish(now_ns, id, cpu_ns);
        self.begin(now_ns, id) == Decision::Run
    }

    /// Time has passed: lets throttled tasks go on, and takes back permits that nobody came for.
    pub fn expire(&mut self, now_ns: u64) {
        self.advance(now_ns);
        self.dispatch();
    }

    /// When `expire` would next change something.
    pub fn next_timer_ns(&self) -> Option<u64> {
        let resumes = self.held.first().map(|(at_ns, _)| *at_ns);
        let lapses = self.offers.first().map(|(at_ns, _)| *at_ns).filter(|_| !self.ready.is_empty());
        resumes.into_iter().chain(lapses).min()
    }

    /// Who was offered a permit since this was last called, and is to be woken to take it up.
    pub fn take_granted(&mut self) -> Option<WaiterId> {
        while let Some(id) = self.granted.pop_front() {
            // Who is being polled right now has taken it up already.
            if self.waiters.get(id.0).is_some_and(|waiter| matches!(waiter.state, State::Offered { .. })) {
                return Some(id);
            }
        }
        None
    }
}
