//! Images: from what a definition names to a component.

pub mod built_in;
pub mod reference;

use std::path::PathBuf;

/// An image that can be named, for `coracle images`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    pub names: Vec<String>,
    /// The file of an alias; `None` for what is built in.
    pub file: Option<PathBuf>,
    pub size_bytes: u64,
    /// `sha256:…`; absent where the file cannot be read.
    pub digest: Option<String>,
}
