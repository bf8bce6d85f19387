//! A node as a member of one cluster: what EC2 and EXTERNAL tasks are placed on. Here each node is one in every cluster.

use serde::{Deserialize, Serialize};

use crate::model::{Arn, ClusterName, NodeId, Scope, Timestamp};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerInstance {
    pub scope: Scope,
    pub cluster: ClusterName,
    pub node: NodeId,
    pub registered_at: Timestamp,
    /// CPU units and MiB that EC2-style placement may reserve.
    pub cpu_units: u32,
    pub memory_mib: u32,
}

impl ContainerInstance {
    pub fn arn(&self) -> Arn {
        Arn::container_instance(&self.scope, &self.cluster, self.node)
    }
}

/// A node as EC2 would name it: what `instance` targets are registered by.
pub fn ec2_instance_id(node: NodeId) -> String {
    format!("i-0{}", &node.to_string()[..16])
}
