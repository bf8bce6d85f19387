//! Amazon ECS: one file per resource, and the table of its operations.

use std::collections::BTreeMap;

use crate::api::operation::Operation;

/// Every operation, by the name that follows the dot in `X-Amz-Target`, in the order of `models/operations.txt`.
pub fn operations() -> BTreeMap<&'static str, Operation> {
    BTreeMap::from([])
}
