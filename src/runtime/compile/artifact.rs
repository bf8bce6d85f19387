//! The directory of compiled images.
//!
//! An artifact is machine code that will be run: whoever can write here runs as us. So the directory is private to the
//! user, files are written beside and renamed, and each is verified by its own digest before it is mapped: a cut-off
//! write or a flipped bit becomes a compilation, never a crash.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

/// What is read at once to make a digest.
const DIGEST_PIECE_BYTES: usize = 256 << 10;
/// Only the user may look in here.
const PRIVATE: u32 = 0o700;

/// Makes the names of temporary files differ within this process, in which several may have the same directory open.
static NEXT: AtomicU64 = AtomicU64::new(0);

pub struct Artifacts {
    dir: PathBuf,
}

/// A file that is being written; removed unless it is kept.
pub struct Temporary {
    path: PathBuf,
}

impl Temporary {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It was renamed, or was never written, or is left to whoever clears the directory.
        let _ = fs::remove_file(&self.path);
    }
}

impl Artifacts {
    pub fn open(dir: PathBuf) -> io::Result<Artifacts> {
        DirBuilder::new().recursive(true).mode(PRIVATE).create(&dir)?;
        // It may have been there before, with other rights.
        fs::set_permissions(&dir, fs::Permissions::from_mode(PRIVATE))?;
        Ok(Artifacts { dir })
    }

    /// The artifact of this name, if it is whole.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let path = self.path(name);
        let expected = fs::read_to_string(self.digest_path(name)).ok()?;
        let found = digest_of(&path).ok()?;
        if expected.trim() == found {
            return Some(path);
        }
        tracing::warn!(path = %path.display(), "a compiled image is damaged; it is compiled again");
        None
    }

    pub fn temporary(&self, name: &str) -> Temporary {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Temporary { path: self.dir.join(format!(".{name}.{}.{number}", std::process::id())) }
    }

    /// Makes a written file the artifact of this name. The digest goes first: an artifact without one is not believed.
    pub fn keep(&self, temporary: Temporary, name: &str) -> io::Result<PathBuf> {
        let digest = digest_of(&temporary.path)?;
        let beside = self.temporary(name);
        fs::write(&beside.path, digest)?;
        fs::rename(&beside.path, self.digest_path(name))?;
        let path = self.path(name);
        fs::rename(&temporary.path, &path)?;
        Ok(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.cwasm"))
    }

    fn digest_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.sha256"))
    }
}

fn digest_of(path: &Path) -> io::Result<String> {
    // In pieces: it may be a gigabyte.
    let (mut file, mut hasher, mut piece) = (File::open(path)?, Sha256::new(), vec![0; DIGEST_PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn hex_digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_who_share_a_directory_write_to_different_files() {
        let home = tempfile::tempdir().unwrap();
        let [one, two] = [(); 2].map(|()| Artifacts::open(home.path().join("compiled")).unwrap());
        let (mine, other) = (one.temporary("a"), two.temporary("a"));
        assert_ne!(mine.path(), other.path());
        fs::write(mine.path(), b"machine code").unwrap();
        fs::write(other.path(), b"machine code").unwrap();
        one.keep(mine, "a").unwrap();
        assert_eq!(two.keep(other, "a").unwrap(), one.find("a").unwrap());
    }

    #[test]
    fn a_damaged_artifact_is_not_found() {
        let home = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(home.path().join("compiled")).unwrap();
        assert_eq!(fs::metadata(&artifacts.dir).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(artifacts.find("a"), None);

        let temporary = artifacts.temporary("a");
        fs::write(temporary.path(), b"machine code").unwrap();
        let path = artifacts.keep(temporary, "a").unwrap();
        assert_eq!(artifacts.find("a"), Some(path.clone()));

        fs::write(&path, b"machine cod").unwrap();
        assert_eq!(artifacts.find("a"), None);
        let left: Vec<_> = fs::read_dir(&artifacts.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "temporary files remain: {left:?}");
    }
}
