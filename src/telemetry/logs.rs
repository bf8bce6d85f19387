//! What the containers printed: a bounded log for each task, in the order in which the lines were written.
//!
//! A reader asks for lines after a sequence number and is told how many of them were already dropped, so that it can say
//! so. A follower waits on a signal that carries no data and reads again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::model::{TaskId, Timestamp};

/// Bytes of text that one task may keep: 10,000 lines of 100 bytes, so that a burst can be read whole.
pub const TASK_BYTES_MAX: usize = 1 << 20;
/// Bytes of text that all tasks together may keep. Past it the logs of ended tasks go first, oldest first.
pub const NODE_BYTES_MAX: usize = 256 << 20;
/// What a line costs beside its text: its place in the queue and its allocation.
const LINE_OVERHEAD_BYTES: usize = 64;
/// Tasks whose log is kept after their end. ECS shows a stopped task for about an hour.
pub const ENDED_TASKS_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// One line of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Counts the lines of the task, from 1.
    pub sequence: u64,
    pub container: Arc<str>,
    pub stream: Stream,
    pub at: Timestamp,
    pub message: Arc<str>,
}

/// What a reader gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub lines: Vec<LogLine>,
    /// Lines after the one asked for that are no longer kept.
    pub dropped: u64,
    /// No line will follow those of this page.
    pub ended: bool,
}

/// The logs of this node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    tasks: RwLock<HashMap<TaskId, Arc<TaskLog>>>,
    /// Ended tasks, oldest first.
    ended: Mutex<VecDeque<TaskId>>,
    bytes: AtomicUsize,
}

#[derive(Debug)]
struct TaskLog {
    lines: Mutex<Lines>,
    /// The last sequence number; closed over by followers.
    written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<LogLine>,
    bytes: usize,
    last: u64,
    ended: bool,
}

impl Logs {
    /// Adds a line. The oldest lines of the same task make room where it has used up its bytes.
    pub fn append(&self, task: TaskId, container: &str, stream: Stream, at: Timestamp, message: &str) {
        let log = self.of(task);
        let cost = message.len() + LINE_OVERHEAD_BYTES;
        let (sequence, grown, freed) = {
            let mut lines = log.lines.lock();
            lines.last += 1;
            // The name is shared with the line before, as nearly always it is the same container's.
            let container = match lines.kept.back() {
                Some(line) if &*line.container == container => Arc::clone(&line.container),
                _ => Arc::from(container),
            };
            let sequence = lines.last;
            lines.kept.push_back(LogLine { sequence, container, stream, at, message: Arc::from(message) });
            lines.bytes += cost;
            let freed = lines.trim();
            (sequence, cost, freed)
        };
        self.shared.bytes.fetch_add(grown, Ordering::Relaxed);
        self.shared.bytes.fetch_sub(freed, Ordering::Relaxed);
        log.written.send_replace(sequence);
        if self.shared.bytes.load(Ordering::Relaxed) > NODE_BYTES_MAX {
            self.forget_oldest_ended();
        }
    }

