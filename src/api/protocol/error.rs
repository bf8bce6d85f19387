//! Why a request could not be decoded.

use crate::api::error::{ApiError, ErrorKind};
use crate::api::protocol::violation::Violations;
use crate::api::shape::Service;

/// A request that does not fit its shape.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no document of the format at all.
    #[error("{0}")]
    Malformed(String),
    /// A value has the wrong type; `path` names it as the caller would.
    #[error("{path}: expected {expected}, found {found}")]
    Type { path: String, expected: &'static str, found: String },
    #[error("{path}: the list has more than {max} items")]
    TooLong { path: String, max: usize },
    #[error("{path}: nested more than {max} levels deep")]
    TooDeep { path: String, max: usize },
    /// The types are right, and the model forbids the values.
    #[error("{0}")]
    Violations(Violations),
}

impl DecodeError {
    /// The error as `service` answers it to the call of `operation`.
    pub fn answer(self, service: &Service, operation: &str) -> ApiError {
        let kind = match &self {
            DecodeError::Violations(_) => violation_kind(service, operation),
            _ => ErrorKind::Serialization,
        };
        ApiError::new(kind, self)
    }
}

/// ECS answers a value that the model forbids with the exception of the operation's own checks: registration has only
/// `ClientException`, all else says `InvalidParameterException`. The other services have one name for it.
fn violation_kind(service: &Service, operation: &str) -> ErrorKind {
    match (service.name, operation) {
        ("ecs", "RegisterTaskDefinition") => ErrorKind::Client,
        ("ecs", _) => ErrorKind::InvalidParameter,
        _ => ErrorKind::Validation,
    }
}
