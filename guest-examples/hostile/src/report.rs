//! What was tried, and how it went.

use std::fmt::Display;
use std::process::ExitCode;

/// The code of a program that got through somewhere.
const BREACHED: u8 = 3;

#[derive(Default)]
pub struct Report {
    is_breached: bool,
}

impl Report {
    pub fn held(&mut self, what: &str, why: impl Display) {
        println!("held {what}: {why}");
    }

    pub fn breach(&mut self, what: &str) {
        self.is_breached = true;
        println!("BREACH {what}");
    }

    /// An attempt that must not succeed.
    pub fn attempt<T, E: Display>(&mut self, what: &str, result: Result<T, E>) {
        match result {
            Ok(_) => self.breach(what),
            Err(error) => self.held(what, error),
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        if self.is_breached { ExitCode::from(BREACHED) } else { ExitCode::SUCCESS }
    }
}
