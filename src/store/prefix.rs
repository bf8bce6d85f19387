//! Prefixes: what is listed, and what a phantom would appear under.

use std::fmt;
use std::sync::Arc;

use crate::model::{ClusterName, Family, Scope};
use crate::store::key::{Key, show};
use crate::store::record::Kind;
use crate::store::tuple::Tuple;

/// Keys of one kind that begin alike: whole parts only, so `web` never matches `web2`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    kind: Kind,
    bytes: Arc<[u8]>,
}

impl Prefix {
    fn new(kind: Kind, scope: &Scope, rest: impl FnOnce(Tuple) -> Tuple) -> Prefix {
        Prefix { kind, bytes: rest(Tuple::new().scope(scope).text(kind.name())).finish() }
    }

    /// All records of a kind in every account and region.
    pub fn all(kind: Kind) -> Prefix {
        Prefix { kind, bytes: Arc::from([]) }
    }

    /// All records of a kind in one account and region.
    pub fn of(kind: Kind, scope: &Scope) -> Prefix {
        Prefix::new(kind, scope, |prefix| prefix)
    }

    pub fn all_clusters() -> Prefix {
        Prefix::all(Kind::Cluster)
    }

    pub fn all_container_instances() -> Prefix {
        Prefix::all(Kind::ContainerInstance)
    }

    pub fn all_rules() -> Prefix {
        Prefix::all(Kind::Rule)
    }

    pub fn all_listeners() -> Prefix {
        Prefix::all(Kind::Listener)
    }

    pub fn all_load_balancers() -> Prefix {
        Prefix::all(Kind::LoadBalancer)
    }

    pub fn all_parameters() -> Prefix {
        Prefix::all(Kind::Parameter)
    }

    pub fn all_requests() -> Prefix {
        Prefix::all(Kind::Request)
    }

    pub fn all_secrets() -> Prefix {
        Prefix::all(Kind::Secret)
    }

    pub fn all_secret_values() -> Prefix {
        Prefix::all(Kind::SecretValue)
    }

    pub fn all_services() -> Prefix {
        Prefix::all(Kind::Service)
    }

    pub fn all_target_groups() -> Prefix {
        Prefix::all(Kind::TargetGroup)
    }

    pub fn all_targets() -> Prefix {
        Prefix::all(Kind::Target)
    }

    pub fn all_task_definitions() -> Prefix {
        Prefix::all(Kind::TaskDefinition)
    }

    pub fn all_tasks() -> Prefix {
        Prefix::all(Kind::Task)
    }

    pub fn clusters(scope: &Scope) -> Prefix {
        Prefix::of(Kind::Cluster, scope)
    }

    pub fn container_instances(scope: &Scope, cluster: &ClusterName) -> Prefix {
        Prefix::new(Kind::ContainerInstance, scope, |prefix| prefix.text(cluster.as_str()))
    }

    pub fn families(scope: &Scope) -> Prefix {
        Prefix::of(Kind::Family, scope)
    }

    /// The listeners of one load balancer.
    pub fn listeners(scope: &Scope, load_balancer: &str) -> Prefix {
        Prefix::new(Kind::Listener, scope, |prefix| prefix.text(load_balancer))
    }

    pub fn listeners_in(scope: &Scope) -> Prefix {
        Prefix::of(Kind::Listener, scope)
    }

    pub fn load_balancers(scope: &Scope) -> Prefix {
        Prefix::of(Kind::LoadBalancer, scope)
    }

    /// The rules of one listener, by its id.
    pub fn rules(scope: &Scope, load_balancer: &str, listener: &str) -> Prefix {
        Prefix::new(Kind::Rule, scope, |prefix| prefix.text(load_balancer).text(listener))
    }

    /// The rules of all listeners of a load balancer.
    pub fn rules_of_load_balancer(scope: &Scope, load_balancer: &str) -> Prefix {
        Prefix::new(Kind::Rule, scope, |prefix| prefix.text(load_balancer))
    }

    pub fn rules_in(scope: &Scope) -> Prefix {
        Prefix::of(Kind::Rule, scope)
    }

    pub fn parameters(scope: &Scope) -> Prefix {
        Prefix::of(Kind::Parameter, scope)
    }

    pub fn requests(scope: &Scope) -> Prefix {
        Prefix::of(Kind::Request, scope)
    }

    pub fn secrets(scope: &Scope) -> Prefix {
        Prefix::of(Kind::Secret, scope)
    }

    /// The values of all versions of one secret.
    pub fn secret_values(scope: &Scope, name: &str) -> Prefix {
        Prefix::new(Kind::SecretValue, scope, |prefix| prefix.text(name))
    }

    /// The services of one cluster.
    pub fn services(scope: &Scope, cluster: &ClusterName) -> Prefix {
        Prefix::new(Kind::Service, scope, |prefix| prefix.text(cluster.as_str()))
    }

    pub fn services_in(scope: &Scope) -> Prefix {
        Prefix::of(Kind::Service, scope)
    }

    pub fn target_groups(scope: &Scope) -> Prefix {
        Prefix::of(Kind::TargetGroup, scope)
    }

    /// The targets of one target group.
    pub fn targets(scope: &Scope, group: &str) -> Prefix {
        Prefix::new(Kind::Target, scope, |prefix| prefix.text(group))
    }

    pub fn task_definitions(scope: &Scope) -> Prefix {
        Prefix::of(Kind::TaskDefinition, scope)
    }

    /// All revisions of one family, oldest first.
    pub fn task_definitions_of(scope: &Scope, family: &Family) -> Prefix {
        Prefix::new(Kind::TaskDefinition, scope, |prefix| prefix.text(family.as_str()))
    }

    /// The tasks of one cluster.
    pub fn tasks(scope: &Scope, cluster: &ClusterName) -> Prefix {
        Prefix::new(Kind::Task, scope, |prefix| prefix.text(cluster.as_str()))
    }

    pub fn tasks_in(scope: &Scope) -> Prefix {
        Prefix::of(Kind::Task, scope)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.kind == key.kind && key.bytes.starts_with(&self.bytes)
    }

    /// The key at or after which all keys of this prefix lie.
    pub(crate) fn start(&self) -> Key {
        Key { kind: self.kind, bytes: Arc::clone(&self.bytes) }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.kind, &self.bytes, "…", f)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskId;

    #[test]
    fn a_prefix_holds_whole_parts_of_one_kind() {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "eu-central-1".parse().unwrap() };
        let (web, web2) = ("web".parse().unwrap(), "web2".parse().unwrap());
        let task = Key::task(&scope, &web, TaskId(1));
        assert!(Prefix::tasks(&scope, &web).contains(&task) && Prefix::all_tasks().contains(&task));
        assert!(
            !Prefix::tasks(&scope, &web2).contains(&task)
                && !Prefix::tasks(&scope, &web).contains(&Key::task(&scope, &web2, TaskId(1)))
        );
        assert!(!Prefix::services(&scope, &web).contains(&task));
        assert_ne!(Key::request(&scope, "a/b", "c"), Key::request(&scope, "a", "b/c"));
        assert_eq!(Key::from_bytes(task.as_bytes()), Some(task.clone()));
        assert_eq!(task.to_string(), r#"task(123456789012, eu-central-1, "web", 00000000000000000000000000000001)"#);
        assert_eq!(Prefix::tasks(&scope, &web).to_string(), r#"task(123456789012, eu-central-1, "web", …)"#);
        assert_eq!(Prefix::all_tasks().to_string(), "task(…)");
    }
}
