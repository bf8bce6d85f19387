//! The tasks of this node: give them a place, hand them to the host, tell the host to stop them.
//!
//! The placement of a task is durable before the host hears of it, so a task is started at most once, whatever crashes in
//! between. What the host reports is recorded by a future of its own for each task (`life`), so that ten thousand of them
//! share the store's flushes instead of waiting for each other.

mod care;
mod forget;
mod life;
mod running;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use crate::control::pressure;
use crate::control::spec::environment_files::{self, Variables};
use crate::control::spec::secrets::Vault;
use crate::control::spec::{ImagePolicy, add_variables, agent, task_spec};
use crate::control::tasks::care::Care;
use crate::control::turn::{Concern, Passed, Turn};
use crate::control::{Phase, Shared};
use crate::identity::task_role;
use crate::model::exit::StartFailure;
use crate::model::task::{LaunchType, StopCode};
use crate::model::{ContainerInstance, Target, Task, TaskDefinition, TaskId, TaskStatus};
use crate::network::Address;
use crate::plan::pressure::Wait;
use crate::plan::task::reserve::{Remaining, reservation};
use crate::plan::task::{self, Here, Next, life as transitions};
use crate::store::{CommitError, Key, Kind, Snapshot, TransactError};

pub use forget::Forget;
pub use running::RunningTasks;

/// Tasks in one transaction: a read and a write each, well within the store's 128 of both.
const BATCH: usize = 50;

/// The loop's state: only what saves work, nothing that it could not find out again.
pub struct Tasks {
    shared: Arc<Shared>,
    /// Tasks that found no room. They are looked at in every pass, because any other task's end may make it.
    without_room: BTreeSet<Key>,
}

/// The tasks of one pass, sorted by what is next for them.
#[derive(Default)]
struct Sorted {
    place: Vec<Arc<Task>>,
    /// Those whose record changes.
    change: Vec<Key>,
    stop: Vec<TaskId>,
    /// Those that start when memory is free, if any do.
    wait: Vec<Key>,
    waits: Option<Wait>,
}

impl Concern for Tasks {
    async fn pass(&mut self, turn: Turn) -> Passed {
        let candidates = self.candidates(&turn);
        let sorted = self.sort(&turn.now, candidates);
        for id in &sorted.stop {
            if !self.shared.running.ask_stop(*id) {
                self.shared.host.stop(*id);
            }
        }
        let mut failed = false;
        for batch in sorted.change.chunks(BATCH) {
            failed |= !self.change(batch, &turn).await;
        }
        for batch in sorted.place.chunks(BATCH) {
            failed |= !self.place(batch, &turn).await;
        }
        if let Some(waits) = &sorted.waits {
            for batch in sorted.wait.chunks(BATCH) {
                failed |= !pressure::show_waiting(&self.shared, batch, waits).await;
            }
        }
        Passed { wake_at: sorted.waits.map(|waits| waits.until), failed }
    }
}

impl Tasks {
    pub fn new(shared: Arc<Shared>) -> Tasks {
        Tasks { shared, without_room: BTreeSet::new() }
    }

    /// The tasks that may have something next: those that changed, those whose targets changed, those without room.
    fn candidates(&self, turn: &Turn) -> Vec<Arc<Task>> {
        let Some(changes) = turn.changes() else { return turn.now.live_tasks() };
        let mut keys = self.without_room.clone();
        for change in changes {
            match change.key.kind() {
                Kind::Task => {
                    keys.insert(change.key);
                }
                Kind::Target => {
                    let before = turn.before.as_ref().and_then(|before| before.get::<Target>(&change.key));
                    let target = before.or_else(|| turn.now.get::<Target>(&change.key));
                    if let Some((target, of)) = target.as_ref().and_then(|target| Some((target, target.task.as_ref()?)))
                    {
                        keys.insert(Key::task(&target.scope, &of.cluster, of.task));
                    }
                }
                _ => {}
            }
        }
        keys.iter().filter_map(|key| turn.now.get::<Task>(key)).collect()
    }

