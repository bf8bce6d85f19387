//! What the store keeps: records of the model, each under its own key, as JSON behind a small header.
//!
//! The header is the revision that wrote the record and the schema in which it was written. A record of an older schema
//! is migrated when it is read; one of a newer schema is refused, never guessed at.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::{
    Cluster, ContainerInstance, FamilyRecord, IdempotentRequest, Listener, LoadBalancer, Parameter, Rule, Secret,
    SecretValue, Service, Target, TargetGroup, Task, TaskDefinition,
};
use crate::store::index::{self, IndexKey};
use crate::store::key::Key;

/// Counts transactions, from 1; 0 is the store before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    pub(crate) fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A type of the model that the store keeps.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    const KIND: Kind;
    /// Raised with every change of the type that its own `serde` attributes cannot read.
    const SCHEMA: u32;

    fn key(&self) -> Key;

    /// The secondary indexes that this record is in.
    fn indexes(&self) -> Vec<IndexKey> {
        Vec::new()
    }

    /// Brings what an older schema wrote to the form of this one. `None`: there never was such a schema.
    fn migrate(_schema: u32, _value: Value) -> Option<Value> {
        None
    }

    #[doc(hidden)]
    fn into_any(record: Arc<Self>) -> AnyRecord;

    #[doc(hidden)]
    fn from_any(record: &AnyRecord) -> Option<&Arc<Self>>;
}

/// Declares the kinds, and what is the same for each.
macro_rules! records {
    ($($kind:ident($record:ty) = $name:literal, schema $schema:literal, key |$value:ident| $key:expr, indexes $indexes:expr;)*) => {
        /// The kinds of record. The names are part of the keys: they never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($kind,)*
        }

        impl Kind {
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }

            pub fn from_name(name: &str) -> Option<Kind> {
                match name {
                    $($name => Some(Kind::$kind),)*
                    _ => None,
                }
            }
        }

        /// A record of any kind.
        #[derive(Clone, Debug)]
        pub enum AnyRecord {
            $($kind(Arc<$record>),)*
        }

        impl AnyRecord {
            pub fn key(&self) -> Key {
                match self {
                    $(AnyRecord::$kind(record) => record.key(),)*
                }
            }

            pub(crate) fn indexes(&self) -> Vec<IndexKey> {
                match self {
                    $(AnyRecord::$kind(record) => record.indexes(),)*
                }
            }

            /// The record as a backend keeps it, without its header.
            fn write_json(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
                match self {
                    $(AnyRecord::$kind(record) => serde_json::to_writer(out, record.as_ref()),)*
                }
            }

            fn schema(&self) -> u32 {
                match self {
                    $(AnyRecord::$kind(_) => <$record>::SCHEMA,)*
                }
            }

            fn read_json(kind: Kind, schema: u32, json: &[u8]) -> Result<AnyRecord, DecodeError> {
                match kind {
                    $(Kind::$kind => read::<$record>(schema, json),)*
                }
            }
        }

        $(impl Record for $record {
            const KIND: Kind = Kind::$kind;
            const SCHEMA: u32 = $schema;

            fn key(&self) -> Key {
                let $value = self;
                $key
            }

            fn indexes(&self) -> Vec<IndexKey> {
                let indexes: fn(&$record) -> Vec<IndexKey> = $indexes;
                indexes(self)
            }

            fn into_any(record: Arc<$record>) -> AnyRecord {
                AnyRecord::$kind(record)
            }

            fn from_any(record: &AnyRecord) -> Option<&Arc<$record>> {
                match record {
                    AnyRecord::$kind(record) => Some(record),
                    _ => None,
                }
            }
        })*
    };
}

