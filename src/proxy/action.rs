//! What a rule does with a request, compiled: where it goes, or what it is answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::load_balancer::Action;
use crate::proxy::group::Group;

pub enum RouteAction {
    Forward(Split),
    FixedResponse {
        status: u16,
        content_type: String,
        body: String,
    },
    Redirect(Redirect),
    /// A rule without an action: the API refuses that, so only a damaged store has it.
    Nothing,
}

pub struct Redirect {
    pub status: u16,
    pub protocol: String,
    pub host: String,
    pub port: String,
    pub path: String,
    pub query: String,
}

/// Target groups with their weights.
pub struct Split {
    groups: Vec<(Arc<Group>, u64)>,
    weight_total: u64,
    turn: AtomicU64,
}

impl Split {
    fn new(groups: Vec<(Arc<Group>, u64)>, turn: u64) -> Split {
        let weight_total = groups.iter().map(|(_, weight)| weight).sum();
        Split { groups, weight_total, turn: AtomicU64::new(turn) }
    }

    /// The group for one more request. Without any weight there is none: ELB then answers 503.
    pub fn choose(&self) -> Option<&Arc<Group>> {
        if self.weight_total == 0 {
            return None;
        }
        if let [(group, _)] = self.groups.as_slice() {
            return Some(group);
        }
        let mut point = golden(self.turn.fetch_add(1, Ordering::Relaxed), self.weight_total);
        for (group, weight) in &self.groups {
            if point < *weight {
                return Some(group);
            }
            point -= weight;
        }
        None
    }
}

/// The `count`th point of the golden-ratio sequence on `0..total`: after any number of requests each group has had its
/// share within about one, and no group gets its share in one burst.
fn golden(count: u64, total: u64) -> u64 {
    let fraction = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let point = (u128::from(fraction) * u128::from(total)) >> 64;
    u64::try_from(point).unwrap_or(0)
}

impl RouteAction {
    /// Whether it still is what compiling it with these groups would give.
    pub fn has(&self, groups: &HashMap<String, Arc<Group>>) -> bool {
        match self {
            RouteAction::Forward(split) => split
                .groups
                .iter()
                .all(|(group, _)| groups.get(group.arn.as_str()).is_some_and(|now| Arc::ptr_eq(now, group))),
            _ => true,
        }
    }
}

/// `groups` has every target group by its ARN; `before` is the same rule's action of the snapshot before.
pub fn compile(actions: &[Action], groups: &HashMap<String, Arc<Group>>, before: Option<&RouteAction>) -> RouteAction {
    // The last action is the one that answers; what may come before it only authenticates.
    match actions.last() {
        Some(Action::Forward { groups: wanted, .. }) => {
            let found = wanted.iter().filter_map(|(name, weight)| {
                let group = groups.get(name)?;
                Some((Arc::clone(group), u64::from(*weight)))
            });
            // The split goes on where it was, or each publication would favour the first group.
            let turn = match before {
                Some(RouteAction::Forward(split)) => split.turn.load(Ordering::Relaxed),
                _ => 0,
            };
            RouteAction::Forward(Split::new(found.collect(), turn))
        }
        Some(Action::FixedResponse { status, content_type, body }) => {
            RouteAction::FixedResponse { status: *status, content_type: content_type.clone(), body: body.clone() }
        }
        Some(Action::Redirect { status, protocol, host, port, path, query }) => RouteAction::Redirect(Redirect {
            status: *status,
            protocol: protocol.clone(),
            host: host.clone(),
            port: port.clone(),
            path: path.clone(),
            query: query.clone(),
        }),
        Some(Action::JwtValidation { .. }) | None => RouteAction::Nothing,
    }
}
