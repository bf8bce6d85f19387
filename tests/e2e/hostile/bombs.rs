//! Images that are made to hurt whoever looks at them, compiles them or makes an instance of them.

use std::path::Path;

use super::ground::{Attack, End, Ground};
use crate::e2e::definitions::single;

/// A core module of WASI 0.1 of these sections.
fn module(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    for (id, content) in sections {
        bytes.push(*id);
        bytes.extend(number(content.len()));
        bytes.extend(content);
    }
    bytes
}

/// As LEB128.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// `count` functions without parameters or results, all of this body; the first one is `_start`.
fn functions(count: usize, body: &[u8]) -> Vec<u8> {
    let declared = [number(count), vec![0; count]].concat();
    let body = [&[0][..], body, &[0x0b]].concat();
    let mut code = number(count);
    for _ in 0..count {
        code.extend(number(body.len()));
        code.extend(&body);
    }
    let exports = [vec![1], number(6), b"_start".to_vec(), vec![0, 0]].concat();
    module(&[(1, vec![1, 0x60, 0, 0]), (3, declared), (7, exports), (10, code)])
}

/// Blocks within blocks.
fn nested(depth: usize) -> Vec<u8> {
    functions(1, &[[0x02, 0x40].repeat(depth), vec![0x0b; depth]].concat())
}

/// One jump with so many targets, all of them the same.
fn jump_table(targets: usize) -> Vec<u8> {
    let jump = [vec![0x41, 0, 0x0e], number(targets), vec![0; targets + 1]].concat();
    functions(1, &jump)
}

/// One function that is `count` additions long, each of which depends on the one before.
fn long_function(count: usize) -> Vec<u8> {
    let adds = [0x41, 1, 0x6a].repeat(count);
    functions(1, &[vec![0x41, 0], adds, vec![0x1a]].concat())
}

/// Data that fills the last byte of a memory of 4 GiB: an image of it would be 4 GiB.
fn far_data() -> Vec<u8> {
    let memory = [vec![1, 0], number(65_536)].concat();
    // i32.const -1, as where it goes.
    let data = vec![1, 0, 0x41, 0x7f, 0x0b, 1, 0xff];
    let exports = [vec![1], number(6), b"_start".to_vec(), vec![0, 0]].concat();
    module(&[
        (1, vec![1, 0x60, 0, 0]),
        (3, vec![1, 0]),
        (5, memory),
        (7, exports),
        (10, vec![1, 2, 0, 0x0b]),
        (11, data),
    ])
}

/// A function with so many locals: its frame is larger than a stack.
fn wide_frame(locals: usize) -> Vec<u8> {
    let body = [vec![1], number(locals), vec![0x7e, 0x10, 0, 0x0b]].concat();
    let exports = [vec![1], number(6), b"_start".to_vec(), vec![0, 0]].concat();
    let code = [vec![1], number(body.len()), body].concat();
    module(&[(1, vec![1, 0x60, 0, 0]), (3, vec![1, 0]), (7, exports), (10, code)])
}

/// A section that says that it has four thousand million items, and has none.
fn empty_promise() -> Vec<u8> {
    module(&[(1, vec![0xff, 0xff, 0xff, 0xff, 0x0f])])
}

async fn attack(ground: &mut Ground, folder: &Path, name: &'static str, bytes: &[u8], end: End) {
    let file = folder.join(format!("{}.wasm", name.replace(' ', "-")));
    std::fs::write(&file, bytes).unwrap();
    let attack = Attack { name, image: "", command: &[], end };
    ground.attack_with(&attack, single("attacker", &format!("file://{}", file.display()), &[])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compile_bombs() {
    let folder = tempfile::tempdir().unwrap();
    let mut ground = Ground::new().await;
    let fails = |why| End::Unstarted(why);
    for (name, bytes, end) in [
        ("functions beyond counting", functions(1_000_001, &[]), fails("functions count")),
        ("a jump of 200,000 targets", jump_table(200_000), fails("br_table")),
        ("a function of 8 MB", long_function(2_700_000), fails("function body")),
        ("data at the end of 4 GiB", far_data(), End::Stopped(137, "OutOfMemoryError")),
        ("a million locals", wide_frame(1_000_000), fails("locals")),
        ("a section that promises and has not", empty_promise(), fails("damaged")),
        ("20,000 blocks within blocks", nested(20_000), End::Stopped(0, "")),
        ("a frame of 400 KB, recursive", wide_frame(50_000), End::Stopped(139, "call stack exhausted")),
    ] {
        attack(&mut ground, folder.path(), name, &bytes, end).await;
    }
    for (name, image, end) in [
        ("a type with a million million members", "attacks/type-bomb", fails("type size")),
        ("a thousand instances in one", "attacks/many-instances", End::Stopped(134, "instance count too high")),
        ("shared memory, to block a thread", "attacks/shared-wait", fails("threads must be enabled")),
    ] {
        ground.attack(&Attack { name, image, command: &[], end }).await;
    }
    ground.end().await;
}

/// A compiler that would be busy for minutes: the neighbour does not notice, and a stop ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compilers_that_do_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("many.wasm");
    std::fs::write(&file, functions(900_000, &[0x41, 1, 0x1a].repeat(20))).unwrap();
    let mut ground = Ground::new().await;
    let many = format!("file://{}", file.display());
    ground.stopped_while_pulled("900,000 functions to compile", &many).await;
    ground
        .stopped_while_pulled("ten million instances in one", &crate::e2e::definitions::guest("attacks/instance-bomb"))
        .await;
    ground.end().await;
}
