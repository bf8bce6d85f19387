//! Keys: typed tuples that begin with account, region and kind, as bytes that sort as the tuples do.
//!
//! A key is made by the constructor of its kind and compared as bytes ever after. A text is data, whatever it holds: a
//! `/` in a name is no level. Every part carries a tag, so that a key can be taken apart again for a person's eyes.
//!
//! Encoding: a text is its UTF-8 with one added to every byte, then a zero. UTF-8 has no byte above 0xF4, so nothing
//! overflows and nothing needs an escape, and the zero sorts before whatever could follow. Numbers are big-endian.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::model::{ClusterName, DefinitionId, Family, NodeId, Scope, TaskId};
use crate::store::record::Kind;

const TEXT: u8 = 1;
const PORT: u8 = 2;
const NUMBER: u8 = 3;
const ADDRESS: u8 = 4;
const ID: u8 = 5;
const TIME: u8 = 6;

/// One part of a tuple, taken apart again. The order of the variants is the order of their tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Text(String),
    Port(u16),
    Number(u32),
    Address(Ipv4Addr),
    Id(u128),
    /// Milliseconds since the epoch.
    Time(i64),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Text(text) => write!(f, "{text:?}"),
            Part::Port(port) => write!(f, "{port}"),
            Part::Number(number) => write!(f, "{number}"),
            Part::Address(address) => write!(f, "{address}"),
            Part::Id(id) => write!(f, "{id:032x}"),
            Part::Time(time) => write!(f, "{time}"),
        }
    }
}

/// A tuple while it is being encoded.
#[derive(Default)]
pub(crate) struct Tuple(Vec<u8>);

impl Tuple {
    pub(crate) fn new() -> Tuple {
        // Account, region, kind, a name and an id fit without growing.
        Tuple(Vec::with_capacity(96))
    }

    pub(crate) fn text(mut self, text: &str) -> Tuple {
        self.0.push(TEXT);
        // UTF-8 never holds 0xF5 to 0xFF, so the addition cannot wrap.
        self.0.extend(text.bytes().map(|byte| byte + 1));
        self.0.push(0);
        self
    }

    pub(crate) fn scope(self, scope: &Scope) -> Tuple {
        self.text(scope.account.as_str()).text(scope.region.as_str())
    }

    pub(crate) fn port(self, port: u16) -> Tuple {
        self.fixed(PORT, &port.to_be_bytes())
    }

    pub(crate) fn number(self, number: u32) -> Tuple {
        self.fixed(NUMBER, &number.to_be_bytes())
    }

    pub(crate) fn address(self, address: Ipv4Addr) -> Tuple {
        self.fixed(ADDRESS, &address.octets())
    }

    pub(crate) fn id(self, id: u128) -> Tuple {
        self.fixed(ID, &id.to_be_bytes())
    }

    pub(crate) fn time(self, time: i64) -> Tuple {
        // With the sign bit turned over, negative times sort before positive ones.
        self.fixed(TIME, &((time as u64) ^ (1 << 63)).to_be_bytes())
    }

    fn fixed(mut self, tag: u8, bytes: &[u8]) -> Tuple {
        self.0.push(tag);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn finish(self) -> Arc<[u8]> {
        self.0.into()
    }
}

/// Takes a tuple apart; `None` where the bytes are no tuple of ours.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while let Some((tag, rest)) = bytes.split_first() {
        let (part, rest) = match *tag {
            TEXT => text_part(rest)?,
            PORT => number_part(rest, |bytes| Part::Port(u16::from_be_bytes(bytes)))?,
            NUMBER => number_part(rest, |bytes| Part::Number(u32::from_be_bytes(bytes)))?,
            ADDRESS => number_part(rest, |bytes: [u8; 4]| Part::Address(Ipv4Addr::from(bytes)))?,
            ID => number_part(rest, |bytes| Part::Id(u128::from_be_bytes(bytes)))?,
            TIME => number_part(rest, |bytes| Part::Time((u64::from_be_bytes(bytes) ^ (1 << 63)) as i64))?,
            _ => return None,
        };
        parts.push(part);
        bytes = rest;
    }
    Some(parts)
}

fn text_part(bytes: &[u8]) -> Option<(Part, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let text = bytes[..end].iter().map(|byte| byte - 1).collect();
    Some((Part::Text(String::from_utf8(text).ok()?), &bytes[end + 1..]))
}

fn number_part<const N: usize>(bytes: &[u8], part: impl FnOnce([u8; N]) -> Part) -> Option<(Part, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<N>()?;
    Some((part(*number), rest))
}

/// Where one record is. In memory keys sort by kind first, so that all of a kind, in every scope, lie together too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    kind: Kind,
    bytes: Arc<[u8]>,
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

    /// `operation` with what its tokens are unique in, `token` as the client gave it.
    pub fn request(scope: &Scope, operation: &str, token: &str) -> Key {
        Key::new(Kind::Request, scope, |key| key.text(operation).text(token))
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

    pub fn all_listeners() -> Prefix {
        Prefix::all(Kind::Listener)
    }

    pub fn all_load_balancers() -> Prefix {
        Prefix::all(Kind::LoadBalancer)
    }

    pub fn all_requests() -> Prefix {
        Prefix::all(Kind::Request)
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

    pub fn requests(scope: &Scope) -> Prefix {
        Prefix::of(Kind::Request, scope)
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

/// `task(123456789012, eu-central-1, "default", 0…1)`: the kind first, scope and the rest behind it.
fn show(kind: Kind, bytes: &[u8], rest: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(parts: &[Part]) -> Arc<[u8]> {
        parts
            .iter()
            .fold(Tuple::new(), |tuple, part| match part {
                Part::Text(text) => tuple.text(text),
                Part::Port(port) => tuple.port(*port),
                Part::Number(number) => tuple.number(*number),
                Part::Address(address) => tuple.address(*address),
                Part::Id(id) => tuple.id(*id),
                Part::Time(time) => tuple.time(*time),
            })
            .finish()
    }

    fn part() -> impl Strategy<Value = Part> {
        let text = prop_oneof![
            proptest::collection::vec(any::<char>(), 0..6).prop_map(|chars| chars.into_iter().collect()),
            // Few letters, so that texts often begin alike; the ends of UTF-8's range among them.
            proptest::collection::vec(prop_oneof![Just('\0'), Just('/'), Just('a'), Just('\u{10ffff}')], 0..4)
                .prop_map(|chars| chars.into_iter().collect::<String>()),
        ];
        prop_oneof![
            text.prop_map(Part::Text),
            any::<u16>().prop_map(Part::Port),
            any::<u32>().prop_map(Part::Number),
            any::<u32>().prop_map(|bits| Part::Address(Ipv4Addr::from_bits(bits))),
            any::<u128>().prop_map(Part::Id),
            any::<i64>().prop_map(Part::Time),
        ]
    }

    fn tuple() -> impl Strategy<Value = Vec<Part>> {
        proptest::collection::vec(part(), 0..4)
    }

    proptest! {
        #[test]
        fn encoded_tuples_sort_as_the_tuples_do(one in tuple(), other in tuple()) {
            prop_assert_eq!(encode(&one).cmp(&encode(&other)), one.cmp(&other));
        }

        #[test]
        fn a_tuple_can_be_taken_apart_again(parts in tuple()) {
            prop_assert_eq!(decode(&encode(&parts)), Some(parts));
        }

        #[test]
        fn bytes_of_others_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Key::from_bytes(&bytes);
            if let Some(parts) = decode(&bytes) {
                prop_assert_eq!(encode(&parts).to_vec(), bytes);
            }
        }
    }

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
