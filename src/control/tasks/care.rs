//! Carries out what `plan::task::containers` plans for one task: starts, restarts, probes and stops its containers.
//!
//! It lives in the task's own future (`life`), so a task whose containers need nothing of this costs nothing, and ten
//! thousand that do share no queue. Probes are futures of that future: one at a time for each container.

use std::net::Ipv4Addr;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time;

use crate::control::tasks::life::Observed;
use crate::control::{Ask, Shared};
use crate::model::{HealthStatus, Task, TaskDefinition, TaskId, Timestamp};
use crate::plan::task::containers::{Action, Ending, Lives};
use crate::plan::task::life::Fact;

pub struct Care {
    shared: Arc<Shared>,
    task: TaskId,
    address: Option<Ipv4Addr>,
    /// Which container serves which port: whom a probe of a port asks.
    ports: Arc<[(String, u16)]>,
    definition: Arc<TaskDefinition>,
    lives: Lives,
    probes: FuturesUnordered<BoxFuture<'static, Answer>>,
    wake_at: Option<Timestamp>,
    told_to_stop: Arc<Notify>,
}

/// What came of a probe, of which life of the container.
struct Answer {
    container: usize,
    restarts: u32,
    passed: Result<(), String>,
}

impl Care {
    /// `None` where the task's containers start together and end once, unwatched.
    pub fn of(shared: &Arc<Shared>, task: &Task, definition: &Arc<TaskDefinition>) -> Option<Care> {
        for container in &definition.document.container_definitions {
            if let crate::model::health::Mapping::Unmapped(why) = container.health_check() {
                tracing::warn!(task = %task.id, container = %container.name, "its health check cannot be made: {why}");
            }
        }
        if !Lives::are_needed(definition) {
            return None;
        }
        let mapped = definition.document.container_definitions.iter().flat_map(|container| {
            let ports = container.port_mappings.iter().filter_map(|mapping| mapping.container_port);
            ports.map(|port| (container.name.clone(), port))
        });
        Some(Care {
            shared: Arc::clone(shared),
            task: task.id,
            address: task.address,
            ports: mapped.collect(),
            definition: Arc::clone(definition),
            lives: Lives::new(definition),
            probes: FuturesUnordered::new(),
            wake_at: None,
            told_to_stop: Arc::default(),
        })
    }

    /// Tells it to stop the containers in order.
    pub fn stopper(&self) -> Arc<Notify> {
        Arc::clone(&self.told_to_stop)
    }

    /// Until something is to be done that the host does not report: a probe is answered, the task is told to stop, or time
    /// has passed. What follows is added to the facts.
    pub async fn wait(&mut self, facts: &mut Vec<Observed>) {
        let wake_at = self.wake_at.map(|at| at.since(self.shared.now()));
        tokio::select! {
            Some(answer) = self.probes.next() => self.answered(answer, facts),
            () = self.told_to_stop.notified() => self.lives.stop(),
            () = time::sleep(wake_at.unwrap_or_default()), if wake_at.is_some() => {}
        }
    }

    fn answered(&mut self, answer: Answer, facts: &mut Vec<Observed>) {
        let Answer { container, restarts, passed } = answer;
        if self.lives.state(container).is_none_or(|state| state.restarts != restarts) {
            return;
        }
        let now = self.shared.now();
        let Some(status) = self.lives.probed(container, passed.is_ok(), now) else { return };
        let name = self.lives.rule(container).map(|rule| rule.name.clone()).unwrap_or_default();
        if let (HealthStatus::Unhealthy, Err(why)) = (status, &passed) {
            tracing::info!(task = %self.task, container = %name, why, "a container is unhealthy");
        }
        facts.push((Fact::Health { container: name, status }, now));
    }

    /// Learns from what the host reported. The end of a life that is followed by another is no end.
    pub fn observe(&mut self, facts: &mut [Observed]) {
        for (fact, at) in facts {
            match fact {
                Fact::PullStopped => self.lives.pulled(),
                Fact::ContainerStarted { container, .. } => {
                    if let Some(number) = self.lives.number(container) {
                        self.lives.started(number, *at);
                    }
                }
                Fact::ContainerStopped { container, exit } => {
                    let Some(number) = self.lives.number(container) else { continue };
                    match self.lives.stopped(number, exit, *at) {
                        Ending::Restarts { restarts } => {
                            *fact = Fact::Restarting { container: container.clone(), restarts };
                        }
                        // Nothing that ends together with it starts again.
                        Ending::Over if self.is_essential(container) => self.lives.stop(),
                        Ending::Over => {}
                    }
                }
                _ => {}
            }
        }
    }

    fn is_essential(&self, container: &str) -> bool {
        self.definition.container(container).is_none_or(|defined| defined.essential)
    }

    /// The task is over: its containers stop in order.
    pub fn stop(&mut self) {
        self.lives.stop();
    }

    /// Does what is to be done now; what follows of it at once is added to the facts.
    pub fn act(&mut self, facts: &mut Vec<Observed>) {
        let now = self.shared.now();
        let mut plan = self.lives.plan(now);
        // Carrying an action out changes only what that action was about, so the second plan has the rest.
        while !plan.is_empty() {
            for action in plan.actions {
                self.lives.carried_out(&action);
                self.carry_out(action, now, facts);
            }
            plan = self.lives.plan(now);
        }
        self.wake_at = plan.wake_at;
    }

    fn carry_out(&mut self, action: Action, now: Timestamp, facts: &mut Vec<Observed>) {
        if let Action::GiveUp { container, .. } = &action
            && self.lives.rule(*container).is_some_and(|rule| self.is_essential(&rule.name))
        {
            self.lives.stop();
        }
        let (host, task) = (&self.shared.host, self.task);
        let name = |container: usize| self.lives.rule(container).map(|rule| rule.name.as_str()).unwrap_or_default();
        match action {
            Action::Start { container } | Action::Restart { container } => host.start_container(task, name(container)),
            Action::Stop { container } => host.stop_container(task, name(container)),
            Action::Finish => host.finish(task),
            Action::StopAll => host.stop(task),
            Action::GiveUp { container, reason } => {
                facts.push((Fact::GivenUp { container: name(container).to_owned(), reason }, now));
            }
            Action::Probe { container } => self.probe(container),
        }
    }

    fn probe(&mut self, container: usize) {
        let (Some(rule), Some(state)) = (self.lives.rule(container), self.lives.state(container)) else { return };
        let (Some(check), Some(address)) = (&rule.check, self.address) else { return };
        let (timeout, restarts) = (check.timeout, state.restarts);
        let asked = self.shared.host.probe(Ask {
            task: self.task,
            container: rule.name.clone(),
            address,
            ports: Arc::clone(&self.ports),
            probe: check.probe.clone(),
        });
        self.probes.push(Box::pin(async move {
            let passed = time::timeout(timeout, asked).await;
            let passed = passed.unwrap_or_else(|_| Err(format!("no answer within {} s", timeout.as_secs())));
            Answer { container, restarts, passed }
        }));
    }
}
