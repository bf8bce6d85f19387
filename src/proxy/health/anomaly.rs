//! Targets that fail more often than the others of their group, by what they answered. It has no clock: each call is a
//! second later than the last.
//!
//! A health check asks one thing at a time; a target can pass it and fail every tenth request. So each second the share of
//! failures (responses of 500 and above, and connections that failed) of each healthy target is compared with the median
//! of its group. What was counted fades, with a half-life of ten seconds: a target is judged by what it does now, and one
//! that nobody asks any more is forgiven.

use std::collections::HashMap;

use crate::model::TargetAnomaly;
use crate::proxy::target::WEIGHT_FULL;

/// With fewer healthy targets nobody can say which of them is odd: ELB's own number.
const TARGETS_MIN: usize = 3;
/// What is left of a count after a second: half after ten.
const FADING: f64 = 0.933;
/// Requests, as far as they have not faded, below which chance says more than a target does.
const REQUESTS_MIN: f64 = 10.0;
/// What has faded to less than this is forgotten.
const FORGOTTEN: f64 = 0.5;
/// How far above the median a share of failures must be: a target must do its clients harm, and not by chance.
const EXCESS_MIN: f64 = 0.05;
const DEVIATIONS: f64 = 3.0;
/// An anomalous target gets half of its share each second, down to a twentieth: enough to see that it has recovered.
const WEIGHT_MIN: usize = WEIGHT_FULL / 20;
/// A recovered one is back at its full share after ten seconds.
const WEIGHT_STEP: usize = WEIGHT_FULL / 10;

/// What was counted of a target since it was registered.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub ordinal: u64,
    /// One that is not is neither judged nor compared with: its checks have judged it.
    pub is_healthy: bool,
    pub requests: u64,
    pub failures: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub anomaly: TargetAnomaly,
    pub weight: usize,
}

/// What is known of the targets of one group.
#[derive(Debug, Default)]
pub struct Detector {
    known: HashMap<u64, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// The totals at the last look.
    last: Sample,
    /// What was counted since, faded.
    requests: f64,
    failures: f64,
    is_anomalous: bool,
    weight: usize,
}

impl Known {
    fn new(ordinal: u64) -> Known {
        let last = Sample { ordinal, is_healthy: false, requests: 0, failures: 0 };
        Known { last, requests: 0.0, failures: 0.0, is_anomalous: false, weight: WEIGHT_FULL }
    }

    fn count(&mut self, sample: Sample) {
        if !sample.is_healthy {
            *self = Known { last: sample, ..Known::new(sample.ordinal) };
            return;
        }
        let since = |now: u64, before: u64| now.saturating_sub(before) as f64;
        self.requests = self.requests * FADING + since(sample.requests, self.last.requests);
        self.failures = self.failures * FADING + since(sample.failures, self.last.failures);
        self.last = sample;
    }

    fn share(&self) -> f64 {
        self.failures / self.requests
    }
}

impl Detector {
    /// Judges all targets of the group, in their order. `mitigates`: whether anomalous ones get fewer requests.
    pub fn judge(&mut self, samples: &[Sample], mitigates: bool) -> Vec<Verdict> {
        let mut before = std::mem::take(&mut self.known);
        for sample in samples {
            let mut known = before.remove(&sample.ordinal).unwrap_or_else(|| Known::new(sample.ordinal));
            known.count(*sample);
            self.known.insert(sample.ordinal, known);
        }
        let (median, all) = (self.median(), self.share_of_all());
        let can_tell = samples.iter().filter(|sample| sample.is_healthy).count() >= TARGETS_MIN;
        let verdict = |sample: &Sample| {
            let known = self.known.get_mut(&sample.ordinal)?;
            known.is_anomalous = can_tell && is_anomalous(known, median, all);
            known.weight = match mitigates && known.is_anomalous {
                true => (known.weight / 2).max(WEIGHT_MIN),
                false if mitigates => (known.weight + WEIGHT_STEP).min(WEIGHT_FULL),
                false => WEIGHT_FULL,
            };
            let is_mitigated = known.weight < WEIGHT_FULL;
            let anomaly = TargetAnomaly { is_anomalous: known.is_anomalous, is_mitigated };
            Some(Verdict { anomaly, weight: known.weight })
        };
        samples.iter().filter_map(verdict).collect()
    }

    /// Of the shares of failures of those that were asked: what is usual in this group.
    fn median(&self) -> f64 {
        let mut shares: Vec<f64> =
            self.known.values().filter(|known| known.requests >= FORGOTTEN).map(Known::share).collect();
        shares.sort_by(f64::total_cmp);
        // Of two in the middle the greater: the benefit of the doubt.
        shares.get(shares.len() / 2).copied().unwrap_or(0.0)
    }

    fn share_of_all(&self) -> f64 {
        let sum = |of: fn(&Known) -> f64| self.known.values().map(of).sum::<f64>();
        let requests = sum(|known| known.requests);
        if requests > 0.0 { sum(|known| known.failures) / requests } else { 0.0 }
    }
}

