//! Secrets whose recovery window is over are forgotten with all their values.
//!
//! The API does not show them any more by then; this only makes the store smaller, so it has no hurry.

use crate::control::Shared;
use crate::control::tasks::succeeded;
use crate::control::turn::Turn;
use crate::model::{Secret, SecretValue};
use crate::store::{Key, Prefix};

/// Each in a transaction of its own: a secret and its hundred versions are most of what one can hold. True where the store
/// refused one of them.
pub async fn forget(shared: &Shared, turn: &Turn) -> bool {
    let mut failed = false;
    let due = turn.now.list::<Secret>(&Prefix::all_secrets());
    for secret in due.into_iter().filter(|secret| secret.is_gone(turn.at)) {
        let key = Key::secret(&secret.scope, &secret.name);
        let values = Prefix::secret_values(&secret.scope, &secret.name);
        let deleted = shared.store.transact(|view| {
            // Meanwhile its name may have been taken by another one.
            if view.get::<Secret>(&key).is_some_and(|found| found.is_gone(turn.at)) {
                for value in view.list::<SecretValue>(&values) {
                    view.delete::<SecretValue>(&Key::secret_value(&value.scope, &value.name, &value.version));
                }
                view.delete::<Secret>(&key);
            }
            Ok(())
        });
        failed |= succeeded("forget a deleted secret", deleted.await).is_none();
    }
    failed
}
