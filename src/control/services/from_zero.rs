//! Services at zero that requests wait for: the proxy says which target groups are waited for, and a service behind one
//! is raised to its first task, in the store. From there on it is any service.

use std::sync::Arc;

use crate::control::services::{execute, group_name};
use crate::control::turn::RETRY_AFTER;
use crate::control::{Phase, Shared};
use crate::model::arn::ArnParts;
use crate::model::{Arn, Scope, Service};
use crate::plan::service::from_zero::{plan_from_zero, scales_from_zero};
use crate::store::{Key, Prefix, Snapshot};

/// Raises services as long as requests wait for them, until the proxy or the store is gone.
pub async fn watch(shared: Arc<Shared>) {
    let mut wanted = shared.balancer.wanted_groups();
    let mut changed = shared.store.watch();
    loop {
        changed.mark_unchanged();
        let groups: Vec<Arn> = wanted.borrow_and_update().keys().cloned().collect();
        let mut failed = false;
        for group in &groups {
            failed |= !raise(&shared, group).await;
        }
        tokio::select! {
            woken = wanted.changed() => if woken.is_err() { return },
            // Somebody may set a service back to zero while requests wait for it.
            woken = changed.changed(), if !groups.is_empty() => if woken.is_err() { return },
            () = tokio::time::sleep(RETRY_AFTER), if failed => {}
        }
    }
}

async fn raise(shared: &Arc<Shared>, group: &Arn) -> bool {
    if shared.phase() != Phase::Running {
        return true;
    }
    let now = shared.store.snapshot();
    let mut all_done = true;
    for service in services_behind(&now, group) {
        let plan = plan_from_zero(&service, group.as_str());
        if !plan.is_empty() {
            tracing::info!(service = %service.name, %group, "a request waits: the service gets its first task");
            let key = Key::service(&service.scope, &service.cluster, &service.name);
            all_done &= execute(Arc::clone(shared), now.clone(), key, plan.actions, shared.now()).await;
        }
    }
    all_done
}

fn services_behind(now: &Snapshot, group: &Arn) -> Vec<Arc<Service>> {
    let Some(scope) = scope_of(group) else { return Vec::new() };
    let names_it = |service: &&Arc<Service>| {
        service.load_balancers.iter().any(|balancer| balancer.target_group_arn == group.as_str())
    };
    let in_scope = Prefix::services_in(&scope);
    now.iter::<Service>(&in_scope).filter(names_it).cloned().collect()
}

/// The ARNs of the groups that a request may wait at.
pub fn hopeful_groups(now: &Snapshot) -> Vec<String> {
    let all = Prefix::all_services();
    let services = now.iter::<Service>(&all).filter(|service| scales_from_zero(service));
    let arns = services.flat_map(|service| service.load_balancers.iter().map(|balancer| &balancer.target_group_arn));
    let mut arns: Vec<String> = arns.filter(|arn| group_name(arn).is_some()).cloned().collect();
    arns.sort();
    arns.dedup();
    arns
}

fn scope_of(arn: &Arn) -> Option<Scope> {
    let parts = ArnParts::parse(arn.as_str())?;
    Some(Scope { account: parts.account.parse().ok()?, region: parts.region.parse().ok()? })
}
