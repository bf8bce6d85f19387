//! The open files of logs: compressed as they grow, and given their name when they are closed.
//!
//! A file is written beside its place under a name of its own and then moved there, so that who reads the directory, as one
//! reads S3, sees whole files only.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::proxy::access_log::line::iso_8601;
use crate::proxy::access_log::place::LogPlace;

/// Lines in one file, before compression: a file is closed before its time where there is much traffic.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The node's address in file names: the load balancer is this machine, and has no public address that it knows.
const NODE: &str = "127.0.0.1";
/// Characters of the random part of file names: ELB's have eight.
const RANDOM_CHARS: usize = 8;

pub struct Files {
    root: PathBuf,
    open: HashMap<Arc<LogPlace>, OpenFile>,
}

struct OpenFile {
    encoder: GzEncoder<File>,
    path: PathBuf,
    written: u64,
    closes_at: Instant,
}

impl Files {
    /// `root` stands for S3.
    pub fn new(root: PathBuf) -> Files {
        Files { root, open: HashMap::new() }
    }

    /// Shows that the place can be written to.
    pub fn enable(&self, place: &LogPlace, now: SystemTime) -> io::Result<()> {
        let path = self.root.join(place.test_file());
        create_parent(&path)?;
        let text = format!("Enabled logs of the load balancer at {}\n", iso_8601(now));
        fs::write(path, text)
    }

    /// Writes one line, to a file that is opened where there is none.
    pub fn write(&mut self, place: &Arc<LogPlace>, line: &str, now: Instant) -> io::Result<()> {
        if !self.open.contains_key(place) {
            self.open.insert(Arc::clone(place), self.create(place, now)?);
        }
        let file = self.open.get_mut(place).expect("it was put there just now");
        file.written += u64::try_from(line.len()).unwrap_or(u64::MAX) + 1;
        file.encoder.write_all(line.as_bytes())?;
        file.encoder.write_all(b"\n")?;
        if file.written >= FILE_BYTES_MAX {
            file.closes_at = now;
        }
        Ok(())
    }

    /// Closes the files whose time has come; the errors are of those that are lost.
    pub fn close_due(&mut self, now: Instant) -> Vec<io::Error> {
        let due: Vec<_> = self.open.iter().filter(|(_, file)| file.closes_at <= now).map(|(place, _)| place).collect();
        let due: Vec<_> = due.into_iter().cloned().collect();
        due.iter().filter_map(|place| self.close(place).err()).collect()
    }

    pub fn close_all(&mut self) -> Vec<io::Error> {
        let all: Vec<_> = self.open.keys().cloned().collect();
        all.iter().filter_map(|place| self.close(place).err()).collect()
    }

    /// When the next file is to be closed.
    pub fn next_close(&self) -> Option<Instant> {
        self.open.values().map(|file| file.closes_at).min()
    }

    fn create(&self, place: &LogPlace, now: Instant) -> io::Result<OpenFile> {
        let random = random()?;
        let path = self.root.join(place.test_file()).with_file_name(format!(".{random}.log.gz.part"));
        create_parent(&path)?;
        let encoder = GzEncoder::new(File::create_new(&path)?, Compression::default());
        Ok(OpenFile { encoder, path, written: 0, closes_at: now + place.interval })
    }

    fn close(&mut self, place: &Arc<LogPlace>) -> io::Result<()> {
        let Some(file) = self.open.remove(place) else { return Ok(()) };
        let moved = file.encoder.finish().and_then(|_| {
            let named = self.root.join(place.file(SystemTime::now(), NODE, &random()?));
            create_parent(&named)?;
            fs::rename(&file.path, named)
        });
        if moved.is_err() {
            // What is left of it would be found by nobody.
            let _ = fs::remove_file(&file.path);
        }
        moved
    }
}

fn create_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Letters and digits that keep names apart.
fn random() -> io::Result<String> {
    let mut bytes = [0; RANDOM_CHARS];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| char::from(b"0123456789abcdefghijklmnopqrstuv"[usize::from(byte % 32)])).collect())
}
