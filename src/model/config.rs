//! What an operation may know of the node that it runs on.

use crate::model::{AccountId, BootId, NodeId, Region};

/// The configuration that operations see. Made once at start by `cli`.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub account: AccountId,
    /// Used where a request carries no signature scope.
    pub default_region: Region,
    /// This node, kept in the data directory. It is one container instance of every cluster.
    pub node: NodeId,
    /// This run of the server.
    pub boot: BootId,
    /// The front's port: part of nothing that a client matches, shown in guidance only.
    pub port: u16,
    /// Cores that guests may use.
    pub cores: u32,
    /// The node's budget of memory for tasks, in bytes (80 % of its memory).
    pub memory_bytes: u64,
    /// True while the server listens on loopback without access keys: callers may then name any file as an image.
    pub any_file_image: bool,
    /// Whether a directory stands for S3, so that load balancers can write their logs.
    pub has_object_directory: bool,
}
