//! Functions of a module and of a component, both written by hand: no guest needs to be built for this.

use super::*;
use crate::runtime::spec::{ContainerSpec, TaskSpec};
use crate::runtime::testing::{Running, TestNode};

#[test]
fn every_way_to_say_that_all_is_well() {
    for said in [Val::Bool(true), Val::U32(0), Val::S32(0), Val::Result(Ok(None))] {
        assert!(is_well(&said), "{said:?}");
    }
    for said in [Val::Bool(false), Val::U32(1), Val::S64(-1), Val::Result(Err(None)), Val::String(String::new())] {
        assert!(!is_well(&said), "{said:?}");
    }
}

/// A section of a binary: its number, its length, its bytes.
fn section(number: u8, bytes: &[&[u8]]) -> Vec<u8> {
    let bytes = bytes.concat();
    let mut section = vec![number];
    let mut length = bytes.len();
    while length > 0x7f {
        section.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    section.push(length as u8);
    section.extend(bytes);
    section
}

fn name(text: &str) -> Vec<u8> {
    let mut name = vec![u8::try_from(text.len()).unwrap()];
    name.extend(text.as_bytes());
    name
}

/// `run` (under the name `start`) runs for ever; `healthy` returns `well`, `ill` returns 7, `trap` traps.
fn module(start: &str, start_returns: bool, well: u8) -> Vec<u8> {
    let start_type = u8::from(start_returns);
    let functions = [(start, 0), ("healthy", 1), ("ill", 2), ("trap", 3)];
    let exports = functions.map(|(export, index)| [name(export), vec![0, index]].concat()).concat();
    let memory = [name("memory"), vec![2, 0]].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[&[2, 0x60, 0, 0, 0x60, 0, 1, 0x7f]]),
        section(3, &[&[4, start_type, 1, 1, 1]]),
        section(5, &[&[1, 0, 1]]),
        section(7, &[&[5], &exports, &memory]),
        // loop br 0 end, then what its type wants; i32.const
        section(
            10,
            &[
                &[4],
                &[8, 0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x00, 0x0b],
                &[4, 0, 0x41, well, 0x0b],
                &[4, 0, 0x41, 7, 0x0b],
                &[3, 0, 0x00, 0x0b],
            ],
        ),
    ]
    .concat()
}

/// Exports `wasi:cli/run` and the functions `healthy: func() -> bool`, `ill: func() -> bool` and `trap: func() -> bool`.
fn component() -> Vec<u8> {
    let alias = |function: &str| [vec![0, 0, 1, 0], name(function)].concat();
    let lift = |core: u8, kind: u8| vec![0, 0, core, 0, kind];
    let export = |external: &str, sort: u8, index: u8| [vec![0], name(external), vec![sort, index, 0]].concat();
    [
        b"\0asm\x0d\0\x01\0".to_vec(),
        section(1, &[&module("run", true, 1)]),
        section(2, &[&[1, 0, 0, 0]]),
        section(6, &[&[4], &alias("run"), &alias("healthy"), &alias("ill"), &alias("trap")]),
        // result; func() -> result; func() -> bool
        section(7, &[&[3, 0x6a, 0, 0, 0x40, 0, 0, 0, 0x40, 0, 0, 0x7f]]),
        section(8, &[&[4], &lift(0, 1), &lift(1, 2), &lift(2, 2), &lift(3, 2)]),
        section(5, &[&[1, 1, 1, 0], &name("run"), &[1, 0]]),
        section(
            11,
            &[
                &[4],
                &export("wasi:cli/run@0.2.0", 5, 0),
                &export("healthy", 1, 1),
                &export("ill", 1, 2),
                &export("trap", 1, 3),
            ],
        ),
    ]
    .concat()
}

async fn running(node: &TestNode, bytes: &[u8], directory: &tempfile::TempDir) -> Running {
    let file = directory.path().join("guest.wasm");
    std::fs::write(&file, bytes).unwrap();
    let container = ContainerSpec {
        may_name_any_file: true,
        stop_timeout: Duration::ZERO,
        ..ContainerSpec::new("main", format!("file://{}", file.display()))
    };
    node.task(TaskSpec { held: true, cpu_units: 256, ..node.spec(vec![container]) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_of_a_component_says_how_it_is() {
    let (node, directory) = (TestNode::start(), tempfile::tempdir().unwrap());
    let running = running(&node, &component(), &directory).await;
    assert_eq!(running.task.call_export("main", "healthy").await, Ok(()));
    // Any value but 0 is true.
    assert_eq!(running.task.call_export("main", "ill").await, Ok(()));
    let trapped = running.task.call_export("main", "trap").await.unwrap_err();
    assert!(trapped.contains("unreachable"), "{trapped}");
    let missing = running.task.call_export("main", "nothing").await.unwrap_err();
    assert!(missing.contains("exports no function `nothing`"), "{missing}");
    let run = running.task.call_export("main", "wasi:cli/run@0.2.0#walk").await.unwrap_err();
    assert!(run.contains("exports no function"), "{run}");
    let task = running.task.clone();
    running.stop().await;
    assert!(task.call_export("main", "healthy").await.is_err(), "it does not run any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_of_a_module_says_how_it_is() {
    let (node, directory) = (TestNode::start(), tempfile::tempdir().unwrap());
    let running = running(&node, &module("_start", false, 0), &directory).await;
    assert_eq!(running.task.call_export("main", "healthy").await, Ok(()));
    assert_eq!(running.task.call_export("main", "ill").await, Err(String::from("ill returned 7")));
    assert!(running.task.call_export("main", "trap").await.is_err());
    // One that never returns is cut off with its container, and holds nothing back.
    let task = running.task.clone();
    let endless = tokio::spawn(async move { task.call_export("main", "_start").await });
    running.stop().await;
    assert!(endless.await.unwrap().is_err());
}
