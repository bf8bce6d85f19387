//! Assembles `wat/*.wat` into the directory that is its argument: what attacks in ways that no compiler would write.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let Some(to) = env::args().nth(1) else {
        eprintln!("attacks: the directory to write to is missing");
        return ExitCode::from(2);
    };
    match assemble(Path::new(&to)) {
        Ok(count) => {
            println!("{:<15} {count} files", "attacks");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("attacks: {why}");
            ExitCode::FAILURE
        }
    }
}

fn assemble(to: &Path) -> Result<usize, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("wat");
    let mut count = 0;
    for entry in fs::read_dir(sources).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let Some(name) = path.file_stem() else { continue };
        let bytes = wat::parse_file(&path).map_err(|error| error.to_string())?;
        fs::write(to.join(name).with_extension("wasm"), bytes).map_err(|error| error.to_string())?;
        count += 1;
    }
    Ok(count)
}
