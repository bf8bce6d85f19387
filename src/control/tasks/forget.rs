//! What ended long enough ago is forgotten: tasks, deleted services and secrets, answered client tokens, rules without their
//! listener.

mod rules;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use crate::control::Shared;
use crate::control::tasks::{key_of, succeeded};
use crate::control::turn::{Concern, Passed, Turn};
use crate::model::{IdempotentRequest, Service, ServiceStatus, Task, Timestamp};
use crate::plan::task::plan_forgotten;
use crate::store::{Key, Kind, Prefix};

/// Deletions in one transaction, of the store's 128.
const BATCH: usize = 100;
/// ECS honours a client token for as long as the tasks that it made are shown, at most a day.
const TOKEN_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// A deleted service stays describable "for a while"; its name can be used again at once.
const INACTIVE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Works in sweeps only: nothing here is urgent.
pub struct Forget {
    shared: Arc<Shared>,
}

impl Concern for Forget {
    async fn pass(&mut self, turn: Turn) -> Passed {
        if turn.before.is_some() {
            return Passed::default();
        }
        let keys = forgotten(&turn);
        let mut failed = false;
        for batch in keys.chunks(BATCH) {
            let deleted = self.shared.store.transact(|view| {
                for key in batch {
                    match key.kind() {
                        Kind::Task => view.delete::<Task>(key),
                        // Its name may have been taken again meanwhile.
                        Kind::Service => {
                            let found = view.get::<Service>(key);
                            if found.is_some_and(|service| service.status == ServiceStatus::Inactive) {
                                view.delete::<Service>(key);
                            }
                        }
                        _ => view.delete::<IdempotentRequest>(key),
                    }
                }
                Ok(())
            });
            failed |= succeeded("forget what ended", deleted.await).is_none();
        }
        failed |= secrets::forget(&self.shared, &turn).await;
        failed |= rules::forget(&self.shared.store, &turn.now).await;
        Passed { wake_at: None, failed }
    }
}

impl Forget {
    pub fn new(shared: Arc<Shared>) -> Forget {
        Forget { shared }
    }
}

fn forgotten(turn: &Turn) -> Vec<Key> {
    let old = |since: Timestamp, kept: Duration| since + kept <= turn.at;
    let tasks = turn.now.list::<Task>(&Prefix::all_tasks());
    let ended = plan_forgotten(tasks.iter().map(|task| &**task), turn.at).actions;
    let ended: std::collections::HashSet<_> = ended.into_iter().collect();
    let mut keys: Vec<Key> = tasks.iter().filter(|task| ended.contains(&task.id)).map(|task| key_of(task)).collect();
    keys.extend(
        turn.now
            .iter::<Service>(&Prefix::all_services())
            .filter(|service| service.status == ServiceStatus::Inactive)
            .filter(|service| old(service.events.first().map_or(service.created_at, |event| event.at), INACTIVE_KEPT))
            .map(|service| Key::service(&service.scope, &service.cluster, &service.name)),
    );
    keys.extend(
        turn.now
            .iter::<IdempotentRequest>(&Prefix::all_requests())
            .filter(|request| old(request.at, TOKEN_KEPT))
            .map(|request| Key::request(&request.scope, &request.operation, &request.token)),
    );
    keys
}
