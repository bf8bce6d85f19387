//! Which files a task and its containers have: plain data, decided by `control`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The volumes of a task.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TaskFiles {
    pub volumes: Vec<VolumeSpec>,
    /// What its roots and all volumes without a size of their own may hold together; `None`: [`DISK_BYTES_DEFAULT`].
    pub size_bytes: Option<u64>,
}

/// Fargate's, of which 20 GiB are the task's own.
pub const DISK_BYTES_DEFAULT: u64 = 20 << 30;
/// Linux gives as many to a process that asks for nothing.
pub const OPEN_FILES_DEFAULT: u32 = 1024;
/// More would leave none for others: the node itself may open about a million.
pub const OPEN_FILES_MAX: u32 = 65_536;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// As messages call it.
    pub name: String,
    pub source: Source,
}

/// Where a volume's files are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Source {
    /// Made for the task, empty, and gone with it. Counted in the task's size unless it has one of its own.
    Scratch { size_bytes: Option<u64> },
    /// Kept under the data directory, by name, for every task of the node that names it.
    Shared { create: bool },
    /// `path` below a directory that the operator allows. `failure` begins the message where it cannot be had.
    Directory { allowed: PathBuf, path: PathBuf, read_only: bool, failure: String },
}

/// A volume in a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Index among the task's volumes.
    pub volume: usize,
    /// Absolute, in the container.
    pub path: String,
    pub read_only: bool,
}

/// The files of one container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FilesSpec {
    pub mounts: Vec<Mount>,
    pub has_read_only_root: bool,
    /// Where it begins; made if it is not there. Absolute.
    pub working_directory: Option<String>,
    /// Files and directories that its guests may have open at once.
    pub open_files_max: u32,
}

impl Default for FilesSpec {
    fn default() -> FilesSpec {
        FilesSpec {
            mounts: Vec::new(),
            has_read_only_root: false,
            working_directory: None,
            open_files_max: OPEN_FILES_DEFAULT,
        }
    }
}
