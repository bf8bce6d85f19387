//! Requests that wait for the first task of a service that is at zero.
//!
//! A request for a group that has no target yet, but whose service will start one for it, waits here instead of getting
//! 503. What it waits for is told to the control plane as a state, not as a message: the groups that are waited for. So a
//! thousand requests at once are one wish, and a lost wake-up costs time only. Both the number and the time of those who
//! wait are bounded; whoever goes away is no longer counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::Arn;
use crate::proxy::answer::ForwardError;
use crate::proxy::group::Group;

/// Requests that wait at one group. Each holds a connection of its client and some kilobytes: a burst on a service that
/// sleeps fits, and a flood is told to come back.
pub const HELD_MAX: usize = 1000;
/// How long a request waits: as long as an application load balancer waits for a silent target by default. An image that
/// takes longer to compile is there for the next request.
pub const HOLD_MAX: Duration = Duration::from_secs(60);

/// How many requests wait at each group where any does.
pub type Wanted = watch::Sender<BTreeMap<Arn, usize>>;

/// Waits while the group has no target and hopes for one.
pub async fn until_served(group: &Group) -> Result<(), ForwardError> {
    if !group.members.load().holds {
        return Ok(());
    }
    let _held = Held::begin(group)?;
    tokio::time::timeout(HOLD_MAX, served(group)).await.map_err(|_| ForwardError::HeldTooLong)
}

async fn served(group: &Group) {
    loop {
        // Listening before looking: what changes in between is not missed.
        let mut changed = std::pin::pin!(group.replaced.notified());
        changed.as_mut().enable();
        if !group.members.load().holds {
            return;
        }
        changed.await;
    }
}

/// One request that waits; dropped when it has been served, has waited too long or is gone.
struct Held {
    group: Arn,
    wanted: Arc<Wanted>,
}

impl Held {
    fn begin(group: &Group) -> Result<Held, ForwardError> {
        let mut is_full = false;
        group.wanted.send_if_modified(|wanted| {
            let waiting = wanted.get(&group.arn).copied().unwrap_or(0);
            is_full = waiting >= HELD_MAX;
            if !is_full {
                wanted.insert(group.arn.clone(), waiting + 1);
            }
            // Who reads it asks which groups are waited for, not by how many.
            waiting == 0
        });
        if is_full {
            return Err(ForwardError::TooManyHeld);
        }
        Ok(Held { group: group.arn.clone(), wanted: Arc::clone(&group.wanted) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.wanted.send_if_modified(|wanted| {
            let waiting = wanted.get(&self.group).map_or(0, |waiting| waiting - 1);
            if waiting > 0 {
                wanted.insert(self.group.clone(), waiting);
            } else {
                wanted.remove(&self.group);
            }
            waiting == 0
        });
    }
}
