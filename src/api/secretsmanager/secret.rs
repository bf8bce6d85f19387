//! Secrets: create, describe, update, delete, restore.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::context::Context;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::secretsmanager::reference::{self, invalid_request};
use crate::api::secretsmanager::value::Payload;
use crate::api::secretsmanager::{tag, version};
use crate::api::wire::secretsmanager as wire;
use crate::model::secret::{CURRENT, SUFFIX_CHARS};
use crate::model::{Arn, Secret};
use crate::store::{Key, View};

/// Days in which a deleted secret can be restored.
const RECOVERY_DAYS: std::ops::RangeInclusive<i64> = 7..=30;
const RECOVERY_DAYS_DEFAULT: i64 = 30;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub fn create(
    cx: &Context,
    view: &mut View,
    input: wire::CreateSecretRequest,
) -> Result<wire::CreateSecretResponse, ApiError> {
    let name = input.name.unwrap_or_default();
    check_name(&name)?;
    let payload = Payload::given(input.secret_string, input.secret_binary)?;
    let tags = tag::given(input.tags.as_deref())?;
    let token = input.client_request_token.unwrap_or_else(|| cx.ids.uuid());
    if let Some(found) = view.get::<Secret>(&Key::secret(&cx.scope, &name)) {
        if found.is_gone(cx.now) {
            reference::forget(view, &found);
        } else if found.is_marked_for_deletion() {
            return Err(invalid_request(
                "You can't create this secret because a secret with this name is already scheduled for deletion.",
            ));
        } else if let Some(payload) = payload
            && version::is_repeated(cx, view, &found, &token, &payload)?
        {
            return Ok(created(&found, Some(token)));
        } else {
            let message = format_args!("The operation failed because the secret {name} already exists.").to_string();
            return Err(ApiError::new(ErrorKind::ResourceExists, message));
        }
    }
    note_key(cx, input.kms_key_id.as_deref());
    if input.add_replica_regions.is_some() {
        cx.without_effect.note("AddReplicaRegions");
    }
    let mut secret = Secret {
        scope: cx.scope.clone(),
        name,
        suffix: suffix(cx),
        description: input.description,
        kms_key_id: input.kms_key_id,
        kind: input.r#type,
        tags,
        policy: None,
        created_at: cx.now,
        changed_at: cx.now,
        accessed_on: None,
        deletion_at: None,
        versions: Vec::new(),
    };
    let mut version_id = None;
    if let Some(payload) = payload {
        version::add(cx, view, &mut secret, &token, &payload, &[String::from(CURRENT)])?;
        version_id = Some(token);
    }
    let answer = created(&secret, version_id);
    view.put(secret);
    Ok(answer)
}

fn created(secret: &Secret, version_id: Option<String>) -> wire::CreateSecretResponse {
    wire::CreateSecretResponse {
        arn: Some(secret.arn().into()),
        name: Some(secret.name.clone()),
        version_id,
        replication_status: None,
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-/_+=.@!".contains(c)) {
        return Ok(());
    }
    Err(ApiError::validation(
        "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
    ))
}

/// Six letters and digits.
fn suffix(cx: &Context) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bits = cx.ids.bits();
    let mut next = || {
        let index = usize::try_from(bits % 62).unwrap_or(0);
        bits /= 62;
        char::from(ALPHABET[index])
    };
    (0..SUFFIX_CHARS).map(|_| next()).collect()
}

/// There is one key, of the data directory: another is kept as it was named, and changes nothing.
fn note_key(cx: &Context, key: Option<&str>) {
    if key.is_some_and(|key| !key.is_empty() && key != "alias/aws/secretsmanager") {
        cx.without_effect.note("KmsKeyId");
    }
}

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeSecretRequest,
) -> Result<wire::DescribeSecretResponse, ApiError> {
    let secret = reference::any(cx, view, input.secret_id.as_deref())?;
    Ok(wire::DescribeSecretResponse {
        arn: Some(secret.arn().into()),
        name: Some(secret.name.clone()),
        r#type: secret.kind.clone(),
        description: secret.description.clone(),
        kms_key_id: secret.kms_key_id.clone(),
        last_changed_date: Some(secret.changed_at.epoch_seconds()),
        last_accessed_date: secret.accessed_on.map(|at| at.epoch_seconds()),
        deleted_date: secret.deletion_at.map(|at| at.epoch_seconds()),
        tags: Some(tag::shown(&secret.tags)),
        version_ids_to_stages: stages(&secret),
        created_date: Some(secret.created_at.epoch_seconds()),
        ..wire::DescribeSecretResponse::default()
    })
}

