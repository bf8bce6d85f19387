//! The writer's promises, with a backend that does what the test says and when.

use std::sync::mpsc as std_mpsc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::scene::*;
use crate::model::Cluster;
use crate::store::{
    Backend, BackendError, CommitError, Commits, Contents, Key, Memory, Prefix, Put, Revision, Store, TransactError,
};

/// Says when a flush has begun and how large it is, then waits to be told how it ends.
struct Scripted {
    memory: Memory,
    begun: UnboundedSender<usize>,
    outcomes: std_mpsc::Receiver<bool>,
}

impl Backend for Scripted {
    fn load(&mut self) -> Result<Contents, BackendError> {
        self.memory.load()
    }

    fn write(&mut self, revision: Revision, batch: Vec<Put>) -> Result<(), BackendError> {
        self.begun.send(batch.len()).unwrap();
        if self.outcomes.recv().unwrap() {
            self.memory.write(revision, batch)
        } else {
            Err(BackendError::Failed { doing: "flush", source: "no space left on device".into() })
        }
    }

    fn close(self: Box<Scripted>) -> Result<(), BackendError> {
        Ok(())
    }
}

fn scripted() -> (Store, UnboundedReceiver<usize>, std_mpsc::Sender<bool>, Memory) {
    let (begun, flushes) = unbounded_channel();
    let (outcome, outcomes) = std_mpsc::channel();
    let memory = Memory::default();
    let store = Store::open(Scripted { memory: memory.clone(), begun, outcomes }).unwrap();
    (store, flushes, outcome, memory)
}

fn put_cluster(store: &Store, name: String) -> tokio::task::JoinHandle<Result<Revision, CommitError>> {
    let store = store.clone();
    tokio::spawn(async move {
        let mut view = store.view();
        view.put(cluster(&name));
        store.commit(view).await
    })
}

/// Runs the other tasks until `count` of them wait behind the flush that is under way.
async fn until_queued(store: &Store, count: usize) {
    let Commits::Queued(writer) = &store.0.commits else { panic!("this backend has a thread") };
    let queue = writer.queue.as_ref().unwrap();
    while queue.max_capacity() - queue.capacity() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_is_visible_before_it_is_durable() {
    let (store, mut flushes, outcome, memory) = scripted();
    let watch = store.watch();
    let commit = put_cluster(&store, String::from("one"));
    assert_eq!(flushes.recv().await, Some(1));
    assert!(store.snapshot().is_empty() && store.revision() == Revision(0));
    assert!(!commit.is_finished() && !watch.has_changed().unwrap());
    assert_eq!(memory.clone().load().unwrap(), Contents::default());

    outcome.send(true).unwrap();
    assert_eq!(commit.await.unwrap(), Ok(Revision(1)));
    assert_eq!(store.snapshot().list::<Cluster>(&Prefix::all_clusters()).len(), 1);
    assert!(watch.has_changed().unwrap());
    assert_eq!(memory.clone().load().unwrap().records.len(), 1);
}

#[tokio::test]
async fn transactions_that_wait_share_one_flush() {
    let (store, mut flushes, outcome, _) = scripted();
    let first = put_cluster(&store, String::from("first"));
    flushes.recv().await;
    let others: Vec<_> = (0..63).map(|place| put_cluster(&store, format!("c{place}"))).collect();
    until_queued(&store, 63).await;
    outcome.send(true).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(flushes.recv().await, Some(63));
    outcome.send(true).unwrap();
    let mut revisions = Vec::new();
    for other in others {
        revisions.push(other.await.unwrap().unwrap().0);
    }
    assert_eq!(revisions, (2..=64).collect::<Vec<u64>>());
    assert!(flushes.is_empty());
}

#[tokio::test]
async fn those_in_one_flush_are_judged_by_what_came_before_in_it() {
    let (store, mut flushes, outcome, _) = scripted();
    let first = put_cluster(&store, String::from("first"));
    flushes.recv().await;
    let claims: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut view = store.view();
                assert!(!view.exists(&cluster_key("name")));
                view.put(cluster("name"));
                store.commit(view).await
            })
        })
        .collect();
    until_queued(&store, 8).await;
    outcome.send(true).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(flushes.recv().await, Some(1));
    // Those who lost are not answered before they could see why.
    assert!(claims.iter().all(|claim| !claim.is_finished()));
    outcome.send(true).unwrap();
    let mut won = 0;
    for claim in claims {
        match claim.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error, CommitError::Conflict(cluster_key("name").to_string())),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn after_a_failed_write_the_store_can_only_be_read() {
    let (store, mut flushes, outcome, _) = scripted();
    let good = put_cluster(&store, String::from("good"));
    flushes.recv().await;
    outcome.send(true).unwrap();
    good.await.unwrap().unwrap();

    let bad = put_cluster(&store, String::from("bad"));
    flushes.recv().await;
    outcome.send(false).unwrap();
    let error = bad.await.unwrap().unwrap_err();
    assert!(matches!(error, CommitError::Backend(_)), "{error}");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(std::error::Error::source(source).unwrap().to_string(), "no space left on device");

    let after = put_cluster(&store, String::from("after")).await.unwrap().unwrap_err();
    assert!(matches!(after, CommitError::ReadOnly(_)), "{after}");
    let transact = store.transact(|view| -> Result<(), ()> {
        view.put(cluster("again"));
        Ok(())
    });
    assert!(matches!(transact.await, Err(TransactError::Commit(CommitError::ReadOnly(_)))));
    assert_eq!(store.snapshot().len(), 1);
    assert!(store.snapshot().get::<Cluster>(&Key::cluster(&scope(), &"good".parse().unwrap())).is_some());
    // A view that writes nothing needs no writer.
    assert_eq!(store.commit(store.view()).await, Ok(Revision(1)));
}

#[tokio::test]
async fn close_finishes_what_is_queued() {
    let (store, mut flushes, outcome, memory) = scripted();
    let commit = put_cluster(&store, String::from("one"));
    flushes.recv().await;
    let second = put_cluster(&store, String::from("two"));
    until_queued(&store, 1).await;
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await.is_ok() }
    });
    outcome.send(true).unwrap();
    outcome.send(true).unwrap();
    assert!(closing.await.unwrap());
    assert_eq!((commit.await.unwrap(), second.await.unwrap()), (Ok(Revision(1)), Ok(Revision(2))));
    assert_eq!(memory.clone().load().unwrap().records.len(), 2);
    assert_eq!(put_cluster(&store, String::from("late")).await.unwrap(), Err(CommitError::Closed));
    assert_eq!(store.snapshot().len(), 2);

    let forgetful = Store::in_memory();
    forgetful.close().await.unwrap();
    assert_eq!(put_cluster(&forgetful, String::from("late")).await.unwrap(), Err(CommitError::Closed));
}
