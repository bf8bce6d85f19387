//! Watches how much of the disk tasks take, and ends those that take too much.
//!
//! One thread for the node, so that watching costs at most a part of one core, whatever guests do: each turn looks at a
//! bounded number of entries. A task that changes nothing is looked at rarely; one that writes, soon; and when the disk's free
//! space falls, everyone at once. What a task can write beyond its size in between is what the disk takes in some 0.3 s.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use parking_lot::{Condvar, Mutex};
use tokio_util::sync::CancellationToken;

use crate::runtime::files::measure::{Used, Walk, unnamed};

const TURN: Duration = Duration::from_millis(100);
/// Of 1 to 2 µs each: a fifth of one core at most.
const ENTRIES_PER_TURN: usize = 10_000;
const INTERVAL_MIN: Duration = Duration::from_millis(200);
const INTERVAL_MAX: Duration = Duration::from_secs(5);
const UNNAMED_INTERVAL: Duration = Duration::from_secs(1);
/// When this much of the disk went since a turn, somebody writes fast.
const FALL_BYTES: u64 = 64 << 20;
/// Left to the server itself, its store and its compiled images.
pub const FREE_BYTES_MIN: u64 = 512 << 20;
/// A task that takes less is not what fills a disk.
const FILLER_BYTES_MIN: u64 = 64 << 20;

const MIB: u64 = 1 << 20;

/// What is looked at of a task.
pub struct Watched {
    /// The name of its directory.
    pub task: String,
    pub dir: Dir,
    /// Of all that has no size of its own.
    pub size_bytes: u64,
    /// Sizes of their own, by directory, and how messages call them.
    pub own_sizes: BTreeMap<String, (String, u64)>,
    /// What guests wrote as far as it was counted: a hint to look.
    pub written: AtomicU64,
    pub used_bytes: Arc<AtomicU64>,
    /// Cancelled when the task must end.
    pub kill: CancellationToken,
    /// Why, set before.
    pub exceeded: OnceLock<String>,
}

impl Watched {
    /// The first size that this is over.
    fn over(&self, used: &Used, unnamed_bytes: u64) -> Option<String> {
        if used.is_too_deep {
            return Some(String::from("task nested its directories deeper than can be measured"));
        }
        for (part, (what, size)) in &self.own_sizes {
            let bytes = used.bytes.get(part).copied().unwrap_or(0);
            if bytes > *size {
                return Some(format!("{what} holds {} MiB of {} MiB", bytes.div_ceil(MIB), size / MIB));
            }
        }
        let bytes = self.shared_bytes(used) + unnamed_bytes;
        (bytes > self.size_bytes)
            .then(|| format!("task used {} MiB of {} MiB", bytes.div_ceil(MIB), self.size_bytes / MIB))
    }

    fn shared_bytes(&self, used: &Used) -> u64 {
        used.bytes.iter().filter(|(part, _)| !self.own_sizes.contains_key(*part)).map(|(_, bytes)| bytes).sum()
    }

    fn end(&self, why: &str) {
        if self.exceeded.set(format!("EphemeralStorageExceededError: {why}")).is_ok() {
            tracing::info!(task = self.task, why, "ends a task that takes too much of the disk");
            self.kill.cancel();
        }
    }
}

/// A cheap handle. The thread ends with the process, or when all handles are gone.
#[derive(Clone)]
pub struct Watcher(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Those that the thread has not taken over yet.
    new: Mutex<Vec<Weak<Watched>>>,
    changed: Condvar,
    is_full: AtomicBool,
}

impl Watcher {
    pub fn start(tasks: Dir) -> Watcher {
        let shared = Arc::new(Shared::default());
        let thread = Thread {
            path: path_of(&tasks),
            tasks,
            shared: Arc::downgrade(&shared),
            watched: Vec::new(),
            free_bytes: u64::MAX,
            unnamed: BTreeMap::new(),
            unnamed_due: Instant::now(),
        };
        let started = std::thread::Builder::new().name(String::from("files-watch")).spawn(move || thread.run());
        if let Err(error) = started {
            tracing::error!(%error, "cannot start the thread that watches the disk; sizes are not enforced");
        }
        Watcher(shared)
    }

    pub fn watch(&self, watched: &Arc<Watched>) {
        self.0.new.lock().push(Arc::downgrade(watched));
        self.0.changed.notify_one();
    }

    /// Whether the disk is so full that guests may write nothing more.
    pub fn is_full(&self) -> bool {
        self.0.is_full.load(Ordering::Relaxed)
    }
}

/// Where the directory of all tasks really is.
fn path_of(tasks: &Dir) -> PathBuf {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", tasks.as_raw_fd())).unwrap_or_default()
}

struct Thread {
    path: PathBuf,
    tasks: Dir,
    shared: Weak<Shared>,
    watched: Vec<Entry>,
    /// The least since it last fell far.
    free_bytes: u64,
    /// What files without a name took, and when to look again.
    unnamed: BTreeMap<String, u64>,
    unnamed_due: Instant,
}

struct Entry {
    watched: Weak<Watched>,
    due: Instant,
    interval: Duration,
    /// A walk that was begun, and the directory that it is in.
    walk: Option<(Walk, String)>,
    /// When it was last measured, so much had been written, and it took so much.
    written: u64,
    bytes: u64,
}

