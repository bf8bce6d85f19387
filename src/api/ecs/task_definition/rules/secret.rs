//! Rules on `secrets` and `environmentFiles` of containers, and on what a task's overrides do to them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::ecs::task_definition::rules::containers;
use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::TaskDefinition;
use crate::model::arn::ArnParts;

type Checked = Result<(), ApiError>;

/// Files of one container (ECS's limit).
const FILES_MAX: usize = 10;
const PARAMETER_CHARS_MAX: usize = 2048;

pub fn secrets(input: &wire::RegisterTaskDefinitionRequest) -> Checked {
    for container in containers(input) {
        let environment = container.environment.iter().flatten().filter_map(|pair| pair.name.as_deref());
        let mut taken: BTreeSet<&str> = environment.collect();
        for secret in container.secrets.iter().flatten() {
            let name = secret.name.as_deref().unwrap_or_default();
            if name.is_empty() {
                return Err(ApiError::client("Secret name should not be null or empty."));
            }
            if !taken.insert(name) {
                return Err(shared_name(name));
            }
            value_from(name, secret.value_from.as_deref().unwrap_or_default())?;
        }
        let log = container.log_configuration.as_ref();
        for secret in log.and_then(|log| log.secret_options.as_deref()).unwrap_or_default() {
            let name = secret.name.as_deref().unwrap_or_default();
            value_from(name, secret.value_from.as_deref().unwrap_or_default())?;
        }
    }
    Ok(())
}

fn shared_name(name: &str) -> ApiError {
    ApiError::client(format!(
        "The secret name must be unique and not shared with any new or existing environment variables set on the container, such as '{name}'."
    ))
}

/// A parameter's name, or an ARN of a parameter or of a secret.
fn value_from(name: &str, text: &str) -> Checked {
    if text.is_empty() {
        return Err(ApiError::client(format!("Secret valueFrom should not be null or empty. ({name})")));
    }
    let is_known = match ArnParts::parse(text) {
        Some(parts) => {
            let is_parameter = parts.service == "ssm" && parts.resource.starts_with("parameter/");
            let is_secret = parts.service == "secretsmanager" && parts.resource.starts_with("secret:");
            is_parameter || is_secret
        }
        // Looser than the text below: published definitions with a placeholder here (`<NAME>`) are to register, and fail
        // their start with the name that was not found.
        None => text.chars().all(|c| c.is_ascii_graphic()),
    };
    if is_known && text.len() <= PARAMETER_CHARS_MAX {
        return Ok(());
    }
    Err(ApiError::client(format!(
        "The Systems Manager parameter name specified for secret {name} is invalid. The parameter name can be up to {PARAMETER_CHARS_MAX} characters and include the following letters and symbols: a-zA-Z0-9_.-/"
    )))
}

pub fn environment_files(input: &wire::RegisterTaskDefinitionRequest) -> Checked {
    for container in containers(input) {
        let files = container.environment_files.as_deref().unwrap_or_default();
        files_of(container.name.as_deref().unwrap_or_default(), files)?;
    }
    Ok(())
}

fn files_of(container: &str, files: &[wire::EnvironmentFile]) -> Checked {
    let invalid = |why: String| Err(ApiError::client(format!("Invalid setting for container '{container}'. {why}")));
    if files.len() > FILES_MAX {
        return invalid(format!("At most {FILES_MAX} environmentFiles are allowed."));
    }
    for file in files {
        let value = file.value.as_deref().unwrap_or_default();
        if !value.ends_with(".env") {
            return invalid(format!("environmentFiles: '{value}' must have the extension .env."));
        }
        let path = ArnParts::parse(value).filter(|parts| parts.service == "s3").map(|parts| parts.resource);
        if !path
            .and_then(|path| path.split_once('/'))
            .is_some_and(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
        {
            return invalid(format!("environmentFiles: '{value}' must be the ARN of an object in Amazon S3."));
        }
    }
    Ok(())
}

/// What a task's overrides may not do: hide a secret behind a variable, or name files that no definition could.
pub fn overrides(definition: &TaskDefinition, overrides: &wire::TaskOverride) -> Checked {
    for given in overrides.container_overrides.iter().flatten() {
        let name = given.name.as_deref().unwrap_or_default();
        let Some(container) = definition.container(name) else { continue };
        let secrets = container.other.get("secrets").and_then(Value::as_array);
        let is_secret = |name: &str| secrets.into_iter().flatten().any(|secret| secret["name"] == name);
        let names = given.environment.iter().flatten().filter_map(|pair| pair.name.as_deref());
        if let Some(shared) = names.into_iter().find(|name| is_secret(name)) {
            return Err(shared_name(shared));
        }
        files_of(name, given.environment_files.as_deref().unwrap_or_default())?;
    }
    Ok(())
}