    /// Up to `limit` lines after sequence number `after` (0: from the first that is kept).
    pub fn read(&self, task: TaskId, after: u64, limit: usize) -> Page {
        let Some(log) = self.shared.tasks.read().get(&task).cloned() else { return Page::default() };
        let lines = log.lines.lock();
        let first = lines.kept.front().map_or(lines.last + 1, |line| line.sequence);
        let dropped = first.saturating_sub(after + 1);
        let skip = usize::try_from((after + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let page: Vec<LogLine> = lines.kept.iter().skip(skip).take(limit).cloned().collect();
        let complete = page.last().map_or(after, |line| line.sequence) >= lines.last;
        Page { lines: page, dropped, ended: lines.ended && complete }
    }

    /// The last `count` lines' start: pass the result to `read` as `after`.
    pub fn tail(&self, task: TaskId, count: u64) -> u64 {
        let Some(log) = self.shared.tasks.read().get(&task).cloned() else { return 0 };
        let last = log.lines.lock().last;
        last.saturating_sub(count)
    }

    /// Whether anything of this task is kept: what an earlier run of the server wrote is not.
    pub fn has(&self, task: TaskId) -> bool {
        self.shared.tasks.read().contains_key(&task)
    }

    /// Signals that there may be more to read: of a task that printed nothing yet, too.
    pub fn follow(&self, task: TaskId) -> watch::Receiver<u64> {
        self.of(task).written.subscribe()
    }

    /// Says that a task will print no more. Its followers end once they have read all.
    pub fn end(&self, task: TaskId) {
        let log = self.of(task);
        if std::mem::replace(&mut log.lines.lock().ended, true) {
            return;
        }
        log.written.send_modify(|_| ());
        let surplus = {
            let mut ended = self.shared.ended.lock();
            ended.push_back(task);
            ended.len() > ENDED_TASKS_MAX
        };
        if surplus {
            self.forget_oldest_ended();
        }
    }

    fn of(&self, task: TaskId) -> Arc<TaskLog> {
        if let Some(log) = self.shared.tasks.read().get(&task) {
            return Arc::clone(log);
        }
        let mut tasks = self.shared.tasks.write();
        let fresh = || Arc::new(TaskLog { lines: Mutex::default(), written: watch::Sender::new(0) });
        Arc::clone(tasks.entry(task).or_insert_with(fresh))
    }

    fn forget_oldest_ended(&self) {
        let Some(oldest) = self.shared.ended.lock().pop_front() else { return };
        if let Some(log) = self.shared.tasks.write().remove(&oldest) {
            self.shared.bytes.fetch_sub(log.lines.lock().bytes, Ordering::Relaxed);
        }
    }
}

impl Lines {
    fn trim(&mut self) -> usize {
        let before = self.bytes;
        while self.bytes > TASK_BYTES_MAX && self.kept.len() > 1 {
            if let Some(line) = self.kept.pop_front() {
                self.bytes -= line.message.len() + LINE_OVERHEAD_BYTES;
            }
        }
        before - self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId(1);

    fn print(logs: &Logs, message: &str) {
        logs.append(TASK, "web", Stream::Stdout, Timestamp(1), message);
    }

    #[test]
    fn reads_in_order_and_pages() {
        let logs = Logs::default();
        for text in ["a", "b", "c"] {
            print(&logs, text);
        }
        let page = logs.read(TASK, 0, 2);
        assert_eq!(page.lines.iter().map(|line| &*line.message).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(&*logs.read(TASK, 2, 10).lines[0].message, "c");
        assert_eq!(&*logs.read(TASK, logs.tail(TASK, 1), 10).lines[0].message, "c");
        assert_eq!(logs.read(TaskId(9), 0, 10), Page::default());
        assert!(logs.has(TASK) && !logs.has(TaskId(9)));
    }

    #[test]
    fn a_task_that_prints_too_much_loses_its_own_oldest_lines_and_the_reader_is_told() {
        let logs = Logs::default();
        let line = "x".repeat(1000);
        for _ in 0..5000 {
            print(&logs, &line);
        }
        let page = logs.read(TASK, 0, usize::MAX);
        assert!(page.dropped > 0);
        assert_eq!(page.dropped + page.lines.len() as u64, 5000);
        assert!(logs.shared.bytes.load(Ordering::Relaxed) <= TASK_BYTES_MAX + 2 * (1000 + LINE_OVERHEAD_BYTES));
    }

    #[test]
    fn the_logs_of_ended_tasks_are_bounded() {
        let logs = Logs::default();
        for id in 0..=(ENDED_TASKS_MAX as u128) {
            logs.append(TaskId(id), "web", Stream::Stderr, Timestamp(1), "bye");
            logs.end(TaskId(id));
        }
        assert_eq!(logs.shared.tasks.read().len(), ENDED_TASKS_MAX);
        assert!(logs.read(TaskId(0), 0, 1).lines.is_empty());
    }

    #[tokio::test]
    async fn a_follower_sees_every_line_and_the_end() {
        let logs = Logs::default();
        let mut signal = logs.follow(TASK);
        let writer = logs.clone();
        let printing = tokio::spawn(async move {
            for number in 0..100 {
                print(&writer, &number.to_string());
                tokio::task::yield_now().await;
            }
            writer.end(TASK);
        });
        let mut seen = 0;
        loop {
            let page = logs.read(TASK, seen, 7);
            seen += page.lines.len() as u64;
            if page.ended {
                break;
            }
            if page.lines.is_empty() {
                signal.changed().await.unwrap();
            }
        }
        printing.await.unwrap();
        assert_eq!(seen, 100);
    }
}
