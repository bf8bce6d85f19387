//! The access keys that may call, read once from a file that only the operator writes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::identity::task_role::{SessionKey, TaskRoles};

/// How many keys one file may hold: a lookup table of people and jobs, not a directory of users.
const KEYS_MAX: usize = 10_000;

/// The keys by their id. Empty: no signature is asked for.
#[derive(Clone, Debug, Default)]
pub struct AccessKeys {
    secrets: BTreeMap<String, Secret>,
    /// Where the credentials of tasks are accepted, too.
    task_roles: Option<TaskRoles>,
}

/// A secret access key, which is never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// Why a file of access keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessKeysError {
    #[error("cannot read the access keys in {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// Without the parser's own text, which may quote a secret.
    #[error("{} is not a file of access keys, at line {line} column {column}", path.display())]
    Parse { path: PathBuf, line: usize, column: usize },
    #[error("{}: {problem}", path.display())]
    Invalid { path: PathBuf, problem: String },
}

/// The file: `{"accessKeys": [{"accessKeyId": "…", "secretAccessKey": "…"}]}`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    access_keys: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    access_key_id: String,
    secret_access_key: Secret,
}

impl AccessKeys {
    /// Reads the keys of a file. A file without any is refused: it would open the server to everybody.
    pub fn load(path: &Path) -> Result<AccessKeys, AccessKeysError> {
        let text = std::fs::read(path).map_err(|source| AccessKeysError::Read { path: path.to_owned(), source })?;
        AccessKeys::parse(&text, path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<AccessKeys, AccessKeysError> {
        let invalid = |problem: String| AccessKeysError::Invalid { path: path.to_owned(), problem };
        let file: File = serde_json::from_slice(text).map_err(|error| AccessKeysError::Parse {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
        })?;
        if file.access_keys.is_empty() || file.access_keys.len() > KEYS_MAX {
            return Err(invalid(format!("there are {} keys, not 1 to {KEYS_MAX}", file.access_keys.len())));
        }
        let mut keys = AccessKeys::default();
        for Entry { access_key_id, secret_access_key } in file.access_keys {
            let valid_id = (1..=128).contains(&access_key_id.len())
                && access_key_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !valid_id {
                return Err(invalid(String::from("an accessKeyId is 1 to 128 letters, digits and underscores")));
            }
            if secret_access_key.0.is_empty() {
                return Err(invalid(format!("the secretAccessKey of {access_key_id} is empty")));
            }
            if keys.secrets.insert(access_key_id.clone(), secret_access_key).is_some() {
                return Err(invalid(format!("{access_key_id} is there twice")));
            }
        }
        Ok(keys)
    }

    /// Whether requests must be signed.
    pub fn are_configured(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Accepts what tasks were given for their roles beside these keys. It does not open anything by itself: without keys
    /// nothing is checked.
    pub fn with_task_roles(self, task_roles: TaskRoles) -> AccessKeys {
        AccessKeys { task_roles: Some(task_roles), ..self }
    }

    pub(in crate::identity) fn session(&self, access_key_id: &str) -> Option<SessionKey> {
        self.task_roles.as_ref()?.session(access_key_id)
    }

    pub(in crate::identity) fn secret(&self, access_key_id: &str) -> Option<&Secret> {
        self.secrets.get(access_key_id)
    }

    #[cfg(test)]
    pub fn of(pairs: &[(&str, &str)]) -> AccessKeys {
        let secret = |(id, secret): &(&str, &str)| (id.to_string(), Secret(secret.to_string()));
        AccessKeys { secrets: pairs.iter().map(secret).collect(), task_roles: None }
    }
}

impl Secret {
    pub(in crate::identity) fn new(text: String) -> Secret {
        Secret(text)
    }

    pub(in crate::identity) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AccessKeys, String> {
        AccessKeys::parse(text.as_bytes(), Path::new("keys.json")).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_keys_and_never_prints_them() {
        let keys = parse(r#"{"accessKeys": [{"accessKeyId": "AKIA1", "secretAccessKey": "hush"}]}"#).unwrap();
        assert!(keys.are_configured());
        assert_eq!(keys.secret("AKIA1").unwrap().reveal(), "hush");
        assert!(keys.secret("AKIA2").is_none());
        let shown = format!("{keys:?}");
        assert!(shown.contains("AKIA1") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn refuses_what_would_open_the_server() {
        assert_eq!(parse(r#"{"accessKeys": []}"#).unwrap_err(), "keys.json: there are 0 keys, not 1 to 10000");
        let empty = parse(r#"{"accessKeys": [{"accessKeyId": "A", "secretAccessKey": ""}]}"#).unwrap_err();
        assert_eq!(empty, "keys.json: the secretAccessKey of A is empty");
    }

    #[test]
    fn a_broken_file_is_named_without_its_secrets() {
        let error = parse("{\"accessKeys\": [\n {\"accessKeyId\": \"A\", \"secretAccesKey\": \"hush\"}]}").unwrap_err();
        assert!(error.starts_with("keys.json is not a file of access keys, at line 2"), "{error}");
        assert!(!error.contains("hush"));
        let missing = AccessKeys::load(Path::new("/nowhere/keys.json")).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read the access keys in /nowhere/keys.json");
    }
}
