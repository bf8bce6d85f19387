//! What becomes of the deployments: an earlier one is removed when its last task is gone, the primary one is completed
//! when it is all there is, and a service that was deleted ends when nothing of it runs.

use crate::model::ServiceStatus;
use crate::model::TaskId;
use crate::model::service::RolloutState;
use crate::plan::Plan;
use crate::plan::service::rolling::Stops;
use crate::plan::service::standing::Sorted;
use crate::plan::service::{Action, Observed, events};

pub(super) fn plan_deployments(
    plan: &mut Plan<Action>,
    observed: &Observed<'_>,
    sorted: &Sorted<'_>,
    stops: &Stops,
    starts: &[TaskId],
) {
    let service = observed.service;
    if service.status == ServiceStatus::Draining {
        if sorted.present.is_empty() {
            plan.actions.push(Action::Deactivate);
        }
        return;
    }
    let Some(primary) = service.primary() else { return };
    let earlier = || service.deployments.iter().skip(1);
    for deployment in earlier().filter(|deployment| !sorted.present.contains_key(deployment.id.as_str())) {
        plan.actions.push(Action::RemoveDeployment { deployment: deployment.id.clone() });
    }
    let complete = sorted.current.serving.len() == sorted.wanted
        && sorted.current.count() == sorted.wanted
        && sorted.present.keys().all(|deployment| *deployment == primary.id)
        && stops.tasks.is_empty()
        && starts.is_empty();
    if !complete {
        return;
    }
    if primary.rollout_state == RolloutState::InProgress {
        plan.actions.push(Action::SetRollout {
            deployment: primary.id.clone(),
            state: RolloutState::Completed,
            reason: format!("ECS deployment {} completed.", primary.id),
        });
        plan.actions.push(events::record(service, events::deployment_completed(&primary.id)));
    }
    let steady = events::message(service, &events::steady());
    let said = service.events.first().is_some_and(|newest| newest.message == steady);
    if sorted.leaving == 0 && (!said || primary.rollout_state == RolloutState::InProgress) {
        plan.actions.push(Action::Record { message: steady });
    }
}
