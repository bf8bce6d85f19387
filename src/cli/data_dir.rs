//! The data directory: the store, compiled images, who this node is, and the key that seals secrets. Private to the user.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::identity::SealingKey;
use crate::identity::seal::KEY_BYTES;
use crate::model::{NodeId, Parameter, SecretValue};
use crate::store::{Prefix, Snapshot};

const NODE_FILE: &str = "node";
const SEALING_FILE: &str = "sealing-key";

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
            write_whole(path, NODE_FILE, &node.to_string()).map_err(cannot)?;
            Ok(node)
        }
        Err(error) => Err(cannot(error)),
    }
}

/// Writes a new file of one line, for this user only, whole or not at all.
fn write_whole(path: &Path, name: &str, line: &str) -> io::Result<()> {
    let beside = path.join(format!("{name}.{}", std::process::id()));
    let mut new = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writeln!(new, "{line}")?;
    new.sync_all()?;
    fs::rename(&beside, path.join(name))?;
    // The name itself is durable only with its directory.
    fs::File::open(path)?.sync_all()
}

/// The key that seals secrets: made once, before the first of them, then read. Where sealed values are kept that it does
/// not open, or it is missing beside them, nothing is changed: another key would lose them for good.
pub fn sealing_key(path: &Path, store: &Snapshot) -> Result<SealingKey, Failure> {
    const RESTORE: &str = "Restore it from a copy of the data directory, or name another with --data-dir DIR.";
    let file = path.join(SEALING_FILE);
    let cannot = |error: io::Error| Failure::new(format!("cannot use {}", file.display())).caused_by(error);
    let key = match fs::read_to_string(&file).map(Zeroizing::new) {
        Ok(text) => SealingKey::parse(&text)
            .ok_or_else(|| Failure::new(format!("{} is corrupt; nothing was changed", file.display())).next(RESTORE))?,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(Failure::new(format!("{} is corrupt; nothing was changed", file.display())).next(RESTORE));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !has_sealed(store) => {
            let mut bytes = Zeroizing::new([0; KEY_BYTES]);
            getrandom::fill(&mut *bytes)
                .map_err(|error| Failure::new("the system gives no random numbers").caused_by(error.to_string()))?;
            let digits: Zeroizing<String> = Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
            write_whole(path, SEALING_FILE, &digits).map_err(cannot)?;
            SealingKey::from_bytes(*bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::new(format!(
                "{} is missing, and the store holds secrets that were sealed with it",
                file.display()
            ))
            .next(RESTORE));
        }
        Err(error) => return Err(cannot(error)),
    };
    match opens(store, &key) {
        true => Ok(key),
        false => {
            Err(Failure::new(format!("{} is not the key that the store's secrets were sealed with", file.display()))
                .next(RESTORE))
        }
    }
}

fn has_sealed(store: &Snapshot) -> bool {
    store.count(&Prefix::all_secret_values()) + store.count(&Prefix::all_parameters()) > 0
}

/// Whether the key opens what it sealed, as one value of each kind shows.
fn opens(store: &Snapshot, key: &SealingKey) -> bool {
    let secret = store.iter::<SecretValue>(&Prefix::all_secret_values()).next();
    let parameter = store.iter::<Parameter>(&Prefix::all_parameters()).next();
    let of_parameter = parameter.and_then(|parameter| Some((parameter, parameter.latest()?)));
    secret.is_none_or(|secret| key.open(&secret.value, &secret.identity()).is_ok())
        && of_parameter
            .is_none_or(|(parameter, version)| key.open(&version.value, &parameter.identity(version.version)).is_ok())
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

    fn sealed_with(key: &SealingKey) -> Snapshot {
        let scope =
            crate::model::Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        let text = String::from;
        let value = crate::model::Sealed(vec![]);
        let (name, suffix, version) = (text("db"), text("aaaaaa"), text("1"));
        let mut value = SecretValue { scope, name, suffix, version, is_binary: false, value };
        value.value = key.seal(b"hush", &value.identity(), [1; 12]);
        let store = crate::store::Store::in_memory();
        let mut view = store.view();
        view.put(value);
        futures_util::FutureExt::now_or_never(store.commit(view)).unwrap().unwrap();
        store.snapshot()
    }

    #[test]
    fn the_sealing_key_is_made_once_and_only_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let first = sealing_key(dir.path(), &Snapshot::default()).unwrap();
        let kept = sealed_with(&first);
        sealing_key(dir.path(), &kept).unwrap();
        let file = dir.path().join(SEALING_FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // Missing, another one, corrupt: each is said, and the file is left as it is.
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(sealing_key(dir.path(), &kept).unwrap_err().to_string().contains("is missing"));
        assert!(!file.exists());
        for (content, said) in [("0".repeat(64), "is not the key"), (text[1..].to_owned(), "corrupt")] {
            fs::write(&file, &content).unwrap();
            let failure = sealing_key(dir.path(), &kept).unwrap_err().to_string();
            assert!(failure.contains(said) && !failure.contains(&content), "{failure}");
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
        fs::write(&file, text).unwrap();
        sealing_key(dir.path(), &kept).unwrap();
    }
}
