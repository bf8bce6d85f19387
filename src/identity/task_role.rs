//! The credentials of task roles: made for one task and its role, short-lived, and gone with the task.
//!
//! Kept in memory only, which is enough: a server that restarts ends every task. They are accepted by the check of
//! signatures of our own API and mean nothing to anybody else. Time and randomness are given by the caller.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::identity::access_key::Secret;
use crate::model::{Task, TaskDefinition, TaskId, Timestamp};

/// How long credentials are valid: as long as STS gives those of a role where nobody asks for more.
pub const CREDENTIALS_VALID: Duration = Duration::from_secs(60 * 60);
/// With less than this left, new ones are made. SDKs begin to ask for new ones a quarter of an hour before the end, and
/// must get some that are newer than theirs; so a task has at most two at a time.
const RENEWED_BEFORE: Duration = Duration::from_secs(20 * 60);

/// Bits from the operating system, fresh for each call.
pub type Entropy = [u8; 96];

/// Which tasks have which roles, and the credentials that they were given. Clones are the same table.
#[derive(Clone, Default)]
pub struct TaskRoles(Arc<Mutex<Table>>);

/// Bounded by the tasks that the node runs: `end` takes out what ended.
#[derive(Default)]
struct Table {
    tasks: HashMap<TaskId, Associated>,
    /// The task of each access key that is valid or was a moment ago.
    keys: BTreeMap<String, TaskId>,
}

struct Associated {
    id: CredentialsId,
    role_arn: String,
    /// Oldest first; at most the one that runs out and its successor.
    sessions: Vec<Session>,
}

/// The last part of `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`: a UUID that nobody can guess.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialsId(String);

impl CredentialsId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whoever knows it and runs in the task gets the credentials, so it is not printed.
impl fmt::Debug for CredentialsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsId(…)")
    }
}

/// What a task is given.
#[derive(Clone)]
pub struct TaskCredentials {
    pub role_arn: String,
    pub access_key_id: String,
    pub secret_access_key: Zeroizing<String>,
    pub token: Zeroizing<String>,
    pub expires_at: Timestamp,
}

impl fmt::Debug for TaskCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TaskCredentials");
        shown.field("role_arn", &self.role_arn).field("access_key_id", &self.access_key_id);
        shown.field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Session {
    access_key_id: String,
    secret: Zeroizing<String>,
    token: Zeroizing<String>,
    expires_at: Timestamp,
}

/// Why there are no credentials for who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCredentials {
    #[error("no role is associated with the task")]
    NoRole,
    #[error("the id is not that of the task's credentials")]
    OtherId,
}

/// What a signature is checked against.
pub(in crate::identity) struct SessionKey {
    pub secret: Secret,
    pub token: Zeroizing<String>,
    pub expires_at: Timestamp,
}

/// The role of a task: that of its overrides, else that of its definition.
pub fn role_of<'a>(task: &'a Task, definition: &'a TaskDefinition) -> Option<&'a str> {
    let own = task.overrides.get("taskRoleArn").and_then(|role| role.as_str());
    let defined = || definition.document.other.get("taskRoleArn").and_then(|role| role.as_str());
    own.filter(|role| !role.is_empty()).or_else(defined).filter(|role| !role.is_empty())
}

impl TaskRoles {
    /// Gives a task its role, before it starts. The id, made of random bits, goes into its environment.
    pub fn associate(&self, task: TaskId, role_arn: &str, bits: u128) -> CredentialsId {
        let id = CredentialsId(uuid(bits));
        let associated = Associated { id: id.clone(), role_arn: role_arn.to_owned(), sessions: Vec::new() };
        let mut table = self.0.lock();
        table.remove(task);
        table.tasks.insert(task, associated);
        id
    }

    /// The task has ended: what it was given is valid no more.
    pub fn end(&self, task: TaskId) {
        self.0.lock().remove(task);
    }

    pub fn has_role(&self, task: TaskId) -> bool {
        self.0.lock().tasks.contains_key(&task)
    }

