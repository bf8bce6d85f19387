//! The nouns: what ECS and its load balancers name, as typed records. They know nothing of HTTP, storage or wasmtime.
//!
//! Names and ids are newtypes that are checked by `FromStr` at the edge; past it, the type is the proof.

pub mod arn;
pub mod cluster;
pub mod config;
pub mod container_instance;
pub mod dependency;
pub mod exit;
pub mod health;
pub mod labels;
pub mod load_balancer;
pub mod name;
pub mod parameter;
pub mod protection;
pub mod request;
pub mod rule;
pub mod sealed;
pub mod secret;
pub mod service;
pub mod settings;
pub mod size;
pub mod ssl_policy;
pub mod support;
pub mod tag;
pub mod target;
pub mod task;
pub mod task_definition;
pub mod timestamp;
pub mod usage;
pub mod volume;

pub use arn::Arn;
pub use cluster::{Cluster, ClusterStatus};
pub use config::NodeConfig;
pub use container_instance::ContainerInstance;
pub use exit::{Exit, StartFailure};
pub use health::HealthStatus;
pub use load_balancer::{Listener, LoadBalancer, TargetGroup};
pub use name::{AccountId, BootId, ClusterName, Family, InvalidName, NodeId, Region, ResourceName, Scope, TaskId};
pub use parameter::Parameter;
pub use protection::Protection;
pub use request::IdempotentRequest;
pub use rule::Rule;
pub use sealed::Sealed;
pub use secret::{Secret, SecretValue};
pub use service::{Deployment, Service, ServiceEvent, ServiceStatus};
pub use settings::Settings;
pub use tag::Tag;
pub use target::{Target, TargetAnomaly, TargetHealth, TargetState};
pub use task::{Container, DesiredStatus, Task, TaskStatus};
pub use task_definition::{ContainerDefinition, DefinitionId, FamilyRecord, TaskDefinition};
pub use timestamp::Timestamp;
pub use usage::Usage;
