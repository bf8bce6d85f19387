//! Which containers of a task start, start again, are asked how they are, or stop: as their definition says of each other.
//!
//! A container starts when everything that it depends on is as far as it wants; it never starts, and takes its task with it
//! where it is essential, when that cannot come any more. At the stop the order is reversed. [`Lives`] holds what is known;
//! [`Lives::plan`] is a function of it and the time, and says when time alone would change the answer.

pub mod health;
mod rules;

use crate::model::dependency::Condition;
use crate::model::{Exit, HealthStatus, TaskDefinition, Timestamp};
use crate::plan::Plan;
use crate::plan::task::containers::health::Health;
pub use crate::plan::task::containers::rules::Rule;

/// One idempotent step, for containers by their number in the definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its conditions hold.
    Start { container: usize },
    /// It ended, and its policy wants it back.
    Restart { container: usize },
    /// Politely; nothing that depends on it runs any more.
    Stop { container: usize },
    /// Ask how it is.
    Probe { container: usize },
    /// What it waits for cannot come any more: it never starts.
    GiveUp { container: usize, reason: String },
    /// The task is stopping and its images are not there yet: nothing has an order to be stopped in.
    StopAll,
    /// Nothing runs and nothing will: the host may let the task go.
    Finish,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// For others.
    Waiting,
    /// The host was told to start it.
    Ordered,
    Running,
    /// It ended, and will start again.
    Returning,
    /// Absent where it never ran.
    Stopped {
        exit_code: Option<i32>,
    },
}

/// What is known of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub phase: Phase,
    /// Of the life that runs, or ran last.
    pub started_at: Option<Timestamp>,
    pub restarts: u32,
    pub told_to_stop: bool,
    pub health: Health,
}

/// What follows from the end of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Over,
    /// So many times by then.
    Restarts {
        restarts: u32,
    },
}

/// The containers of one task.
#[derive(Clone, Debug)]
pub struct Lives {
    rules: Vec<Rule>,
    states: Vec<State>,
    pulled: bool,
    stopping: bool,
    finished: bool,
}

impl Lives {
    /// Whether the task needs any of this: most have containers that start together and end once.
    pub fn are_needed(definition: &TaskDefinition) -> bool {
        definition.document.container_definitions.iter().any(|container| {
            !container.dependencies().is_empty() || container.restart_policy().is_some() || container.is_checked()
        })
    }

    pub fn new(definition: &TaskDefinition) -> Lives {
        let rules = rules::of(definition);
        let state = |rule: &Rule| State {
            phase: if rule.waits() { Phase::Waiting } else { Phase::Ordered },
            started_at: None,
            restarts: 0,
            told_to_stop: false,
            health: Health::default(),
        };
        Lives { states: rules.iter().map(state).collect(), rules, pulled: false, stopping: false, finished: false }
    }

    pub fn rule(&self, container: usize) -> Option<&Rule> {
        self.rules.get(container)
    }

    pub fn state(&self, container: usize) -> Option<&State> {
        self.states.get(container)
    }

