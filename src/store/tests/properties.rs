//! Random transactions on views of random age, against a model that keeps every state whole and knows no index.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::scene::*;
use crate::model::{Task, TaskStatus};
use crate::store::{CommitError, Memory, Prefix, Revision, Snapshot, Store};

const STATUSES: [TaskStatus; 3] = [TaskStatus::Pending, TaskStatus::Running, TaskStatus::Stopped];
const SERVICES: [&str; 2] = ["web", "web2"];

#[derive(Clone, Debug)]
enum Read {
    Key(u128),
    All,
    Service(usize),
    Live,
    Running(usize),
}

#[derive(Clone, Debug)]
enum Write {
    Put { id: u128, service: Option<usize>, status: usize },
    Delete { id: u128 },
}

#[derive(Clone, Debug)]
struct Step {
    /// How many revisions old the view is.
    age: usize,
    reads: Vec<Read>,
    writes: Vec<Write>,
}

/// Every task with the revision that wrote it.
type State = BTreeMap<u128, (u64, Task)>;

/// What a read gives in a state: ids, and for contents the revisions too.
fn outcome(state: &State, read: &Read) -> Vec<(u128, u64)> {
    let service_is = |task: &Task, place: usize| {
        task.service.as_ref().is_some_and(|membership| membership.service == SERVICES[place])
    };
    let chosen = state.iter().filter(|(id, (_, task))| match read {
        Read::Key(wanted) => wanted == *id,
        Read::All => true,
        Read::Service(place) => service_is(task, *place),
        Read::Live => task.last_status != TaskStatus::Stopped,
        Read::Running(place) => service_is(task, *place) && task.last_status == TaskStatus::Running,
    });
    let with_content = !matches!(read, Read::Running(_));
    chosen.map(|(id, (revision, _))| (*id, if with_content { *revision } else { 0 })).collect()
}

/// Whether a commit on the newest of `states` must be refused after `read` in the state at `base`.
fn conflicts(states: &[State], base: usize, read: &Read) -> bool {
    match read {
        Read::Key(_) => outcome(&states[base], read) != outcome(&states[states.len() - 1], read),
        // A list that changed and changed back was still another list in between.
        _ => states[base..].windows(2).any(|pair| outcome(&pair[0], read) != outcome(&pair[1], read)),
    }
}

fn read_ids(view: &crate::store::View, read: &Read) -> Vec<u128> {
    let mut found = match read {
        Read::Key(id) => ids(view.get::<Task>(&task_key(*id)).into_iter().collect()),
        Read::All => ids(view.list(&Prefix::tasks(&scope(), &default()))),
        Read::Service(place) => ids(view.tasks_of_service(&scope(), &default(), SERVICES[*place])),
        Read::Live => ids(view.live_tasks()),
        Read::Running(place) => {
            let running = TaskStatus::Running;
            vec![0; view.count_tasks_of_service(&scope(), &default(), SERVICES[*place], running)]
        }
    };
    found.sort_unstable();
    found
}

fn expected_ids(state: &State, read: &Read) -> Vec<u128> {
    let ids = outcome(state, read).into_iter();
    ids.map(|(id, _)| if matches!(read, Read::Running(_)) { 0 } else { id }).collect()
}

fn read() -> impl Strategy<Value = Read> {
    prop_oneof![
        (0..6u128).prop_map(Read::Key),
        Just(Read::All),
        (0..2usize).prop_map(Read::Service),
        Just(Read::Live),
        (0..2usize).prop_map(Read::Running),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        3 => (0..6u128, proptest::option::of(0..2usize), 0..3usize)
            .prop_map(|(id, service, status)| Write::Put { id, service, status }),
        1 => (0..6u128).prop_map(|id| Write::Delete { id }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (reads, writes) = (proptest::collection::vec(read(), 0..3), proptest::collection::vec(write(), 1..4));
    (0..4usize, reads, writes).prop_map(|(age, reads, writes)| Step { age, reads, writes })
}

/// What the writes of a step make of a state.
fn written(state: &State, writes: &[Write], revision: u64) -> State {
    let mut state = state.clone();
    for write in writes {
        match write {
            Write::Put { id, service, status } => {
                let task = task(*id, service.map(|place| SERVICES[place]), STATUSES[*status]);
                state.insert(*id, (revision, task));
            }
            Write::Delete { id } => drop(state.remove(id)),
        }
    }
    state
}

fn check(snapshot: &Snapshot, state: &State) {
    let tasks: Vec<Task> = snapshot.iter::<Task>(&Prefix::all_tasks()).map(|task| task.as_ref().clone()).collect();
    assert_eq!(tasks, state.values().map(|(_, task)| task.clone()).collect::<Vec<_>>());
    let revision = |id: &u128| snapshot.revision_of(&task_key(*id));
    assert!(state.iter().all(|(id, (written, _))| revision(id) == Some(Revision(*written))));
    for (place, service) in SERVICES.iter().enumerate() {
        assert_eq!(ids_of_service(snapshot, service), expected_ids(state, &Read::Service(place)));
        for status in STATUSES {
            let counted = snapshot.count_tasks_of_service(&scope(), &default(), service, status);
            let listed = snapshot.tasks_of_service(&scope(), &default(), service);
            assert_eq!(counted, listed.iter().filter(|task| task.last_status == status).count());
        }
    }
}

proptest! {
    #[test]
    fn commits_are_refused_exactly_when_a_read_is_untrue(steps in proptest::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let backend = Memory::default();
        let store = Store::open(backend.clone()).unwrap();
        let mut states = vec![State::new()];
        let mut snapshots = vec![store.snapshot()];
        for Step { age, reads, writes } in steps {
            let base = states.len() - 1 - age.min(states.len() - 1);
            let mut view = crate::store::View::new(snapshots[base].clone());
            for read in &reads {
                prop_assert_eq!(read_ids(&view, read), expected_ids(&states[base], read));
            }
            for write in &writes {
                match write {
                    Write::Put { id, service, status } => {
                        view.put(task(*id, service.map(|place| SERVICES[place]), STATUSES[*status]));
                    }
                    Write::Delete { id } => view.delete::<Task>(&task_key(*id)),
                }
            }
            let own = written(&states[base], &writes, 0);
            for read in &reads {
                prop_assert_eq!(read_ids(&view, read), expected_ids(&own, read), "own writes");
            }
            let refused = reads.iter().any(|read| conflicts(&states, base, read));
            match runtime.block_on(store.commit(view)) {
                Ok(revision) => {
                    prop_assert!(!refused);
                    prop_assert_eq!(revision, Revision(states.len() as u64));
                    states.push(written(&states[states.len() - 1], &writes, revision.0));
                    snapshots.push(store.snapshot());
                }
                Err(error) => {
                    prop_assert!(matches!(error, CommitError::Conflict(_)), "{}", error);
                    prop_assert!(refused, "{}", error);
                }
            }
        }
        // Every snapshot is still what it was; what was derived step by step is what a new start derives.
        for (snapshot, state) in snapshots.iter().zip(&states) {
            check(snapshot, state);
        }
        check(&Store::open(backend).unwrap().snapshot(), &states[states.len() - 1]);
    }
}
