//! The health of targets: one loop, a heap of checks that are due, and a bounded number of them at once.
//!
//! - A new target is checked at once and healthy after the first check that passes. Until then it is asked often, with a
//!   back-off, so that a program which begins to listen late is not late by a whole interval; yet only failures that are
//!   an interval apart count towards the unhealthy threshold.
//! - From then on ELB's rules hold: so many failures in a row, so many passes in a row.
//! - Each second what healthy targets really answered is looked at too: a check asks one thing, clients ask many.
//! - A wake-up says that something changed, never what: the loop compares what it checks with what is registered.

mod anomaly;
mod check;
mod running;
mod shown;
mod standing;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::model::{TargetAnomaly, TargetHealth, TargetState};
use crate::proxy::group::{Group, Members};
use crate::proxy::health::anomaly::{Detector, Sample, Verdict};
use crate::proxy::health::check::{Check, Outcome};
use crate::proxy::health::running::Running;
use crate::proxy::health::standing::Standing;
use crate::proxy::spec::Endpoint;
use crate::proxy::target::{Target, TargetKey};
use crate::proxy::{HealthChange, HealthReport, Shared};

/// How often targets are compared with each other: what fades in `anomaly` fades by this.
const JUDGE_PERIOD: Duration = Duration::from_secs(1);

