//! How often one task may ask: what it costs to answer is the node's time, not the task's.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::model::{TaskId, Timestamp};

/// Requests a second, and at once after a pause. The ECS agent allows 40 and 60 for all tasks of an instance together; a task
/// here has its own, and a collector that reads every container's stats each second stays far below it.
const REQUESTS_PER_SECOND: u64 = 100;
const REQUESTS_AT_ONCE: u64 = 200;
/// Tasks that are remembered before those that ended are dropped.
const TASKS_REMEMBERED: usize = 4_096;

#[derive(Default)]
pub(super) struct Rates(Mutex<HashMap<TaskId, Bucket>>);

/// Thousandths of requests that are left, and since when.
struct Bucket {
    left: u64,
    at: Timestamp,
}

impl Rates {
    /// True where the task may ask now.
    pub fn take(&self, task: TaskId, now: Timestamp, is_live: impl Fn(TaskId) -> bool) -> bool {
        let mut buckets = self.0.lock();
        if buckets.len() >= TASKS_REMEMBERED && !buckets.contains_key(&task) {
            // A full bucket is like a new one.
            buckets.retain(|task, bucket| bucket.filled(now) < REQUESTS_AT_ONCE * 1000 && is_live(*task));
        }
        let bucket = buckets.entry(task).or_insert(Bucket { left: REQUESTS_AT_ONCE * 1000, at: now });
        bucket.left = bucket.filled(now);
        bucket.at = bucket.at.max(now);
        let may = bucket.left >= 1000;
        if may {
            bucket.left -= 1000;
        }
        may
    }
}

impl Bucket {
    fn filled(&self, now: Timestamp) -> u64 {
        let passed_ms = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let gained = passed_ms.saturating_mul(REQUESTS_PER_SECOND);
        self.left.saturating_add(gained).min(REQUESTS_AT_ONCE * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_asks_without_end_is_slowed_down_and_no_other_is() {
        let rates = Rates::default();
        let asked = |task, now| (0..1000).filter(|_| rates.take(TaskId(task), Timestamp(now), |_| true)).count();
        assert_eq!(asked(1, 0), 200);
        assert_eq!(asked(1, 100), 10);
        assert_eq!(asked(2, 100), 200);
        assert_eq!(asked(1, 60_000), 200);
    }

    #[test]
    fn what_ended_is_forgotten() {
        let rates = Rates::default();
        for task in 0..10_000 {
            rates.take(TaskId(task), Timestamp(0), |_| false);
        }
        assert!(rates.0.lock().len() <= TASKS_REMEMBERED);
    }
}
