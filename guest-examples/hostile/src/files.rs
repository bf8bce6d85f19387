//! Ways out of the directories that a task was given.
//!
//! Reading counts, not opening: a path that leads to a file of the task's own that happens to have the name is no breach. So
//! the test lays a secret somewhere on the host, and says where it is and what is in it.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use wasip2::filesystem::preopens;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

use crate::report::Report;

/// Read of a file that was reached.
const READ_BYTES: u64 = 64 << 10;

/// What is in every Linux machine's files, and in no task's.
const TELLTALES: [(&str, &str); 6] = [
    ("/etc/passwd", "root:"),
    ("/proc/self/environ", "PATH="),
    ("/proc/self/maps", "r-xp"),
    ("/proc/1/cmdline", "\0"),
    ("/proc/self/root/etc/passwd", "root:"),
    ("/dev/zero", "\0"),
];

/// Tries to read the host's files through everything that the task has.
pub fn walk(report: &mut Report, secret: &str, marker: &str) {
    let mut wanted = TELLTALES.to_vec();
    wanted.push((secret, marker));
    for (path, marker) in &wanted {
        through_std(report, path, marker);
    }
    let directories = preopens::get_directories();
    for (directory, name) in &directories {
        for (path, marker) in &wanted {
            through_descriptor(report, directory, name, path, marker);
            through_links(report, directory, name, path, marker);
        }
        upwards(report, directory, name);
    }
    report.held("preopens", format!("{} were given", directories.len()));
}

fn through_std(report: &mut Report, path: &str, marker: &str) {
    let climbing = format!("{}{path}", "../".repeat(32));
    let from_scratch = format!("/tmp/../../../../..{path}");
    let dotted = format!("/./{path}");
    for path in [path, &climbing, &from_scratch, &dotted] {
        match fs::read(path) {
            Ok(bytes) => judge(report, path, &bytes, marker),
            Err(error) => report.held(path, error),
        }
    }
}

fn through_descriptor(report: &mut Report, directory: &Descriptor, name: &str, path: &str, marker: &str) {
    let relative = path.trim_start_matches('/');
    let ways = [
        path.to_owned(),
        format!("{}{relative}", "../".repeat(32)),
        format!("./..//.././../../../../../../../../../{relative}"),
        format!("\\..\\..\\{relative}"),
        format!("..\0/{relative}"),
    ];
    for way in ways {
        let opened = directory.open_at(PathFlags::SYMLINK_FOLLOW, &way, OpenFlags::empty(), DescriptorFlags::READ);
        settle(report, &format!("{way:?} in {name}"), opened, marker);
    }
}

/// Links that the guest makes itself: symbolic ones to where it may not go, hard ones from there.
fn through_links(report: &mut Report, directory: &Descriptor, name: &str, path: &str, marker: &str) {
    let relative = path.trim_start_matches('/');
    for target in [path.to_owned(), format!("{}{relative}", "../".repeat(32))] {
        let _ = directory.unlink_file_at("hostile-link");
        let what = format!("link to {target} in {name}");
        match directory.symlink_at(&target, "hostile-link") {
            Err(code) => report.held(&what, code.name()),
            Ok(()) => {
                let flags = PathFlags::SYMLINK_FOLLOW;
                let opened = directory.open_at(flags, "hostile-link", OpenFlags::empty(), DescriptorFlags::READ);
                settle(report, &what, opened, marker);
            }
        }
        let _ = directory.unlink_file_at("hostile-link");
        let linked = directory.link_at(PathFlags::SYMLINK_FOLLOW, &target, directory, "hostile-link");
        let linked = linked.or_else(|_| directory.link_at(PathFlags::empty(), &target, directory, "hostile-link"));
        report.attempt(&format!("hard {what}"), linked.map_err(|code| code.name()));
        let _ = directory.unlink_file_at("hostile-link");
    }
}

/// A directory above the given one, or a rename into it.
fn upwards(report: &mut Report, directory: &Descriptor, name: &str) {
    let open = OpenFlags::DIRECTORY;
    let opened = directory.open_at(PathFlags::SYMLINK_FOLLOW, "..", open, DescriptorFlags::READ);
    report.attempt(&format!(".. of {name}"), opened.map_err(|code| code.name()));
    let opened = directory.open_at(PathFlags::SYMLINK_FOLLOW, "/", open, DescriptorFlags::READ);
    report.attempt(&format!("/ in {name}"), opened.map_err(|code| code.name()));
    let create = OpenFlags::CREATE;
    let made = directory.open_at(PathFlags::empty(), "../hostile-was-here", create, DescriptorFlags::WRITE);
    report.attempt(&format!("create above {name}"), made.map_err(|code| code.name()));
    if directory.open_at(PathFlags::empty(), "hostile-own", create, DescriptorFlags::WRITE).is_ok() {
        let renamed = directory.rename_at("hostile-own", directory, "../hostile-was-here");
        report.attempt(&format!("rename out of {name}"), renamed.map_err(|code| code.name()));
        let _ = directory.unlink_file_at("hostile-own");
    }
}

fn settle(report: &mut Report, what: &str, opened: Result<Descriptor, ErrorCode>, marker: &str) {
    let read = opened.and_then(|file| file.read(READ_BYTES, 0));
    match read {
        Ok((bytes, _)) => judge(report, what, &bytes, marker),
        Err(code) => report.held(what, code.name()),
    }
}

fn judge(report: &mut Report, what: &str, bytes: &[u8], marker: &str) {
    let is_there = bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
    match is_there {
        true => report.breach(&format!("{what} reads the host's")),
        false => report.held(what, "a file of the task's own"),
    }
}

/// Swaps a directory of the task's own for a link out of it, as fast as it can: the other half of `peek`.
pub fn swap(directory: &str, ms: u64) {
    let at = |name: &str| format!("{directory}/{name}");
    let end = Instant::now() + Duration::from_millis(ms);
    let _ = fs::create_dir_all(at("inside"));
    let _ = fs::write(at("inside/passwd"), "harmless");
    let out = preopens::get_directories();
    let root = out.iter().find(|(_, name)| name == directory).map(|(descriptor, _)| descriptor);
    if let Some(root) = root {
        let linked = root.symlink_at(&format!("{}etc", "../".repeat(32)), "outside");
        println!("link: {}", linked.map_or_else(|code| code.name().to_owned(), |()| String::from("made")));
    }
    let mut swaps = 0u64;
    while Instant::now() < end {
        for from in ["inside", "outside"] {
            let moved = fs::rename(at(from), at("racing")).and_then(|()| fs::rename(at("racing"), at(from)));
            swaps += u64::from(moved.is_ok());
        }
    }
    println!("swapped {swaps} times");
}

/// Reads through a name that `swap` is moving, hoping that it is checked as a directory and used as a link.
pub fn peek(report: &mut Report, directory: &str, ms: u64, marker: &str) {
    let end = Instant::now() + Duration::from_millis(ms);
    let path = format!("{directory}/racing/passwd");
    let (mut reads, mut misses) = (0u64, 0u64);
    while Instant::now() < end {
        match fs::read_to_string(&path) {
            Ok(text) if text.contains(marker) => return report.breach("the race leads out"),
            Ok(_) => reads += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => misses += 1,
            Err(_) => misses += 1,
        }
    }
    report.held("race", format!("{reads} reads, {misses} misses"));
}
