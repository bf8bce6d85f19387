//! The checks that run: bounded for handlers and for connections apart, so that neither kind waits for the other.

use std::collections::{HashMap, VecDeque};

use tokio::task::{Id, JoinSet};

use crate::proxy::health::check::{Check, Outcome};
use crate::proxy::target::TargetKey;

/// Checks of handlers at once. Each is an instance of a guest, for mostly less than a millisecond: this many check 10,000
/// targets each second, and take no more instances than a busy service does.
const LOCAL_MAX: usize = 64;
/// Checks over connections at once, each a descriptor. A thousand targets that hang for half of their interval still leave
/// half of this to the others.
const REMOTE_MAX: usize = 1024;

type Asked = (TargetKey, u64, Check);

#[derive(Default)]
pub struct Running {
    local: Lane,
    remote: Lane,
    checks: JoinSet<Outcome>,
    begun: HashMap<Id, (TargetKey, u64, bool)>,
}

#[derive(Default)]
struct Lane {
    running: usize,
    /// Due, and without a place. A target has one check at a time, so there are no more than targets.
    waiting: VecDeque<Asked>,
}

impl Running {
    /// Runs the check as soon as there is a place.
    pub fn begin(&mut self, key: TargetKey, number: u64, check: Check) {
        let is_local = check.is_local();
        let (lane, max) = if is_local { (&mut self.local, LOCAL_MAX) } else { (&mut self.remote, REMOTE_MAX) };
        lane.waiting.push_back((key, number, check));
        self.fill(is_local, max);
    }

    fn fill(&mut self, is_local: bool, max: usize) {
        let lane = if is_local { &mut self.local } else { &mut self.remote };
        while lane.running < max
            && let Some((key, number, check)) = lane.waiting.pop_front()
        {
            lane.running += 1;
            let id = self.checks.spawn(check.run()).id();
            self.begun.insert(id, (key, number, is_local));
        }
    }

    /// The next check that ends, and what it found. `None` while none runs.
    pub async fn next(&mut self) -> Option<(TargetKey, u64, Outcome)> {
        let (id, outcome) = match self.checks.join_next_with_id().await? {
            Ok((id, outcome)) => (id, outcome),
            Err(error) => {
                tracing::error!(%error, "a health check ended without an outcome");
                (error.id(), Outcome::internal_error())
            }
        };
        let (key, number, is_local) = self.begun.remove(&id)?;
        let (lane, max) = if is_local { (&mut self.local, LOCAL_MAX) } else { (&mut self.remote, REMOTE_MAX) };
        lane.running -= 1;
        self.fill(is_local, max);
        Some((key, number, outcome))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::proxy::health::check::tests::{never_answering, not_listening};
    use crate::proxy::testing::group_arn;

    fn key(port: u16) -> TargetKey {
        TargetKey { group: group_arn(), address: Ipv4Addr::LOCALHOST, port, task: None }
    }

    /// Targets that hang cost each other nothing: the last one's time-out comes when the first one's does.
    #[tokio::test(start_paused = true)]
    async fn what_hangs_costs_its_own_time_out_only() {
        let timeout = Duration::from_secs(5);
        let mut running = Running::default();
        let begun = Instant::now();
        for _ in 0..LOCAL_MAX {
            running.begin(key(80), 0, never_answering(timeout));
        }
        // One more handler waits for a place; what is reached over a connection does not.
        running.begin(key(81), 0, never_answering(timeout));
        running.begin(key(82), 0, not_listening());
        assert_eq!(running.next().await.unwrap().0.port, 82);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..LOCAL_MAX {
            let (_, _, outcome) = running.next().await.unwrap();
            assert!(matches!(outcome, Outcome::Failed { reason: "Target.Timeout", .. }), "{outcome:?}");
        }
        assert_eq!(begun.elapsed(), timeout);
        assert_eq!(running.next().await.unwrap().0.port, 81);
        assert_eq!(begun.elapsed(), timeout * 2);
        assert!(running.next().await.is_none());
    }
}
