//! Protection of a service's task from scale-in and from deployments: asked for through the API, or by the task itself
//! through its agent endpoint. One rule for both.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{DesiredStatus, Service, ServiceStatus, Task, Timestamp};

/// What ECS gives where no time is asked for: two hours.
pub const MINUTES_DEFAULT: i64 = 120;
/// Two days.
pub const MINUTES_MAX: i64 = 2_880;

/// Until when a task is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    pub expires_at: Timestamp,
}

/// Why a task cannot be protected: a failure of its own in the answer, not an error of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprotectable {
    /// It belongs to no service, or it is ending.
    NotValid,
    /// It is of a deployment that is being replaced: a protection begun now would keep the new one from becoming steady.
    DeploymentBlocked,
}

impl Unprotectable {
    pub fn reason(self) -> &'static str {
        match self {
            Unprotectable::NotValid => "TASK_NOT_VALID",
            Unprotectable::DeploymentBlocked => "DEPLOYMENT_BLOCKED",
        }
    }

    pub fn detail(self) -> &'static str {
        match self {
            Unprotectable::NotValid => "The specified task is not a running task of an Amazon ECS service.",
            Unprotectable::DeploymentBlocked => {
                "The task belongs to a deployment that a newer one is replacing, which the protection would keep from \
                 reaching a steady state."
            }
        }
    }
}

/// A number of minutes that ECS does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expiresInMinutes must be between 1 and {MINUTES_MAX}")]
pub struct InvalidMinutes;

/// How long a protection is asked for.
pub fn duration(minutes: Option<i64>) -> Result<Duration, InvalidMinutes> {
    let minutes = minutes.unwrap_or(MINUTES_DEFAULT);
    let minutes = u64::try_from(minutes).ok().filter(|_| (1..=MINUTES_MAX).contains(&minutes)).ok_or(InvalidMinutes)?;
    Ok(Duration::from_secs(minutes * 60))
}

impl Task {
    /// Until when nothing but its own failure or its user ends this task.
    pub fn protected_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.protection.map(|protection| protection.expires_at).filter(|expires_at| now < *expires_at)
    }

    /// Whether it may be protected, and asked whether it is. `service` is the one that it names, where that is still there.
    pub fn protectable(&self, service: Option<&Service>) -> Result<(), Unprotectable> {
        let is_member = self.service.is_some() && service.is_some_and(|of| of.status == ServiceStatus::Active);
        let is_ending = self.is_stopped() || self.desired_status == DesiredStatus::Stopped;
        if is_member && !is_ending { Ok(()) } else { Err(Unprotectable::NotValid) }
    }

    /// Protects it for so long from now on; `None` ends the protection. What is protected already may be so for longer,
    /// whatever is being deployed: its work is not done.
    pub fn protect(
        &mut self,
        service: Option<&Service>,
        wanted: Option<Duration>,
        now: Timestamp,
    ) -> Result<(), Unprotectable> {
        self.protectable(service)?;
        let Some(wanted) = wanted else {
            self.protection = None;
            return Ok(());
        };
        let newest = service.and_then(Service::primary).map(|deployment| deployment.id.as_str());
        let is_newest = self.service.as_ref().map(|membership| membership.deployment.as_str()) == newest;
        if !is_newest && self.protected_until(now).is_none() {
            return Err(Unprotectable::DeploymentBlocked);
        }
        self.protection = Some(Protection { expires_at: now + wanted });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_has_bounds_and_a_default() {
        let minutes = |given| duration(given).map(|duration| duration.as_secs() / 60);
        assert_eq!((minutes(None), minutes(Some(1)), minutes(Some(2880))), (Ok(120), Ok(1), Ok(2880)));
        for wrong in [0, -1, 2881, i64::MAX, i64::MIN] {
            assert_eq!(minutes(Some(wrong)), Err(InvalidMinutes));
        }
    }
}
