//! What a rule does with a request, compiled: where it goes, or what it is answered.

mod jwt;
mod own;
mod split;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use http::StatusCode;

use crate::model::load_balancer::Action;
use crate::proxy::group::Group;

pub use jwt::{JwtError, JwtGuard};
pub use own::{Fixed, Redirect, Template};
pub use split::Split;

pub enum RouteAction {
    Forward(Split),
    FixedResponse(Fixed),
    Redirect(Redirect),
    /// A rule without an action: the API refuses that, so only a damaged store has it.
    Nothing,
}

impl RouteAction {
    /// Whether it still is what compiling it with these groups would give.
    pub fn has(&self, groups: &HashMap<String, Arc<Group>>) -> bool {
        match self {
            RouteAction::Forward(split) => {
                let is_same =
                    |group: &Arc<Group>| groups.get(group.arn.as_str()).is_some_and(|now| Arc::ptr_eq(now, group));
                split.groups().all(is_same)
            }
            _ => true,
        }
    }
}

/// `groups` has every target group by its ARN; `before` is the same rule's action of the snapshot before.
pub fn compile(actions: &[Action], groups: &HashMap<String, Arc<Group>>, before: Option<&RouteAction>) -> RouteAction {
    // The last action is the one that answers; what may come before it only authenticates.
    match actions.last() {
        Some(Action::Forward { groups: wanted, stickiness_seconds }) => {
            let found = wanted.iter().filter_map(|(name, weight)| {
                let group = groups.get(name)?;
                Some((Arc::clone(group), u64::from(*weight)))
            });
            let before = match before {
                Some(RouteAction::Forward(split)) => Some(split),
                _ => None,
            };
            RouteAction::Forward(Split::new(found.collect(), *stickiness_seconds, before))
        }
        Some(Action::FixedResponse { status, content_type, body }) => {
            RouteAction::FixedResponse(Fixed::new(*status, content_type, body))
        }
        Some(Action::Redirect { status, protocol, host, port, path, query }) => RouteAction::Redirect(Redirect {
            status: StatusCode::from_u16(*status).unwrap_or(StatusCode::FOUND),
            protocol: Template::new(protocol),
            host: Template::new(host),
            port: Template::new(port),
            path: Template::new(path),
            query: Template::new(query),
        }),
        Some(Action::JwtValidation { .. }) | None => RouteAction::Nothing,
    }
}
