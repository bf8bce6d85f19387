//! The values of secrets: what is given is sealed before the view sees it, and opened only for whoever reads it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::api::context::Context;
use crate::api::ecs::page::{PageSize, page};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::secretsmanager::{list, reference, version};
use crate::api::wire::secretsmanager as wire;
use crate::model::secret::{CURRENT, Version};
use crate::model::{Secret, SecretValue, Timestamp};
use crate::store::{Key, View};

/// Bytes of one value (service quota).
const VALUE_BYTES_MAX: usize = 65_536;
const BATCH: PageSize = PageSize { default: 20, max: 20 };
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A value as it was given. Wiped when dropped.
pub struct Payload {
    pub bytes: Zeroizing<Vec<u8>>,
    pub is_binary: bool,
}

impl Payload {
    /// At most one of the two forms.
    pub fn given(text: Option<String>, binary: Option<String>) -> Result<Option<Payload>, ApiError> {
        let payload = match (text, binary) {
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid_parameter(
                    "You can't specify both a binary secret value and a string secret value in the same secret.",
                ));
            }
            (None, None) => return Ok(None),
            (Some(text), None) => Payload { bytes: Zeroizing::new(text.into_bytes()), is_binary: false },
            (None, Some(base64)) => {
                // The decoder's own error would quote what it could not decode.
                let bytes = STANDARD.decode(Zeroizing::new(base64).as_bytes()).map_err(|_| {
                    ApiError::new(ErrorKind::Serialization, "SecretBinary: expected base64, found something else")
                })?;
                Payload { bytes: Zeroizing::new(bytes), is_binary: true }
            }
        };
        if payload.bytes.len() > VALUE_BYTES_MAX {
            return Err(ApiError::invalid_parameter(format!(
                "The secret value has more than {VALUE_BYTES_MAX} bytes."
            )));
        }
        Ok(Some(payload))
    }
}

pub fn get(
    cx: &Context,
    view: &mut View,
    input: wire::GetSecretValueRequest,
) -> Result<wire::GetSecretValueResponse, ApiError> {
    let secret = reference::usable(cx, view, input.secret_id.as_deref())?;
    let wanted = version::wanted(&secret, input.version_id.as_deref(), input.version_stage.as_deref())?;
    let read = read(cx, view, &secret, wanted)?;
    note_access(cx, view, &secret, &wanted.id);
    Ok(wire::GetSecretValueResponse {
        arn: Some(secret.arn().into()),
        name: Some(secret.name.clone()),
        version_id: Some(wanted.id.clone()),
        secret_binary: read.binary,
        secret_string: read.text,
        version_stages: Some(wanted.stages.clone()).filter(|stages| !stages.is_empty()),
        created_date: Some(wanted.created_at.epoch_seconds()),
    })
}

pub fn get_batch(
    cx: &Context,
    view: &mut View,
    input: wire::BatchGetSecretValueRequest,
) -> Result<wire::BatchGetSecretValueResponse, ApiError> {
    let mut answer = wire::BatchGetSecretValueResponse {
        secret_values: Some(Vec::new()),
        errors: Some(Vec::new()),
        next_token: None,
    };
    let ids = match (input.secret_id_list, input.filters) {
        (Some(ids), None) => ids,
        (None, Some(filters)) => {
            let found = list::filtered(cx, view, &filters, false)?;
            let key = |secret: &std::sync::Arc<Secret>| secret.name.clone();
            let (found, next) = page(found, key, false, input.next_token.as_deref(), input.max_results, BATCH)
                .map_err(|_| list::invalid_token())?;
            answer.next_token = next;
            found.iter().map(|secret| secret.name.clone()).collect()
        }
        _ => {
            return Err(ApiError::invalid_parameter(
                "Either 'SecretIdList' or 'Filters' must be provided, but not both.",
            ));
        }
    };
    for id in ids {
        let asked = wire::GetSecretValueRequest { secret_id: Some(id.clone()), ..Default::default() };
        match get(cx, view, asked) {
            Ok(found) => answer.secret_values.get_or_insert_default().push(wire::SecretValueEntry {
                arn: found.arn,
                name: found.name,
                version_id: found.version_id,
                secret_binary: found.secret_binary,
                secret_string: found.secret_string,
                version_stages: found.version_stages,
                created_date: found.created_date,
            }),
            Err(error) if error.kind.is_senders() => {
                answer.errors.get_or_insert_default().push(wire::APIErrorType {
                    secret_id: Some(id),
                    error_code: Some(String::from(error.kind.exception())),
                    message: Some(error.message),
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

pub fn put(
    cx: &Context,
    view: &mut View,
    input: wire::PutSecretValueRequest,
) -> Result<wire::PutSecretValueResponse, ApiError> {
    let payload = Payload::given(input.secret_string, input.secret_binary)?
        .ok_or_else(|| ApiError::invalid_parameter("You must provide either SecretString or SecretBinary."))?;
    let mut secret = Secret::clone(&*reference::usable(cx, view, input.secret_id.as_deref())?);
    let token = input.client_request_token.unwrap_or_else(|| cx.ids.uuid());
    if !version::is_repeated(cx, view, &secret, &token, &payload)? {
        let mut stages = input.version_stages.unwrap_or_else(|| vec![String::from(CURRENT)]);
        // The first value is the current one, whatever else it is.
        if secret.staged(CURRENT).is_none() && !stages.iter().any(|stage| stage == CURRENT) {
            stages.push(String::from(CURRENT));
        }
        version::add(cx, view, &mut secret, &token, &payload, &stages)?;
        secret.changed_at = cx.now;
        view.put(secret.clone());
    }
    Ok(wire::PutSecretValueResponse {
        arn: Some(secret.arn().into()),
        name: Some(secret.name.clone()),
        version_stages: secret.version(&token).map(|version| version.stages.clone()),
        version_id: Some(token),
    })
}

/// An opened value, as the wire carries it.
struct Read {
    text: Option<String>,
    binary: Option<String>,
}

fn read(cx: &Context, view: &View, secret: &Secret, version: &Version) -> Result<Read, ApiError> {
    let (bytes, is_binary) = open(cx, view, secret, &version.id)?;
    if is_binary {
        return Ok(Read { text: None, binary: Some(STANDARD.encode(&*bytes)) });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| ApiError::server("a text was sealed, and none was opened"))?;
    Ok(Read { text: Some(String::from(text)), binary: None })
}

/// The value of a version, and whether it is binary.
pub fn open(cx: &Context, view: &View, secret: &Secret, version: &str) -> Result<(Zeroizing<Vec<u8>>, bool), ApiError> {
    let value = view.get::<SecretValue>(&Key::secret_value(&secret.scope, &secret.name, version));
    let value = value.ok_or_else(|| ApiError::server(format!("version {version} of a secret has no value")))?;
    let bytes = cx.sealing.open(&value.value, &value.identity()).map_err(ApiError::server)?;
    Ok((bytes, value.is_binary))
}

/// Remembers the day of an access, as the service does: so the first reader of a day writes, and no other.
fn note_access(cx: &Context, view: &mut View, secret: &Secret, version: &str) {
    let today = Some(Timestamp(cx.now.0 - cx.now.0.rem_euclid(DAY_MS)));
    let known = secret.version(version).is_some_and(|version| version.accessed_on == today);
    if known && secret.accessed_on == today {
        return;
    }
    let mut secret = secret.clone();
    secret.accessed_on = today;
    if let Some(version) = secret.versions.iter_mut().find(|known| known.id == version) {
        version.accessed_on = today;
    }
    view.put(secret);
}
