//! The AWS services: pure operations that record intent, behind codecs directed by the service models.
//!
//! A request goes through [`dispatch`]: [`route`] finds its service and operation, [`protocol`] decodes it by the
//! [`shape`] that the model gives, an [`operation`] of the [`table`] runs on a view of the store, and the answer goes back
//! the same way. Operations are pure functions of their [`context`] and view, one file per resource under the service's
//! folder; nothing here starts or stops anything.

pub mod context;
pub mod dispatch;
pub mod ecs;
pub mod elbv2;
pub mod error;
pub mod operation;
pub mod protocol;
pub mod route;
pub mod secretsmanager;
pub mod shape;
pub mod ssm;
pub mod table;
pub mod tags;
#[cfg(test)]
mod testing;
pub mod wire;

pub use context::Context;
pub use dispatch::Api;
pub use error::{ApiError, ErrorKind};
