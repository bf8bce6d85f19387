//! The health of a container, from the answers to its probes, as a container engine keeps it.

use crate::model::health::HealthCheck;
use crate::model::{HealthStatus, Timestamp};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub status: HealthStatus,
    /// Failures in a row that count.
    failures: u32,
    next_at: Option<Timestamp>,
    is_asked: bool,
}

impl Default for Health {
    fn default() -> Health {
        Health { status: HealthStatus::Unknown, failures: 0, next_at: None, is_asked: false }
    }
}

impl Health {
    /// A life begins, and nothing is known of it: the first probe is an interval away.
    pub fn starting(check: &HealthCheck, at: Timestamp) -> Health {
        Health { next_at: Some(at + check.interval), ..Health::default() }
    }

    /// When the next probe is to be made; none while one is under way.
    pub fn due(&self) -> Option<Timestamp> {
        self.next_at.filter(|_| !self.is_asked)
    }

    pub fn asked(&mut self) {
        self.is_asked = true;
    }

    pub fn ended(&mut self) {
        self.next_at = None;
        self.is_asked = false;
    }

    /// Says what the status is now, where that changed.
    pub fn answered(
        &mut self,
        check: &HealthCheck,
        passed: bool,
        started_at: Timestamp,
        at: Timestamp,
    ) -> Option<HealthStatus> {
        if !self.is_asked {
            // The answer is about a life that is over.
            return None;
        }
        self.is_asked = false;
        self.next_at = Some(at + check.interval);
        let before = self.status;
        let is_starting = before == HealthStatus::Unknown && at < started_at + check.start_period;
        if passed {
            self.status = HealthStatus::Healthy;
            self.failures = 0;
        } else if !is_starting {
            self.failures += 1;
            if self.failures >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        (self.status != before).then_some(self.status)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::health::{Mapping, map};

    fn check() -> HealthCheck {
        let asked = serde_json::json!({"command": ["CMD", "true"], "interval": 10, "retries": 2, "startPeriod": 25});
        match map(&asked, None) {
            Mapping::Mapped(check) => check,
            other => panic!("{other:?}"),
        }
    }

    /// What the status becomes with each answer, ten seconds apart.
    fn course(answers: &[bool]) -> Vec<Option<HealthStatus>> {
        let check = check();
        let mut health = Health::starting(&check, Timestamp(0));
        let mut course = Vec::new();
        for passed in answers {
            let at = health.due().unwrap();
            health.asked();
            assert_eq!(health.due(), None);
            course.push(health.answered(&check, *passed, Timestamp(0), at));
            assert_eq!(health.due(), Some(at + Duration::from_secs(10)));
        }
        course
    }

    #[test]
    fn failures_count_after_the_start_period_and_in_a_row() {
        use HealthStatus::{Healthy, Unhealthy};
        // Two within the start period, then two that count.
        assert_eq!(course(&[false, false, false, false]), [None, None, None, Some(Unhealthy)]);
        assert_eq!(course(&[true, false, true, false, false]), [Some(Healthy), None, None, None, Some(Unhealthy)]);
        // One that passes ends the start period.
        assert_eq!(course(&[true, false, false, true]), [Some(Healthy), None, Some(Unhealthy), Some(Healthy)]);
    }

    #[test]
    fn an_answer_about_an_earlier_life_says_nothing() {
        let check = check();
        let mut health = Health::starting(&check, Timestamp(0));
        health.asked();
        health.ended();
        assert_eq!((health.answered(&check, true, Timestamp(0), Timestamp(1)), health.due()), (None, None));
    }
}
