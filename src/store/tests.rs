use super::*;
use crate::model::{
    Cluster, DesiredStatus, FamilyRecord, NodeId, Service, ServiceStatus, Target, Task, TaskStatus, Timestamp,
};

mod properties;
mod scene;
mod writing;

use scene::*;

/// Runs `read` on a view, then `change` on another that commits first; the first then writes something else.
async fn race(
    store: &Store,
    read: impl FnOnce(&mut View),
    change: impl FnOnce(&mut View),
) -> Result<Revision, CommitError> {
    let mut view = store.view();
    read(&mut view);
    commit(store, change).await;
    view.put(family("outcome", 1));
    store.commit(view).await
}

#[tokio::test]
async fn a_read_key_that_changed_is_a_conflict() {
    let store = Store::in_memory();
    commit(&store, |view| view.put(cluster("one"))).await;
    let read = |view: &mut View| drop(view.get::<Cluster>(&cluster_key("one")));
    let change = |view: &mut View| view.put(cluster("one"));
    let conflict = race(&store, read, change).await.unwrap_err();
    assert_eq!(conflict, CommitError::Conflict(cluster_key("one").to_string()));
    assert!(store.snapshot().get::<FamilyRecord>(&Key::family(&scope(), &"outcome".parse().unwrap())).is_none());

    // Another key is nobody's business.
    race(&store, read, |view| view.put(cluster("two"))).await.unwrap();
    // Nor is one that was only written: the last write stands.
    race(&store, |view| view.put(cluster("one")), change).await.unwrap();
}

#[tokio::test]
async fn a_read_absence_that_ended_is_a_conflict() {
    let store = Store::in_memory();
    let read = |view: &mut View| assert!(!view.exists(&cluster_key("one")));
    let conflict = race(&store, read, |view| view.put(cluster("one"))).await;
    assert!(matches!(conflict, Err(CommitError::Conflict(_))), "{conflict:?}");
}

#[tokio::test]
async fn phantoms_under_a_prefix_are_conflicts() {
    let store = Store::in_memory();
    commit(&store, |view| view.put(cluster("one"))).await;
    let list = |view: &mut View| drop(view.list::<Cluster>(&Prefix::clusters(&scope())));

    let created = race(&store, list, |view| view.put(cluster("two"))).await;
    assert!(matches!(created, Err(CommitError::Conflict(_))), "{created:?}");
    let replaced = race(&store, list, |view| view.put(cluster("two"))).await;
    assert!(matches!(replaced, Err(CommitError::Conflict(_))), "{replaced:?}");
    let deleted = race(&store, list, |view| view.delete::<Cluster>(&cluster_key("one"))).await;
    assert!(matches!(deleted, Err(CommitError::Conflict(_))), "{deleted:?}");
    // What leaves things as they are is no change.
    race(&store, list, |view| view.delete::<Cluster>(&cluster_key("one"))).await.unwrap();
    race(&store, list, |view| view.put(family("web", 1))).await.unwrap();
}

#[tokio::test]
async fn phantoms_in_an_index_are_conflicts() {
    let store = Store::in_memory();
    commit(&store, |view| view.put(task(1, Some("web"), TaskStatus::Running))).await;
    let list = |view: &mut View| drop(view.tasks_of_service(&scope(), &default(), "web"));

    let entered = race(&store, list, |view| view.put(task(2, Some("web"), TaskStatus::Pending))).await;
    assert!(matches!(entered, Err(CommitError::Conflict(_))), "{entered:?}");
    let changed = race(&store, list, |view| view.put(task(2, Some("web"), TaskStatus::Running))).await;
    assert!(matches!(changed, Err(CommitError::Conflict(_))), "{changed:?}");
    let left = race(&store, list, |view| view.delete::<Task>(&task_key(2))).await;
    assert!(matches!(left, Err(CommitError::Conflict(_))), "{left:?}");
    race(&store, list, |view| view.put(task(3, Some("web2"), TaskStatus::Running))).await.unwrap();
    race(&store, list, |view| view.put(task(4, None, TaskStatus::Running))).await.unwrap();
}

#[tokio::test]
async fn a_count_conflicts_only_where_the_number_may_change() {
    let store = Store::in_memory();
    commit(&store, |view| view.put(task(1, Some("web"), TaskStatus::Running))).await;
    let count = |view: &mut View| {
        assert_eq!(view.count_tasks_of_service(&scope(), &default(), "web", TaskStatus::Running), 1);
    };
    let mut again = task(1, Some("web"), TaskStatus::Running);
    again.version = 2;
    race(&store, count, |view| view.put(again)).await.unwrap();
    race(&store, count, |view| view.put(task(2, Some("web"), TaskStatus::Pending))).await.unwrap();
    let stopped = race(&store, count, |view| view.put(task(1, Some("web"), TaskStatus::Stopped))).await;
    assert!(matches!(stopped, Err(CommitError::Conflict(_))), "{stopped:?}");
}

