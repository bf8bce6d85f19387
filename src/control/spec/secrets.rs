//! `secrets` of containers: what they name is looked up when a task starts, and never again.
//!
//! A name, or an ARN of Systems Manager, means a parameter; an ARN of Secrets Manager a secret, or one key of it, at a
//! stage or in a version. What is not there fails the start with the text that ECS shows for it. The values go into the
//! container's environment and nowhere else: no error here holds one.

use std::fmt;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::identity::SealingKey;
use crate::model::arn::ArnParts;
use crate::model::exit::StartFailure;
use crate::model::parameter::ParameterReference;
use crate::model::secret::{CURRENT, SecretReference};
use crate::model::task_definition::ContainerDefinition;
use crate::model::{Parameter, Scope, Secret, SecretValue, TaskDefinition, Timestamp};
use crate::store::{Key, Snapshot};

/// The least length of a version's id, which the service's client checks before it asks.
const VERSION_ID_CHARS_MIN: usize = 32;

/// A secret of a container, opened.
pub struct Opened {
    pub container: String,
    pub name: String,
    pub value: Zeroizing<String>,
}

/// Where secrets are looked up: the state when the task starts.
pub struct Vault<'a> {
    pub snapshot: &'a Snapshot,
    pub sealing: &'a SealingKey,
    pub now: Timestamp,
}

/// Why one secret cannot be had.
enum Missing {
    /// In the words of whoever retrieves from Secrets Manager.
    Secret(String),
    /// A parameter, as it was named.
    Parameter(String),
}

/// Opens the secrets of all containers.
pub fn open(vault: &Vault<'_>, definition: &TaskDefinition) -> Result<Vec<Opened>, StartFailure> {
    let (mut opened, mut invalid) = (Vec::new(), Vec::new());
    for container in &definition.document.container_definitions {
        for (name, value_from) in of(container) {
            match vault.value(&definition.scope, value_from) {
                Ok(value) => opened.extend(name.map(|name| Opened {
                    container: container.name.clone(),
                    name: String::from(name),
                    value,
                })),
                Err(Missing::Parameter(name)) => invalid.push(name),
                Err(Missing::Secret(text)) => return Err(failure("unable to retrieve secret from asm", text)),
            }
        }
    }
    match invalid.is_empty() {
        true => Ok(opened),
        false => Err(failure(
            "unable to retrieve secrets from ssm",
            format_args!("invalid ssm parameters: {}", invalid.join(",")),
        )),
    }
}

fn failure(doing: &str, why: impl fmt::Display) -> StartFailure {
    StartFailure::ResourceInitialization(format!(
        "unable to pull secrets or registry auth: execution resource retrieval failed: {doing}: service call has been retried 1 time(s): {why}"
    ))
}

/// What a container's `secrets` and the options of its log driver name. The latter have to be there, and have no variable.
fn of<'a>(container: &'a ContainerDefinition) -> impl Iterator<Item = (Option<&'a str>, &'a str)> {
    let list = |value: Option<&'a Value>| value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let own = list(container.other.get("secrets")).iter();
    let of_log = container.other.get("logConfiguration").and_then(|log| log.get("secretOptions"));
    let value_from = |secret: &'a Value| secret.get("valueFrom")?.as_str();
    own.filter_map(move |secret| Some((secret.get("name")?.as_str(), value_from(secret)?)))
        .chain(list(of_log).iter().filter_map(move |secret| Some((None, value_from(secret)?))))
}

