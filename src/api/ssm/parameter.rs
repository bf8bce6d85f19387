//! Parameters: put and delete.

use zeroize::Zeroizing;

use crate::api::context::Context;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::ssm::{name, pattern, tag};
use crate::api::wire::ssm as wire;
use crate::model::parameter::{ParameterType, ParameterVersion, Tier};
use crate::model::{Parameter, Sealed, Tag};
use crate::store::{Key, View};

/// Versions of one parameter (service quota).
const VERSIONS_MAX: usize = 100;
/// Bytes of a value, by tier (service quotas).
const STANDARD_BYTES_MAX: usize = 4096;
const ADVANCED_BYTES_MAX: usize = 8192;
/// The key of a SecureString where none is named.
const KEY_DEFAULT: &str = "alias/aws/ssm";
const DATA_TYPES: [&str; 3] = ["text", "aws:ec2:image", "aws:ssm:integration"];

pub fn put(
    cx: &Context,
    view: &mut View,
    mut input: wire::PutParameterRequest,
) -> Result<wire::PutParameterResult, ApiError> {
    let name = input.name.take().unwrap_or_default();
    let value = Zeroizing::new(input.value.take().unwrap_or_default());
    name::check(&name)?;
    let given = tag::given(input.tags.as_deref())?;
    let overwrite = input.overwrite == Some(true);
    if overwrite && !given.is_empty() {
        return Err(ApiError::validation(
            "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource.",
        ));
    }
    let before = view.get::<Parameter>(&Key::parameter(&cx.scope, &name));
    if before.is_some() && !overwrite {
        return Err(ApiError::new(
            ErrorKind::ParameterAlreadyExists,
            "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
        ));
    }
    let mut parameter = match &before {
        Some(parameter) => Parameter::clone(parameter),
        None => empty(cx, &name, given),
    };
    let version = new_version(cx, &parameter, &input, &value)?;
    note_without_effect(cx, &version);
    let answer = wire::PutParameterResult {
        version: Some(i64::from(version.version)),
        tier: Some(String::from(version.tier.as_str())),
    };
    make_room(&mut parameter)?;
    parameter.versions.push(version);
    view.put(parameter);
    Ok(answer)
}

fn empty(cx: &Context, name: &str, tags: Vec<Tag>) -> Parameter {
    Parameter { scope: cx.scope.clone(), name: String::from(name), id: cx.ids.hex16(), tags, versions: Vec::new() }
}

/// The next version, from the request and, where that says nothing, from the version before.
fn new_version(
    cx: &Context,
    parameter: &Parameter,
    input: &wire::PutParameterRequest,
    value: &str,
) -> Result<ParameterVersion, ApiError> {
    let before = parameter.latest();
    let kind = input.r#type.as_deref().and_then(ParameterType::parse).or(before.map(|before| before.kind));
    let kind = kind.ok_or_else(|| ApiError::validation("A parameter type is required when you create a parameter."))?;
    let tier = tier(input, before, value)?;
    check_value(value, tier)?;
    if let Some(text) = input.allowed_pattern.as_deref().filter(|text| !text.is_empty()) {
        let compiled = pattern::Pattern::compile(text).map_err(|error| {
            ApiError::new(
                ErrorKind::InvalidAllowedPattern,
                format_args!("The regular expression {text} is not valid here: {error}."),
            )
        })?;
        if !compiled.matches(value) {
            return Err(ApiError::new(
                ErrorKind::ParameterPatternMismatch,
                format_args!("Parameter value, cannot be validated against allowedPattern: {text}"),
            ));
        }
    }
    let data_type = input.data_type.clone().or(before.map(|before| before.data_type.clone()));
    let data_type = data_type.unwrap_or_else(|| String::from(DATA_TYPES[0]));
    if !DATA_TYPES.contains(&data_type.as_str()) {
        return Err(ApiError::validation(format!(
            "The following data type is not supported: {data_type} (Data type names are all lowercase.)"
        )));
    }
    if input.policies.is_some() && tier == Tier::Standard {
        return Err(ApiError::validation("Parameter policies can only be attached to an advanced-tier parameter."));
    }
    let version = before.map_or(1, |before| before.version.saturating_add(1));
    Ok(ParameterVersion {
        version,
        kind,
        value: cx.sealing.seal(value.as_bytes(), &parameter.identity(version), cx.ids.nonce()),
        description: input.description.clone().or_else(|| before?.description.clone()),
        key_id: key(input.key_id.as_deref(), kind)?,
        allowed_pattern: input.allowed_pattern.clone(),
        tier,
        data_type,
        policies: input.policies.clone(),
        labels: Vec::new(),
        modified_at: cx.now,
        modified_by: format!("arn:aws:iam::{}:root", cx.scope.account),
    })
}