impl Thread {
    fn run(mut self) {
        while let Some(shared) = self.shared.upgrade() {
            {
                let mut new = shared.new.lock();
                if new.is_empty() {
                    let wait = if self.watched.is_empty() { INTERVAL_MAX } else { TURN };
                    shared.changed.wait_for(&mut new, wait);
                }
                self.watched.extend(new.drain(..).map(Entry::new));
            }
            self.watched.retain(|entry| entry.watched.strong_count() > 0);
            if !self.watched.is_empty() || shared.is_full.load(Ordering::Relaxed) {
                self.turn(&shared);
            }
        }
    }

    fn turn(&mut self, shared: &Shared) {
        let now = Instant::now();
        let free_bytes = free_bytes(&self.tasks).unwrap_or(u64::MAX);
        let has_fallen = free_bytes.saturating_add(FALL_BYTES) < self.free_bytes;
        if has_fallen || free_bytes > self.free_bytes {
            self.free_bytes = free_bytes;
        }
        let is_full = free_bytes < FREE_BYTES_MIN;
        if shared.is_full.swap(is_full, Ordering::Relaxed) != is_full {
            tracing::warn!(free_mib = free_bytes / MIB, is_full, "the disk of the data directory");
        }
        for entry in &mut self.watched {
            if has_fallen || is_full || entry.has_written() {
                entry.hurry(now);
            }
        }
        if !self.watched.iter().any(|entry| entry.due <= now) {
            return;
        }
        self.look_for_unnamed(now, has_fallen);
        let mut entries = ENTRIES_PER_TURN;
        for entry in self.watched.iter_mut().filter(|entry| entry.due <= now) {
            if entries == 0 {
                break;
            }
            entry.measure(now, &mut entries, &self.unnamed);
        }
        // Who was looked at last comes last: a large task does not keep the others from their turn.
        self.watched.sort_by_key(|entry| entry.due);
        if is_full {
            self.end_largest();
        }
    }

    /// It costs a system call or two for every descriptor of the process: at most 2 % of the time.
    fn look_for_unnamed(&mut self, now: Instant, has_fallen: bool) {
        if now >= self.unnamed_due || (has_fallen && now + UNNAMED_INTERVAL >= self.unnamed_due) {
            self.unnamed = unnamed(&self.path);
            self.unnamed_due = now + UNNAMED_INTERVAL.max(now.elapsed() * 50);
        }
    }

    /// Whoever takes the most must make room.
    fn end_largest(&self) {
        let live = self.watched.iter().filter_map(|entry| entry.watched.upgrade());
        let live = live.filter(|watched| watched.exceeded.get().is_none());
        let largest = live.max_by_key(|watched| watched.used_bytes.load(Ordering::Relaxed));
        let Some(largest) = largest else { return };
        let bytes = largest.used_bytes.load(Ordering::Relaxed);
        if bytes >= FILLER_BYTES_MIN {
            let free = FREE_BYTES_MIN / MIB;
            largest.end(&format!(
                "the node's disk has less than {free} MiB left, of which this task used the most ({} MiB)",
                bytes / MIB
            ));
        }
    }
}

impl Entry {
    fn new(watched: Weak<Watched>) -> Entry {
        Entry { watched, due: Instant::now(), interval: INTERVAL_MIN, walk: None, written: 0, bytes: 0 }
    }

    fn has_written(&self) -> bool {
        self.watched.upgrade().is_some_and(|watched| watched.written.load(Ordering::Relaxed) != self.written)
    }

    fn hurry(&mut self, now: Instant) {
        self.interval = INTERVAL_MIN;
        self.due = self.due.min(now + INTERVAL_MIN);
    }

    fn measure(&mut self, now: Instant, entries: &mut usize, unnamed: &BTreeMap<String, u64>) {
        let Some(watched) = self.watched.upgrade().filter(|watched| watched.exceeded.get().is_none()) else {
            self.due = now + INTERVAL_MAX;
            return;
        };
        if self.walk.is_none() {
            self.written = watched.written.load(Ordering::Relaxed);
            self.walk = Walk::begin(&watched.dir).ok().map(|walk| (walk, String::new()));
        }
        let Some((walk, part)) = &mut self.walk else {
            self.due = now + INTERVAL_MAX;
            return;
        };
        let unnamed_bytes = unnamed.get(&watched.task).copied().unwrap_or(0);
        let done = walk.step(entries, part);
        if let Some(why) = watched.over(done.as_ref().unwrap_or(walk.so_far()), unnamed_bytes) {
            watched.end(&why);
        }
        let Some(used) = done else { return };
        self.walk = None;
        let bytes = used.bytes.values().sum::<u64>() + unnamed_bytes;
        watched.used_bytes.store(bytes, Ordering::Relaxed);
        self.interval = if bytes == self.bytes { (self.interval * 2).min(INTERVAL_MAX) } else { INTERVAL_MIN };
        self.bytes = bytes;
        self.due = now + self.interval;
    }
}

/// What our user may still write on the disk.
fn free_bytes(dir: &Dir) -> rustix::io::Result<u64> {
    let disk = rustix::fs::fstatvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
