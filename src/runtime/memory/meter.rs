//! Counters of held memory, one for a task and one for each of its containers below it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::held_time::HeldTime;

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Container,
    Task,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container => "container",
            Self::Task => "task",
        })
    }
}

/// More was asked for than a limit leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {level}'s memory limit is {limit_bytes} bytes: {held_bytes} are held, {asked_bytes} more were asked for")]
pub struct OutOfMemory {
    pub level: Level,
    pub limit_bytes: u64,
    pub held_bytes: u64,
    pub asked_bytes: u64,
}

/// A counter with a limit. Clones count together.
///
/// A counter publishes nothing but itself, so its operations are `Relaxed`. Who waits for memory is told through
/// [`Notify`], which brings the ordering that the waiter needs.
#[derive(Clone, Debug)]
pub struct MemoryMeter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    level: Level,
    /// `u64::MAX` where there is none.
    limit_bytes: u64,
    held_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    time: HeldTime,
    task: Option<MemoryMeter>,
    /// Of a task: what all tasks of the node hold.
    node: NodeMeter,
    freed: Notify,
    wanted: Notify,
}

/// What all tasks of a node hold together. It refuses nothing: a node promises more than it has, and whoever watches it
/// decides who goes when the promises fall due. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct NodeMeter {
    held_bytes: Arc<AtomicU64>,
}

impl NodeMeter {
    pub fn held(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// The part of a task that is counted elsewhere, and told from time to time.
    pub fn share(&self) -> NodeShare {
        NodeShare { node: self.clone(), bytes: 0 }
    }
}

/// What a task in a process of its own holds of the node; given back when dropped.
#[derive(Debug)]
pub struct NodeShare {
    node: NodeMeter,
    bytes: u64,
}

impl NodeShare {
    pub fn set(&mut self, bytes: u64) {
        // In this order the sum is never below what is held.
        self.node.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.node.held_bytes.fetch_sub(std::mem::replace(&mut self.bytes, bytes), Ordering::Relaxed);
    }
}

impl Drop for NodeShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl MemoryMeter {
    /// Of a task; `None` leaves it unbounded (EC2 and EXTERNAL, where only the containers have limits).
    pub fn task(limit_bytes: Option<u64>, node: &NodeMeter) -> Self {
        Self::new(Level::Task, limit_bytes, None, node)
    }

    /// Of a container of this task: what it holds is held by the task, too.
    pub fn container(&self, limit_bytes: Option<u64>) -> Self {
        let root = self.root();
        Self::new(Level::Container, limit_bytes, Some(root.clone()), &root.inner.node)
    }

    fn new(level: Level, limit_bytes: Option<u64>, task: Option<Self>, node: &NodeMeter) -> Self {
        let inner = Inner {
            level,
            limit_bytes: limit_bytes.unwrap_or(u64::MAX),
            held_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            time: HeldTime::begin(),
            task,
            node: node.clone(),
            freed: Notify::new(),
            wanted: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes `bytes` of the container and of its task, or of neither.
    ///
    /// The task is looked at first, so that a refusal by the task normally never shows up in the container's counter,
    /// where it could get another guest of the container refused, for good, for a moment's sake.
    pub fn reserve(&self, bytes: u64) -> Result<(), OutOfMemory> {
        if let Some(task) = &self.inner.task {
            task.room_for(bytes)?;
        }
        self.take(bytes)?;
        if let Some(task) = &self.inner.task
            && let Err(refused) = task.take(bytes)
        {
            self.give_back(bytes);
            return Err(refused);
        }
        for meter in self.levels() {
            meter.inner.peak_bytes.fetch_max(meter.held(), Ordering::Relaxed);
        }
        self.inner.node.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back what was reserved, and wakes those who wait for memory.
    pub fn release(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        for meter in self.levels() {
            meter.give_back(bytes);
        }
        self.inner.node.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        // The level that refused is not known here, but whatever a container gives back, its task does, too.
        self.root().inner.freed.notify_waiters();
    }

    pub fn held(&self) -> u64 {
        self.inner.held_bytes.load(Ordering::Relaxed)
    }

    /// The most that was held at once.
    pub fn peak(&self) -> u64 {
        self.inner.peak_bytes.load(Ordering::Relaxed)
    }

    /// What was held, times how long.
    pub fn gb_seconds(&self) -> f64 {
        self.inner.time.gb_seconds(self.held())
    }

    /// `None` where this level is unbounded.
    pub fn limit(&self) -> Option<u64> {
        Some(self.inner.limit_bytes).filter(|limit_bytes| *limit_bytes != u64::MAX)
    }

    /// What could be reserved now.
    pub fn room(&self) -> u64 {
        self.levels().map(|meter| meter.inner.limit_bytes.saturating_sub(meter.held())).min().unwrap_or(0)
    }

    /// The smallest of the limits that bind here.
    pub fn capacity(&self) -> u64 {
        self.levels().map(|meter| meter.inner.limit_bytes).min().unwrap_or(u64::MAX)
    }

    /// Resolves when something of this container or of its task is given back after this was called (not: first polled).
    pub(super) fn freed(&self) -> Notified<'_> {
        self.root().inner.freed.notified()
    }

    /// Somebody waits for memory of this task: what is held and not needed may be given back.
    pub(super) fn want(&self) {
        self.root().inner.wanted.notify_waiters();
    }

    /// Resolves when somebody waits for memory of this task after this was called.
    pub fn wanted(&self) -> Notified<'_> {
        self.root().inner.wanted.notified()
    }

    fn root(&self) -> &Self {
        self.inner.task.as_ref().unwrap_or(self)
    }

    fn levels(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.inner.task.as_ref())
    }

