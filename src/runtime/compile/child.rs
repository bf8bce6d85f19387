//! The compiler's own process: `coracle compile-image …`, an image on its standard input.
//!
//! It limits itself before it reads the first byte, so that the parent needs no code between `fork` and `exec`.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};
use wasmtime::Engine;

use crate::runtime::compile::Form;
use crate::runtime::engine::{Concurrency, settings};

/// The image cannot be compiled; the reason is on standard error.
pub const EXIT_IMAGE: i32 = 3;
/// This process could not do its work; the reason is on standard error.
pub const EXIT_HOST: i32 = 4;
/// Below everything that serves, and below the guests (10).
const NICE: i32 = 15;

/// What the child may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
    pub file_bytes: u64,
}

/// The arguments that [`child_main`] reads.
pub fn arguments(form: Form, concurrency: Concurrency, output: &Path, limits: &Limits) -> [OsString; 6] {
    let form = match form {
        Form::Component => "component",
        Form::Module => "module",
    };
    let concurrency = match concurrency {
        Concurrency::Off => "sequential",
        Concurrency::On => "concurrent",
    };
    [
        OsString::from(form),
        OsString::from(concurrency),
        OsString::from(limits.memory_bytes.to_string()),
        OsString::from(limits.cpu_seconds.to_string()),
        OsString::from(limits.file_bytes.to_string()),
        output.as_os_str().to_owned(),
    ]
}

/// The child's whole life. Returns its exit code; to be called by `main` before anything else is set up.
pub fn child_main(arguments: impl IntoIterator<Item = OsString>) -> i32 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let Some((form, concurrency, limits, output)) = parse(&arguments) else {
        eprintln!("this command is for the server's own use");
        return EXIT_HOST;
    };
    if let Err(error) = limit_self(&limits) {
        eprintln!("cannot limit the compiler: {error}");
        return EXIT_HOST;
    }
    let mut image = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut image) {
        eprintln!("cannot read the image: {error}");
        return EXIT_HOST;
    }
    match compile(&image, form, concurrency, &output) {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("{message}");
            EXIT_IMAGE
        }
    }
}

fn parse(arguments: &[OsString]) -> Option<(Form, Concurrency, Limits, PathBuf)> {
    let [form, concurrency, memory_bytes, cpu_seconds, file_bytes, output] = arguments else { return None };
    let form = match form.to_str()? {
        "component" => Form::Component,
        "module" => Form::Module,
        _ => return None,
    };
    let concurrency = match concurrency.to_str()? {
        "sequential" => Concurrency::Off,
        "concurrent" => Concurrency::On,
        _ => return None,
    };
    let number = |text: &OsString| text.to_str()?.parse::<u64>().ok();
    let limits = Limits {
        memory_bytes: number(memory_bytes)?,
        cpu_seconds: number(cpu_seconds)?,
        file_bytes: number(file_bytes)?,
    };
    Some((form, concurrency, limits, PathBuf::from(output)))
}

fn limit_self(limits: &Limits) -> rustix::io::Result<()> {
    let both = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::As, both(limits.memory_bytes))?;
    setrlimit(Resource::Cpu, both(limits.cpu_seconds))?;
    // What it writes is one file. Past this the kernel ends it.
    setrlimit(Resource::Fsize, both(limits.file_bytes))?;
    // A crash of the compiler over a stranger's bytes is not worth gigabytes on the disk.
    setrlimit(Resource::Core, both(0))?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    nice(NICE)?;
    Ok(())
}

/// Compiles to a file. The error is one line, for the person whose image it is.
pub fn compile(image: &[u8], form: Form, concurrency: Concurrency, output: &Path) -> Result<(), String> {
    // Without a pool, which does not change compiled code, so that nothing is reserved.
    let engine = Engine::new(&settings(concurrency)).map_err(|error| one_line(&error))?;
    let compiled = match form {
        Form::Component => engine.precompile_component(image),
        Form::Module => engine.precompile_module(image),
    };
    let compiled = compiled.map_err(|error| format!("it cannot be compiled: {}", one_line(&error)))?;
    fs::write(output, compiled).map_err(|error| format!("cannot write {}: {error}", output.display()))
}

/// The chain of an error, on one line.
fn one_line(error: &wasmtime::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
