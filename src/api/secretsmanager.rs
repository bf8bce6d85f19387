//! AWS Secrets Manager: one file per resource, and the table of its operations.

use std::collections::BTreeMap;

use crate::api::operation::{Operation, operation};

pub mod list;
pub mod password;
pub mod policy;
pub mod reference;
pub mod secret;
pub mod tag;
pub mod value;
pub mod version;

#[cfg(test)]
mod tests;

/// Every operation, by the name that follows the dot in `X-Amz-Target`.
pub fn operations() -> BTreeMap<&'static str, Operation> {
    BTreeMap::from([
        ("CreateSecret", operation(secret::create)),
        ("GetSecretValue", operation(value::get)),
        ("BatchGetSecretValue", operation(value::get_batch)),
        ("PutSecretValue", operation(value::put)),
        ("UpdateSecret", operation(secret::update)),
        ("ListSecrets", operation(list::list)),
        ("DescribeSecret", operation(secret::describe)),
        ("DeleteSecret", operation(secret::delete)),
        ("RestoreSecret", operation(secret::restore)),
        ("TagResource", operation(tag::add)),
        ("UntagResource", operation(tag::remove)),
        ("ListSecretVersionIds", operation(version::list)),
        ("UpdateSecretVersionStage", operation(version::update_stage)),
        ("GetRandomPassword", operation(password::get)),
        ("GetResourcePolicy", operation(policy::get)),
        ("PutResourcePolicy", operation(policy::put)),
        ("DeleteResourcePolicy", operation(policy::delete)),
    ])
}
