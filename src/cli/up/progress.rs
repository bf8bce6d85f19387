//! Progress of long work: a spinner in a terminal, plain lines elsewhere. Always on standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

const TICK: Duration = Duration::from_millis(100);

pub struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    last: Mutex<String>,
}

impl Progress {
    pub fn new() -> Progress {
        use std::io::IsTerminal;
        let is_terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        if is_terminal {
            bar.enable_steady_tick(TICK);
        }
        Progress { bar, is_terminal, last: Mutex::default() }
    }

    /// What is being done; said once where it is the same as before.
    pub fn step(&self, message: String) {
        if *self.last.lock() == message {
            return;
        }
        if self.is_terminal {
            self.bar.set_message(message.clone());
        } else {
            eprintln!("{message}");
        }
        *self.last.lock() = message;
    }

    /// A line that stays.
    pub fn note(&self, message: &str) {
        self.bar.suspend(|| eprintln!("{message}"));
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
