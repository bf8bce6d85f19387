//! The logs of all tasks of some services, on standard output, each line with its task and container.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;

use crate::cli::server::Server;
use crate::cli::{Failure, output};
use crate::model::TaskId;
use crate::telemetry::logs::Logs;

/// Lines on their way to standard output. When it is slow, the readers wait, and the logs' own bounds hold.
const LINES_QUEUED_MAX: usize = 1024;
/// Lines that are read at once.
const PAGE_LINES: usize = 256;
const SHORT_ID_CHARS: usize = 8;

/// Follows the tasks of `services` (names in their cluster), also those to come, until it is cancelled.
pub async fn logs(server: &Server, services: Vec<(String, String)>) -> Result<(), Failure> {
    let (sender, mut lines) = mpsc::channel::<String>(LINES_QUEUED_MAX);
    let mut changed = server.store.watch();
    let mut known: BTreeSet<TaskId> = BTreeSet::new();
    let mut readers = BTreeMap::new();
    loop {
        for task in server.printing_tasks_of(&services) {
            if known.insert(task) {
                readers.insert(task, tokio::spawn(read(server.logs.clone(), task, sender.clone())));
            }
        }
        readers.retain(|_, reader: &mut tokio::task::JoinHandle<()>| !reader.is_finished());
        tokio::select! {
            line = lines.recv() => if let Some(line) = line { output::print(&line)? },
            woken = changed.changed() => if woken.is_err() { return Ok(()) },
        }
    }
}

async fn read(logs: Logs, task: TaskId, sender: mpsc::Sender<String>) {
    let short: String = task.to_string().chars().take(SHORT_ID_CHARS).collect();
    let mut signal = logs.follow(task);
    let mut after = 0;
    loop {
        signal.mark_unchanged();
        let page = logs.read(task, after, PAGE_LINES);
        if page.dropped > 0 {
            let note = format!("{short} | ({} lines were printed faster than they could be read)\n", page.dropped);
            if sender.send(note).await.is_err() {
                return;
            }
        }
        for line in &page.lines {
            after = line.sequence;
            if sender.send(format!("{short} {} | {}\n", line.container, line.message)).await.is_err() {
                return;
            }
        }
        if page.ended {
            return;
        }
        if page.lines.is_empty() && signal.changed().await.is_err() {
            return;
        }
    }
}
