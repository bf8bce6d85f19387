//! Amazon ECS: one file per resource, and the table of its operations.

use std::collections::BTreeMap;

use crate::api::operation::{Operation, operation};

pub mod cluster;
pub mod container_instance;
pub mod page;
pub mod reference;
pub mod service;
pub mod tag;
pub mod task;
pub mod task_definition;

#[cfg(test)]
mod tests;

/// Every operation, by the name that follows the dot in `X-Amz-Target`.
pub fn operations() -> BTreeMap<&'static str, Operation> {
    BTreeMap::from([
        ("CreateCluster", operation(cluster::create)),
        ("DescribeClusters", operation(cluster::describe)),
        ("ListClusters", operation(cluster::list)),
        ("DeleteCluster", operation(cluster::delete)),
        ("RegisterTaskDefinition", operation(task_definition::register)),
        ("DescribeTaskDefinition", operation(task_definition::describe)),
        ("ListTaskDefinitions", operation(task_definition::list)),
        ("ListTaskDefinitionFamilies", operation(task_definition::list_families)),
        ("DeregisterTaskDefinition", operation(task_definition::deregister)),
        ("RunTask", operation(task::run)),
        ("StartTask", operation(task::start)),
        ("DescribeTasks", operation(task::describe)),
        ("ListTasks", operation(task::list)),
        ("StopTask", operation(task::stop)),
        ("GetTaskProtection", operation(task::protection::get)),
        ("UpdateTaskProtection", operation(task::protection::update)),
        ("CreateService", operation(service::create)),
        ("UpdateService", operation(service::update)),
        ("DescribeServices", operation(service::describe)),
        ("ListServices", operation(service::list)),
        ("DeleteService", operation(service::delete)),
        ("ListContainerInstances", operation(container_instance::list)),
        ("DescribeContainerInstances", operation(container_instance::describe)),
        ("ListTagsForResource", operation(tag::list)),
        ("TagResource", operation(tag::add)),
        ("UntagResource", operation(tag::remove)),
    ])
}
