//! Who forwards to which target group: the default actions of listeners, and their rules.
//!
//! A rule counts as long as its listener is there. Those of a listener that was deleted may be on record a little longer,
//! until they are swept, and are nobody's.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::api::context::Context;
use crate::api::elbv2::listener::load_balancer_arn;
use crate::api::error::{ApiError, ErrorKind};
use crate::model::load_balancer::Action;
use crate::model::{Arn, Listener, Rule, TargetGroup};
use crate::store::{Prefix, View};

/// All listeners of a scope, and what they and their rules forward to.
pub struct Listeners {
    listeners: Vec<Arc<Listener>>,
    /// By the ARN of a target group, the load balancers that forward to it.
    users: HashMap<String, BTreeSet<Arn>>,
}

impl Listeners {
    pub fn all(cx: &Context, view: &View) -> Listeners {
        let listeners = view.list::<Listener>(&Prefix::listeners_in(&cx.scope));
        let mut users = HashMap::new();
        for listener in &listeners {
            add(&mut users, &listener.default_actions, || load_balancer_arn(listener));
        }
        let there: HashSet<&str> = listeners.iter().map(|listener| listener.id.as_str()).collect();
        for rule in view.list::<Rule>(&Prefix::rules_in(&cx.scope)) {
            if there.contains(rule.listener.as_str()) {
                add(&mut users, &rule.actions, || rule.load_balancer_arn());
            }
        }
        Listeners { listeners, users }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.iter()
    }

    /// Whether any of them forwards to the group.
    pub fn use_group(&self, group: &TargetGroup) -> bool {
        self.users.contains_key(group.arn().as_str())
    }

    /// The load balancers that forward to the group: one at most.
    pub fn load_balancers_of(&self, group: &TargetGroup) -> BTreeSet<Arn> {
        self.users.get(group.arn().as_str()).cloned().unwrap_or_default()
    }

    /// A target group is behind one load balancer at most: whether `load_balancer` may forward as `actions` say.
    pub fn check_association(&self, load_balancer: &Arn, actions: &[Action]) -> Result<(), ApiError> {
        let wanted = actions.iter().flat_map(Action::groups).map(|(arn, _)| arn.as_str());
        let is_others =
            |group: &&str| self.users.get(*group).is_some_and(|users| users.iter().any(|user| user != load_balancer));
        let twice: Vec<&str> = wanted.filter(is_others).collect();
        if twice.is_empty() {
            return Ok(());
        }
        Err(ApiError::new(
            ErrorKind::TargetGroupAssociationLimit,
            format_args!(
                "The following target groups cannot be associated with more than one load balancer: {}",
                twice.join(", ")
            ),
        ))
    }
}

fn add(users: &mut HashMap<String, BTreeSet<Arn>>, actions: &[Action], load_balancer: impl Fn() -> Arn) {
    for (group, _) in actions.iter().flat_map(Action::groups) {
        match users.get_mut(group) {
            Some(users) => users.insert(load_balancer()),
            None => users.insert(group.clone(), BTreeSet::from([load_balancer()])).is_none(),
        };
    }
}
