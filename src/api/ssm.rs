//! AWS Systems Manager, of which Parameter Store: one file per resource, and the table of its operations.

use std::collections::BTreeMap;

use crate::api::operation::{Operation, operation};

pub mod filter;
pub mod get;
pub mod label;
pub mod list;
pub mod name;
pub mod parameter;
pub mod pattern;
pub mod tag;

#[cfg(test)]
mod tests;

/// Every operation, by the name that follows the dot in `X-Amz-Target`.
pub fn operations() -> BTreeMap<&'static str, Operation> {
    BTreeMap::from([
        ("PutParameter", operation(parameter::put)),
        ("GetParameter", operation(get::get)),
        ("GetParameters", operation(get::get_several)),
        ("GetParametersByPath", operation(list::by_path)),
        ("GetParameterHistory", operation(get::history)),
        ("DescribeParameters", operation(list::describe)),
        ("DeleteParameter", operation(parameter::delete)),
        ("DeleteParameters", operation(parameter::delete_several)),
        ("LabelParameterVersion", operation(label::add)),
        ("UnlabelParameterVersion", operation(label::remove)),
        ("AddTagsToResource", operation(tag::add)),
        ("RemoveTagsFromResource", operation(tag::remove)),
        ("ListTagsForResource", operation(tag::list)),
    ])
}
