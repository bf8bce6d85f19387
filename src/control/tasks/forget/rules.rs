//! Rules whose listener was deleted are forgotten.
//!
//! A listener takes along what fits into its transaction. What is left cannot be reached by anybody, because a rule is found
//! by its listener and no listener ever gets an id that another one had; this only makes the store smaller.

use std::sync::Arc;

use crate::control::tasks::succeeded;
use crate::model::{Listener, Rule};
use crate::store::{Key, Prefix, Snapshot, Store};

/// Rules of one transaction, which has at most 128 writes and as many comparisons: each may have been of another listener.
const BATCH: usize = 100;

/// True where the store refused to forget some of them.
pub async fn forget(store: &Store, now: &Snapshot) -> bool {
    let left: Vec<Arc<Rule>> = now
        .iter::<Rule>(&Prefix::all_rules())
        .filter(|rule| now.get::<Listener>(&listener_of(rule)).is_none())
        .map(Arc::clone)
        .collect();
    let mut failed = false;
    for batch in left.chunks(BATCH) {
        let deleted = store.transact(|view| {
            for rule in batch {
                if !view.exists(&listener_of(rule)) {
                    view.delete::<Rule>(&Key::rule(&rule.scope, &rule.load_balancer, &rule.listener, &rule.id));
                }
            }
            Ok(())
        });
        failed |= succeeded("forget the rules of a deleted listener", deleted.await).is_none();
    }
    failed
}

fn listener_of(rule: &Rule) -> Key {
    Key::listener(&rule.scope, &rule.load_balancer, &rule.listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::scope;
    use crate::model::Timestamp;
    use crate::model::load_balancer::LoadBalancerKind;

    fn rule(listener: &str, priority: u32) -> Rule {
        Rule {
            scope: scope(),
            load_balancer: String::from("web"),
            load_balancer_kind: LoadBalancerKind::Application,
            load_balancer_id: String::from("0000000000000001"),
            listener: listener.to_owned(),
            id: format!("{priority:016x}"),
            priority,
            conditions: Vec::new(),
            actions: Vec::new(),
            action_orders: Vec::new(),
            transforms: Vec::new(),
            tags: Vec::new(),
            created_at: Timestamp(0),
        }
    }

    fn listener(id: &str) -> Listener {
        Listener {
            scope: scope(),
            load_balancer: String::from("web"),
            load_balancer_kind: LoadBalancerKind::Application,
            load_balancer_id: String::from("0000000000000001"),
            id: id.to_owned(),
            port: 80,
            protocol: String::from("HTTP"),
            certificates: Vec::new(),
            ssl_policy: None,
            alpn_policy: None,
            default_actions: Vec::new(),
            action_orders: Vec::new(),
            attributes: Default::default(),
            tags: Vec::new(),
            created_at: Timestamp(0),
        }
    }

    #[tokio::test]
    async fn rules_of_deleted_listeners_go_and_all_others_stay() {
        let store = Store::in_memory();
        let rules: Vec<Rule> = (1..=250).map(|priority| rule("gone", priority)).collect();
        for batch in rules.chunks(BATCH) {
            let mut view = store.view();
            batch.iter().for_each(|rule| view.put(rule.clone()));
            store.commit(view).await.unwrap();
        }
        let mut view = store.view();
        view.put(listener("here"));
        view.put(rule("here", 1));
        store.commit(view).await.unwrap();

        assert!(!forget(&store, &store.snapshot()).await);
        let left = store.snapshot().list::<Rule>(&Prefix::all_rules());
        assert_eq!(left.iter().map(|rule| rule.listener.as_str()).collect::<Vec<_>>(), ["here"]);
    }
}
