//! Crashes, strangers and damage: what a data directory has to stand.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::store::{Prefix, Store};

fn batch(from: u32, count: u32) -> Vec<Put> {
    let put = |number: u32| Put { key: number.to_be_bytes().to_vec(), value: Some(vec![number as u8; 600]) };
    (from..from + count).map(put).collect()
}

/// A data directory with 500 records, closed.
fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut backend = Redb::open(directory.path()).unwrap();
    (0..5).for_each(|round| backend.write(Revision(u64::from(round) + 1), batch(round * 100, 100)).unwrap());
    Box::new(backend).close().unwrap();
    directory
}

fn file_of(directory: &Path) -> PathBuf {
    directory.join(FILE_NAME)
}

/// Opens and reads; whatever the error, it must name the file and leave it as it was.
fn refused(directory: &Path) -> BackendError {
    let before = fs::read(file_of(directory)).unwrap();
    let opened = Redb::open(directory).and_then(|mut backend| backend.load());
    let error = opened.expect_err("must not be readable");
    assert_eq!(fs::read(file_of(directory)).unwrap(), before, "the file was changed");
    assert!(error.to_string().contains(FILE_NAME), "{error}");
    error
}

#[test]
fn a_second_opener_is_told_who_is_in_the_way() {
    let directory = filled();
    let first = Redb::open(directory.path()).unwrap();
    let error = Redb::open(directory.path()).err().unwrap();
    assert!(matches!(error, BackendError::InUse { .. }));
    assert_eq!(
        error.to_string(),
        format!("data directory {} is in use by another process", directory.path().display())
    );
    drop(first);
    assert!(Redb::open(directory.path()).is_ok());
}

#[test]
fn looking_changes_nothing() {
    let directory = filled();
    let before = fs::read(file_of(directory.path())).unwrap();
    let mut backend = Redb::open(directory.path()).unwrap();
    assert_eq!(backend.load().unwrap().records.len(), 500);
    drop(backend);
    assert_eq!(fs::read(file_of(directory.path())).unwrap(), before);
}

#[test]
fn what_was_written_survives_kill_9_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let mut backend = Redb::open(directory.path()).unwrap();
    for round in 0..10 {
        backend.write(Revision(u64::from(round) + 1), batch(round * 10, 10)).unwrap();
        // What is in the file while a writer lives is what a killed one leaves.
        let left = tempfile::tempdir().unwrap();
        fs::copy(file_of(directory.path()), file_of(left.path())).unwrap();
        let mut after = Redb::open(left.path()).unwrap();
        let contents = after.load().unwrap();
        assert_eq!((contents.revision.0, contents.records.len()), (u64::from(round) + 1, (round as usize + 1) * 10));
        after.write(Revision(99), batch(900, 1)).unwrap();
        Box::new(after).close().unwrap();
        assert_eq!(Redb::open(left.path()).unwrap().load().unwrap().revision, Revision(99));
    }
}

#[test]
fn a_crash_is_noticed() {
    let closed = |directory: &Path| {
        let file = OpenOptions::new().read(true).write(true).open(file_of(directory)).unwrap();
        was_closed(&HeldFile::new(FileBackend::new(file).unwrap()).unwrap()).unwrap()
    };
    let directory = filled();
    assert!(closed(directory.path()));
    let mut backend = Redb::open(directory.path()).unwrap();
    backend.write(Revision(6), batch(0, 1)).unwrap();
    let left = tempfile::tempdir().unwrap();
    fs::copy(file_of(directory.path()), file_of(left.path())).unwrap();
    assert!(!closed(left.path()));
    Box::new(backend).close().unwrap();
    assert!(closed(directory.path()));
}

