//! Random tasks on a random host: nothing starts too early, everything ends, and a restart needs its period.

use proptest::prelude::*;

use super::*;

const CONTAINERS_MAX: usize = 5;

#[derive(Clone, Debug)]
struct Wish {
    /// On containers before it, so that there is no circle.
    depends: Vec<(usize, u8)>,
    essential: bool,
    restarts: bool,
    checked: bool,
    start_timeout: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    let depends = prop::collection::vec((0..CONTAINERS_MAX, 0u8..4), 0..3);
    (depends, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(depends, essential, restarts, checked, start_timeout)| Wish {
            depends,
            essential,
            restarts,
            checked,
            start_timeout,
        },
    )
}

const CONDITIONS: [&str; 4] = ["START", "COMPLETE", "SUCCESS", "HEALTHY"];

fn container(number: usize, wish: &Wish) -> Value {
    let depends: Vec<Value> = wish
        .depends
        .iter()
        .filter(|(on, _)| *on < number)
        .map(|(on, kind)| json!({"containerName": on.to_string(), "condition": CONDITIONS[usize::from(*kind)]}))
        .collect();
    let mut members = json!({"dependsOn": depends, "essential": wish.essential});
    let members_of = members.as_object_mut().unwrap();
    if wish.restarts {
        members_of.insert(String::from("restartPolicy"), json!({"enabled": true, "restartAttemptPeriod": 60}));
    }
    if wish.checked {
        members_of
            .insert(String::from("healthCheck"), json!({"command": ["CMD", "true"], "interval": 5, "retries": 2}));
    }
    if wish.start_timeout {
        members_of.insert(String::from("startTimeout"), json!(20));
    }
    named(&number.to_string(), members)
}

/// A host that does what it is told, a while later, and whose guests end when they like.
struct Host {
    lives: Lives,
    wishes: Vec<Wish>,
    second: i64,
    starts: Vec<u32>,
    finished: bool,
}

impl Host {
    fn act(&mut self) {
        for action in self.lives.plan(at(self.second)).actions {
            self.check(&action);
            self.lives.carried_out(&action);
            match action {
                Action::Start { container } | Action::Restart { container } => self.starts[container] += 1,
                Action::GiveUp { container, .. } if self.wishes[container].essential => self.lives.stop(),
                Action::StopAll | Action::Finish => self.finished = true,
                _ => {}
            }
        }
    }

    /// Whatever was told to stop does.
    fn settle(&mut self) {
        for number in 0..self.wishes.len() {
            let state = self.lives.state(number).unwrap();
            if state.told_to_stop && matches!(state.phase, Phase::Ordered | Phase::Running) {
                self.ended(number, Some(0));
            }
        }
        self.act();
    }

    /// Something happens to one container, by the dice.
    fn step(&mut self, dice: u32) {
        self.act();
        let number = dice as usize % self.wishes.len();
        let state = self.lives.state(number).unwrap().clone();
        match (state.phase, (dice / 8) % 4) {
            (Phase::Ordered, 0) if state.told_to_stop => self.ended(number, None),
            (Phase::Ordered, _) => self.lives.started(number, at(self.second)),
            (Phase::Running, 0) => self.ended(number, Some((dice / 32 % 3) as u8)),
            (Phase::Running, _) if state.told_to_stop => self.ended(number, Some(0)),
            (Phase::Running, answer) => drop(self.lives.probed(number, answer > 1, at(self.second))),
            _ => {}
        }
        self.second += i64::from(dice / 128 % 30);
    }

    fn ended(&mut self, number: usize, code: Option<u8>) {
        let exit = match code {
            Some(code) => Exit::Returned { code },
            None => Exit::CouldNotStart(StartFailure::CannotCreate(String::from("stopped before"))),
        };
        let state = self.lives.state(number).unwrap().clone();
        match self.lives.stopped(number, &exit, at(self.second)) {
            Ending::Over => {
                if self.wishes[number].essential {
                    self.lives.stop();
                }
            }
            Ending::Restarts { .. } => {
                let ran_for = at(self.second).since(state.started_at.unwrap());
                assert!(self.wishes[number].restarts && ran_for.as_secs() >= 60 && !self.lives.is_stopping());
            }
        }
    }

    fn check(&self, action: &Action) {
        match action {
            Action::Start { container } => {
                assert!(!self.lives.is_stopping());
                for (on, condition) in &self.lives.rule(*container).unwrap().depends {
                    let state = self.lives.state(*on).unwrap();
                    let holds = match condition {
                        Condition::Start => state.started_at.is_some(),
                        Condition::Complete => matches!(state.phase, Phase::Stopped { exit_code: Some(_) }),
                        Condition::Success => state.phase == Phase::Stopped { exit_code: Some(0) },
                        Condition::Healthy => {
                            state.phase == Phase::Running && state.health.status == HealthStatus::Healthy
                        }
                    };
                    assert!(holds, "{action:?} while {on} is {state:?}");
                }
            }
            Action::Restart { .. } => assert!(!self.lives.is_stopping()),
            Action::Stop { container } => {
                for number in 0..self.wishes.len() {
                    let depends = self.lives.rule(number).unwrap().depends.iter().any(|(on, _)| on == container);
                    let phase = self.lives.state(number).unwrap().phase;
                    assert!(
                        !depends || !matches!(phase, Phase::Running | Phase::Ordered),
                        "{number} needs {container}"
                    );
                }
            }
            Action::Finish => {
                for number in 0..self.wishes.len() {
                    let phase = self.lives.state(number).unwrap().phase;
                    assert!(matches!(phase, Phase::Waiting | Phase::Returning | Phase::Stopped { .. }), "{phase:?}");
                }
            }
            Action::Probe { .. } | Action::GiveUp { .. } | Action::StopAll => {}
        }
    }
}

proptest! {
    #[test]
    fn no_container_starts_too_early_and_every_task_ends(
        mut wishes in prop::collection::vec(wish(), 1..=CONTAINERS_MAX),
        dice in prop::collection::vec(any::<u32>(), 0..200),
    ) {
        wishes[0].essential = true;
        let containers = wishes.iter().enumerate().map(|(number, wish)| container(number, wish)).collect::<Vec<_>>();
        let mut lives = Lives::new(&definition(Value::Array(containers)));
        lives.pulled();
        let starts = vec![0; wishes.len()];
        let mut host = Host { lives, wishes, second: 0, starts, finished: false };
        for dice in dice {
            host.step(dice);
        }
        host.lives.stop();
        host.act();
        // At most one layer of the order stops at a time.
        for _ in 0..=host.wishes.len() {
            host.settle();
        }
        prop_assert!(host.finished, "{:?}", host.lives);
        for (number, count) in host.starts.iter().enumerate() {
            // Each start but the first needs a life of a minute before it.
            prop_assert!(i64::from(*count) <= 1 + host.second / 60, "{number} started {count} times");
        }
    }

    #[test]
    fn a_plan_is_a_function_and_what_was_done_is_not_planned_again(wishes in prop::collection::vec(wish(), 1..=CONTAINERS_MAX)) {
        let containers = wishes.iter().enumerate().map(|(number, wish)| container(number, wish)).collect::<Vec<_>>();
        let mut lives = Lives::new(&definition(Value::Array(containers)));
        lives.pulled();
        let plan = lives.plan(at(0));
        prop_assert_eq!(&plan, &lives.plan(at(0)));
        for action in &plan.actions {
            lives.carried_out(action);
        }
        for action in lives.plan(at(0)).actions {
            prop_assert!(!plan.actions.contains(&action), "{:?}", action);
        }
    }
}