    fn room_for(&self, bytes: u64) -> Result<(), OutOfMemory> {
        self.sum(self.held(), bytes).map(drop)
    }

    fn take(&self, bytes: u64) -> Result<(), OutOfMemory> {
        let mut held_bytes = self.held();
        loop {
            let sum = self.sum(held_bytes, bytes)?;
            let counter = &self.inner.held_bytes;
            match counter.compare_exchange_weak(held_bytes, sum, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.inner.time.change(held_bytes, sum);
                    return Ok(());
                }
                Err(now) => held_bytes = now,
            }
        }
    }

    fn give_back(&self, bytes: u64) {
        let before = self.inner.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "more is given back than was reserved");
        self.inner.time.change(before, before.saturating_sub(bytes));
    }

    fn sum(&self, held_bytes: u64, bytes: u64) -> Result<u64, OutOfMemory> {
        let Inner { level, limit_bytes, .. } = *self.inner;
        held_bytes.checked_add(bytes).filter(|sum| *sum <= limit_bytes).ok_or(OutOfMemory {
            level,
            limit_bytes,
            held_bytes,
            asked_bytes: bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_refusal_says_whose_limit_it_was_and_takes_nothing() {
        let task = MemoryMeter::task(Some(100), &NodeMeter::default());
        let (a, b) = (task.container(Some(80)), task.container(None));
        a.reserve(70).unwrap();
        let refused = a.reserve(11).unwrap_err();
        assert_eq!((refused.level, refused.limit_bytes, refused.held_bytes), (Level::Container, 80, 70));
        let refused = b.reserve(31).unwrap_err();
        assert_eq!((refused.level, refused.limit_bytes, refused.held_bytes), (Level::Task, 100, 70));
        assert_eq!((a.held(), b.held(), task.held(), b.room()), (70, 0, 70, 30));
        a.release(70);
        assert_eq!((task.held(), task.peak(), a.peak()), (0, 70, 70));
        assert!(b.reserve(u64::MAX).is_err());
    }

    proptest! {
        #[test]
        fn counts_what_a_sum_counts(steps in prop::collection::vec((0usize..3, 0u64..60, any::<bool>()), 0..200)) {
            let node = NodeMeter::default();
            let task = MemoryMeter::task(Some(200), &node);
            let limits = [Some(100), Some(150), None];
            let meters = limits.map(|limit| task.container(limit));
            let mut held = [0u64; 3];
            for (n, bytes, take) in steps {
                if take {
                    let fits = held[n] + bytes <= limits[n].unwrap_or(u64::MAX) && held.iter().sum::<u64>() + bytes <= 200;
                    prop_assert_eq!(meters[n].reserve(bytes).is_ok(), fits);
                    held[n] += if fits { bytes } else { 0 };
                } else {
                    let bytes = bytes.min(held[n]);
                    meters[n].release(bytes);
                    held[n] -= bytes;
                }
                prop_assert_eq!(meters.each_ref().map(MemoryMeter::held), held);
                prop_assert_eq!(task.held(), held.iter().sum::<u64>());
                prop_assert_eq!(node.held(), task.held());
            }
        }
    }

    #[test]
    fn what_is_counted_elsewhere_counts_here() {
        let node = NodeMeter::default();
        MemoryMeter::task(None, &node).reserve(5).unwrap();
        let mut share = node.share();
        for (bytes, sum) in [(10, 15), (3, 8), (20, 25)] {
            share.set(bytes);
            assert_eq!(node.held(), sum);
        }
        drop(share);
        assert_eq!(node.held(), 5);
    }

    #[test]
    fn threads_together_never_exceed_a_limit_and_lose_nothing() {
        let task = MemoryMeter::task(Some(1000), &NodeMeter::default());
        let meters: Vec<_> = (0..4).map(|_| task.container(Some(400))).collect();
        std::thread::scope(|scope| {
            for n in 0..8u64 {
                let meter = &meters[n as usize % 4];
                scope.spawn(move || {
                    for round in 0..2000 {
                        let bytes = (n * 31 + round) % 200 + 1;
                        if meter.reserve(bytes).is_ok() {
                            assert!(meter.held() <= 400);
                            meter.release(bytes);
                        }
                    }
                });
            }
        });
        assert_eq!((task.held(), meters.iter().map(MemoryMeter::held).sum::<u64>()), (0, 0));
        assert!(task.peak() <= 1000);
    }
}
