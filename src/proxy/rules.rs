//! The rules of a listener, compiled: which of them a request meets.
//!
//! A publication compiles only the rules whose record is another than before. An index keeps a thousand rules as cheap to
//! ask as a few.

mod condition;
mod index;
mod path;
mod pattern;
#[cfg(any(test, fuzzing))]
pub mod reference;
#[cfg(test)]
mod tests;
mod transform;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use crate::model::{Listener, Rule};
use crate::proxy::action::{JwtGuard, RouteAction, compile};
use crate::proxy::group::Group;
use crate::proxy::rules::condition::{Asked, Damage, Matcher};
use crate::proxy::rules::index::Index;
use crate::proxy::rules::transform::Transforms;

pub use transform::TransformError;

/// What conditions look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// As the client called it, with or without a port.
    pub host: &'a str,
    pub method: &'a str,
    /// As it was sent, percent-encoded.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub source: IpAddr,
}

/// One rule, compiled.
pub struct RuleRoute {
    /// `None` for the default, which holds always.
    pub record: Option<Arc<Rule>>,
    /// What a request has to pass before the action.
    pub guards: Vec<JwtGuard>,
    pub action: RouteAction,
    /// What becomes of a request before it is forwarded.
    pub transforms: Transforms,
    /// All of them must hold; `None` of a damaged record, which so is no rule at all.
    conditions: Option<Vec<Matcher>>,
}

/// All rules of a listener.
pub struct Rules {
    /// By priority.
    rules: Vec<Arc<RuleRoute>>,
    index: Index,
    default: Arc<RuleRoute>,
}

impl RuleRoute {
    /// `before` is the same rule in the snapshot before, with another record or other groups.
    fn new(record: &Arc<Rule>, groups: &HashMap<String, Arc<Group>>, before: Option<&RuleRoute>) -> RuleRoute {
        let action = compile(&record.actions, groups, before.map(|before| &before.action));
        let guards = JwtGuard::all(&record.actions, before.map(|before| before.guards.as_slice()).unwrap_or_default());
        let (conditions, transforms) = match read(record) {
            Ok((conditions, transforms)) => (Some(conditions), transforms),
            Err(damage) => {
                let cause = std::error::Error::source(&damage).map(|cause| cause.to_string());
                tracing::warn!(rule = %record.arn(), %damage, cause, "a rule's record is damaged; it fits no request");
                (None, Transforms::default())
            }
        };
        RuleRoute { record: Some(Arc::clone(record)), guards, action, transforms, conditions }
    }

    fn holds(&self, asked: &Asked<'_>) -> bool {
        self.conditions.as_ref().is_some_and(|all| all.iter().all(|condition| condition.holds(asked)))
    }
}

fn read(record: &Rule) -> Result<(Vec<Matcher>, Transforms), Damage> {
    let conditions = record.conditions.iter().map(Matcher::new).collect::<Result<_, _>>()?;
    Ok((conditions, Transforms::new(&record.transforms)?))
}

impl Rules {
    /// Compiles what is new; `before` are the same listener's of the snapshot before.
    pub fn next(
        listener: &Listener,
        records: &[Arc<Rule>],
        groups: &HashMap<String, Arc<Group>>,
        before: Option<&Rules>,
    ) -> Rules {
        let known = before.map(|before| before.rules.as_slice()).unwrap_or_default();
        let known: HashMap<&str, &Arc<RuleRoute>> =
            known.iter().filter_map(|rule| Some((rule.record.as_ref()?.id.as_str(), rule))).collect();
        let mut rules: Vec<Arc<RuleRoute>> = records
            .iter()
            .map(|record| match known.get(record.id.as_str()) {
                Some(known) if known.is_of(record) && known.action.has(groups) => Arc::clone(known),
                known => Arc::new(RuleRoute::new(record, groups, known.map(|known| known.as_ref()))),
            })
            .collect();
        rules.sort_by_key(|rule| rule.record.as_ref().map(|record| record.priority));
        let index = Index::new(rules.iter().map(Arc::as_ref));
        let action = compile(&listener.default_actions, groups, before.map(|before| &before.default.action));
        let guards_before = before.map(|before| before.default.guards.as_slice()).unwrap_or_default();
        let guards = JwtGuard::all(&listener.default_actions, guards_before);
        let (transforms, conditions) = (Transforms::default(), Some(Vec::new()));
        let default = RuleRoute { record: None, guards, action, transforms, conditions };
        Rules { rules, index, default: Arc::new(default) }
    }

    /// How many rules were looked at until `found`; the default is none.
    pub fn evaluated(&self, found: &RuleRoute) -> u64 {
        let priority = found.record.as_ref().map(|record| record.priority);
        let looked_at = priority.map_or(self.rules.len(), |priority| {
            self.rules.partition_point(|rule| rule.record.as_ref().is_some_and(|record| record.priority <= priority))
        });
        looked_at as u64
    }

    /// What is done where no other rule holds, and with connections, which rules are not for.
    pub fn default(&self) -> &Arc<RuleRoute> {
        &self.default
    }

    /// The first rule whose conditions hold.
    pub fn find(&self, facts: &Facts<'_>) -> &Arc<RuleRoute> {
        let asked = Asked::new(facts);
        let found = self.index.first(&asked, |place| self.rules[place].holds(&asked));
        found.map_or(&self.default, |place| &self.rules[place])
    }
}

impl RuleRoute {
    fn is_of(&self, record: &Arc<Rule>) -> bool {
        self.record.as_ref().is_some_and(|own| Arc::ptr_eq(own, record))
    }
}