fn is_anomalous(known: &Known, median: f64, all: f64) -> bool {
    if known.requests < FORGOTTEN {
        return false;
    }
    let excess = known.share() - median;
    if known.is_anomalous {
        // It stays one until it is nearly as good as the others, or the verdict would come and go.
        return excess >= EXCESS_MIN / 2.0;
    }
    let deviation = (all * (1.0 - all) / known.requests).sqrt();
    known.requests >= REQUESTS_MIN && excess >= EXCESS_MIN && excess > DEVIATIONS * deviation
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A group whose targets fail with these shares, in percent, each asked in proportion to its weight.
    struct Scene {
        detector: Detector,
        totals: Vec<(f64, f64)>,
        verdicts: Vec<Verdict>,
    }

    impl Scene {
        fn new(targets: usize) -> Scene {
            let fresh = TargetAnomaly::default();
            let verdicts = vec![Verdict { anomaly: fresh, weight: WEIGHT_FULL }; targets];
            let mut scene = Scene { detector: Detector::default(), totals: vec![(0.0, 0.0); targets], verdicts };
            scene.pass(0, 0.0, &vec![0.0; targets], true);
            scene
        }

        fn pass(&mut self, seconds: usize, requests: f64, percent: &[f64], mitigates: bool) -> String {
            for _ in 0..seconds.max(1) {
                let weights: f64 = self.verdicts.iter().map(|verdict| verdict.weight as f64).sum();
                for ((total, verdict), percent) in self.totals.iter_mut().zip(&self.verdicts).zip(percent) {
                    let asked = requests * verdict.weight as f64 / weights;
                    *total = (total.0 + asked, total.1 + asked * percent / 100.0);
                }
                let samples: Vec<Sample> = (0..)
                    .zip(&self.totals)
                    .map(|(ordinal, total)| Sample {
                        ordinal,
                        is_healthy: true,
                        requests: total.0.round() as u64,
                        failures: total.1.round() as u64,
                    })
                    .collect();
                self.verdicts = self.detector.judge(&samples, mitigates);
            }
            let letter = |verdict: &Verdict| if verdict.anomaly.is_anomalous { 'A' } else { 'n' };
            self.verdicts.iter().map(letter).collect()
        }

        fn weights(&self) -> Vec<usize> {
            self.verdicts.iter().map(|verdict| verdict.weight).collect()
        }
    }

    #[test]
    fn a_target_that_fails_more_than_the_others_gets_less_and_comes_back() {
        let mut scene = Scene::new(3);
        assert_eq!(scene.pass(5, 100.0, &[0.0, 1.0, 0.0], true), "nnn");
        assert_eq!(scene.pass(2, 100.0, &[0.0, 100.0, 0.0], true), "nAn");
        assert!(scene.verdicts[1].anomaly.is_mitigated);
        scene.pass(10, 100.0, &[0.0, 100.0, 0.0], true);
        assert_eq!(scene.weights(), [WEIGHT_FULL, WEIGHT_MIN, WEIGHT_FULL]);
        // It has recovered: the little that it still gets shows it, and it has its share again.
        scene.pass(90, 100.0, &[0.0, 0.0, 0.0], true);
        assert_eq!(scene.weights(), [WEIGHT_FULL; 3]);
        assert!(scene.verdicts.iter().all(|verdict| verdict.anomaly == TargetAnomaly::default()));
    }

    #[test]
    fn without_mitigation_it_is_only_said() {
        let mut scene = Scene::new(4);
        assert_eq!(scene.pass(5, 100.0, &[0.0, 0.0, 50.0, 0.0], false), "nnAn");
        assert_eq!(scene.weights(), [WEIGHT_FULL; 4]);
        assert!(!scene.verdicts[2].anomaly.is_mitigated);
    }

    #[test]
    fn what_all_do_is_no_anomaly() {
        assert_eq!(Scene::new(3).pass(20, 100.0, &[50.0, 50.0, 50.0], true), "nnn");
        // Of two nobody can say which is odd; nor by a handful of requests.
        assert_eq!(Scene::new(2).pass(20, 100.0, &[0.0, 100.0], true), "nn");
        assert_eq!(Scene::new(3).pass(1, 9.0, &[0.0, 100.0, 0.0], true), "nnn");
    }

    #[test]
    fn a_target_that_nobody_asks_any_more_is_forgiven() {
        let mut scene = Scene::new(3);
        assert_eq!(scene.pass(5, 100.0, &[0.0, 100.0, 0.0], true), "nAn");
        assert_eq!(scene.pass(200, 0.0, &[0.0, 100.0, 0.0], true), "nnn");
    }

    #[test]
    fn what_an_unhealthy_target_answered_is_not_held_against_it_later() {
        let mut detector = Detector::default();
        let sample = |ordinal, is_healthy, failures| Sample { ordinal, is_healthy, requests: 100, failures };
        let fresh = TargetAnomaly::default();
        let mut judge = |is_healthy| {
            let samples = [sample(1, is_healthy, 100), sample(2, true, 0), sample(3, true, 0), sample(4, true, 0)];
            detector.judge(&samples, true).iter().all(|verdict| verdict.anomaly == fresh)
        };
        assert!(judge(false) && judge(true) && judge(true));
    }

    proptest! {
        /// However targets fail, no more than half of them are anomalous, and nobody is cut off.
        #[test]
        fn most_targets_are_normal(percent in proptest::collection::vec(0.0_f64..100.0, 3..9), seconds in 1_usize..60) {
            let mut scene = Scene::new(percent.len());
            let seen = scene.pass(seconds, 500.0, &percent, true);
            prop_assert!(seen.matches('A').count() * 2 <= percent.len(), "{seen} {percent:?}");
            prop_assert!(scene.weights().iter().all(|weight| *weight >= WEIGHT_MIN));
        }
    }
}