#[tokio::test]
async fn a_view_older_than_what_is_remembered_is_a_conflict_where_it_listed() {
    let store = Store::in_memory();
    let (mut listed, mut read) = (store.view(), store.view());
    listed.list::<Cluster>(&Prefix::clusters(&scope()));
    read.exists(&cluster_key("one"));
    for round in 0..=CHANGES_MAX / OPERATIONS_MAX {
        let ids = (0..OPERATIONS_MAX).map(|id| (round * OPERATIONS_MAX + id) as u128);
        commit(&store, |view| ids.for_each(|id| view.put(task(id, None, TaskStatus::Running)))).await;
    }
    listed.put(family("listed", 1));
    assert!(matches!(store.commit(listed).await, Err(CommitError::Conflict(_))));
    // Single keys are compared with what is there now, however old the view.
    read.put(family("read", 1));
    store.commit(read).await.unwrap();
    assert_eq!(store.changes(Revision(0)), Changes::TooOld);
}

#[test]
fn own_writes_are_visible_to_own_reads_and_to_nobody_else() {
    let store = Store::in_memory();
    let mut view = store.view();
    view.put(cluster("one"));
    view.put(task(1, Some("web"), TaskStatus::Running));
    assert_eq!(view.list::<Cluster>(&Prefix::clusters(&scope())).len(), 1);
    assert_eq!(ids(view.tasks_of_service(&scope(), &default(), "web")), [1]);
    assert_eq!(view.count_tasks(&scope(), &default(), TaskStatus::Running), 1);
    view.put(task(1, Some("web"), TaskStatus::Stopped));
    assert_eq!(view.count_tasks(&scope(), &default(), TaskStatus::Running), 0);
    view.delete::<Task>(&task_key(1));
    assert!(view.get::<Task>(&task_key(1)).is_none() && view.live_tasks().is_empty());
    assert!(store.snapshot().is_empty() && view.base().is_empty());
}

#[tokio::test]
async fn indexes_find_what_they_are_for() {
    let store = Store::in_memory();
    let mut placed = task(1, Some("web"), TaskStatus::Running);
    placed.placement = placement(7);
    placed.started_by = Some(String::from("ecs-svc/1"));
    let mut stopped = task(2, None, TaskStatus::Stopped);
    (stopped.placement, stopped.stopped_at, stopped.desired_status) =
        (placement(7), Some(Timestamp(20)), DesiredStatus::Stopped);
    let mut older = task(3, None, TaskStatus::Stopped);
    older.stopped_at = Some(Timestamp(10));
    commit(&store, |view| {
        [placed, stopped, older].into_iter().for_each(|task| view.put(task));
        view.put(service("web", ServiceStatus::Active));
        view.put(service("old", ServiceStatus::Inactive));
        view.put(target_of(1, 80));
        view.put(target_of(2, 81));
    })
    .await;

    let (snapshot, scope, default, node) = (store.snapshot(), scope(), default(), NodeId(7));
    assert_eq!(ids(snapshot.tasks_of_cluster(&scope, &default)), [1, 2, 3]);
    assert_eq!(ids(snapshot.tasks_of_family(&scope, &default, &"web".parse().unwrap())), [1, 2, 3]);
    assert_eq!(ids(snapshot.tasks_started_by(&scope, &default, "ecs-svc/1")), [1]);
    assert_eq!(ids(snapshot.live_tasks()), [1]);
    assert_eq!(ids(snapshot.live_tasks_of_node(node)), [1]);
    let mut of_node = ids(snapshot.tasks_of_node(node));
    of_node.sort_unstable();
    assert_eq!(of_node, [1, 2]);
    assert_eq!(ids(snapshot.tasks_of_container_instance(&scope, &default, node)), [1, 2]);
    assert_eq!(ids(snapshot.oldest_stopped_tasks(1)), [3]);
    assert_eq!(snapshot.targets_of_task(&scope, &default, crate::model::TaskId(1))[0].port, 80);
    assert_eq!(snapshot.count_services(&scope, &default, ServiceStatus::Active), 1);
    assert_eq!(snapshot.services_of_cluster(&scope, &default).len(), 2);
    assert_eq!(snapshot.list::<Service>(&Prefix::all_services()).len(), 2);
    assert_eq!(snapshot.list::<Target>(&Prefix::targets(&scope, "web")).len(), 2);
    assert_eq!(snapshot.count(&Prefix::targets(&scope, "we")), 0);
}

