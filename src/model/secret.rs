//! A secret of Secrets Manager: what is said about it, and apart from that each version's sealed value.
//!
//! The values have records of their own, because a hundred versions of 64 KiB would not fit into one transaction, and
//! because whoever lists secrets has no business with their values.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::arn::ArnParts;
use crate::model::{Arn, Scope, Sealed, Tag, Timestamp};

/// The stage of the version that is read where none is asked for.
pub const CURRENT: &str = "AWSCURRENT";
/// The stage of the version that was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";
/// Characters after the name in an ARN, so that a deleted secret and its namesake differ.
pub const SUFFIX_CHARS: usize = 6;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    pub scope: Scope,
    pub name: String,
    /// The six random characters that end its ARN.
    pub suffix: String,
    pub description: Option<String>,
    pub kms_key_id: Option<String>,
    /// The member `Type` of a secret that another product manages.
    #[serde(default)]
    pub kind: Option<String>,
    pub tags: Vec<Tag>,
    /// Its resource policy, as it was given.
    #[serde(default)]
    pub policy: Option<String>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
    /// The day on which a value was last read.
    pub accessed_on: Option<Timestamp>,
    /// Where it is marked for deletion: when it will be forgotten.
    pub deletion_at: Option<Timestamp>,
    /// Oldest first.
    pub versions: Vec<Version>,
}

/// What is said about one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The client's request token.
    pub id: String,
    pub created_at: Timestamp,
    pub stages: Vec<String>,
    pub accessed_on: Option<Timestamp>,
}

/// The value of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretValue {
    pub scope: Scope,
    pub name: String,
    pub suffix: String,
    pub version: String,
    pub is_binary: bool,
    pub value: Sealed,
}

impl Secret {
    pub fn arn(&self) -> Arn {
        Arn::secret(&self.scope, &self.name, &self.suffix)
    }

    pub fn version(&self, id: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// The version that carries a stage: a stage is on one version at most.
    pub fn staged(&self, stage: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.has(stage))
    }

    pub fn is_marked_for_deletion(&self) -> bool {
        self.deletion_at.is_some()
    }

    /// Its recovery window is over: whatever is left of it is on its way out.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        self.deletion_at.is_some_and(|at| at <= now)
    }
}

impl Version {
    pub fn has(&self, stage: &str) -> bool {
        self.stages.iter().any(|own| own == stage)
    }
}

impl SecretValue {
    /// What the sealed value is bound to: moved to any other record, it does not open.
    pub fn identity(&self) -> String {
        let Scope { account, region } = &self.scope;
        let kind = if self.is_binary { "binary" } else { "string" };
        format!("secret\n{account}\n{region}\n{}\n{}\n{}\n{kind}", self.name, self.suffix, self.version)
    }
}

/// How callers name a secret: by its name, or by its ARN with or without the six characters at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretReference<'a> {
    Name(&'a str),
    /// What follows `secret:` in an ARN.
    Arn(&'a str),
    /// An ARN of something else, or of another account or region.
    Foreign,
}

impl<'a> SecretReference<'a> {
    pub fn parse(text: &'a str, scope: &Scope) -> SecretReference<'a> {
        let Some(parts) = ArnParts::parse(text) else { return SecretReference::Name(text) };
        match parts.resource.strip_prefix("secret:") {
            Some(rest) if parts.service == "secretsmanager" && parts.is_in(scope) => SecretReference::Arn(rest),
            _ => SecretReference::Foreign,
        }
    }

    /// Finds the secret; `get` looks one up by its name.
    pub fn find(self, get: impl Fn(&str) -> Option<Arc<Secret>>) -> Option<Arc<Secret>> {
        match self {
            SecretReference::Foreign => None,
            SecretReference::Name(name) => get(name),
            SecretReference::Arn(rest) => {
                let complete = rest.len().checked_sub(SUFFIX_CHARS + 1).filter(|at| rest.is_char_boundary(*at));
                let complete = complete.and_then(|at| Some((&rest[..at], rest[at..].strip_prefix('-')?)));
                let by_whole = complete.and_then(|(name, suffix)| get(name).filter(|found| found.suffix == suffix));
                by_whole.or_else(|| get(rest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() }
    }

    fn secret(name: &str) -> Arc<Secret> {
        Arc::new(Secret {
            scope: scope(),
            name: String::from(name),
            suffix: String::from("aB3dE6"),
            description: None,
            kms_key_id: None,
            kind: None,
            tags: vec![],
            policy: None,
            created_at: Timestamp(0),
            changed_at: Timestamp(0),
            accessed_on: None,
            deletion_at: None,
            versions: vec![],
        })
    }

    #[test]
    fn a_secret_is_found_by_name_and_by_both_forms_of_its_arn() {
        let known = [secret("db"), secret("db-aaaaaa"), secret("é")];
        let find = |text: &str| {
            let found = SecretReference::parse(text, &scope())
                .find(|name| known.iter().find(|secret| secret.name == name).cloned());
            found.map(|secret| secret.name.clone())
        };
        let arn = |rest: &str| format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{rest}");
        assert_eq!(find("db").as_deref(), Some("db"));
        assert_eq!(find(&arn("db-aB3dE6")).as_deref(), Some("db"));
        assert_eq!(find(&arn("db")).as_deref(), Some("db"));
        // A name may look as if it ended in a suffix.
        assert_eq!(find(&arn("db-aaaaaa")).as_deref(), Some("db-aaaaaa"));
        assert_eq!(find(&arn("db-aaaaaa-aB3dE6")).as_deref(), Some("db-aaaaaa"));
        assert_eq!(find(&arn("db-zzzzzz")), None);
        assert_eq!(find(&arn("éaéaéa")), None);
        assert_eq!(find("arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-aB3dE6"), None);
        assert_eq!(find("arn:aws:ssm:us-east-1:123456789012:secret:db"), None);
    }
}
