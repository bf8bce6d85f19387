//! Misbehaves in the one way that its arguments name, so that tests can see each limit hold.

use std::env;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use guest::process;

const USAGE: &str = "one of: spin [MS], grow MIB, grow-forever, hold MIB, fill [MIB [ROUNDS]], trap, panic, recurse, \
                     open N [DIRECTORY], connect ADDRESS:PORT N, lines N, exit CODE";

const MIB_BYTES: usize = 1 << 20;
const PAGE_BYTES: usize = 4096;

/// What `fill` writes with one instruction where it is not told: about 50 ms during which no fuel is counted.
const FILL_MIB: usize = 256;

/// Between two looks at the clock while spinning: short against a millisecond, long against the call of the host.
const SPIN_STEPS: u64 = 10_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["spin"] => spin(None),
        ["spin", ms] => spin(Some(Duration::from_millis(number(ms)))),
        ["grow", mib] => return grow(number(mib)),
        ["grow-forever"] => grow_forever(),
        ["hold", mib] => hold(number(mib)),
        ["fill"] => fill(FILL_MIB, None),
        ["fill", mib] => fill(number(mib), None),
        ["fill", mib, rounds] => fill(number(mib), Some(number(rounds))),
        ["trap"] => trap(),
        ["panic"] => panic!("asked to panic"),
        ["recurse"] => println!("{}", recurse(0)),
        ["open", count] => return open(number(count), "/tmp"),
        ["open", count, directory] => return open(number(count), directory),
        ["connect", address, count] => return connect(address, number(count)),
        ["lines", count] => lines(number(count)),
        ["exit", code] => process::exit(number(code)),
        _ => process::refuse("hog", USAGE),
    }
    ExitCode::SUCCESS
}

fn number<N: std::str::FromStr>(word: &str) -> N {
    match word.parse() {
        Ok(number) => number,
        Err(_) => process::refuse("hog", &format!("`{word}` is no number that fits; {USAGE}")),
    }
}

/// Computes for `time` on the clock, or for ever.
fn spin(time: Option<Duration>) {
    let begun = Instant::now();
    while time.is_none_or(|time| begun.elapsed() < time) {
        for step in 0..SPIN_STEPS {
            black_box(step);
        }
    }
}

/// Allocates and touches `mib` MiB, and says whether it could; the host may have ended it before.
fn grow(mib: usize) -> ExitCode {
    match touched(mib) {
        Some(memory) => {
            println!("grew {mib} MiB");
            drop(black_box(memory));
            ExitCode::SUCCESS
        }
        None => {
            println!("no room for {mib} MiB");
            ExitCode::FAILURE
        }
    }
}

/// Like a program with a leak: it allocates as all do, and aborts where it is refused.
fn grow_forever() {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1u8; MIB_BYTES]));
    }
}

fn hold(mib: usize) {
    let Some(memory) = touched(mib) else {
        println!("no room for {mib} MiB");
        process::exit(1);
    };
    println!("holding {mib} MiB");
    loop {
        thread::sleep(Duration::from_secs(3600));
        black_box(&memory);
    }
}

/// Memory whose every page was written, so that it is really used; nothing where the host refuses it.
fn touched(mib: usize) -> Option<Vec<u8>> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(mib.checked_mul(MIB_BYTES)?).ok()?;
    memory.resize(memory.capacity(), 0);
    for page in memory.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
    Some(memory)
}

/// Writes `mib` MiB with one `memory.fill`, again and again: an instruction that does not yield while it runs.
fn fill(mib: usize, rounds: Option<u64>) {
    let Some(mut memory) = touched(mib) else {
        println!("no room for {mib} MiB");
        process::exit(1);
    };
    println!("filling {mib} MiB");
    let mut done = 0;
    while rounds.is_none_or(|rounds| done < rounds) {
        memory.fill(black_box(7));
        black_box(&memory);
        done += 1;
    }
    println!("filled {mib} MiB {done} times");
}

#[cfg(target_arch = "wasm32")]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_arch = "wasm32"))]
fn trap() -> ! {
    std::process::abort()
}

/// Never comes back by itself: it ends with the call stack.
#[expect(unconditional_recursion, reason = "exhausting the stack is what it is for")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + 1
}

/// Creates `count` files and keeps them open; 1 where one is refused.
fn open(count: usize, directory: &str) -> ExitCode {
    keep(count, "opened", |position| File::create(format!("{directory}/hog-{position}")))
}

/// Opens `count` connections and keeps them; 1 where one is refused.
fn connect(address: &str, count: usize) -> ExitCode {
    keep(count, "connected", |_| TcpStream::connect(address))
}

fn keep<T>(count: usize, done: &str, make: impl Fn(usize) -> std::io::Result<T>) -> ExitCode {
    let mut kept = Vec::new();
    for position in 0..count {
        match make(position) {
            Ok(made) => kept.push(made),
            Err(error) => {
                println!("{done} {} of {count}: {error}", kept.len());
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{done} {count} of {count}");
    ExitCode::SUCCESS
}

/// Floods the log, many lines to a call of the host.
fn lines(count: u64) {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in 1..=count {
        if writeln!(out, "line {line} {}", "x".repeat(80)).is_err() {
            return;
        }
    }
}
