//! What an earlier run of the server left behind is ended before the first answer of this one.
//!
//! A guest cannot outlive the server's process, so a task that another boot placed is not running any more, whatever its
//! record says. It is never run twice: it is shown as STOPPED, with what happened as the reason.

use crate::control::Shared;
use crate::model::{Task, TaskId};
use crate::plan::task;
use crate::store::{CommitError, Key, TransactError};

/// Tasks in one transaction, well within the store's 128 operations and 1.5 MiB.
const BATCH: usize = 50;

/// Ends what other boots placed on this node, and says how many tasks that were.
pub async fn recover(shared: &Shared) -> Result<usize, CommitError> {
    let here = shared.placement;
    let now = shared.now();
    let left: Vec<Key> = shared
        .store
        .snapshot()
        .live_tasks_of_node(here.node)
        .iter()
        .filter(|task| task.placement.is_some_and(|placement| placement.boot != here.boot))
        .map(|task| Key::task(&task.scope, &task.cluster, task.id))
        .collect();
    for batch in left.chunks(BATCH) {
        let ended = shared.store.transact(|view| -> Result<Vec<TaskId>, std::convert::Infallible> {
            let mut ended = Vec::new();
            for key in batch {
                let Some(found) = view.get::<Task>(key).filter(|task| !task.is_stopped()) else { continue };
                let mut found = Task::clone(&found);
                task::recover(&mut found, now);
                found.version += 1;
                ended.push(found.id);
                view.put(found);
            }
            Ok(ended)
        });
        match ended.await {
            Ok(_) => {}
            Err(TransactError::Operation(never)) => match never {},
            Err(TransactError::Commit(error)) => return Err(error),
        }
    }
    Ok(left.len())
}
