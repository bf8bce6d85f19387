//! The health of targets: one loop, a heap of checks that are due, and a bounded number of them at once.
//!
//! - A new target is checked at once and healthy after the first check that passes. Until then it is asked often, with a
//!   back-off, so that a program which begins to listen late is not late by a whole interval; yet only failures that are
//!   an interval apart count towards the unhealthy threshold.
//! - From then on ELB's rules hold: so many failures in a row, so many passes in a row.
//! - A wake-up says that something changed, never what: the loop compares what it checks with what is registered.

mod check;
mod standing;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::model::{TargetHealth, TargetState};
use crate::proxy::group::{Group, Members};
use crate::proxy::health::check::{Check, Outcome};
use crate::proxy::health::standing::Standing;
use crate::proxy::spec::Endpoint;
use crate::proxy::target::{Target, TargetKey};
use crate::proxy::{HealthChange, HealthReport, Shared};

/// Checks in flight at once. Each is a connection, or a handler's instance, for mostly less than a millisecond: this many
/// check 10,000 targets each second, and take no more descriptors or instances than a busy service does.
const CHECKS_AT_ONCE_MAX: usize = 64;

/// Runs until the proxy is dropped, which aborts it.
pub async fn watch(shared: Arc<Shared>, reports: mpsc::Sender<HealthReport>) {
    let changed = Arc::clone(&shared.changed);
    let mut watched = Watched { shared, reports, targets: HashMap::new(), due: BinaryHeap::new(), number: 0 };
    let mut running: JoinSet<(TargetKey, u64, Outcome)> = JoinSet::new();
    loop {
        while running.len() < CHECKS_AT_ONCE_MAX
            && let Some((key, number, check)) = watched.take_due(Instant::now())
        {
            running.spawn(async move { (key, number, check.run().await) });
        }
        let next = watched.due.peek().map(|Reverse(due)| due.at).filter(|_| running.len() < CHECKS_AT_ONCE_MAX);
        tokio::select! {
            () = changed.notified() => watched.compare().await,
            Some(done) = running.join_next() => match done {
                Ok((key, number, outcome)) => watched.settle(&key, number, &outcome, Instant::now()).await,
                Err(error) => tracing::error!(%error, "a health check ended without an outcome"),
            },
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
    is_drained: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    number: u64,
    key: TargetKey,
}

impl Watched {
    /// Takes over what is registered now.
    async fn compare(&mut self) {
        let groups: Vec<Arc<Group>> = self.shared.registry.lock().groups.values().cloned().collect();
        let mut before = std::mem::take(&mut self.targets);
        let mut reports = Vec::new();
        for group in groups {
            let members = group.members.load_full();
            for target in &members.all {
                let earlier = before.remove(&target.state.key);
                let mut entry = self.entry(earlier, &group, target);
                reports.extend(self.take_over(&mut entry, &members));
                self.targets.insert(target.state.key.clone(), entry);
            }
        }
        for (target, change) in reports {
            self.report(target, change).await;
        }
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
        Entry {
            number: self.number,
            group: Arc::clone(group),
            target: Arc::clone(target),
            standing: Standing::default(),
            is_checked: false,
            shown: None,
            is_drained: false,
        }
    }

    /// What to do about a target as it is registered now; what there is to report about it.
    fn take_over(&mut self, entry: &mut Entry, members: &Members) -> Vec<(TargetKey, HealthChange)> {
        let mut reports = Vec::new();
        let state = &entry.target.state;
        let mut show = |health: TargetHealth, shown: &mut Option<TargetHealth>| {
            if shown.as_ref() != Some(&health) {
                *shown = Some(health.clone());
                reports.push((state.key.clone(), HealthChange::Health(health)));
            }
        };
        if state.is_draining() {
            show(
                health(
                    TargetState::Draining,
                    "Target.DeregistrationInProgress",
                    "Target deregistration is in progress",
                ),
                &mut entry.shown,
            );
            if state.in_flight() == 0 && !entry.is_drained {
                entry.is_drained = true;
                reports.push((state.key.clone(), HealthChange::Drained));
            }
            return reports;
        }
        entry.is_drained = false;
        if !members.is_used {
            let description = "Target group is not configured to receive traffic from the load balancer";
            show(health(TargetState::Unused, "Target.NotInUse", description), &mut entry.shown);
        } else if !members.settings.health_check.enabled {
            // Nobody asks, so nothing is known against it.
            if state.health() != TargetState::Healthy {
                entry.standing.state = TargetState::Healthy;
                self.shared.set_health(&entry.group, &entry.target, TargetState::Healthy);
            }
            show(TargetHealth { state: TargetState::Healthy, reason: None, description: None }, &mut entry.shown);
        } else {
            if entry.standing.state == TargetState::Initial {
                let reason = "Elb.InitialHealthChecking";
                show(health(TargetState::Initial, reason, "Initial health checks in progress"), &mut entry.shown);
            }
            if !entry.is_checked {
                entry.is_checked = true;
                let due = Due { at: Instant::now(), number: entry.number, key: state.key.clone() };
                self.due.push(Reverse(due));
            }
        }
        reports
    }

    /// The next check that is due, if one is.
    fn take_due(&mut self, now: Instant) -> Option<(TargetKey, u64, Check)> {
        while self.due.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Reverse(due) = self.due.pop()?;
            let Some(entry) = self.targets.get_mut(&due.key).filter(|entry| entry.number == due.number) else {
                continue;
            };
            let members = entry.group.members.load();
            if entry.target.state.is_draining() || !members.is_used || !members.settings.health_check.enabled {
                entry.is_checked = false;
                continue;
            }
            let check = Check::new(&entry.target, members.settings.protocol_version, &members.settings.health_check);
            return Some((due.key, due.number, check));
        }
        None
    }

    async fn settle(&mut self, key: &TargetKey, number: u64, outcome: &Outcome, now: Instant) {
        let Some(entry) = self.targets.get_mut(key).filter(|entry| entry.number == number) else { return };
        let members = entry.group.members.load_full();
        let before = entry.standing.state;
        let next = entry.standing.settle(*outcome == Outcome::Passed, &members.settings.health_check, now);
        self.due.push(Reverse(Due { at: now + next, number, key: key.clone() }));
        let state = entry.standing.state;
        if state != before {
            tracing::debug!(target = ?key, ?outcome, "a target became {}", state.as_str());
            self.shared.set_health(&entry.group, &entry.target, state);
        }
        let shows = match (state, outcome) {
            // Whatever the check found, something else is shown of it by now.
            _ if entry.target.state.is_draining() || !members.is_used => return,
            (TargetState::Healthy, _) => TargetHealth { state, reason: None, description: None },
            (TargetState::Unhealthy, Outcome::Failed { reason, description }) => health(state, reason, description),
            // While it is new, or on its way back, what was shown stays.
            _ => return,
        };
        if entry.shown.as_ref() != Some(&shows) {
            entry.shown = Some(shows.clone());
            self.report(key.clone(), HealthChange::Health(shows)).await;
        }
    }

    async fn report(&self, target: TargetKey, change: HealthChange) {
        // Without a reader there is nobody to tell; requests still need to know who is healthy.
        let _ = self.reports.send(HealthReport { target, change }).await;
    }
}

impl Shared {
    fn set_health(&self, group: &Group, target: &Target, state: TargetState) {
        // Publications and changes of health both replace the members: one at a time.
        let _registry = self.registry.lock();
        let members = group.members.load();
        let now = Instant::now();
        target.state.set_slow((state == TargetState::Healthy && members.has_full_share(target, now)).then_some(now));
        target.state.set_health(state);
        group.members.store(Arc::new(members.refreshed()));
    }
}

fn health(state: TargetState, reason: &str, description: &str) -> TargetHealth {
    TargetHealth { state, reason: Some(reason.to_owned()), description: Some(description.to_owned()) }
}
