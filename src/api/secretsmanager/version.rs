//! Versions of a secret and the stages that move between them.
//!
//! A stage is on one version at most. Where AWSCURRENT moves, AWSPREVIOUS follows to the version that it leaves.

use crate::api::context::Context;
use crate::api::ecs::page::{HUNDRED, page};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::secretsmanager::list::invalid_token;
use crate::api::secretsmanager::reference::{self, invalid_request};
use crate::api::secretsmanager::value::{self, Payload};
use crate::api::wire::secretsmanager as wire;
use crate::model::secret::{CURRENT, PREVIOUS, Version};
use crate::model::{Secret, SecretValue};
use crate::store::{Key, View};

/// Versions of one secret (service quota: about 100). With the secret itself they are deleted in one transaction.
pub const VERSIONS_MAX: usize = 100;
/// Stages on all versions of one secret (service quota).
const STAGES_MAX: usize = 20;

/// The version that a reader means: by its id, by a stage, by both where they agree, or the current one.
pub fn wanted<'a>(secret: &'a Secret, id: Option<&str>, stage: Option<&str>) -> Result<&'a Version, ApiError> {
    let missing = |by: String| {
        let message = format!("Secrets Manager can't find the specified secret value for {by}");
        ApiError::new(ErrorKind::ResourceNotFound, message)
    };
    let Some(id) = id else {
        let stage = stage.unwrap_or(CURRENT);
        return secret.staged(stage).ok_or_else(|| missing(format!("staging label: {stage}")));
    };
    let version = secret.version(id).ok_or_else(|| missing(format!("VersionId: {id}")))?;
    if stage.is_some_and(|stage| !version.has(stage)) {
        return Err(invalid_request("You provided a VersionStage that is not associated to the provided VersionId."));
    }
    Ok(version)
}

/// Whether this very value was given before with the same token. With another value it is an error.
pub fn is_repeated(
    cx: &Context,
    view: &View,
    secret: &Secret,
    token: &str,
    payload: &Payload,
) -> Result<bool, ApiError> {
    if secret.version(token).is_none() {
        return Ok(false);
    }
    let (bytes, is_binary) = value::open(cx, view, secret, token)?;
    if is_binary == payload.is_binary && *bytes == *payload.bytes {
        return Ok(true);
    }
    let arn = secret.arn();
    Err(ApiError::new(
        ErrorKind::ResourceExists,
        format_args!(
            "You can't use ClientRequestToken {token} because that value is already in use for a version of secret {arn}."
        ),
    ))
}

/// Adds a version with its stages. The caller puts the secret.
pub fn add(
    cx: &Context,
    view: &mut View,
    secret: &mut Secret,
    id: &str,
    payload: &Payload,
    stages: &[String],
) -> Result<(), ApiError> {
    make_room(view, secret)?;
    let mut value = SecretValue {
        scope: secret.scope.clone(),
        name: secret.name.clone(),
        suffix: secret.suffix.clone(),
        version: String::from(id),
        is_binary: payload.is_binary,
        value: crate::model::Sealed(Vec::new()),
    };
    value.value = cx.sealing.seal(&payload.bytes, &value.identity(), cx.ids.nonce());
    view.put(value);
    let version = Version { id: String::from(id), created_at: cx.now, stages: Vec::new(), accessed_on: None };
    secret.versions.push(version);
    for stage in stages {
        attach(secret, id, stage);
    }
    check_stages(secret)
}

/// A secret that is full loses its oldest version that no stage keeps.
fn make_room(view: &mut View, secret: &mut Secret) -> Result<(), ApiError> {
    if secret.versions.len() < VERSIONS_MAX {
        return Ok(());
    }
    let oldest = secret.versions.iter().position(|version| version.stages.is_empty()).ok_or_else(|| {
        ApiError::new(
            ErrorKind::LimitExceeded,
            format_args!("A secret can have at most {VERSIONS_MAX} versions, and all of this one have staging labels."),
        )
    })?;
    let dropped = secret.versions.remove(oldest);
    view.delete::<SecretValue>(&Key::secret_value(&secret.scope, &secret.name, &dropped.id));
    Ok(())
}

fn check_stages(secret: &Secret) -> Result<(), ApiError> {
    let stages: usize = secret.versions.iter().map(|version| version.stages.len()).sum();
    if stages > STAGES_MAX {
        return Err(ApiError::new(
            ErrorKind::LimitExceeded,
            format_args!("A secret can have at most {STAGES_MAX} staging labels."),
        ));
    }
    Ok(())
}

