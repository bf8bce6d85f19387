//! Programs that want more than they were given, and programs that break in every phase of their lives.

use super::ground::{Attack, End, Ground};

const OUT_OF_MEMORY: &str = "OutOfMemoryError: Container killed due to memory usage";
const UNREACHABLE: &str = "`unreachable`";

const fn attack(name: &'static str, image: &'static str, command: &'static [&'static str], end: End) -> Attack {
    Attack { name, image, command, end }
}

/// They end by themselves, or by a limit.
pub const MEMORY: &[Attack] = &[
    attack("grow memory in steps", "hog", &["grow-forever"], End::Stopped(137, OUT_OF_MEMORY)),
    attack("grow memory at once", "hostile", &["grow-at-once"], End::Stopped(137, OUT_OF_MEMORY)),
    attack("begin with 4 GiB", "attacks/whole-memory", &[], End::Stopped(137, OUT_OF_MEMORY)),
    attack("sixteen memories of 64 MiB", "attacks/many-memories", &[], End::Stopped(137, OUT_OF_MEMORY)),
    attack("a 64-bit memory of 2^64 bytes", "attacks/memory64", &[], End::Stopped(137, OUT_OF_MEMORY)),
    attack("fill the collected heap", "attacks/gc-hog", &[], End::Stopped(137, OUT_OF_MEMORY)),
    attack(
        "a list of random bytes of 2^40",
        "hostile",
        &["random", "1099511627776"],
        End::Stopped(134, "exceeds limit"),
    ),
    attack("recurse for ever", "hog", &["recurse"], End::Stopped(139, "call stack exhausted")),
];

const HANDLES: &[Attack] = &[
    attack("100,000 TCP sockets", "hostile", &["fork", "tcp", "100000"], End::Held),
    attack("100,000 UDP sockets", "hostile", &["fork", "udp", "100000"], End::Held),
    attack("100,000 timers", "hostile", &["fork", "timers", "100000"], End::Stopped(134, "65536 handles")),
    attack("100,000 requests", "hostile", &["fork", "requests", "100000"], End::Stopped(134, "65536 handles")),
    attack("100,000 responses with bodies", "hostile", &["fork", "bodies", "100000"], End::Stopped(137, OUT_OF_MEMORY)),
    attack("100,000 output streams", "hostile", &["fork", "streams", "100000"], End::Stopped(137, OUT_OF_MEMORY)),
    attack("resources of its own without end", "attacks/hoard-resources", &[], End::Stopped(134, "handle limit")),
    attack("polls of 5,000 timers", "hostile", &["poll", "5000"], End::Stopped(0, "")),
    attack("clocks and instants at the ends of time", "hostile", &["clocks"], End::Held),
];

pub const PHASES: &[Attack] = &[
    attack("trap in the start function", "attacks/trap-at-start", &[], End::Stopped(134, UNREACHABLE)),
    attack("trap in realloc", "attacks/trap-in-realloc", &[], End::Stopped(134, UNREACHABLE)),
    attack("trap in post-return", "attacks/trap-in-post-return", &[], End::Stopped(134, UNREACHABLE)),
    attack("trap in a destructor", "attacks/trap-in-destructor", &[], End::Stopped(134, UNREACHABLE)),
    attack("realloc that gives what is not there", "attacks/lie-in-realloc", &[], End::Stopped(134, "realloc")),
    attack("an answer that its type does not have", "attacks/bad-answer", &[], End::Stopped(134, "discriminant")),
    attack("a list outside of its memory", "attacks/wild-pointer", &[], End::Stopped(134, "out of bounds")),
    attack("a forged handle", "attacks/forged-handle", &[], End::Stopped(134, "unknown handle index 1000")),
    attack("a handle dropped twice", "attacks/double-drop", &[], End::Stopped(134, "unknown handle index")),
];

/// Nothing but a stop ends them.
pub const ENDLESS: &[Attack] = &[
    attack("spin", "hog", &["spin"], End::Endless),
    attack("spin in tail calls", "attacks/tail-spin", &[], End::Endless),
    attack("spin in memory.copy of 256 MiB", "attacks/bulk-spin", &[], End::Endless),
    attack("spin in memory.fill of 256 MiB", "hog", &["fill"], End::Endless),
    attack("spin while it is instantiated", "attacks/spin-at-start", &[], End::Endless),
    attack("spin while the host waits for room", "attacks/spin-in-realloc", &[], End::Endless),
    attack("grow tables for ever", "attacks/grow-tables", &[], End::Endless),
    attack("sleep until the end of time", "hostile", &["sleep"], End::Endless),
];

async fn each(attacks: &[Attack]) {
    let mut ground = Ground::new().await;
    for attack in attacks {
        ground.attack(attack).await;
    }
    ground.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_without_end() {
    each(MEMORY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_without_end() {
    each(HANDLES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traps_in_every_phase() {
    each(PHASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_ones_all_at_once() {
    let mut ground = Ground::new().await;
    ground.all_at_once(ENDLESS, 50).await;
    ground.end().await;
}

/// One leaves bytes in all the memory that it gets, another one looks for them in all that it gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_another_tenant() {
    let mut ground = Ground::new().await;
    for _ in 0..2 {
        ground.attack(&attack("leave bytes behind", "hostile", &["stain", "200"], End::Stopped(0, ""))).await;
        ground.attack(&attack("look for another's bytes", "hostile", &["search", "200"], End::Held)).await;
    }
    ground.end().await;
}
