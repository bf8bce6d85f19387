//! Removes what tasks left, on a thread of its own: a tree of a million files takes a while.
//!
//! A guest may nest directories deeper than any path is long. Removing holds one open directory for each level, up to a
//! depth; what is deeper is first moved up, and its turn comes later.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cap_std::fs::{Dir, ReadDir};
use parking_lot::{Condvar, Mutex};

/// Levels, each with an open directory.
const DEPTH_MAX: usize = 64;
/// What could not be removed (a disk that fails) is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// Ends with the process: what is then left, the next start finds.
#[derive(Clone)]
pub struct Sweeper(Arc<Signal>);

#[derive(Default)]
struct Signal {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Sweeper {
    pub fn start(trash: Dir) -> Sweeper {
        let signal = Arc::new(Signal::default());
        let heard = Arc::downgrade(&signal);
        let swept = std::thread::Builder::new().name(String::from("files-remove")).spawn(move || {
            while let Some(signal) = heard.upgrade() {
                signal.wait();
                drop(signal);
                sweep(&trash);
            }
        });
        if let Err(error) = swept {
            tracing::error!(%error, "cannot start the thread that removes files; they stay until the next start");
        }
        Sweeper(signal)
    }

    pub fn wake(&self) {
        *self.0.asked.lock() = true;
        self.0.changed.notify_one();
    }
}

impl Signal {
    fn wait(&self) {
        let mut asked = self.asked.lock();
        if !*asked {
            self.changed.wait_for(&mut asked, RETRY);
        }
        *asked = false;
    }
}

/// Removes everything in the directory.
fn sweep(trash: &Dir) {
    loop {
        match sweep_once(trash) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot remove files that a task left; trying again later");
                return;
            }
        }
    }
}

/// One look at what is there. What was moved up needs another.
fn sweep_once(trash: &Dir) -> io::Result<usize> {
    let mut removed = 0;
    for entry in trash.entries()? {
        let name = entry?.file_name();
        if is_dir(trash, &name)? {
            remove_tree(trash, &name)?;
        } else {
            trash.remove_file(&name)?;
        }
        removed += 1;
    }
    Ok(removed)
}

struct Level {
    name: std::ffi::OsString,
    dir: Dir,
    entries: ReadDir,
}

impl Level {
    fn open(parent: &Dir, name: &std::ffi::OsStr) -> io::Result<Level> {
        let dir = parent.open_dir(name)?;
        Ok(Level { name: name.to_owned(), entries: dir.entries()?, dir })
    }
}

fn remove_tree(trash: &Dir, name: &std::ffi::OsStr) -> io::Result<()> {
    let mut levels = vec![Level::open(trash, name)?];
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return Ok(()) };
        let Some(entry) = level.entries.next() else {
            let done = levels.pop().expect("it was the last");
            let parent = levels.last().map_or(trash, |level| &level.dir);
            parent.remove_dir(&done.name)?;
            continue;
        };
        let name = entry?.file_name();
        if !is_dir(&level.dir, &name)? {
            level.dir.remove_file(&name)?;
        } else if depth < DEPTH_MAX {
            let next = Level::open(&level.dir, &name)?;
            levels.push(next);
        } else {
            move_aside(&level.dir, &name, trash)?;
        }
    }
}

/// Moves a directory into the trash, under the first number that is free. Others are moved there at the same time.
pub fn move_aside(from: &Dir, name: impl AsRef<Path>, trash: &Dir) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        match from.rename(&name, trash, number.to_string()) {
            // A number of an earlier run. An empty directory is replaced, which does no harm.
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {}
            moved => return moved,
        }
    }
}

/// Symbolic links are files: nothing here follows one.
fn is_dir(parent: &Dir, name: &std::ffi::OsStr) -> io::Result<bool> {
    Ok(parent.symlink_metadata(name)?.is_dir())
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn the_deepest_tree_goes_and_what_its_links_point_at_stays() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("trash")).unwrap();
        std::fs::create_dir(home.path().join("kept")).unwrap();
        std::fs::write(home.path().join("kept/file"), "kept").unwrap();
        let trash = Dir::open_ambient_dir(home.path().join("trash"), ambient_authority()).unwrap();
        let mut dir = trash.try_clone().unwrap();
        // Far deeper than a path may be long.
        for _ in 0..3000 {
            dir.create_dir("deeper").unwrap();
            dir.write("file", "x").unwrap();
            dir.symlink_contents(home.path().join("kept"), "link").unwrap();
            dir = dir.open_dir("deeper").unwrap();
        }
        sweep(&trash);
        assert_eq!(trash.entries().unwrap().count(), 0);
        assert_eq!(std::fs::read_to_string(home.path().join("kept/file")).unwrap(), "kept");
    }
}