#[test]
fn a_write_that_tore_is_as_if_it_never_was() {
    let directory = filled();
    let whole = fs::read(file_of(directory.path())).unwrap();
    let mut backend = Redb::open(directory.path()).unwrap();
    backend.write(Revision(6), batch(500, 100)).unwrap();
    let newer = fs::read(file_of(directory.path())).unwrap();
    // The header of the newer state over data of the older: the pages of the last commit never reached the disk.
    let mut torn = whole.clone();
    torn.resize(newer.len().max(whole.len()), 0);
    torn[..4096].copy_from_slice(&newer[..4096]);
    let left = tempfile::tempdir().unwrap();
    fs::write(file_of(left.path()), torn).unwrap();
    let contents = Redb::open(left.path()).unwrap().load().unwrap();
    assert_eq!((contents.revision, contents.records.len()), (Revision(5), 500));
}

#[test]
fn garbage_is_refused_by_name_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for garbage in [b"not a database".to_vec(), vec![0; 1 << 20], (0..=255).cycle().take(100_000).collect()] {
        fs::write(file_of(directory.path()), garbage).unwrap();
        let error = refused(directory.path());
        assert!(matches!(error, BackendError::Corrupt { .. }), "{error:?}");
    }
}

#[test]
fn a_cut_off_file_is_refused_or_whole() {
    let directory = filled();
    let whole = fs::read(file_of(directory.path())).unwrap();
    for tenth in 1..10 {
        fs::write(file_of(directory.path()), &whole[..whole.len() * tenth / 10]).unwrap();
        refused(directory.path());
    }
}

#[test]
fn a_changed_byte_is_found_or_does_not_matter() {
    let directory = filled();
    let whole = fs::read(file_of(directory.path())).unwrap();
    let expected = Redb::open(directory.path()).unwrap().load().unwrap();
    let mut found = 0;
    for place in (0..whole.len()).step_by(whole.len() / 150) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0xff;
        fs::write(file_of(directory.path()), &damaged).unwrap();
        match Redb::open(directory.path()).and_then(|mut backend| backend.load()) {
            Ok(contents) => assert!(contents == expected, "byte {place} was believed"),
            Err(error) => {
                found += 1;
                assert!(error.to_string().contains(FILE_NAME), "{error}");
                assert_eq!(fs::read(file_of(directory.path())).unwrap(), damaged, "byte {place}: the file was changed");
            }
        }
    }
    assert!(found > 10, "only {found} damages were found");
}

#[test]
fn a_newer_format_is_refused() {
    let directory = filled();
    let database = Database::open(file_of(directory.path())).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(META_FORMAT, FORMAT + 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refused(directory.path());
    assert!(matches!(error, BackendError::NewerFormat { found, .. } if found == FORMAT + 1), "{error:?}");
}

#[test]
fn the_database_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(file_of(directory.path())).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(refused(directory.path()), BackendError::Corrupt { .. }));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    let error = Redb::open(&directory.path().join("file/data")).err().unwrap();
    assert!(matches!(error, BackendError::Open { .. }) && error.to_string().contains("file/data"), "{error}");
}

#[tokio::test]
async fn a_store_comes_back_whole() {
    use crate::model::{Cluster, ClusterStatus, Scope, Timestamp};
    let directory = tempfile::tempdir().unwrap();
    let scope = Scope { account: "123456789012".parse().unwrap(), region: "eu-central-1".parse().unwrap() };
    let cluster = Cluster {
        scope,
        name: "default".parse().unwrap(),
        status: ClusterStatus::Active,
        created_at: Timestamp(5),
        tags: Vec::new(),
        document: serde_json::Map::new(),
    };
    let store = Store::open_redb(directory.path()).unwrap();
    let mut view = store.view();
    view.put(cluster.clone());
    store.commit(view).await.unwrap();
    store.close().await.unwrap();

    let store = Store::open_redb(directory.path()).unwrap();
    let snapshot = store.snapshot();
    assert_eq!(snapshot.list::<Cluster>(&Prefix::all_clusters()), [cluster.into()]);
    assert_eq!(snapshot.revision(), Revision(1));
}