/// Runs until the proxy is dropped, which aborts it.
pub async fn watch(shared: Arc<Shared>, reports: mpsc::Sender<HealthReport>) {
    let changed = Arc::clone(&shared.changed);
    let mut watched = Watched::new(shared, reports);
    let mut running = Running::default();
    let mut judging = tokio::time::interval(JUDGE_PERIOD);
    judging.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while let Some((key, number, check)) = watched.take_due(Instant::now()) {
            running.begin(key, number, check);
        }
        let next = watched.due.peek().map(|Reverse(due)| due.at);
        tokio::select! {
            () = changed.notified() => watched.compare().await,
            Some((key, number, outcome)) = running.next() => {
                watched.settle(&key, number, outcome, Instant::now()).await;
            }
            _ = judging.tick() => watched.judge(Instant::now()).await,
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
}

struct Watched {
    shared: Arc<Shared>,
    reports: mpsc::Sender<HealthReport>,
    targets: HashMap<TargetKey, Entry>,
    /// May hold dates of what is gone; each is compared with its entry when it comes up.
    due: BinaryHeap<Reverse<Due>>,
    number: u64,
    /// By the ARN of their group.
    detectors: HashMap<String, Detector>,
}

/// A target that the loop knows.
struct Entry {
    /// Told apart by it: dates and outcomes of an earlier target, or of an earlier endpoint, of the same name.
    number: u64,
    group: Arc<Group>,
    target: Arc<Target>,
    standing: Standing,
    /// Whether a check is running or has a date.
    is_checked: bool,
    shown: Option<TargetHealth>,
    /// Until when an unhealthy target is shown with its connections draining.
    drains_until: Option<Instant>,
    anomaly: TargetAnomaly,
    is_drained: bool,
}

impl Entry {
    fn new(number: u64, group: &Arc<Group>, target: &Arc<Target>) -> Entry {
        Entry {
            number,
            group: Arc::clone(group),
            target: Arc::clone(target),
            standing: Standing::default(),
            is_checked: false,
            shown: None,
            drains_until: None,
            anomaly: TargetAnomaly::default(),
            is_drained: false,
        }
    }

    /// What is to be reported, if it is not what is shown already.
    fn show(&mut self, health: TargetHealth) -> Option<(TargetKey, HealthChange)> {
        if self.shown.as_ref() == Some(&health) {
            return None;
        }
        self.shown = Some(health.clone());
        Some((self.target.state.key.clone(), HealthChange::Health(health)))
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    number: u64,
    key: TargetKey,
}

impl Watched {
    fn new(shared: Arc<Shared>, reports: mpsc::Sender<HealthReport>) -> Watched {
        let (targets, due, detectors) = (HashMap::new(), BinaryHeap::new(), HashMap::new());
        Watched { shared, reports, targets, due, number: 0, detectors }
    }

    /// Takes over what is registered now.
    async fn compare(&mut self) {
        let groups = self.groups();
        let mut before = std::mem::take(&mut self.targets);
        let mut reports = Vec::new();
        for group in &groups {
            let members = group.members.load_full();
            for target in &members.all {
                let earlier = before.remove(&target.state.key);
                let mut entry = self.entry(earlier, group, target);
                reports.extend(self.take_over(&mut entry, &members));
                self.targets.insert(target.state.key.clone(), entry);
            }
        }
        let known: HashSet<&str> = groups.iter().map(|group| group.arn.as_str()).collect();
        self.detectors.retain(|arn, _| known.contains(arn.as_str()));
        self.report(reports).await;
    }

    fn groups(&self) -> Vec<Arc<Group>> {
        self.shared.registry.lock().groups.values().cloned().collect()
    }

    fn entry(&mut self, earlier: Option<Entry>, group: &Arc<Group>, target: &Arc<Target>) -> Entry {
        if let Some(mut entry) = earlier.filter(|entry| Arc::ptr_eq(&entry.target.state, &target.state)) {
            let listened = !matches!(entry.target.endpoint, Endpoint::NotListening);
            let listens = !matches!(target.endpoint, Endpoint::NotListening);
            if listens && !listened {
                // It began to listen: it is asked at once, and not when its last failure says.
                entry.standing.hurry();
                self.number += 1;
                entry.number = self.number;
                entry.is_checked = false;
            }
            entry.group = Arc::clone(group);
            entry.target = Arc::clone(target);
            return entry;
        }
        self.number += 1;
        Entry::new(self.number, group, target)
    }

    /// What to do about a target as it is registered now; what there is to report about it. Arms are in order of
    /// precedence; the first match wins.
    fn take_over(&mut self, entry: &mut Entry, members: &Members) -> Vec<(TargetKey, HealthChange)> {
        let target = Arc::clone(&entry.target);
        let state = &target.state;
        if state.is_draining() {
            let mut reports = Vec::from_iter(entry.show(shown::draining()));
            if state.in_flight() == 0 && !entry.is_drained {
                entry.is_drained = true;
                reports.push((state.key.clone(), HealthChange::Drained));
            }
            return reports;
        }
        entry.is_drained = false;
        let health = if let Some(unusable) = target.unusable {
            shown::unusable(unusable)
        } else if !members.is_used {
            shown::not_in_use()
        } else if !members.settings.health_check.enabled {
            // Nobody asks, so nothing is known against it.
            if state.health() != TargetState::Healthy {
                entry.standing.state = TargetState::Healthy;
                self.shared.set_health(&entry.group, &target, TargetState::Healthy);
            }
            shown::not_checked()
        } else {
            if !entry.is_checked {
                entry.is_checked = true;
                let due = Due { at: Instant::now(), number: entry.number, key: state.key.clone() };
                self.due.push(Reverse(due));
            }
            if entry.standing.state != TargetState::Initial {
                return Vec::new();
            }
            shown::initial()
        };
        Vec::from_iter(entry.show(health))
    }

    /// The next check that is due, if one is.
    fn take_due(&mut self, now: Instant) -> Option<(TargetKey, u64, Check)> {
        while self.due.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Reverse(due) = self.due.pop()?;
            let Some(entry) = self.targets.get_mut(&due.key).filter(|entry| entry.number == due.number) else {
                continue;
            };
            let members = entry.group.members.load();
            if !is_checked(entry, &members) {
                entry.is_checked = false;
                continue;
            }
            return Some((due.key, due.number, Check::new(&entry.target, &members)));
        }
        None
    }

    async fn settle(&mut self, key: &TargetKey, number: u64, outcome: Outcome, now: Instant) {
        let Some(entry) = self.targets.get_mut(key).filter(|entry| entry.number == number) else { return };
        let members = entry.group.members.load_full();
        let settings = &members.settings;
        let before = entry.standing.state;
        let has_passed = outcome == Outcome::Passed;
        let next = entry.standing.settle(has_passed, &settings.health_check, settings.check_interval, now);
        self.due.push(Reverse(Due { at: now + next, number, key: key.clone() }));
        let state = entry.standing.state;
        if state != before {
            tracing::debug!(target = ?key, ?outcome, "a target became {}", state.as_str());
            self.shared.set_health(&entry.group, &entry.target, state);
            let drains = settings.unhealthy_draining.filter(|_| state == TargetState::Unhealthy);
            entry.drains_until = drains.map(|interval| now + interval);
        }
        // Otherwise something else is shown of it by now.
        if is_checked(entry, &members)
            && let Some(health) = shown::found(state, outcome, entry.drains_until.is_some_and(|until| now < until))
        {
            let report = entry.show(health);
            self.report(report).await;
        }
    }

    /// Compares the healthy targets of each group with each other, and ends what time alone ends.
    async fn judge(&mut self, now: Instant) {
        let mut reports = Vec::new();
        for group in self.groups() {
            let members = group.members.load_full();
            let samples: Vec<Sample> = members.all.iter().map(|target| sample(target)).collect();
            let detector = self.detectors.entry(group.arn.to_string()).or_default();
            let verdicts = detector.judge(&samples, members.settings.mitigates_anomalies);
            for (target, Verdict { anomaly, weight, .. }) in members.all.iter().zip(verdicts) {
                let Some(entry) = self.targets.get_mut(&target.state.key) else { continue };
                target.state.set_weight(weight);
                target.state.set_anomalous(anomaly.is_anomalous);
                if entry.anomaly != anomaly {
                    entry.anomaly = anomaly;
                    reports.push((target.state.key.clone(), HealthChange::Anomaly(anomaly)));
                }
                if entry.drains_until.take_if(|until| *until <= now).is_some()
                    && let Some(health) = entry.shown.clone().map(shown::drained)
                {
                    reports.extend(entry.show(health));
                }
            }
        }
        self.report(reports).await;
    }

    async fn report(&self, reports: impl IntoIterator<Item = (TargetKey, HealthChange)>) {
        for (target, change) in reports {
            // Without a reader there is nobody to tell; requests still need to know who is healthy.
            let _ = self.reports.send(HealthReport { target, change }).await;
        }
    }
}

/// Whether its checks mean something now.
fn is_checked(entry: &Entry, members: &Members) -> bool {
    let target = &entry.target;
    let may_serve = !target.state.is_draining() && target.unusable.is_none();
    may_serve && members.is_used && members.settings.health_check.enabled
}

fn sample(target: &Target) -> Sample {
    let (requests, failures) = target.state.counts.answered();
    let state = &target.state;
    let is_healthy = !state.is_draining() && target.unusable.is_none() && state.health() == TargetState::Healthy;
    Sample { ordinal: state.ordinal, is_healthy, requests, failures }
}

impl Shared {
    fn set_health(&self, group: &Group, target: &Target, state: TargetState) {
        // Publications and changes of health both replace the members: one at a time.
        let _registry = self.registry.lock();
        let members = group.members.load();
        let now = Instant::now();
        target.state.set_slow((state == TargetState::Healthy && members.has_full_share(target, now)).then_some(now));
        target.state.set_health(state);
        group.replace(members.refreshed());
    }
}