fn key(given: Option<&str>, kind: ParameterType) -> Result<Option<String>, ApiError> {
    match (given, kind) {
        (key, ParameterType::SecureString) => Ok(Some(String::from(key.unwrap_or(KEY_DEFAULT)))),
        (None, _) => Ok(None),
        (Some(_), _) => Err(ApiError::validation("KeyId is required for SecureString type parameter only.")),
    }
}

fn tier(input: &wire::PutParameterRequest, before: Option<&ParameterVersion>, value: &str) -> Result<Tier, ApiError> {
    let needs_advanced = value.len() > STANDARD_BYTES_MAX || input.policies.is_some();
    let was_advanced = before.is_some_and(|before| before.tier == Tier::Advanced);
    match input.tier.as_deref() {
        Some("Advanced") => Ok(Tier::Advanced),
        Some("Intelligent-Tiering") if needs_advanced || was_advanced => Ok(Tier::Advanced),
        None if was_advanced => Ok(Tier::Advanced),
        Some("Standard") if was_advanced => Err(ApiError::validation(
            "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier. If necessary, you can delete the advanced parameter and recreate it as a standard parameter.",
        )),
        _ => Ok(Tier::Standard),
    }
}

fn check_value(value: &str, tier: Tier) -> Result<(), ApiError> {
    if value.is_empty() {
        return Err(ApiError::validation(
            "1 validation error detected: Value at 'value' failed to satisfy constraint: Member must have length greater than or equal to 1.",
        ));
    }
    match tier {
        Tier::Standard if value.len() > STANDARD_BYTES_MAX => Err(ApiError::validation(format!(
            "Standard tier parameters support a maximum parameter value of {STANDARD_BYTES_MAX} characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"
        ))),
        Tier::Advanced if value.len() > ADVANCED_BYTES_MAX => Err(ApiError::validation(format!(
            "Advanced tier parameters support a maximum parameter value of {ADVANCED_BYTES_MAX} characters."
        ))),
        _ => Ok(()),
    }
}

fn note_without_effect(cx: &Context, version: &ParameterVersion) {
    if version.key_id.as_deref().is_some_and(|key| key != KEY_DEFAULT) {
        cx.without_effect.note("KeyId");
    }
    if version.policies.is_some() {
        cx.without_effect.note("Policies");
    }
    if version.data_type != DATA_TYPES[0] {
        cx.without_effect.note("DataType");
    }
}

/// A parameter that is full loses its oldest version, unless somebody labelled it.
fn make_room(parameter: &mut Parameter) -> Result<(), ApiError> {
    if parameter.versions.len() < VERSIONS_MAX {
        return Ok(());
    }
    let (oldest, name) = (&parameter.versions[0], &parameter.name);
    if !oldest.labels.is_empty() {
        let version = oldest.version;
        return Err(ApiError::new(
            ErrorKind::ParameterMaxVersionLimitExceeded,
            format_args!(
                "You attempted to create a new version of {name} by calling the PutParameter API with the overwrite flag. Version {version}, the oldest version, can't be deleted because it has a label associated with it. Move the label to another version of the parameter, and try again."
            ),
        ));
    }
    parameter.versions.remove(0);
    Ok(())
}

pub fn delete(
    cx: &Context,
    view: &mut View,
    input: wire::DeleteParameterRequest,
) -> Result<wire::DeleteParameterResult, ApiError> {
    let found = name::find_whole(cx, view, &input.name.unwrap_or_default()).ok_or_else(name::not_found)?;
    view.delete::<Parameter>(&Key::parameter(&cx.scope, &found.name));
    Ok(wire::DeleteParameterResult::default())
}

pub fn delete_several(
    cx: &Context,
    view: &mut View,
    input: wire::DeleteParametersRequest,
) -> Result<wire::DeleteParametersResult, ApiError> {
    let (mut deleted, mut invalid) = (Vec::new(), Vec::new());
    for text in input.names.unwrap_or_default() {
        match name::find_whole(cx, view, &text) {
            Some(found) => {
                view.delete::<Parameter>(&Key::parameter(&cx.scope, &found.name));
                deleted.push(text);
            }
            // Named twice, it is deleted once.
            None if deleted.contains(&text) => {}
            None => invalid.push(text),
        }
    }
    Ok(wire::DeleteParametersResult { deleted_parameters: Some(deleted), invalid_parameters: Some(invalid) })
}

/// The value of a version as it is shown: a SecureString only where it is asked for, else as it is kept.
pub fn shown_value(
    cx: &Context,
    parameter: &Parameter,
    version: &ParameterVersion,
    with_decryption: bool,
) -> Result<String, ApiError> {
    if version.kind == ParameterType::SecureString && !with_decryption {
        return Ok(ciphertext(&version.value));
    }
    let text = cx.sealing.open_text(&version.value, &parameter.identity(version.version)).map_err(ApiError::server)?;
    Ok(String::clone(&text))
}

fn ciphertext(sealed: &Sealed) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(&sealed.0)
}
