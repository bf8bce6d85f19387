//! The futures of guests, polled only while they have a permit, and charged for what each poll cost.
//!
//! A guest is woken through a waker of ours, which puts it into the queue; the executor hears of it when it has a permit.
//! So the executor's own queue holds only guests whose turn it is, and it does not matter that a fuel yield wakes
//! at once: the guest is simply in the queue again. It also makes moving a guest from one thread's runtime to another's
//! safe: what the guest registered everywhere is our waker, and only the executor's waker behind it changes, at each poll.
//!
//! For the same reason a poll that nothing of the guest's asked for (a `select!` around it, say) does not reach the guest.
//! The thread that has permits to give should be able to use them: run guests on one multi-threaded runtime with as many
//! workers as cores, or a permit may be offered to a guest behind another one on a busy thread until the offer lapses.
//!
//! **Turns.** A guest whose slice is over and whose turn it is again goes on at once, on a thread that is for guests, without a
//! trip through the executor: that wakes another thread each time, which costs a tenth of a core (see [`turn`]).
//!
//! **Locks.** There is one, around the scheduler; it is held for a few set operations and never while foreign code runs:
//! wakers are woken *and dropped* after it is released, because dropping the last waker of a task may drop its future,
//! and that comes back here. The lock is all the memory ordering there is: whatever a waker published before it woke
//! happens before the poll that the wake leads to, because both took the lock.

mod clock;
mod timer;
mod turn;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::scheduler::{ContainerKey, CpuUsage, Decision, Scheduler, TaskKey, TaskShare, WaiterId};
pub use clock::{Clock, SystemClock};
pub use turn::this_thread_is_for_guests;

/// The processor of this node, shared by all guests. A cheap handle.
#[derive(Clone)]
pub struct CpuScheduler {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    /// Tells the timer that it must ring earlier, or that the scheduler is gone.
    timer: Arc<Notify>,
}

struct Queue {
    scheduler: Scheduler<Option<Waker>>,
    /// When the timer will ring; `u64::MAX` while it sleeps.
    rings_at_ns: u64,
}

impl CpuScheduler {
    /// As many permits as `cores`. One timer on `handle` serves all throttled tasks; it ends with the last handle.
    pub fn new(cores: u32, handle: &Handle) -> Self {
        let this = Self::with_clock(cores, Arc::new(SystemClock::new()));
        handle.spawn(timer::run(Arc::downgrade(&this.shared), this.shared.timer.clone()));
        this
    }

    /// Without a timer: the caller calls [`tick`](Self::tick) when the clock says so.
    pub fn with_clock(cores: u32, clock: Arc<dyn Clock>) -> Self {
        let queue = Queue { scheduler: Scheduler::new(cores), rings_at_ns: u64::MAX };
        Self { shared: Arc::new(Shared { clock, queue: Mutex::new(queue), timer: Arc::new(Notify::new()) }) }
    }

    /// A task's part of the processor: `units` are its weight and, where `capped` (Fargate), also the most that it gets.
    pub fn task(&self, units: u32, capped: bool) -> TaskCpu {
        let share = TaskShare { weight: units, cap_units: capped.then_some(units) };
        let now_ns = self.shared.clock.now_ns();
        let key = self.shared.queue.lock().scheduler.register_task(now_ns, share);
        TaskCpu { inner: Arc::new(TaskEntry { shared: self.shared.clone(), key }) }
    }

    /// Lets the tasks go on whose time has come; says when to call again. For those who bring their own clock.
    pub fn tick(&self) -> Option<u64> {
        let now_ns = self.shared.clock.now_ns();
        self.shared.act(|scheduler| {
            scheduler.expire(now_ns);
            scheduler.next_timer_ns()
        })
    }

    /// Permits that guests have or are offered right now.
    pub fn permits_used(&self) -> u32 {
        self.shared.queue.lock().scheduler.permits_used()
    }
}

/// A task's part of the processor; it is given up with the last clone and the last container.
#[derive(Clone)]
pub struct TaskCpu {
    inner: Arc<TaskEntry>,
}

struct TaskEntry {
    shared: Arc<Shared>,
    key: TaskKey,
}

impl TaskCpu {
    /// A container's part of the task, in proportion to `weight` while its neighbours want to run, too.
    pub fn container(&self, weight: u32) -> ContainerCpu {
        let key = self.inner.shared.queue.lock().scheduler.register_container(self.inner.key, weight);
        let key = key.expect("this handle keeps its task registered");
        ContainerCpu { inner: Arc::new(ContainerEntry { task: self.inner.clone(), key }) }
    }

    pub fn usage(&self) -> CpuUsage {
        let now_ns = self.inner.shared.clock.now_ns();
        self.inner.shared.queue.lock().scheduler.task_usage(now_ns, self.inner.key)
    }
}

impl Drop for TaskEntry {
    fn drop(&mut self) {
        self.shared.queue.lock().scheduler.remove_task(self.key);
    }
}

/// A container's part of the processor, shared by all its instances; it is given up with the last clone and guest.
#[derive(Clone)]
pub struct ContainerCpu {
    inner: Arc<ContainerEntry>,
}

