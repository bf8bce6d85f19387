//! Who calls: signatures of requests, and the access keys that they are checked against; the credentials of task roles;
//! and the key that seals what is secret at rest.
//!
//! Without configured keys everybody may call, signed or not: that is what a laptop and a CI job need, and why the server
//! then refuses to listen beyond loopback.

pub mod access_key;
pub mod seal;
pub mod signature;
pub mod task_role;

pub use access_key::AccessKeys;
pub use seal::SealingKey;
pub use signature::{CredentialScope, SignatureError};
pub use task_role::{CredentialsId, TaskRoles};