#[tokio::test]
async fn transact_runs_again_on_what_is_there_now() {
    let store = Store::in_memory();
    let key = Key::family(&scope(), &"web".parse().unwrap());
    let next = |view: &mut View| -> Result<u32, ()> {
        let last = view.get::<FamilyRecord>(&key).map_or(0, |family| family.last_revision);
        view.put(family("web", last + 1));
        Ok(last + 1)
    };
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move {
                store
                    .transact(|view| -> Result<u32, ()> {
                        let last = view.get::<FamilyRecord>(&key).map_or(0, |family| family.last_revision);
                        view.put(family("web", last + 1));
                        Ok(last + 1)
                    })
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut given = Vec::new();
    for task in tasks {
        given.push(task.await.unwrap());
    }
    given.sort_unstable();
    assert_eq!(given, (1..=50).collect::<Vec<u32>>());
    assert_eq!(store.transact(next).await, Ok(51));
    assert_eq!(store.transact(|_| Err::<(), _>("no")).await, Err(TransactError::Operation("no")));
}

#[tokio::test]
async fn a_transaction_stays_within_the_limits_of_every_backend() {
    let store = Store::in_memory();
    let mut many = store.view();
    (0..=OPERATIONS_MAX).for_each(|id| many.put(task(id as u128, None, TaskStatus::Running)));
    assert!(matches!(store.commit(many).await, Err(CommitError::TooLarge(_))));

    let mut curious = store.view();
    (0..=OPERATIONS_MAX).for_each(|id| drop(curious.get::<Task>(&task_key(id as u128))));
    curious.put(cluster("one"));
    assert!(matches!(store.commit(curious).await, Err(CommitError::TooLarge(_))));

    let mut covered = store.view();
    covered.list::<Task>(&Prefix::tasks(&scope(), &default()));
    (0..=OPERATIONS_MAX).for_each(|id| drop(covered.get::<Task>(&task_key(id as u128))));
    covered.put(cluster("one"));
    store.commit(covered).await.unwrap();

    let mut large = store.view();
    let mut record = cluster("two");
    record.document.insert(String::from("text"), "a".repeat(TRANSACTION_BYTES_MAX).into());
    large.put(record);
    assert!(matches!(store.commit(large).await, Err(CommitError::TooLarge(_))));
    assert_eq!(store.snapshot().len(), 1);
}

#[tokio::test]
async fn a_watcher_is_woken_and_catches_up() {
    let store = Store::in_memory();
    let mut watch = store.watch();
    assert!(!watch.has_changed().unwrap());
    let seen = store.snapshot();
    commit(&store, |view| view.put(cluster("one"))).await;
    commit(&store, |view| view.put(cluster("two"))).await;
    commit(&store, |view| view.delete::<Cluster>(&cluster_key("one"))).await;
    watch.changed().await.unwrap();
    assert_eq!(*watch.borrow_and_update(), Revision(3));

    let change = |name: &str, kind| Change { key: cluster_key(name), kind };
    let Changes::Some { revision, changes } = store.changes(Revision(1)) else { panic!("one change is remembered") };
    assert_eq!(revision, Revision(3));
    assert_eq!(changes, [change("two", ChangeKind::Created), change("one", ChangeKind::Deleted)]);
    assert_eq!(store.changes(revision), Changes::Some { revision, changes: Vec::new() });
    // The difference of two snapshots does not show what came and went between them.
    assert_eq!(store.snapshot().changes_since(&seen), [change("two", ChangeKind::Created)]);
    commit(&store, |view| view.put(cluster("two"))).await;
    assert_eq!(store.snapshot().changes_since(&seen).len(), 1);
}

#[tokio::test]
async fn a_view_explains_what_it_depended_on() {
    let store = Store::in_memory();
    commit(&store, |view| view.put(cluster("old"))).await;
    let mut view = store.view();
    view.get::<Cluster>(&cluster_key("old"));
    view.tasks_of_service(&scope(), &default(), "web");
    view.list::<Cluster>(&Prefix::clusters(&scope()));
    view.count_tasks(&scope(), &default(), TaskStatus::Running);
    view.put(cluster("new"));
    view.delete::<Cluster>(&cluster_key("old"));
    let expected = r#"at revision 1
read cluster(123456789012, eu-central-1, "old")
listed cluster(123456789012, eu-central-1, …)
listed tasks of service("123456789012", "eu-central-1", "default", "web")
counted tasks by status("123456789012", "eu-central-1", "default", "RUNNING")
created cluster(123456789012, eu-central-1, "new")
deleted cluster(123456789012, eu-central-1, "old")
"#;
    assert_eq!(view.explain().to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn in_memory_no_time_passes() {
    let store = Store::in_memory();
    let before = tokio::time::Instant::now();
    tokio::spawn(async { tokio::time::sleep(std::time::Duration::from_secs(60)).await });
    for name in ["one", "two"] {
        commit(&store, |view| view.put(cluster(name))).await;
    }
    assert_eq!(tokio::time::Instant::now(), before);
}

#[tokio::test]
async fn a_record_of_a_newer_schema_is_refused_by_name() {
    let backend = Memory::default();
    let key = cluster_key("one");
    let mut value = vec![0; 12];
    value[11] = 9;
    value.extend_from_slice(b"{}");
    let put = Put { key: key.as_bytes().to_vec(), value: Some(value) };
    backend.clone().write(Revision(1), vec![put]).unwrap();
    let Err(error) = Store::open(backend.clone()) else { panic!("schema 9 is not known") };
    assert!(error.to_string().contains(r#""one""#), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("schema 9"), "{source}");

    backend.clone().write(Revision(2), vec![Put { key: b"no tuple".to_vec(), value: Some(Vec::new()) }]).unwrap();
    assert!(Store::open(backend).is_err());
}