/// Puts a stage on a version, and takes it from wherever it was.
fn attach(secret: &mut Secret, id: &str, stage: &str) {
    let before = secret.staged(stage).map(|version| version.id.clone());
    if before.as_deref() == Some(id) {
        return;
    }
    detach(secret, stage);
    if let Some(version) = secret.versions.iter_mut().find(|version| version.id == id) {
        version.stages.push(String::from(stage));
    }
    if let (CURRENT, Some(before)) = (stage, before) {
        attach(secret, &before, PREVIOUS);
    }
}

fn detach(secret: &mut Secret, stage: &str) {
    for version in &mut secret.versions {
        version.stages.retain(|own| own != stage);
    }
}

pub fn update_stage(
    cx: &Context,
    view: &mut View,
    input: wire::UpdateSecretVersionStageRequest,
) -> Result<wire::UpdateSecretVersionStageResponse, ApiError> {
    let mut secret = Secret::clone(&*reference::usable(cx, view, input.secret_id.as_deref())?);
    let stage = input.version_stage.unwrap_or_default();
    let (from, to) = (input.remove_from_version_id.as_deref(), input.move_to_version_id.as_deref());
    for id in [from, to].into_iter().flatten() {
        wanted(&secret, Some(id), None)?;
    }
    let holder = secret.staged(&stage).map(|version| version.id.clone());
    check_move(&stage, holder.as_deref(), from, to)?;
    match to {
        Some(to) => attach(&mut secret, to, &stage),
        None => detach(&mut secret, &stage),
    }
    check_stages(&secret)?;
    secret.changed_at = cx.now;
    let answer =
        wire::UpdateSecretVersionStageResponse { arn: Some(secret.arn().into()), name: Some(secret.name.clone()) };
    view.put(secret);
    Ok(answer)
}

/// The caller must know where the stage is: what moved meanwhile is not moved again.
fn check_move(stage: &str, holder: Option<&str>, from: Option<&str>, to: Option<&str>) -> Result<(), ApiError> {
    let invalid = |message: String| Err(ApiError::invalid_parameter(message));
    match (holder, from, to) {
        (_, None, None) => {
            invalid(String::from("You must specify RemoveFromVersionId, MoveToVersionId, or both of them."))
        }
        (holder, Some(from), _) if holder != Some(from) => {
            invalid(format!("Staging label {stage} is not currently attached to version {from}."))
        }
        (Some(holder), None, Some(to)) if holder != to => invalid(format!(
            "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to version {holder}, so you must explicitly reference that version in RemoveFromVersionId."
        )),
        (_, Some(_), None) if stage == CURRENT => invalid(format!(
            "You can only move staging label {CURRENT} to a different secret version. It can't be completely removed."
        )),
        _ => Ok(()),
    }
}

pub fn list(
    cx: &Context,
    view: &mut View,
    input: wire::ListSecretVersionIdsRequest,
) -> Result<wire::ListSecretVersionIdsResponse, ApiError> {
    let secret = reference::any(cx, view, input.secret_id.as_deref())?;
    let all = input.include_deprecated == Some(true);
    let mut versions: Vec<&Version> =
        secret.versions.iter().filter(|version| all || !version.stages.is_empty()).collect();
    let key = |version: &&Version| (version.created_at, version.id.clone());
    versions.sort_by_key(key);
    let (versions, next_token) = page(versions, key, false, input.next_token.as_deref(), input.max_results, HUNDRED)
        .map_err(|_| invalid_token())?;
    let shown = versions.into_iter().map(|version| wire::SecretVersionsListEntry {
        version_id: Some(version.id.clone()),
        version_stages: Some(version.stages.clone()).filter(|stages| !stages.is_empty()),
        last_accessed_date: version.accessed_on.map(|at| at.epoch_seconds()),
        created_date: Some(version.created_at.epoch_seconds()),
        kms_key_ids: Some(vec![secret.kms_key_id.clone().unwrap_or_else(|| String::from("DefaultEncryptionKey"))]),
    });
    Ok(wire::ListSecretVersionIdsResponse {
        versions: Some(shown.collect()),
        next_token,
        arn: Some(secret.arn().into()),
        name: Some(secret.name.clone()),
    })
}
