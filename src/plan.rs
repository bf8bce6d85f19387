//! The decisions, as pure functions: what is wanted and what is, at one moment, give what to do next.
//!
//! Nothing here knows a clock, a generator, a thread or a log, so the same input always gives the same plan: a scene of
//! a test is a value, and a property test can replay a thousand of them. Each planner sorts the facts once into buckets,
//! then works on the buckets step by step. What it would like to do and does not is *held*, with the reason; where time
//! alone would change the plan it says when. Actions are complete and idempotent: who executes them makes no choices.

pub mod pressure;
pub mod service;
pub mod targets;
pub mod task;

use std::fmt;

use crate::model::Timestamp;

/// What to do next, and why nothing more is being done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<A> {
    pub actions: Vec<A>,
    pub held: Vec<Held>,
    /// When time alone can change this plan, the earliest moment it does.
    pub wake_at: Option<Timestamp>,
}

impl<A> Default for Plan<A> {
    fn default() -> Plan<A> {
        Plan { actions: Vec::new(), held: Vec::new(), wake_at: None }
    }
}

impl<A> Plan<A> {
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Looks again at `at`, or earlier where that was already asked for.
    fn wake_at(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// What a plan would like to do and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// So many stops, because fewer healthy tasks than the minimum would be left.
    HealthyMinimum { stops: usize },
    /// So many starts, because more tasks than the maximum would run.
    RunningMaximum { starts: usize },
    /// So many starts, because the last ones failed.
    BackOff { starts: usize, until: Timestamp },
    /// So many starts, because no container instance has room.
    NoRoom { starts: usize, lacking: &'static str },
    /// So many unhealthy tasks stay until their replacements are healthy.
    NotReplacedYet { tasks: usize },
    /// A target is unhealthy, but its task's grace period is not over.
    GracePeriod { tasks: usize },
    /// So many starts, because its tasks end as fast as they start.
    TooFast { starts: usize, until: Timestamp },
    /// So many stops, because the tasks are protected, the first of them until then.
    Protected { stops: usize, until: Timestamp },
    /// So many starts, left to the next pass, because a pass is bounded.
    PassFull { starts: usize },
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Held::HealthyMinimum { stops } => write!(f, "{stops} stops: healthy minimum"),
            Held::RunningMaximum { starts } => write!(f, "{starts} starts: running maximum"),
            Held::BackOff { starts, until } => write!(f, "{starts} starts: back-off until {until}"),
            Held::NoRoom { starts, lacking } => write!(f, "{starts} starts: no room, {lacking}"),
            Held::NotReplacedYet { tasks } => write!(f, "{tasks} stops: not replaced yet"),
            Held::GracePeriod { tasks } => write!(f, "{tasks} stops: grace period"),
            Held::TooFast { starts, until } => write!(f, "{starts} starts: too fast, until {until}"),
            Held::Protected { stops, until } => write!(f, "{stops} stops: protected until {until}"),
            Held::PassFull { starts } => write!(f, "{starts} starts: pass full"),
        }
    }
}