records! {
    Cluster(Cluster) = "cluster", schema 1,
        key |cluster| Key::cluster(&cluster.scope, &cluster.name), indexes |_| Vec::new();
    ContainerInstance(ContainerInstance) = "container-instance", schema 1,
        key |instance| Key::container_instance(&instance.scope, &instance.cluster, instance.node), indexes |_| Vec::new();
    Family(FamilyRecord) = "family", schema 1,
        key |family| Key::family(&family.scope, &family.family), indexes |_| Vec::new();
    Listener(Listener) = "listener", schema 1,
        key |listener| Key::listener(&listener.scope, &listener.load_balancer, &listener.id), indexes |_| Vec::new();
    LoadBalancer(LoadBalancer) = "load-balancer", schema 1,
        key |balancer| Key::load_balancer(&balancer.scope, &balancer.name), indexes |_| Vec::new();
    Parameter(Parameter) = "parameter", schema 1,
        key |parameter| Key::parameter(&parameter.scope, &parameter.name), indexes |_| Vec::new();
    Request(IdempotentRequest) = "request", schema 1,
        key |request| Key::request(&request.scope, &request.operation, &request.token), indexes |_| Vec::new();
    Rule(Rule) = "rule", schema 1,
        key |rule| Key::rule(&rule.scope, &rule.load_balancer, &rule.listener, &rule.id), indexes |_| Vec::new();
    Secret(Secret) = "secret", schema 1,
        key |secret| Key::secret(&secret.scope, &secret.name), indexes |_| Vec::new();
    SecretValue(SecretValue) = "secret-value", schema 1,
        key |value| Key::secret_value(&value.scope, &value.name, &value.version), indexes |_| Vec::new();
    Service(Service) = "service", schema 1,
        key |service| Key::service(&service.scope, &service.cluster, &service.name), indexes index::of_service;
    Target(Target) = "target", schema 1,
        key |target| Key::target(&target.scope, &target.group, target.address, target.port), indexes index::of_target;
    TargetGroup(TargetGroup) = "target-group", schema 1,
        key |group| Key::target_group(&group.scope, &group.name), indexes |_| Vec::new();
    Task(Task) = "task", schema 1,
        key |task| Key::task(&task.scope, &task.cluster, task.id), indexes index::of_task;
    TaskDefinition(TaskDefinition) = "task-definition", schema 1,
        key |definition| Key::task_definition(&definition.scope, &definition.id), indexes |_| Vec::new();
}

/// A value that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("it has no header")]
    NoHeader,
    #[error("it was written in schema {found}, and this version of Coracle knows schema {known}")]
    UnknownSchema { found: u32, known: u32 },
    #[error("its JSON is not what this version of Coracle writes")]
    Json(#[source] serde_json::Error),
}

/// Bytes of the header: the revision, then the schema, both big-endian.
const HEADER_BYTES: usize = 12;

/// A record as a backend keeps it. The revision is filled in by the writer, which alone knows it.
#[derive(Debug)]
pub(crate) struct Encoded(Vec<u8>);

impl Encoded {
    pub(crate) fn new(record: &AnyRecord) -> Result<Encoded, serde_json::Error> {
        // Most tasks take less; services with their hundred events take more and grow.
        let mut bytes = Vec::with_capacity(2048);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&record.schema().to_be_bytes());
        record.write_json(&mut bytes)?;
        Ok(Encoded(bytes))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn at(mut self, revision: Revision) -> Vec<u8> {
        self.0[..8].copy_from_slice(&revision.0.to_be_bytes());
        self.0
    }
}

/// Reads back what `Encoded` made.
pub(crate) fn decode(kind: Kind, bytes: &[u8]) -> Result<(Revision, AnyRecord), DecodeError> {
    let (header, json) = bytes.split_at_checked(HEADER_BYTES).ok_or(DecodeError::NoHeader)?;
    let (revision, schema) = header.split_first_chunk::<8>().ok_or(DecodeError::NoHeader)?;
    let schema = u32::from_be_bytes(schema.try_into().map_err(|_| DecodeError::NoHeader)?);
    Ok((Revision(u64::from_be_bytes(*revision)), AnyRecord::read_json(kind, schema, json)?))
}

fn read<R: Record>(schema: u32, json: &[u8]) -> Result<AnyRecord, DecodeError> {
    let record: R = if schema == R::SCHEMA {
        serde_json::from_slice(json).map_err(DecodeError::Json)?
    } else {
        let unknown = || DecodeError::UnknownSchema { found: schema, known: R::SCHEMA };
        let older =
            if schema < R::SCHEMA { serde_json::from_slice(json).map_err(DecodeError::Json)? } else { Value::Null };
        let migrated = if schema < R::SCHEMA { R::migrate(schema, older) } else { None };
        serde_json::from_value(migrated.ok_or_else(unknown)?).map_err(DecodeError::Json)?
    };
    Ok(R::into_any(Arc::new(record)))
}