struct ContainerEntry {
    task: Arc<TaskEntry>,
    key: ContainerKey,
}

impl ContainerCpu {
    /// A guest of this container. Nothing is charged and nothing is waited for until it is polled. Do not put one into
    /// another: the outer one would hold its permit while the inner waits for its own, and both would be charged.
    pub fn meter<F: Future>(&self, future: F) -> Metered<F> {
        let shared = self.inner.task.shared.clone();
        let id = shared.queue.lock().scheduler.register_waiter(self.inner.key, None);
        let id = id.expect("this handle keeps its container registered");
        let seat = Arc::new(Seat { shared, id });
        let waker = Waker::from(seat.clone());
        Metered { future: Box::pin(future), seat, waker, polled: false, _container: self.clone() }
    }

    pub fn usage(&self) -> CpuUsage {
        let shared = &self.inner.task.shared;
        let now_ns = shared.clock.now_ns();
        shared.queue.lock().scheduler.container_usage(now_ns, self.inner.key)
    }
}

impl Drop for ContainerEntry {
    fn drop(&mut self) {
        self.task.shared.queue.lock().scheduler.remove_container(self.key);
    }
}

/// A guest's future. It holds a permit only within `poll`; between a grant and that poll the permit is set aside for a
/// bounded time. Dropped at any moment, it leaves nothing behind.
pub struct Metered<F> {
    future: Pin<Box<F>>,
    seat: Arc<Seat>,
    /// The waker of `seat`, made once.
    waker: Waker,
    polled: bool,
    _container: ContainerCpu,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let first = !std::mem::replace(&mut this.polled, true);
        if this.seat.begin(first, cx.waker()) != Decision::Run {
            return Poll::Pending;
        }
        let (shared, id) = (&this.seat.shared, this.seat.id);
        let mut turn = turn::Turn::begin(id, shared.clock.thread_cpu_ns());
        loop {
            // Should the guest's host code panic here, the permit is returned when this future is dropped.
            let polled = this.future.as_mut().poll(&mut Context::from_waker(&this.waker));
            let cpu_ns = turn.slice(shared.clock.thread_cpu_ns());
            let now_ns = shared.clock.now_ns();
            let goes_on = polled.is_pending() && turn.may_go_on(cpu_ns);
            let stays = shared.act(|scheduler| {
                if goes_on {
                    return scheduler.finish_and_stay(now_ns, id, cpu_ns);
                }
                scheduler.finish(now_ns, id, cpu_ns);
                false
            });
            if !stays {
                turn.end();
                return polled;
            }
        }
    }
}

impl<F> Drop for Metered<F> {
    fn drop(&mut self) {
        let shared = &self.seat.shared;
        let now_ns = shared.clock.now_ns();
        let waker = shared.act(|scheduler| scheduler.remove(now_ns, self.seat.id));
        drop(waker);
    }
}

/// A guest's place in the queue, as its wakers know it. They may outlive the guest: its id is never used again.
struct Seat {
    shared: Arc<Shared>,
    id: WaiterId,
}

impl Seat {
    /// Keeps the executor's waker, and asks for a permit.
    fn begin(&self, first: bool, executor: &Waker) -> Decision {
        let now_ns = self.shared.clock.now_ns();
        let (decision, _old) = self.shared.act(|scheduler| {
            let old = match scheduler.payload_mut(self.id) {
                Some(Some(kept)) if kept.will_wake(executor) => None,
                Some(kept) => kept.replace(executor.clone()),
                None => None,
            };
            if first {
                scheduler.want(now_ns, self.id);
            }
            (scheduler.begin(now_ns, self.id), old)
        });
        decision
    }
}

impl Wake for Seat {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let now_ns = self.shared.clock.now_ns();
        self.shared.act(|scheduler| scheduler.want(now_ns, self.id));
    }
}

impl Shared {
    /// Does something to the scheduler and then, without the lock, wakes those who were granted a permit by it.
    fn act<R>(&self, action: impl FnOnce(&mut Scheduler<Option<Waker>>) -> R) -> R {
        let mut queue = self.queue.lock();
        let result = action(&mut queue.scheduler);
        let first = queue.next_granted();
        // More than one at a time is rare (a task with several instances goes on), and no allocation when it is not so.
        let more: Vec<Waker> = std::iter::from_fn(|| queue.next_granted()).collect();
        let rings_at_ns = queue.scheduler.next_timer_ns().unwrap_or(u64::MAX);
        let earlier = rings_at_ns < queue.rings_at_ns;
        if earlier {
            queue.rings_at_ns = rings_at_ns;
        }
        drop(queue);
        first.into_iter().chain(more).for_each(Waker::wake);
        if earlier {
            self.timer.notify_one();
        }
        result
    }
}

impl Queue {
    fn next_granted(&mut self) -> Option<Waker> {
        loop {
            let id = self.scheduler.take_granted()?;
            // Each waiter leaves its waker before it asks for the first time.
            if let Some(waker) = self.scheduler.payload_mut(id).and_then(|waker| waker.clone()) {
                return Some(waker);
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.timer.notify_one();
    }
}
