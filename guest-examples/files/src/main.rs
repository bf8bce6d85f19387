//! Does to files what its arguments say, step by step, and prints what came of it.
//!
//! A step that fails prints `failed: STEP: why`, and the next one goes on.

use std::env;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

const USAGE: &str = "files [STEP...]
  write PATH TEXT      append PATH TEXT     read PATH            ls PATH
  mkdir PATH           rm PATH              rmdir PATH           mv PATH PATH
  ln PATH PATH         symlink TARGET PATH  size PATH            cwd
  fill PATH MIB        writes that many mebibytes
  unnamed PATH MIB     the same, to a file whose name is gone
  sparse PATH MIB      makes a file that long, of nothing
  nest PATH N          makes directories in each other
  many PATH N          makes that many empty files in a directory
  open PATH N          opens a file that often, and keeps all open
  spy PATH MS WORD     reads for that long, and tells if it ever reads WORD
  sleep MS             exit CODE";

fn main() {
    // The C library of this toolchain begins at `/`, wherever it is told to.
    if let Some(directory) = wasip2::cli::environment::initial_cwd()
        && let Err(error) = env::set_current_dir(&directory)
    {
        println!("failed: go to {directory}: {error}");
    }
    let mut arguments = env::args().skip(1);
    while let Some(step) = arguments.next() {
        let mut value = || {
            arguments.next().unwrap_or_else(|| {
                eprintln!("`{step}` wants a value\n{USAGE}");
                process::exit(2)
            })
        };
        let mut said = step.clone();
        let mut path = || {
            let path = value();
            said = format!("{said} {path}");
            path
        };
        let result = match step.as_str() {
            "write" => fs::write(path(), value()),
            "append" => append(&path(), &value()),
            "read" => fs::read_to_string(path()).map(|text| println!("{text}")),
            "ls" => list(&path()),
            "mkdir" => fs::create_dir(path()),
            "rm" => fs::remove_file(path()),
            "rmdir" => fs::remove_dir(path()),
            "mv" => fs::rename(path(), path()),
            "ln" => fs::hard_link(path(), path()),
            "symlink" => link(&path(), &path()),
            "size" => fs::metadata(path()).map(|metadata| println!("{} bytes", metadata.len())),
            "cwd" => env::current_dir().map(|directory| println!("{}", directory.display())),
            "fill" => File::create(path()).and_then(|mut file| fill(&mut file, number(&value()))),
            "unnamed" => unnamed(&path(), number(&value())),
            "sparse" => File::create(path()).and_then(|file| file.set_len(number(&value()) << 20)),
            "nest" => nest(path(), number(&value())),
            "many" => many(&path(), number(&value())),
            "open" => open(&path(), number(&value())),
            "spy" => spy(&path(), number(&value()), &value()),
            "sleep" => {
                thread::sleep(Duration::from_millis(number(&value())));
                Ok(())
            }
            "exit" => process::exit(i32::try_from(number(&value())).unwrap_or(2)),
            _ => {
                eprintln!("`{step}` is no step\n{USAGE}");
                process::exit(2)
            }
        };
        if let Err(error) = result {
            println!("failed: {said}: {error}");
        }
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| {
        eprintln!("`{text}` is no number");
        process::exit(2)
    })
}

fn append(path: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes())
}

fn list(path: &str) -> io::Result<()> {
    let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    println!("{path}: {}", names.join(" "));
    Ok(())
}

fn fill(file: &mut File, mib: u64) -> io::Result<()> {
    // Nothing that a file system could leave out.
    let block: Vec<u8> = (0..1 << 20).map(|at: u32| at.wrapping_mul(2_654_435_761) as u8 | 1).collect();
    for _ in 0..mib {
        file.write_all(&block)?;
    }
    println!("wrote {mib} MiB");
    Ok(())
}

fn unnamed(path: &str, mib: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    fs::remove_file(path)?;
    fill(&mut file, mib)?;
    // It stays open until the task ends.
    thread::sleep(Duration::from_secs(600));
    Ok(())
}

fn nest(path: String, levels: u64) -> io::Result<()> {
    let mut path = path;
    for _ in 0..levels {
        path.push_str("/d");
        fs::create_dir(&path)?;
    }
    Ok(())
}

fn many(path: &str, count: u64) -> io::Result<()> {
    (0..count).try_for_each(|number| File::create(format!("{path}/{number}")).map(drop))
}

fn open(path: &str, count: u64) -> io::Result<()> {
    let mut open = Vec::new();
    while (open.len() as u64) < count {
        match File::open(path) {
            Ok(file) => open.push(file),
            Err(error) => {
                println!("opened {}", open.len());
                return Err(error);
            }
        }
    }
    println!("opened {count}");
    Ok(())
}

fn spy(path: &str, milliseconds: u64, word: &str) -> io::Result<()> {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let (mut reads, mut refusals) = (0_u64, 0_u64);
    while Instant::now() < end {
        let mut text = String::new();
        match File::open(path).and_then(|mut file| file.read_to_string(&mut text)) {
            Ok(_) => reads += 1,
            Err(_) => refusals += 1,
        }
        if text.contains(word) {
            println!("ESCAPED after {reads} reads: {text}");
            process::exit(66);
        }
    }
    println!(
        "spied: {} reads, {} refusals",
        if reads > 0 { "some" } else { "no" },
        if refusals > 0 { "some" } else { "no" }
    );
    Ok(())
}

unsafe extern "C" {
    fn symlink(target: *const std::ffi::c_char, path: *const std::ffi::c_char) -> std::ffi::c_int;
}

/// The standard library has none that is stable here.
fn link(target: &str, path: &str) -> io::Result<()> {
    let (target, path) = (CString::new(target)?, CString::new(path)?);
    // SAFETY: two strings that end with a zero byte and live until it returns, of wasi-libc's own symlink(2).
    let result = unsafe { symlink(target.as_ptr(), path.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
