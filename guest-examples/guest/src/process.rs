//! Leaving a program with a code that arrives whole.

use std::io::Write;

/// Ends the program with `code`.
///
/// `std::process::exit` on this target only knows success and failure: 3 would arrive as 1. `exit-with-code` of
/// wasi:cli 0.2.12 carries all of 0 to 255.
pub fn exit(code: u8) -> ! {
    // What cannot be written any more cannot be reported either.
    let _ = std::io::stdout().flush();
    wasip2::cli::exit::exit_with_code(code);
    unreachable!("the host does not return from exit-with-code")
}

/// Ends the program because its arguments make no sense: 2, as shells do.
pub fn refuse(program: &str, why: &str) -> ! {
    eprintln!("{program}: {why}");
    exit(2)
}
