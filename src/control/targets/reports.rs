//! What the proxy tells about targets becomes what `DescribeTargetHealth` shows, and what the services' planner reads.

use std::sync::Arc;

use crate::control::Shared;
use crate::control::tasks::succeeded;
use crate::model::arn::ArnParts;
use crate::model::{Scope, Target};
use crate::proxy::{HealthChange, HealthReport, TargetKey};
use crate::store::Key;

use crate::control::services::group_name;

/// Reports in one transaction: a read and a write each, within the store's 128 of both.
const BATCH: usize = 64;

/// Records reports until the proxy is gone.
pub async fn record_reports(shared: Arc<Shared>) {
    let mut reports = shared.balancer.health_reports();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        batch.clear();
        if reports.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let recorded = shared.store.transact(|view| {
            for report in &batch {
                let Some(key) = key_of(&report.target) else { continue };
                let Some(found) = view.get::<Target>(&key).filter(|found| is_same(found, report)) else { continue };
                match &report.change {
                    // A draining target stays shown as draining, whatever the last check said.
                    HealthChange::Health(_) if found.draining_since.is_some() => {}
                    HealthChange::Health(health) if found.health == *health => {}
                    HealthChange::Health(health) => {
                        view.put(Target { health: health.clone(), ..Target::clone(&found) });
                    }
                    HealthChange::Anomaly(anomaly) if found.anomaly == *anomaly => {}
                    HealthChange::Anomaly(anomaly) => {
                        view.put(Target { anomaly: *anomaly, ..Target::clone(&found) });
                    }
                    HealthChange::Drained if found.draining_since.is_some() => view.delete::<Target>(&key),
                    HealthChange::Drained => {}
                }
            }
            Ok(())
        });
        succeeded("record the health of targets", recorded.await);
    }
}

/// A report of a target that had this address before says nothing about the one that has it now.
fn is_same(found: &Target, report: &HealthReport) -> bool {
    found.task.as_ref().map(|of| of.task) == report.target.task
}

fn key_of(target: &TargetKey) -> Option<Key> {
    let arn = target.group.as_str();
    let parts = ArnParts::parse(arn)?;
    let scope = Scope { account: parts.account.parse().ok()?, region: parts.region.parse().ok()? };
    Some(Key::target(&scope, group_name(arn)?, target.address, target.port))
}
