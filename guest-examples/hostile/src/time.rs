//! Clocks and timers.

use std::time::{Duration, Instant, SystemTime};

use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::io::poll::{self, Pollable};

use crate::report::Report;

/// Polls one list of so many timers, of which one ends soon and the others never; or the host's limit ends it.
pub fn poll(count: usize) {
    println!("begun");
    let mut timers: Vec<Pollable> = Vec::new();
    timers.push(monotonic_clock::subscribe_duration(1_000_000));
    while timers.len() < count {
        timers.push(monotonic_clock::subscribe_duration(u64::MAX));
    }
    let all: Vec<&Pollable> = timers.iter().collect();
    for _ in 0..10 {
        poll::poll(&all);
    }
    println!("polled {count} timers");
}

/// Until the end of time, by every spelling of it.
pub fn sleep_for_ever() {
    println!("begun");
    let ever = [
        monotonic_clock::subscribe_duration(u64::MAX),
        monotonic_clock::subscribe_instant(u64::MAX),
        monotonic_clock::subscribe_duration(u64::MAX - monotonic_clock::now()),
    ];
    let ready = poll::poll(&ever.iter().collect::<Vec<_>>());
    println!("BREACH the end of time came for {ready:?}");
}

/// Does the clock run backwards, or tell how long the machine has been up?
pub fn clocks(report: &mut Report) {
    let mut last = monotonic_clock::now();
    let mut ran_back = false;
    for _ in 0..10_000 {
        let now = monotonic_clock::now();
        ran_back |= now < last;
        last = now;
    }
    match ran_back {
        true => report.breach("the monotonic clock ran backwards"),
        false => {
            report.held("monotonic clock", format!("never backwards, resolution {}", monotonic_clock::resolution()))
        }
    }
    // Arithmetic at the ends must not bring the host down.
    let far = [0, 1, u64::MAX / 2, u64::MAX].map(monotonic_clock::subscribe_instant);
    report.held("instants", format!("{} made", far.len()));
    let resolution = wall_clock::resolution();
    report.held("wall clock", format!("resolution {} ns", resolution.nanoseconds));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1) {}
    report.held("time", format!("{:?}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).is_ok()));
}
