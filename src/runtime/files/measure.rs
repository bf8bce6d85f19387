//! How much of the disk the files of a task take: a walk that can be interrupted, and does a bounded piece at a time.
//!
//! Blocks are counted, not lengths: a sparse file takes what was written to it. An entry takes at least a block, because a
//! million empty files are not free. Symbolic links are not followed, and a file with several names is counted once in all.

use std::collections::BTreeMap;
use std::io;

use cap_std::fs::{Dir, MetadataExt, ReadDir};

/// `st_blocks` counts these, whatever the file system's own block is.
const BLOCK_BYTES: u64 = 512;
/// An inode and its name, about.
const ENTRY_BYTES: u64 = 4096;
/// Levels, each with an open directory. A path of Linux is not longer than 4096 bytes; nobody who means well comes near.
const DEPTH_MAX: usize = 128;

/// A walk in progress.
pub struct Walk {
    levels: Vec<Level>,
    used: Used,
}

struct Level {
    dir: Dir,
    entries: ReadDir,
}

/// What was found, by directory of the task (`root-0`, `volume-1`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    pub bytes: BTreeMap<String, u64>,
    /// Directories are nested deeper than is measured.
    pub is_too_deep: bool,
}

impl Walk {
    pub fn begin(task: &Dir) -> io::Result<Walk> {
        Ok(Walk { levels: vec![Level::open(task)?], used: Used::default() })
    }

    /// Looks at up to `entries` more, and takes them off. `Some` when all were seen.
    pub fn step(&mut self, entries: &mut usize, part: &mut String) -> Option<Used> {
        while *entries > 0 {
            let depth = self.levels.len();
            let Some(level) = self.levels.last_mut() else { return Some(std::mem::take(&mut self.used)) };
            *entries -= 1;
            let Some(entry) = level.entries.next() else {
                self.levels.pop();
                continue;
            };
            // What vanishes while it is looked at takes nothing.
            let Ok(entry) = entry else { continue };
            let name = entry.file_name();
            let Ok(metadata) = level.dir.symlink_metadata(&name) else { continue };
            if depth == 1 {
                *part = name.to_string_lossy().into_owned();
            }
            let bytes = (metadata.blocks() * BLOCK_BYTES).max(ENTRY_BYTES) / metadata_links(&metadata);
            *self.used.bytes.entry(part.clone()).or_default() += bytes;
            if !metadata.is_dir() {
                continue;
            }
            if depth >= DEPTH_MAX {
                self.used.is_too_deep = true;
            } else if let Ok(next) = level.dir.open_dir(&name).and_then(|dir| Level::open(&dir)) {
                self.levels.push(next);
            }
        }
        None
    }

    /// What was found so far.
    pub fn so_far(&self) -> &Used {
        &self.used
    }
}

/// Names of a file. A directory's links are its children.
fn metadata_links(metadata: &cap_std::fs::Metadata) -> u64 {
    if metadata.is_dir() { 1 } else { metadata.nlink().max(1) }
}

impl Level {
    fn open(dir: &Dir) -> io::Result<Level> {
        Ok(Level { entries: dir.entries()?, dir: dir.try_clone()? })
    }
}

/// What files take that have no name any more and are still open, by task: they are found among the process's own
/// descriptors, whose links say where a file was. `tasks` is the path of the directory of all tasks.
#[cfg(target_os = "linux")]
pub fn unnamed(tasks: &std::path::Path) -> BTreeMap<String, u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let Ok(below) = target.strip_prefix(tasks) else { continue };
        let Some(task) = below.iter().next().and_then(|name| name.to_str()) else { continue };
        let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
        if metadata.nlink() == 0 {
            *found.entry(task.to_owned()).or_default() += metadata.blocks() * BLOCK_BYTES;
        }
    }
    found
}

#[cfg(not(target_os = "linux"))]
pub fn unnamed(_: &std::path::Path) -> BTreeMap<String, u64> {
    BTreeMap::new()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use cap_std::ambient_authority;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Walks in pieces of `piece` entries.
    fn measure(home: &std::path::Path, piece: usize) -> Used {
        let task = Dir::open_ambient_dir(home, ambient_authority()).unwrap();
        let (mut walk, mut part) = (Walk::begin(&task).unwrap(), String::new());
        loop {
            if let Some(used) = walk.step(&mut { piece }, &mut part) {
                return used;
            }
        }
    }

    #[test]
    fn blocks_are_counted_and_links_lead_nowhere() {
        let home = tempfile::tempdir().unwrap();
        let (root, volume) = (home.path().join("root-0"), home.path().join("volume-0"));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir(&volume).unwrap();
        std::fs::write(root.join("a/b/file"), vec![1; 2 << 20]).unwrap();
        std::fs::hard_link(root.join("a/b/file"), root.join("again")).unwrap();
        std::fs::File::create(volume.join("sparse")).unwrap().set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/usr", volume.join("link")).unwrap();
        std::os::unix::fs::symlink(&root, volume.join("back")).unwrap();
        let used = measure(home.path(), 1000);
        assert!((2 * MIB..3 * MIB).contains(&used.bytes["root-0"]), "{used:?}");
        assert!(used.bytes["volume-0"] < MIB, "{used:?}");
        assert_eq!(measure(home.path(), 1), used);
    }

    #[test]
    fn what_is_nested_too_deep_is_told() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("d/".repeat(DEPTH_MAX + 2))).unwrap();
        assert!(measure(home.path(), 1000).is_too_deep);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_open_file_without_a_name_is_found() {
        let home = tempfile::tempdir().unwrap();
        let tasks = home.path().canonicalize().unwrap();
        std::fs::create_dir(tasks.join("7")).unwrap();
        let mut file = std::fs::File::create(tasks.join("7/file")).unwrap();
        file.write_all(&vec![1; 1 << 20]).unwrap();
        std::fs::remove_file(tasks.join("7/file")).unwrap();
        assert!(unnamed(&tasks)["7"] >= MIB);
        drop(file);
        assert!(unnamed(&tasks).is_empty());
    }
}