impl Vault<'_> {
    fn value(&self, scope: &Scope, value_from: &str) -> Result<Zeroizing<String>, Missing> {
        match ArnParts::parse(value_from) {
            Some(parts) if parts.service == "secretsmanager" => {
                self.secret(scope, &parts, value_from).map_err(Missing::Secret)
            }
            parts => self.parameter(scope, parts.as_ref(), value_from),
        }
    }

    fn parameter(&self, scope: &Scope, parts: Option<&ArnParts<'_>>, text: &str) -> Result<Zeroizing<String>, Missing> {
        // Another region's is named by its whole ARN; another account's cannot be had.
        let scope = parts.and_then(|parts| elsewhere(scope, parts)).unwrap_or_else(|| scope.clone());
        let invalid = || Missing::Parameter(String::from(text));
        let reference = ParameterReference::parse(text, &scope).ok_or_else(invalid)?;
        let found = reference.find(|name| self.snapshot.get::<Parameter>(&Key::parameter(&scope, name)));
        let parameter = found.ok_or_else(invalid)?;
        let version = parameter.selected(reference.selector).ok_or_else(invalid)?;
        self.sealing.open_text(&version.value, &parameter.identity(version.version)).map_err(|_| invalid())
    }

    /// `secret:NAME[:json-key[:version-stage[:version-id]]]`, where what is empty keeps its colon.
    fn secret(&self, scope: &Scope, parts: &ArnParts<'_>, text: &str) -> Result<Zeroizing<String>, String> {
        let mut fields = parts.resource.split(':');
        let (kind, name) = (fields.next(), fields.next().filter(|name| !name.is_empty()));
        let mut next = || fields.next().filter(|field| !field.is_empty());
        let (json_key, stage, version) = (next(), next(), next());
        let (Some("secret"), Some(name), None) = (kind, name, fields.next()) else {
            return Err(format!(
                "{text} is not an ARN of a secret: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME:json-key:version-stage:version-id"
            ));
        };
        let arn = format!("arn:aws:secretsmanager:{}:{}:secret:{name}", parts.region, parts.account);
        let failed = |why: &dyn fmt::Display| format!("failed to fetch secret {arn} from secrets manager: {why}");
        let scope = elsewhere(scope, parts);
        let found = scope.and_then(|scope| {
            SecretReference::parse(&arn, &scope).find(|name| self.snapshot.get::<Secret>(&Key::secret(&scope, name)))
        });
        let secret = found
            .filter(|secret| !secret.is_gone(self.now))
            .ok_or_else(|| failed(&"ResourceNotFoundException: Secrets Manager can't find the specified secret."))?;
        let version = chosen(&secret, stage, version).map_err(|why| failed(&why))?;
        let value = self.snapshot.get::<SecretValue>(&Key::secret_value(&secret.scope, &secret.name, version));
        let opened = value.as_ref().map(|value| self.sealing.open(&value.value, &value.identity()));
        let (Some(value), Some(Ok(bytes))) = (value, opened) else {
            return Err(failed(&"InternalServiceError: the value cannot be opened"));
        };
        let text = std::str::from_utf8(&bytes).ok().filter(|_| !value.is_binary);
        let text = text.ok_or_else(|| failed(&"it is binary, and an environment variable holds text"))?;
        match json_key {
            None => Ok(Zeroizing::new(String::from(text))),
            Some(key) => member(text, key),
        }
    }
}

/// The account's own scope in the region of an ARN. `None` for another account.
fn elsewhere(scope: &Scope, parts: &ArnParts<'_>) -> Option<Scope> {
    let region = parts.region.parse().ok()?;
    (parts.account == scope.account.as_str()).then(|| Scope { account: scope.account.clone(), region })
}

/// The id of the version that is asked for, or what Secrets Manager says where there is none.
fn chosen<'a>(secret: &'a Secret, stage: Option<&str>, id: Option<&str>) -> Result<&'a str, String> {
    if secret.is_marked_for_deletion() {
        return Err(String::from(
            "InvalidRequestException: You can't perform this operation on the secret because it was marked for deletion.",
        ));
    }
    let missing = |by: String| {
        format!("ResourceNotFoundException: Secrets Manager can't find the specified secret value for {by}")
    };
    let Some(id) = id else {
        let stage = stage.unwrap_or(CURRENT);
        let version = secret.staged(stage).ok_or_else(|| missing(format!("staging label: {stage}")))?;
        return Ok(&version.id);
    };
    if id.len() < VERSION_ID_CHARS_MIN {
        return Err(format!(
            "InvalidParameter: 1 validation error(s) found. - minimum field size of {VERSION_ID_CHARS_MIN}, GetSecretValueInput.VersionId."
        ));
    }
    let version = secret.version(id).ok_or_else(|| missing(format!("VersionId: {id}")))?;
    if stage.is_some_and(|stage| !version.has(stage)) {
        return Err(String::from(
            "InvalidRequestException: You provided a VersionStage that is not associated to the provided VersionId.",
        ));
    }
    Ok(&version.id)
}

/// One member of a JSON object: a text as it is, everything else as JSON writes it.
fn member(text: &str, key: &str) -> Result<Zeroizing<String>, String> {
    // The parser's own error would quote what it stumbled over.
    let parsed: Value = serde_json::from_str(text).map_err(|_| {
        format!("retrieved secret from Secrets Manager is not JSON, and its json key {key} is asked for")
    })?;
    match parsed.get(key) {
        Some(Value::String(text)) => Ok(Zeroizing::new(text.clone())),
        Some(other) => Ok(Zeroizing::new(other.to_string())),
        None => Err(format!("retrieved secret from Secrets Manager did not contain json key {key}")),
    }
}

#[cfg(test)]
mod tests;
