//! Instances that wait inside for more memory, because others hold what they need.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::{ALONE_WAIT, Admission, GROW_WAIT_MAX, Reservation};

/// An instance was refused memory that others hold: it is not too large, its container is too busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("running requests hold the memory that it needs")]
pub struct Crowded;

/// One instance that waits. While there is one, nobody is let in.
pub struct Growing {
    admission: Admission,
    number: u64,
    began: Instant,
}

/// What to do next about a growth that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for something to become free, this long at most.
    Wait(Duration),
    /// Give up: the others can then go on.
    GiveWay,
    /// Give up: nothing that it could wait for is going on.
    TooLarge,
}

impl Reservation {
    /// This instance waits from now on.
    pub fn grow(&self) -> Growing {
        let inner = &self.admission.inner;
        let growing = Growing { admission: self.admission.clone(), number: self.number, began: Instant::now() };
        let mut waiting = inner.growing.lock();
        waiting.insert(self.number);
        inner.growing_count.store(waiting.len(), Ordering::Release);
        drop(waiting);
        // Instances that are kept idle give way.
        inner.meter.want();
        inner.changed.notify_waiters();
        growing
    }
}

impl Growing {
    /// Something ended or began to wait; made before the try that it is to be told of.
    pub fn changed(&self) -> Notified<'_> {
        self.admission.inner.changed.notified()
    }

    pub fn next(&self) -> Next {
        let inner = &self.admission.inner;
        let waited = self.began.elapsed();
        let (waiting, is_youngest) = {
            let growing = inner.growing.lock();
            (growing.len(), growing.last() == Some(&self.number))
        };
        let running = inner.running.load(Ordering::Acquire);
        // Alone, it can only wait for the neighbours in its task, and these may stay.
        let limit = if running <= 1 { ALONE_WAIT } else { GROW_WAIT_MAX };
        if waited >= limit {
            return if running <= 1 { Next::TooLarge } else { Next::GiveWay };
        }
        if waiting > 1 && waiting >= running && is_youngest {
            return Next::GiveWay;
        }
        Next::Wait(limit - waited)
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        let inner = &self.admission.inner;
        let mut growing = inner.growing.lock();
        growing.remove(&self.number);
        inner.growing_count.store(growing.len(), Ordering::Release);
        drop(growing);
        inner.changed.notify_waiters();
    }
}
