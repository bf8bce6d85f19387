//! Does what its arguments say, one step after the other.
//!
//! `batch print hi sleep 100 exit 3` prints, waits and leaves with 3. Every argument is read before the first step, so
//! that a mistake in the last one does nothing by half.

use std::env;
use std::io::{BufWriter, Write};
use std::thread;
use std::time::Duration;

use guest::process;

/// Waited between rounds of `loop` where no step sleeps: a loop must not become a spin by omission (that is `hog spin`).
const LOOP_PAUSE: Duration = Duration::from_secs(1);

const USAGE: &str =
    "steps: print TEXT, err TEXT, env NAME, lines N, sleep MS, input (to its end), exit CODE (0 to 255), loop";

#[derive(Debug, PartialEq)]
enum Step {
    Print(String),
    Err(String),
    Env(String),
    Lines(u64),
    Sleep(Duration),
    /// Reads standard input to its end, and says how much there was.
    Input,
    Exit(u8),
    /// From the beginning again, for ever.
    Loop,
}

fn main() {
    let steps = match parse(env::args().skip(1)) {
        Ok(steps) => steps,
        Err(why) => process::refuse("batch", &format!("{why}; {USAGE}")),
    };
    let sleeps = steps.iter().any(|step| matches!(step, Step::Sleep(_)));
    let mut position = 0;
    while let Some(step) = steps.get(position) {
        position += 1;
        if matches!(step, Step::Loop) {
            position = 0;
            if !sleeps {
                thread::sleep(LOOP_PAUSE);
            }
        } else {
            run(step);
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    while let Some(word) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("`{word}` wants a value"));
        let step = match word.as_str() {
            "print" => Step::Print(value()?),
            "err" => Step::Err(value()?),
            "env" => Step::Env(value()?),
            "lines" => Step::Lines(number(&word, &value()?)?),
            "sleep" => Step::Sleep(Duration::from_millis(number(&word, &value()?)?)),
            "input" => Step::Input,
            "exit" => Step::Exit(number(&word, &value()?)?),
            "loop" => Step::Loop,
            _ => return Err(format!("`{word}` is no step")),
        };
        steps.push(step);
    }
    Ok(steps)
}

fn number<N: std::str::FromStr>(word: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("`{word}` cannot take `{value}`"))
}

fn run(step: &Step) {
    match step {
        Step::Print(text) => println!("{text}"),
        Step::Err(text) => eprintln!("{text}"),
        Step::Env(name) => match env::var(name) {
            Ok(value) => println!("{name}={value}"),
            Err(_) => println!("{name} is not set"),
        },
        Step::Lines(count) => print_lines(*count),
        Step::Sleep(time) => thread::sleep(*time),
        Step::Input => match std::io::copy(&mut std::io::stdin(), &mut std::io::sink()) {
            Ok(bytes) => println!("input ended after {bytes} bytes"),
            Err(error) => println!("input failed: {error}"),
        },
        Step::Exit(code) => process::exit(*code),
        Step::Loop => unreachable!("main handles it, because it moves the position"),
    }
}

/// Prints `line 1` to `line COUNT`, many to a call of the host.
fn print_lines(count: u64) {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in 1..=count {
        writeln!(out, "line {line}").expect("standard output stays open");
    }
    out.flush().expect("standard output stays open");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Step, parse};

    fn steps(text: &str) -> Result<Vec<Step>, String> {
        parse(text.split(' ').map(str::to_owned))
    }

    #[test]
    fn reads_steps_in_order() {
        let expected = vec![Step::Print("hi".to_owned()), Step::Sleep(Duration::from_millis(100)), Step::Exit(255)];
        assert_eq!(steps("print hi sleep 100 exit 255"), Ok(expected));
        assert_eq!(parse(std::iter::empty()), Ok(Vec::new()));
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        for wrong in ["exit 256", "exit -1", "sleep soon", "print", "dance"] {
            assert!(steps(wrong).is_err(), "{wrong}");
        }
    }
}
