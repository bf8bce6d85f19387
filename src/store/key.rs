//! Keys: typed tuples that begin with account, region and kind.
//!
//! A key is made by the constructor of its kind, and compared as bytes ever after.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::model::{ClusterName, DefinitionId, Family, NodeId, Scope, TaskId};
use crate::store::record::Kind;
use crate::store::tuple::{Part, Tuple, decode};

/// Where one record is. In memory keys sort by kind first, so that all of a kind, in every scope, lie together too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub(super) kind: Kind,
    pub(super) bytes: Arc<[u8]>,
}

impl Key {
    fn new(kind: Kind, scope: &Scope, rest: impl FnOnce(Tuple) -> Tuple) -> Key {
        Key { kind, bytes: rest(Tuple::new().scope(scope).text(kind.name())).finish() }
    }

    pub fn cluster(scope: &Scope, name: &ClusterName) -> Key {
        Key::new(Kind::Cluster, scope, |key| key.text(name.as_str()))
    }

    pub fn container_instance(scope: &Scope, cluster: &ClusterName, node: NodeId) -> Key {
        Key::new(Kind::ContainerInstance, scope, |key| key.text(cluster.as_str()).id(node.0))
    }

    pub fn family(scope: &Scope, family: &Family) -> Key {
        Key::new(Kind::Family, scope, |key| key.text(family.as_str()))
    }

    pub fn listener(scope: &Scope, load_balancer: &str, id: &str) -> Key {
        Key::new(Kind::Listener, scope, |key| key.text(load_balancer).text(id))
    }

    pub fn load_balancer(scope: &Scope, name: &str) -> Key {
        Key::new(Kind::LoadBalancer, scope, |key| key.text(name))
    }

    pub fn parameter(scope: &Scope, name: &str) -> Key {
        Key::new(Kind::Parameter, scope, |key| key.text(name))
    }

    /// `operation` with what its tokens are unique in, `token` as the client gave it.
    pub fn request(scope: &Scope, operation: &str, token: &str) -> Key {
        Key::new(Kind::Request, scope, |key| key.text(operation).text(token))
    }

    /// `listener` is the listener's id.
    pub fn rule(scope: &Scope, load_balancer: &str, listener: &str, id: &str) -> Key {
        Key::new(Kind::Rule, scope, |key| key.text(load_balancer).text(listener).text(id))
    }

    pub fn secret(scope: &Scope, name: &str) -> Key {
        Key::new(Kind::Secret, scope, |key| key.text(name))
    }

    pub fn secret_value(scope: &Scope, name: &str, version: &str) -> Key {
        Key::new(Kind::SecretValue, scope, |key| key.text(name).text(version))
    }

    pub fn service(scope: &Scope, cluster: &ClusterName, name: &str) -> Key {
        Key::new(Kind::Service, scope, |key| key.text(cluster.as_str()).text(name))
    }

    pub fn target(scope: &Scope, group: &str, address: Ipv4Addr, port: u16) -> Key {
        Key::new(Kind::Target, scope, |key| key.text(group).address(address).port(port))
    }

    pub fn target_group(scope: &Scope, name: &str) -> Key {
        Key::new(Kind::TargetGroup, scope, |key| key.text(name))
    }

    pub fn task(scope: &Scope, cluster: &ClusterName, id: TaskId) -> Key {
        Key::new(Kind::Task, scope, |key| key.text(cluster.as_str()).id(id.0))
    }

    pub fn task_definition(scope: &Scope, id: &DefinitionId) -> Key {
        Key::new(Kind::TaskDefinition, scope, |key| key.text(id.family.as_str()).number(id.revision))
    }

    /// Sorts before every other key.
    pub(crate) fn first() -> Key {
        Key { kind: Kind::Cluster, bytes: Arc::from([]) }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The tuple's bytes, as backends keep them: account, region, kind, the rest.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A key from a backend; `None` where it is none of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Key> {
        let parts = decode(bytes)?;
        let [Part::Text(_), Part::Text(_), Part::Text(kind), ..] = parts.as_slice() else { return None };
        Some(Key { kind: Kind::from_name(kind)?, bytes: bytes.into() })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.kind, &self.bytes, "", f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `task(123456789012, eu-central-1, "default", 0…1)`: the kind first, scope and the rest behind it.
pub(super) fn show(kind: Kind, bytes: &[u8], rest: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}(", kind.name())?;
    let parts = decode(bytes).unwrap_or_default();
    let shown = parts.iter().enumerate().filter(|(place, _)| *place != 2);
    let mut separator = "";
    for (place, part) in shown {
        f.write_str(separator)?;
        match part {
            Part::Text(text) if place < 2 => f.write_str(text)?,
            part => write!(f, "{part}")?,
        }
        separator = ", ";
    }
    if !rest.is_empty() {
        write!(f, "{separator}{rest}")?;
    }
    f.write_str(")")
}
