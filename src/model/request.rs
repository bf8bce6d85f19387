//! What was answered to a request that carried a client token, so that its repetition does not happen twice.

use serde::{Deserialize, Serialize};

use crate::model::{Scope, Timestamp};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdempotentRequest {
    pub scope: Scope,
    /// The operation and, where tokens are per cluster, the cluster: part of the key.
    pub operation: String,
    pub token: String,
    /// A digest of the other parameters: a reuse with different ones is a conflict.
    pub digest: String,
    pub resources: Vec<String>,
    pub at: Timestamp,
}