/// The versions that carry a stage; absent where none does.
pub fn stages(secret: &Secret) -> Option<BTreeMap<String, Vec<String>>> {
    let staged = secret.versions.iter().filter(|version| !version.stages.is_empty());
    let staged: BTreeMap<_, _> = staged.map(|version| (version.id.clone(), version.stages.clone())).collect();
    Some(staged).filter(|staged| !staged.is_empty())
}

pub fn update(
    cx: &Context,
    view: &mut View,
    input: wire::UpdateSecretRequest,
) -> Result<wire::UpdateSecretResponse, ApiError> {
    let payload = Payload::given(input.secret_string, input.secret_binary)?;
    let mut secret = Secret::clone(&*reference::usable(cx, view, input.secret_id.as_deref())?);
    note_key(cx, input.kms_key_id.as_deref());
    secret.description = input.description.or(secret.description);
    secret.kms_key_id = input.kms_key_id.or(secret.kms_key_id);
    secret.kind = input.r#type.or(secret.kind);
    secret.changed_at = cx.now;
    let mut version_id = None;
    if let Some(payload) = payload {
        let token = input.client_request_token.unwrap_or_else(|| cx.ids.uuid());
        if !version::is_repeated(cx, view, &secret, &token, &payload)? {
            version::add(cx, view, &mut secret, &token, &payload, &[String::from(CURRENT)])?;
        }
        version_id = Some(token);
    }
    let answer =
        wire::UpdateSecretResponse { arn: Some(secret.arn().into()), name: Some(secret.name.clone()), version_id };
    view.put(secret);
    Ok(answer)
}

pub fn delete(
    cx: &Context,
    view: &mut View,
    input: wire::DeleteSecretRequest,
) -> Result<wire::DeleteSecretResponse, ApiError> {
    let forced = input.force_delete_without_recovery == Some(true);
    let days = match input.recovery_window_in_days {
        Some(_) if forced => {
            return Err(ApiError::invalid_parameter(
                "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
            ));
        }
        Some(days) if !RECOVERY_DAYS.contains(&days) => {
            return Err(ApiError::invalid_parameter(
                "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
            ));
        }
        days => u32::try_from(days.unwrap_or(RECOVERY_DAYS_DEFAULT)).unwrap_or(u32::MAX),
    };
    let id = input.secret_id.unwrap_or_default();
    let secret = match reference::any(cx, view, Some(&id)) {
        Ok(secret) => Secret::clone(&secret),
        // What is to be gone, is.
        Err(_) if forced => {
            let arn = match id.starts_with("arn:") {
                true => id.clone(),
                false => Arn::secret(&cx.scope, &id, &suffix(cx)).into(),
            };
            return Ok(deleted(arn, id, cx.now.epoch_seconds()));
        }
        Err(error) => return Err(error),
    };
    if forced {
        reference::forget(view, &secret);
        return Ok(deleted(secret.arn().into(), secret.name, cx.now.epoch_seconds()));
    }
    if secret.is_marked_for_deletion() {
        return Err(invalid_request(
            "You can't perform this operation on the secret because it was already scheduled for deletion.",
        ));
    }
    let at = cx.now + DAY * days;
    let answer = deleted(secret.arn().into(), secret.name.clone(), at.epoch_seconds());
    view.put(Secret { deletion_at: Some(at), ..secret });
    Ok(answer)
}

fn deleted(arn: String, name: String, at: f64) -> wire::DeleteSecretResponse {
    wire::DeleteSecretResponse { arn: Some(arn), name: Some(name), deletion_date: Some(at) }
}

pub fn restore(
    cx: &Context,
    view: &mut View,
    input: wire::RestoreSecretRequest,
) -> Result<wire::RestoreSecretResponse, ApiError> {
    let secret = reference::any(cx, view, input.secret_id.as_deref())?;
    let answer = wire::RestoreSecretResponse { arn: Some(secret.arn().into()), name: Some(secret.name.clone()) };
    if secret.is_marked_for_deletion() {
        view.put(Secret { deletion_at: None, ..Secret::clone(&secret) });
    }
    Ok(answer)
}
