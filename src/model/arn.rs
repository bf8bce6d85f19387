//! Amazon Resource Names: how every resource is called on the wire. Made here, taken apart here.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{AccountId, ClusterName, Family, NodeId, Region, Scope, TaskId};

/// A complete ARN as text. Made by this module only, so it is well formed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Arn(String);

/// The parts of an ARN that a client sent: `arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArnParts<'a> {
    pub service: &'a str,
    pub region: &'a str,
    pub account: &'a str,
    /// All that follows the account, such as `task/default/0123…`.
    pub resource: &'a str,
}

impl<'a> ArnParts<'a> {
    /// Takes apart what looks like an ARN; `None` for a plain name.
    pub fn parse(text: &'a str) -> Option<ArnParts<'a>> {
        let mut parts = text.splitn(6, ':');
        let (Some("arn"), Some(_partition), Some(service), Some(region), Some(account), Some(resource)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        Some(ArnParts { service, region, account, resource })
    }

    pub fn is_in(&self, scope: &Scope) -> bool {
        self.region == scope.region.as_str() && self.account == scope.account.as_str()
    }
}

impl Arn {
    fn new(service: &str, region: &Region, account: &AccountId, resource: fmt::Arguments<'_>) -> Arn {
        Arn(format!("arn:aws:{service}:{region}:{account}:{resource}"))
    }

    fn ecs(scope: &Scope, resource: fmt::Arguments<'_>) -> Arn {
        Arn::new("ecs", &scope.region, &scope.account, resource)
    }

    fn elb(scope: &Scope, resource: fmt::Arguments<'_>) -> Arn {
        Arn::new("elasticloadbalancing", &scope.region, &scope.account, resource)
    }

    pub fn cluster(scope: &Scope, cluster: &ClusterName) -> Arn {
        Arn::ecs(scope, format_args!("cluster/{cluster}"))
    }

    pub fn task_definition(scope: &Scope, family: &Family, revision: u32) -> Arn {
        Arn::ecs(scope, format_args!("task-definition/{family}:{revision}"))
    }

    pub fn task(scope: &Scope, cluster: &ClusterName, task: TaskId) -> Arn {
        Arn::ecs(scope, format_args!("task/{cluster}/{task}"))
    }

    pub fn container(scope: &Scope, cluster: &ClusterName, task: TaskId, container: &str) -> Arn {
        Arn::ecs(scope, format_args!("container/{cluster}/{task}/{container}"))
    }

    pub fn container_instance(scope: &Scope, cluster: &ClusterName, node: NodeId) -> Arn {
        Arn::ecs(scope, format_args!("container-instance/{cluster}/{node}"))
    }

    pub fn service(scope: &Scope, cluster: &ClusterName, service: &str) -> Arn {
        Arn::ecs(scope, format_args!("service/{cluster}/{service}"))
    }

    /// `kind` is `app` or `net`; `id` is 16 hexadecimal digits.
    pub fn load_balancer(scope: &Scope, kind: &str, name: &str, id: &str) -> Arn {
        Arn::elb(scope, format_args!("loadbalancer/{kind}/{name}/{id}"))
    }

    pub fn target_group(scope: &Scope, name: &str, id: &str) -> Arn {
        Arn::elb(scope, format_args!("targetgroup/{name}/{id}"))
    }

    pub fn listener(scope: &Scope, kind: &str, load_balancer: &str, load_balancer_id: &str, id: &str) -> Arn {
        Arn::elb(scope, format_args!("listener/{kind}/{load_balancer}/{load_balancer_id}/{id}"))
    }

    /// `listener` is the ARN of its listener.
    pub fn listener_rule(listener: &Arn, id: &str) -> Arn {
        Arn(format!("{}/{id}", listener.0.replacen(":listener/", ":listener-rule/", 1)))
    }

    /// `suffix` is six random characters.
    pub fn secret(scope: &Scope, name: &str, suffix: &str) -> Arn {
        Arn::new("secretsmanager", &scope.region, &scope.account, format_args!("secret:{name}-{suffix}"))
    }

    /// `/a/b` and `a` are both under `parameter/`.
    pub fn parameter(scope: &Scope, name: &str) -> Arn {
        let name = name.strip_prefix('/').unwrap_or(name);
        Arn::new("ssm", &scope.region, &scope.account, format_args!("parameter/{name}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Arn> for String {
    fn from(arn: Arn) -> String {
        arn.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_and_takes_apart() {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "eu-central-1".parse().unwrap() };
        let arn = Arn::task(&scope, &"default".parse().unwrap(), TaskId(1));
        assert_eq!(arn.as_str(), "arn:aws:ecs:eu-central-1:123456789012:task/default/00000000000000000000000000000001");
        let parts = ArnParts::parse(arn.as_str()).unwrap();
        assert!(parts.is_in(&scope) && parts.service == "ecs" && parts.resource.starts_with("task/default/"));
        assert!(ArnParts::parse("default").is_none());
    }
}