    /// The credentials of a task, renewed where little of their time is left. `task` is who asks, as the runtime knows it:
    /// the id of another task is like one that does not exist.
    pub fn credentials(
        &self,
        task: TaskId,
        id: &str,
        now: Timestamp,
        entropy: &Entropy,
    ) -> Result<TaskCredentials, NoCredentials> {
        let mut table = self.0.lock();
        let Table { tasks, keys } = &mut *table;
        let associated = tasks.get_mut(&task).ok_or(NoCredentials::NoRole)?;
        if !bool::from(associated.id.0.as_bytes().ct_eq(id.as_bytes())) {
            return Err(NoCredentials::OtherId);
        }
        associated.sessions.retain(|session| {
            let is_valid = now < session.expires_at;
            if !is_valid {
                keys.remove(&session.access_key_id);
            }
            is_valid
        });
        let newest = associated.sessions.last().filter(|session| now + RENEWED_BEFORE < session.expires_at).cloned();
        let session = match newest {
            Some(session) => session,
            None => {
                let session = Session::new(now, entropy);
                keys.insert(session.access_key_id.clone(), task);
                associated.sessions.push(session.clone());
                session
            }
        };
        Ok(TaskCredentials {
            role_arn: associated.role_arn.clone(),
            access_key_id: session.access_key_id,
            secret_access_key: session.secret,
            token: session.token,
            expires_at: session.expires_at,
        })
    }

    pub(in crate::identity) fn session(&self, access_key_id: &str) -> Option<SessionKey> {
        let table = self.0.lock();
        let sessions = &table.tasks.get(table.keys.get(access_key_id)?)?.sessions;
        let session = sessions.iter().find(|session| session.access_key_id == access_key_id)?;
        Some(SessionKey {
            secret: Secret::new(session.secret.to_string()),
            token: session.token.clone(),
            expires_at: session.expires_at,
        })
    }
}

impl Table {
    fn remove(&mut self, task: TaskId) {
        for session in self.tasks.remove(&task).into_iter().flat_map(|associated| associated.sessions) {
            self.keys.remove(&session.access_key_id);
        }
    }
}

impl fmt::Debug for TaskRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskRoles").field("tasks", &self.0.lock().tasks.len()).finish()
    }
}

impl Session {
    /// In the forms that AWS gives: `ASIA` and 16 letters for a key that comes with a token, a secret of 40 characters.
    fn new(now: Timestamp, entropy: &Entropy) -> Session {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let (id, rest) = entropy.split_at(16);
        let (secret, token) = rest.split_at(30);
        let letters = id.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
        Session {
            access_key_id: "ASIA".chars().chain(letters).collect(),
            secret: Zeroizing::new(STANDARD.encode(secret)),
            token: Zeroizing::new(URL_SAFE_NO_PAD.encode(token)),
            expires_at: now + CREDENTIALS_VALID,
        }
    }
}

/// A random UUID (version 4).
pub fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/app";
    const ENTROPY: Entropy = [7; 96];

    fn at(minutes: i64) -> Timestamp {
        Timestamp(minutes * 60_000)
    }

    #[test]
    fn a_task_gets_its_own_credentials_and_no_other_does() {
        let roles = TaskRoles::default();
        let id = roles.associate(TaskId(1), ROLE, 7);
        let other = roles.associate(TaskId(2), ROLE, 8);
        let given = roles.credentials(TaskId(1), id.as_str(), at(0), &[1; 96]).unwrap();
        assert_eq!((given.role_arn.as_str(), given.expires_at), (ROLE, at(60)));
        assert!(given.access_key_id.starts_with("ASIA") && given.access_key_id.len() == 20);
        assert_eq!(given.secret_access_key.len(), 40);
        let of = |task, id: &str| roles.credentials(task, id, at(0), &ENTROPY).unwrap_err();
        assert_eq!(of(TaskId(1), other.as_str()), NoCredentials::OtherId);
        assert_eq!(of(TaskId(2), id.as_str()), NoCredentials::OtherId);
        assert_eq!(of(TaskId(3), id.as_str()), NoCredentials::NoRole);
    }

    #[test]
    fn they_are_renewed_before_they_expire_and_end_with_the_task() {
        let roles = TaskRoles::default();
        let id = roles.associate(TaskId(1), ROLE, 7);
        let key = |now, byte| roles.credentials(TaskId(1), id.as_str(), now, &[byte; 96]).unwrap().access_key_id;
        let (first, same, second) = (key(at(0), 1), key(at(39), 2), key(at(41), 3));
        assert_eq!(first, same);
        assert_ne!(first, second);
        assert!(roles.session(&first).is_some(), "the old ones are valid until their own end");
        key(at(62), 4);
        assert!(roles.session(&first).is_none() && roles.session(&second).is_some());
        roles.end(TaskId(1));
        assert!(roles.session(&second).is_none());
        assert!(roles.0.lock().keys.is_empty());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let roles = TaskRoles::default();
        let id = roles.associate(TaskId(1), ROLE, 7);
        let given = roles.credentials(TaskId(1), id.as_str(), at(0), &ENTROPY).unwrap();
        let shown = format!("{roles:?} {id:?} {given:?}");
        assert!(!shown.contains(id.as_str()) && !shown.contains(given.token.as_str()), "{shown}");
        assert!(!shown.contains(given.secret_access_key.as_str()), "{shown}");
    }
}
