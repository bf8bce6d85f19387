//! Attacks the host in the one way that its arguments name, so that tests can see each wall hold.
//!
//! Each attempt prints one line: `held WHAT: WHY` where it was stopped, `BREACH WHAT` where it was not. A breach ends the
//! program with 3. What is stopped by ending the program prints `begun` first, and nothing after. `hog` has the misdeeds of
//! programs that only want too much; this one knows what it does.

mod files;
mod memory;
mod network;
mod report;
mod resources;
mod time;

use std::env;
use std::process::ExitCode;

use guest::process;

use report::Report;

const USAGE: &str = "one of: walk SECRET MARKER, swap DIRECTORY MS, peek DIRECTORY MS MARKER, connect ADDRESS..., \
                     bind ADDRESS:PORT..., forge ADDRESS:PORT..., names NAME..., request URL..., environment [NAME...], \
                     fork WHAT N, poll N, random BYTES, sleep, clocks, grow-at-once, stain MIB, search MIB, line BYTES, \
                     flood SECONDS, stdin";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut report = Report::default();
    match words[..] {
        ["walk", secret, marker] => files::walk(&mut report, secret, marker),
        ["swap", directory, ms] => files::swap(directory, number(ms)),
        ["peek", directory, ms, marker] => files::peek(&mut report, directory, number(ms), marker),
        ["connect", ref addresses @ ..] => network::connect(&mut report, addresses),
        ["bind", ref addresses @ ..] => network::bind(&mut report, addresses),
        ["forge", ref addresses @ ..] => network::forge(&mut report, addresses),
        ["names", ref names @ ..] => network::names(&mut report, names),
        ["request", ref urls @ ..] => network::request(&mut report, urls),
        ["environment", ref names @ ..] => environment(&mut report, names),
        ["fork", what, count] => resources::fork(&mut report, what, number(count)),
        ["poll", count] => time::poll(number(count)),
        ["random", bytes] => memory::random(number(bytes)),
        ["sleep"] => time::sleep_for_ever(),
        ["clocks"] => time::clocks(&mut report),
        ["grow-at-once"] => memory::grow_at_once(&mut report),
        ["stain", mib] => memory::stain(number(mib)),
        ["search", mib] => memory::search(&mut report, number(mib)),
        ["line", bytes] => resources::line(number(bytes)),
        ["flood", seconds] => resources::flood(number(seconds)),
        ["stdin"] => resources::stdin(&mut report),
        _ => process::refuse("hostile", USAGE),
    }
    report.exit_code()
}

fn number<N: std::str::FromStr>(word: &str) -> N {
    match word.parse() {
        Ok(number) => number,
        Err(_) => process::refuse("hostile", &format!("`{word}` is no number that fits; {USAGE}")),
    }
}

/// Nothing may be here but what the definition gives (the names among the arguments) and what ECS gives every task.
fn environment(report: &mut Report, given: &[&str]) {
    const OF_ECS: [&str; 3] = ["AWS_", "ECS_", "CORACLE_"];
    for (name, value) in env::vars() {
        let is_expected = OF_ECS.iter().any(|prefix| name.starts_with(prefix)) || given.contains(&name.as_str());
        match is_expected || name == "HOSTNAME" {
            true => report.held(&name, "of the task"),
            false => report.breach(&format!("{name}={value}")),
        }
    }
    let arguments = env::args().count();
    // Its own name, then `environment` and the names.
    match arguments == given.len() + 2 {
        true => report.held("arguments", "only its own"),
        false => report.breach(&format!("{arguments} arguments")),
    }
}