    fn sort(&mut self, now: &Snapshot, candidates: Vec<Arc<Task>>) -> Sorted {
        let mut sorted = Sorted::default();
        let mut room = RoomOfInstances::default();
        let mut asked = None;
        self.without_room.clear();
        for task in candidates {
            match self.next(now, &task) {
                Next::Nothing => {}
                Next::Place if self.shared.phase() != Phase::Running => {}
                Next::Place => {
                    let key = key_of(&task);
                    // Asked once in a pass, and only where something wants to start.
                    let waits = *asked.get_or_insert_with(|| pressure::starts_wait(&self.shared));
                    if waits.is_some() {
                        sorted.waits = waits;
                        if task.last_status == TaskStatus::Provisioning {
                            sorted.wait.push(key.clone());
                        }
                        self.without_room.insert(key);
                    } else if room.take(now, &task, self.shared.placement.node) {
                        sorted.place.push(task);
                    } else {
                        self.without_room.insert(key);
                    }
                }
                Next::Stop => sorted.stop.push(task.id),
                Next::EndUnplaced | Next::Recover | Next::ShowDeactivating | Next::ShowStopping | Next::Lost => {
                    sorted.change.push(key_of(&task));
                }
            }
        }
        // First come, first placed.
        sorted.place.sort_by_key(|task| (task.created_at, task.id));
        sorted
    }

    fn next(&self, now: &Snapshot, task: &Task) -> Next {
        let targets = now.targets_of_task(&task.scope, &task.cluster, task.id).len();
        task::next(task, self.here(task.id, targets))
    }

    fn here(&self, task: TaskId, targets: usize) -> Here {
        let (on_host, stop_asked) = self.shared.running.state(task);
        Here { placement: self.shared.placement, on_host, stop_asked, targets }
    }

    /// Changes what is shown of tasks, each judged again by what is there when it is written.
    async fn change(&self, batch: &[Key], turn: &Turn) -> bool {
        let written = self.shared.store.transact(|view| -> Result<(), Infallible> {
            for key in batch {
                let Some(found) = view.get::<Task>(key) else { continue };
                let targets = view.targets_of_task(&found.scope, &found.cluster, found.id).len();
                let mut changed = Task::clone(&found);
                match task::next(&found, self.here(found.id, targets)) {
                    Next::EndUnplaced => task::end_unplaced(&mut changed, turn.at),
                    Next::Recover => task::recover(&mut changed, turn.at),
                    Next::ShowDeactivating => transitions::show_deactivating(&mut changed, turn.at),
                    Next::ShowStopping => transitions::show_stopping(&mut changed, turn.at),
                    Next::Lost => {
                        let reason = String::from("CannotStartContainerError: the node could not take the task");
                        task::end(&mut changed, StopCode::TaskFailedToStart, reason, turn.at);
                    }
                    Next::Nothing | Next::Place | Next::Stop => continue,
                }
                changed.version += 1;
                view.put(changed);
            }
            Ok(())
        });
        succeeded("change tasks", written.await).is_some()
    }

    /// Gives tasks their place; once that is durable, hands them to the host.
    async fn place(&self, batch: &[Arc<Task>], turn: &Turn) -> bool {
        let mut addresses: HashMap<TaskId, Address> = HashMap::new();
        for task in batch {
            match self.shared.network.attach_with(task.id, self.shared.reach.policy(task)) {
                Ok(address) => {
                    addresses.insert(task.id, address);
                }
                Err(error) => tracing::warn!(task = %task.id, %error, "a task waits for an address"),
            }
        }
        let placed = self.shared.store.transact(|view| -> Result<Vec<Task>, Infallible> {
            let mut placed = Vec::new();
            for task in batch {
                let Some(address) = addresses.get(&task.id) else { continue };
                let Some(found) = view.get::<Task>(&key_of(task)) else { continue };
                if task::next(&found, self.here(found.id, 0)) != Next::Place {
                    continue;
                }
                let mut found = Task::clone(&found);
                found.placement = Some(self.shared.placement);
                found.last_status = TaskStatus::Pending;
                found.connected_at = Some(turn.at);
                found.address = Some(address.ip());
                if let Some(interface) = &mut found.interface {
                    interface.address = Some(address.ip());
                }
                found.version += 1;
                placed.push(found.clone());
                view.put(found);
            }
            Ok(placed)
        });
        let Some(placed) = succeeded("place tasks", placed.await) else { return false };
        let all_have_addresses = addresses.len() == batch.len();
        for task in placed {
            if let Some(address) = addresses.remove(&task.id) {
                self.start(&turn.now, task, address);
            }
        }
        all_have_addresses
    }