    pub fn number(&self, name: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.name == name)
    }

    /// The images are there: what does not wait starts now.
    pub fn pulled(&mut self) {
        self.pulled = true;
    }

    pub fn started(&mut self, container: usize, at: Timestamp) {
        let (Some(rule), Some(state)) = (self.rules.get(container), self.states.get_mut(container)) else { return };
        self.pulled = true;
        state.phase = Phase::Running;
        state.started_at = Some(at);
        if let Some(check) = &rule.check {
            state.health = Health::starting(check, at);
        }
    }

    /// A life of the container is over; says whether the container is.
    pub fn stopped(&mut self, container: usize, exit: &Exit, at: Timestamp) -> Ending {
        let (Some(rule), Some(state)) = (self.rules.get(container), self.states.get_mut(container)) else {
            return Ending::Over;
        };
        if let Phase::Stopped { .. } = state.phase {
            return Ending::Over;
        }
        let exit_code = exit.container_end().exit_code;
        state.health.ended();
        let ran_for = state.started_at.map(|started| at.since(started));
        let restarts = match (&rule.restart, exit_code, ran_for) {
            (Some(policy), Some(code), Some(ran_for)) => {
                !self.stopping
                    && !state.told_to_stop
                    && !policy.ignored_exit_codes.contains(&i64::from(code))
                    && ran_for >= policy.attempt_period
            }
            _ => false,
        };
        if restarts {
            state.phase = Phase::Returning;
            state.restarts = state.restarts.saturating_add(1);
            return Ending::Restarts { restarts: state.restarts };
        }
        state.phase = Phase::Stopped { exit_code };
        Ending::Over
    }

    /// A probe has been answered; says what the health is now, where that changed.
    pub fn probed(&mut self, container: usize, passed: bool, at: Timestamp) -> Option<HealthStatus> {
        let (rule, state) = (self.rules.get(container)?, self.states.get_mut(container)?);
        let check = rule.check.as_ref()?;
        state.health.answered(check, passed, state.started_at.filter(|_| state.phase == Phase::Running)?, at)
    }

    /// The task is told to stop.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Notes that an action was carried out, so that it is not planned again.
    pub fn carried_out(&mut self, action: &Action) {
        let number = match action {
            Action::StopAll => {
                self.states.iter_mut().for_each(|state| state.told_to_stop = true);
                self.finished = true;
                return;
            }
            Action::Finish => {
                self.finished = true;
                return;
            }
            Action::Start { container }
            | Action::Restart { container }
            | Action::Stop { container }
            | Action::Probe { container }
            | Action::GiveUp { container, .. } => *container,
        };
        let Some(state) = self.states.get_mut(number) else { return };
        match action {
            Action::Start { .. } | Action::Restart { .. } => state.phase = Phase::Ordered,
            Action::Stop { .. } => state.told_to_stop = true,
            Action::Probe { .. } => state.health.asked(),
            Action::GiveUp { .. } => state.phase = Phase::Stopped { exit_code: None },
            Action::StopAll | Action::Finish => {}
        }
    }

    /// What to do now.
    pub fn plan(&self, now: Timestamp) -> Plan<Action> {
        let mut plan = Plan::default();
        if self.finished {
            return plan;
        }
        if self.stopping {
            self.plan_stops(&mut plan);
            return plan;
        }
        for (container, (rule, state)) in self.rules.iter().zip(&self.states).enumerate() {
            match state.phase {
                Phase::Waiting => match self.readiness(rule, now) {
                    Readiness::Ready => plan.actions.push(Action::Start { container }),
                    Readiness::Never(reason) => plan.actions.push(Action::GiveUp { container, reason }),
                    Readiness::NotYet { until } => until.into_iter().for_each(|until| plan.wake_at(until)),
                },
                Phase::Returning => plan.actions.push(Action::Restart { container }),
                Phase::Running => match state.health.due() {
                    Some(due) if due <= now => plan.actions.push(Action::Probe { container }),
                    Some(due) => plan.wake_at(due),
                    None => {}
                },
                Phase::Ordered | Phase::Stopped { .. } => {}
            }
        }
        self.plan_hopeless(&mut plan);
        // Giving up may end the task, which whoever does it knows: nothing starts beside it, but in the plan after it.
        let gives_up = |action: &Action| matches!(action, Action::GiveUp { .. });
        if plan.actions.iter().any(gives_up) {
            plan.actions.retain(gives_up);
        }
        plan
    }

    /// Where nothing runs and nothing starts, what waits would wait for ever: a circle that an older record may have.
    fn plan_hopeless(&self, plan: &mut Plan<Action>) {
        let alive = |state: &State| matches!(state.phase, Phase::Ordered | Phase::Running | Phase::Returning);
        if !plan.actions.is_empty() || self.states.iter().any(alive) {
            return;
        }
        for (container, (rule, state)) in self.rules.iter().zip(&self.states).enumerate() {
            if let (Phase::Waiting, Some((on, _))) = (state.phase, rule.depends.first()) {
                let reason = self.because(*on, rule, "because dependency will never start");
                plan.actions.push(Action::GiveUp { container, reason });
            }
        }
    }

    /// What depends on others goes before them.
    fn plan_stops(&self, plan: &mut Plan<Action>) {
        if !self.pulled {
            plan.actions.push(Action::StopAll);
            return;
        }
        let lives = |state: &State| matches!(state.phase, Phase::Ordered | Phase::Running);
        for (container, state) in self.states.iter().enumerate() {
            let needed = self
                .rules
                .iter()
                .zip(&self.states)
                .any(|(other, of_other)| lives(of_other) && other.depends.iter().any(|(on, _)| *on == container));
            if lives(state) && !state.told_to_stop && !needed {
                plan.actions.push(Action::Stop { container });
            }
        }
        if !self.states.iter().any(lives) {
            plan.actions.push(Action::Finish);
        }
    }

    fn readiness(&self, rule: &Rule, now: Timestamp) -> Readiness {
        let mut ready = true;
        let mut wake_at: Option<Timestamp> = None;
        for (number, condition) in &rule.depends {
            let (Some(on), Some(state)) = (self.rules.get(*number), self.states.get(*number)) else { continue };
            if let (Condition::Healthy, Some(why)) = (condition, &on.unmapped) {
                return Readiness::Never(self.because(*number, rule, &format!("because {why}")));
            }
            match met(*condition, state) {
                Met::Yes => continue,
                Met::Never(why) => return Readiness::Never(self.because(*number, rule, why)),
                Met::No => ready = false,
            }
            if *condition == Condition::Start {
                continue;
            }
            if let (Some(started), Some(timeout)) = (state.started_at, on.start_timeout) {
                if started + timeout <= now {
                    let (on, rule) = (self.described(*number), self.target(rule));
                    return Readiness::Never(format!(
                        "dependency graph: container ordering dependency [{on}] for target [{rule}] has timed out."
                    ));
                }
                wake_at = Some(wake_at.map_or(started + timeout, |earlier| earlier.min(started + timeout)));
            }
        }
        if ready { Readiness::Ready } else { Readiness::NotYet { until: wake_at } }
    }

    /// As ECS's agent writes it.
    fn because(&self, on: usize, rule: &Rule, why: &str) -> String {
        let (on, target) = (self.described(on), self.target(rule));
        format!("dependency graph: failed to resolve container ordering dependency [{on}] for target [{target}] {why}")
    }

    /// `NAME(IMAGE) (KNOWN->DESIRED) - Exit: CODE`
    fn described(&self, container: usize) -> String {
        let (Some(rule), Some(state)) = (self.rules.get(container), self.states.get(container)) else {
            return String::new();
        };
        let (known, exit) = match state.phase {
            Phase::Waiting | Phase::Ordered => ("NONE->RUNNING", None),
            Phase::Running | Phase::Returning => ("RUNNING->RUNNING", None),
            Phase::Stopped { exit_code } => ("STOPPED->STOPPED", exit_code),
        };
        let exit = exit.map(|code| format!(" - Exit: {code}")).unwrap_or_default();
        format!("{}({}) ({known}){exit}", rule.name, rule.image)
    }

    fn target(&self, rule: &Rule) -> String {
        format!("{}({}) (NONE->RUNNING)", rule.name, rule.image)
    }
}

/// Whether a container may start.
enum Readiness {
    Ready,
    NotYet { until: Option<Timestamp> },
    Never(String),
}

enum Met {
    Yes,
    No,
    Never(&'static str),
}

/// Whether a dependency in this state is what is wanted of it.
fn met(condition: Condition, on: &State) -> Met {
    match (condition, on.phase) {
        // What never ran can be waited for by nobody.
        (_, Phase::Stopped { exit_code: None }) => Met::Never("because dependency will never start"),
        (Condition::Start, Phase::Running | Phase::Returning | Phase::Stopped { .. }) => Met::Yes,
        (Condition::Complete, Phase::Stopped { .. }) => Met::Yes,
        (Condition::Success, Phase::Stopped { exit_code: Some(0) }) => Met::Yes,
        (Condition::Success, Phase::Stopped { .. }) => Met::Never("as dependency did not exit successfully."),
        (Condition::Healthy, Phase::Stopped { .. }) => {
            Met::Never("because dependency stopped and cannot become healthy")
        }
        (Condition::Healthy, Phase::Running) if on.health.status == HealthStatus::Healthy => Met::Yes,
        _ => Met::No,
    }
}

#[cfg(test)]
mod tests;
