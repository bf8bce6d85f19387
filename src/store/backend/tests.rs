//! What every backend must do, run against each.

use super::*;
use crate::store::{Memory, Redb};

/// Opens the same storage as often as a check likes.
type Open<'a> = &'a dyn Fn() -> Box<dyn Backend>;
type Check = fn(Open<'_>);

const CONFORMANCE: &[(&str, Check)] = &[
    ("a new one is empty", new_is_empty),
    ("what was written is there after another start", survives),
    ("a batch is in order and the last write of a key stands", last_write_stands),
    ("a batch without writes keeps its revision", empty_batch),
    ("keys and values are any bytes, in order of the keys", any_bytes),
    ("the largest transaction fits", largest),
    ("many batches", many),
];

fn put(key: &[u8], value: &[u8]) -> Put {
    Put { key: key.to_vec(), value: Some(value.to_vec()) }
}

fn delete(key: &[u8]) -> Put {
    Put { key: key.to_vec(), value: None }
}

fn new_is_empty(open: Open<'_>) {
    assert_eq!(open().load().unwrap(), Contents::default());
    assert_eq!(open().load().unwrap(), Contents::default());
}

fn survives(open: Open<'_>) {
    let mut backend = open();
    backend.load().unwrap();
    backend.write(Revision(1), vec![put(b"a", b"1"), put(b"b", b"2")]).unwrap();
    backend.close().unwrap();
    let mut backend = open();
    let records = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())];
    assert_eq!(backend.load().unwrap(), Contents { revision: Revision(1), records });
    // Not closed: as good as closed.
    backend.write(Revision(2), vec![delete(b"a")]).unwrap();
    drop(backend);
    let records = vec![(b"b".to_vec(), b"2".to_vec())];
    assert_eq!(open().load().unwrap(), Contents { revision: Revision(2), records });
}

fn last_write_stands(open: Open<'_>) {
    let mut backend = open();
    let batch = vec![put(b"a", b"1"), put(b"b", b"1"), put(b"a", b"2"), delete(b"b"), delete(b"none"), put(b"c", b"")];
    backend.write(Revision(7), batch).unwrap();
    let records = vec![(b"a".to_vec(), b"2".to_vec()), (b"c".to_vec(), Vec::new())];
    assert_eq!(backend.load().unwrap(), Contents { revision: Revision(7), records });
}

fn empty_batch(open: Open<'_>) {
    let mut backend = open();
    backend.write(Revision(3), Vec::new()).unwrap();
    backend.close().unwrap();
    assert_eq!(open().load().unwrap().revision, Revision(3));
}

fn any_bytes(open: Open<'_>) {
    let mut backend = open();
    let keys: [&[u8]; 5] = [&[0], &[0, 0], &[0, 255], &[1], &[255, 255, 0]];
    backend.write(Revision(1), keys.iter().rev().map(|key| put(key, key)).collect()).unwrap();
    let found: Vec<Vec<u8>> = backend.load().unwrap().records.into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, keys);
}

fn largest(open: Open<'_>) {
    let value = vec![0xa5; crate::store::TRANSACTION_BYTES_MAX];
    let mut backend = open();
    backend.write(Revision(1), vec![put(b"large", &value)]).unwrap();
    backend.close().unwrap();
    assert_eq!(open().load().unwrap().records, [(b"large".to_vec(), value)]);
}

fn many(open: Open<'_>) {
    let mut expected = std::collections::BTreeMap::new();
    let mut backend = open();
    for round in 0..50_u64 {
        let mut batch = Vec::new();
        for place in 0..20_u64 {
            let key = (round * 7 + place * 13) % 101;
            let (key, value) = (key.to_be_bytes(), vec![round as u8; (key * 40) as usize]);
            if (round + place) % 4 == 0 {
                expected.remove(key.as_slice());
                batch.push(delete(&key));
            } else {
                expected.insert(key.to_vec(), value.clone());
                batch.push(put(&key, &value));
            }
        }
        backend.write(Revision(round + 1), batch).unwrap();
    }
    assert_eq!(backend.load().unwrap().records, expected.into_iter().collect::<Vec<_>>());
}

#[test]
fn memory_conforms() {
    for (name, check) in CONFORMANCE {
        println!("{name}");
        let memory = Memory::default();
        check(&|| Box::new(memory.clone()));
    }
}

#[test]
fn redb_conforms() {
    for (name, check) in CONFORMANCE {
        println!("{name}");
        let directory = tempfile::tempdir().unwrap();
        check(&|| Box::new(Redb::open(directory.path()).unwrap()));
    }
}
