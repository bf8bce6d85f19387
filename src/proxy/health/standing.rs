//! What the outcomes of its checks make of a target: ELB's thresholds, and the hurry of a new target. It has no clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::TargetState;
use crate::model::load_balancer::HealthCheck;

/// How soon a new target is asked again after its first failure: a program that is about to listen does so in less.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// And how soon at most, while it is new: a second later than it could be is what a slow starter may cost.
const RETRY_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Standing {
    pub state: TargetState,
    passes: u32,
    failures: u32,
    /// When a failure last counted towards the threshold.
    counted_at: Option<Instant>,
    retry: Duration,
}

impl Default for Standing {
    fn default() -> Standing {
        Standing { state: TargetState::Initial, passes: 0, failures: 0, counted_at: None, retry: RETRY_MIN }
    }
}

impl Standing {
    /// It began to listen: what was tried before says nothing about how soon it is ready.
    pub fn hurry(&mut self) {
        self.retry = RETRY_MIN;
    }

    /// Takes in an outcome; says after how long to check again.
    pub fn settle(&mut self, passed: bool, settings: &HealthCheck, interval: Duration, now: Instant) -> Duration {
        match (self.state, passed) {
            (TargetState::Initial, true) => self.become_healthy(),
            (TargetState::Initial, false) => return self.fail_while_new(settings, interval, now),
            (TargetState::Unhealthy, true) => {
                self.passes += 1;
                if self.passes >= settings.healthy_threshold {
                    self.become_healthy();
                }
            }
            (TargetState::Unhealthy, false) => self.passes = 0,
            (_, true) => self.failures = 0,
            (_, false) => self.count_failure(settings),
        }
        interval
    }

    fn fail_while_new(&mut self, settings: &HealthCheck, interval: Duration, now: Instant) -> Duration {
        if self.counted_at.is_none_or(|counted_at| interval <= now - counted_at) {
            self.counted_at = Some(now);
            self.count_failure(settings);
        }
        if self.state == TargetState::Unhealthy {
            return interval;
        }
        let retry = self.retry;
        self.retry = (retry * 3 / 2).min(RETRY_MAX);
        retry.min(interval)
    }

    fn count_failure(&mut self, settings: &HealthCheck) {
        self.failures += 1;
        if self.failures >= settings.unhealthy_threshold {
            self.state = TargetState::Unhealthy;
            self.passes = 0;
        }
    }

    fn become_healthy(&mut self) {
        self.state = TargetState::Healthy;
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn settings() -> HealthCheck {
        HealthCheck {
            enabled: true,
            protocol: "HTTP".into(),
            port: "traffic-port".into(),
            path: "/".into(),
            interval_seconds: 10,
            timeout_seconds: 2,
            healthy_threshold: 3,
            unhealthy_threshold: 2,
            matcher: "200".into(),
        }
    }

    /// `P` is a pass, `F` a failure, each an interval after the last; the states that follow, by their first letters.
    fn check(outcomes: &str, wanted: &str) {
        let mut standing = Standing::default();
        let mut now = Instant::now();
        let mut states = String::new();
        for outcome in outcomes.chars() {
            standing.settle(outcome == 'P', &settings(), INTERVAL, now);
            states.push(standing.state.as_str().chars().next().unwrap());
            now += INTERVAL;
        }
        assert_eq!(states, wanted, "{outcomes}");
    }

    #[test]
    fn a_new_target_is_healthy_after_its_first_pass() {
        check("P", "h");
        check("FP", "ih");
    }

    #[test]
    fn thresholds_count_in_a_row() {
        check("PFPFF", "hhhhu");
        check("FFPPP", "iuuuh");
        check("FFPPFPPP", "iuuuuuuh");
    }

    #[test]
    fn a_new_target_is_asked_often_but_its_failures_count_once_an_interval() {
        let mut standing = Standing::default();
        let start = Instant::now();
        let mut now = start;
        let mut asked = 0;
        while standing.state == TargetState::Initial {
            now += standing.settle(false, &settings(), INTERVAL, now);
            asked += 1;
        }
        let unhealthy_at = now - INTERVAL;
        assert!(INTERVAL <= unhealthy_at - start && unhealthy_at - start <= INTERVAL + RETRY_MAX);
        assert!((10..30).contains(&asked), "{asked}");
    }
}