    /// Hands a placed task to the host and follows its life.
    fn start(&self, now: &Snapshot, task: Task, address: Address) {
        let shared = Arc::clone(&self.shared);
        let Some(definition) = now.get::<TaskDefinition>(&Key::task_definition(&task.scope, &task.definition)) else {
            shared.running.insert(task.id, None);
            let why = format!("the task definition {} is no longer there", task.definition);
            tokio::spawn(life::fail(shared, task, StartFailure::ResourceInitialization(why)));
            return;
        };
        let care = Care::of(&shared, &task, &definition);
        shared.running.insert(task.id, care.as_ref().map(Care::stopper));
        if !environment_files::are_asked_for(&task, &definition) {
            return hand_over(shared, task, definition, address, &Variables::default(), care);
        }
        // Files may take their time: the loop does not wait for them.
        tokio::spawn(async move {
            let (settings, of, named) = (Arc::clone(&shared.settings), task.clone(), Arc::clone(&definition));
            let read = move || environment_files::read(&settings.files, &of, &named);
            match tokio::task::spawn_blocking(read).await {
                Ok(Ok(variables)) => hand_over(shared, task, definition, address, &variables, care),
                Ok(Err(failure)) => life::fail(shared, task, failure).await,
                Err(error) => {
                    let why = format!("environment files could not be read: {error}");
                    life::fail(shared, task, StartFailure::ResourceInitialization(why)).await;
                }
            }
        });
    }
}

/// Hands a task to the host, with everything that it is to be told.
fn hand_over(
    shared: Arc<Shared>,
    task: Task,
    definition: Arc<TaskDefinition>,
    address: Address,
    variables: &Variables,
    care: Option<Care>,
) {
    let policy = ImagePolicy { any_file: shared.any_file_image };
    let spec = task_spec(&task, &definition, address, policy, &shared.settings).and_then(|mut spec| {
        let snapshot = shared.store.snapshot();
        let vault = Vault { snapshot: &snapshot, sealing: &shared.sealing, now: shared.now() };
        add_variables(&mut spec, &task, &definition, variables, &vault)?;
        Ok(spec)
    });
    match spec {
        Ok(mut spec) => {
            let id = task.id;
            let role = task_role::role_of(&task, &definition);
            let credentials = role.map(|role| shared.task_roles.associate(id, role, shared.ids.bits()));
            agent::tell(&mut spec, &task, credentials.as_ref());
            let reports = shared.host.start(spec);
            // A stop that came while files were read found nobody to stop; where containers are taken care of, it was noted.
            if care.is_none() && shared.running.state(id).1 {
                shared.host.stop(id);
            }
            tokio::spawn(life::live(shared, task, definition, reports, care));
        }
        Err(failure) => {
            tokio::spawn(life::fail(shared, task, failure));
        }
    }
}

/// What is left of the container instances, as far as this pass asked.
#[derive(Default)]
struct RoomOfInstances(BTreeMap<Key, Remaining>);

impl RoomOfInstances {
    /// True where the task has room, which it then takes.
    fn take(&mut self, now: &Snapshot, task: &Task, node: crate::model::NodeId) -> bool {
        if task.launch_type == LaunchType::Fargate {
            return true;
        }
        let key = Key::container_instance(&task.scope, &task.cluster, node);
        // A cluster whose instance is not registered has nothing to reserve from: the record is made with the cluster.
        let Some(instance) = now.get::<ContainerInstance>(&key) else { return true };
        let remaining = self.0.entry(key).or_insert_with(|| {
            let placed = now.tasks_of_container_instance(&task.scope, &task.cluster, node);
            let live = placed.iter().filter(|placed| !placed.is_stopped());
            Remaining::of(&instance, live.map(|placed| reserved(now, placed)).collect::<Vec<_>>().into_iter())
        });
        let wanted = reserved(now, task);
        if remaining.lacking(wanted).is_some() {
            return false;
        }
        remaining.take(wanted);
        true
    }
}

fn reserved(now: &Snapshot, task: &Task) -> crate::plan::task::reserve::Reservation {
    reservation(task, now.get::<TaskDefinition>(&Key::task_definition(&task.scope, &task.definition)).as_deref())
}

pub fn key_of(task: &Task) -> Key {
    Key::task(&task.scope, &task.cluster, task.id)
}

/// The value of a transaction; where the store refused it, that is logged here, once.
pub fn succeeded<T>(doing: &str, result: Result<T, TransactError<Infallible>>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(TransactError::Operation(never)) => match never {},
        // The server is on its way out, or was: the next start repairs what is left.
        Err(TransactError::Commit(CommitError::Closed)) => None,
        Err(TransactError::Commit(error)) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "cannot {doing}");
            None
        }
    }
}
