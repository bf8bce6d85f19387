//! The data directory: the store, compiled images and who this node is. Private to the user.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::cli::Failure;
use crate::model::NodeId;

const NODE_FILE: &str = "node";

/// Where data is kept unless said otherwise: `coracle` under the user's data directory.
pub fn default_path() -> Result<PathBuf, Failure> {
    directories::BaseDirs::new().map(|dirs| dirs.data_local_dir().join("coracle")).ok_or_else(|| {
        Failure::new("there is no home directory to keep data in").next("Name a directory with --data-dir DIR.")
    })
}

/// Makes the directory, for this user only.
pub fn create(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        Failure::new(format!("cannot make the data directory {}", path.display()))
            .next("Name another with --data-dir DIR.")
            .caused_by(error)
    })
}

/// The id of this node: made once, then read.
pub fn node_id(path: &Path) -> Result<NodeId, Failure> {
    let file = path.join(NODE_FILE);
    let cannot = |error: io::Error| Failure::new(format!("cannot use {}", file.display())).caused_by(error);
    match fs::read_to_string(&file) {
        Ok(text) => text.trim().parse().map_err(|error| {
            Failure::new(format!("{} is corrupt; nothing was changed", file.display()))
                .next("It must hold 32 hexadecimal digits. Remove it to make this node a new one.")
                .caused_by(error)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let node = NodeId(random_bits()?);
            let beside = path.join(format!("{NODE_FILE}.{}", std::process::id()));
            let mut new = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)
                .map_err(cannot)?;
            writeln!(new, "{node}").and_then(|()| new.sync_all()).map_err(cannot)?;
            fs::rename(&beside, &file).map_err(cannot)?;
            Ok(node)
        }
        Err(error) => Err(cannot(error)),
    }
}

pub fn random_bits() -> Result<u128, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new("the system gives no random numbers").caused_by(error.to_string()))?;
    Ok(u128::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_id_and_a_corrupt_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = node_id(dir.path()).unwrap();
        assert_eq!(node_id(dir.path()).unwrap(), first);
        fs::write(dir.path().join(NODE_FILE), "nonsense").unwrap();
        assert!(node_id(dir.path()).unwrap_err().to_string().contains("corrupt"));
        assert_eq!(fs::read_to_string(dir.path().join(NODE_FILE)).unwrap(), "nonsense");
    }
}
