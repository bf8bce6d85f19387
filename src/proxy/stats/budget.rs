//! How often something may be logged: a flood of errors must not become a flood of lines.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lines in one second: enough to see different reasons, and little beside what a flood would write.
const LINES_PER_SECOND: u64 = 5;

/// Counts per second; what was held back is said with the next line that is admitted.
#[derive(Default)]
pub struct LogBudget {
    second: AtomicU64,
    admitted: AtomicU64,
    held: AtomicU64,
}

impl LogBudget {
    /// Whether one more line may be written, and how many were not since the last one.
    pub fn admit(&self) -> Option<u64> {
        static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.admit_at(STARTED.elapsed().as_secs() + 1)
    }

    /// Threads that meet in the moment when a second begins may write a few lines more; that does no harm.
    fn admit_at(&self, second: u64) -> Option<u64> {
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.admitted.store(0, Ordering::Relaxed);
        }
        if self.admitted.fetch_add(1, Ordering::Relaxed) < LINES_PER_SECOND {
            Some(self.held.swap(0, Ordering::Relaxed))
        } else {
            self.held.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_held_back_and_said_in_the_next_second() {
        let budget = LogBudget::default();
        let admitted = (0..100).filter(|_| budget.admit_at(1).is_some()).count();
        assert_eq!(admitted as u64, LINES_PER_SECOND);
        assert_eq!(budget.admit_at(2), Some(100 - LINES_PER_SECOND));
        assert_eq!(budget.admit_at(2), Some(0));
    }
}
