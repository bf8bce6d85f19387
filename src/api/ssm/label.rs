//! Labels on versions of a parameter. A label is on one version at most: put on another, it moves.

use crate::api::context::Context;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::ssm::name;
use crate::api::wire::ssm as wire;
use crate::model::Parameter;
use crate::model::parameter::Selector;
use crate::store::View;

/// Labels on one version (service quota), and characters of one.
const LABELS_MAX: usize = 10;
const LABEL_CHARS_MAX: usize = 100;

pub fn add(
    cx: &Context,
    view: &mut View,
    input: wire::LabelParameterVersionRequest,
) -> Result<wire::LabelParameterVersionResult, ApiError> {
    let labels = input.labels.unwrap_or_default();
    if let Some(long) = labels.iter().find(|label| label.chars().count() > LABEL_CHARS_MAX) {
        return Err(ApiError::validation(format!(
            "1 validation error detected: Value '[{long}]' at 'labels' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to {LABEL_CHARS_MAX}, Member must have length greater than or equal to 1]"
        )));
    }
    let (mut parameter, at) = find(cx, view, input.name, input.parameter_version)?;
    let (valid, invalid): (Vec<String>, Vec<String>) = labels.into_iter().partition(|label| is_label(label));
    let mut own = parameter.versions[at].labels.clone();
    own.extend(valid.iter().filter(|label| !parameter.versions[at].labels.contains(label)).cloned());
    if own.len() > LABELS_MAX {
        return Err(ApiError::new(
            ErrorKind::ParameterVersionLabelLimitExceeded,
            "A parameter version can have maximum 10 labels.Move one or more labels to another version and try again.",
        ));
    }
    for version in &mut parameter.versions {
        version.labels.retain(|label| !valid.contains(label));
    }
    parameter.versions[at].labels = own;
    let version = i64::from(parameter.versions[at].version);
    view.put(parameter);
    Ok(wire::LabelParameterVersionResult { invalid_labels: Some(invalid), parameter_version: Some(version) })
}

pub fn remove(
    cx: &Context,
    view: &mut View,
    input: wire::UnlabelParameterVersionRequest,
) -> Result<wire::UnlabelParameterVersionResult, ApiError> {
    let (mut parameter, at) = find(cx, view, input.name, input.parameter_version)?;
    let own = &mut parameter.versions[at].labels;
    let (removed, invalid): (Vec<String>, Vec<String>) =
        input.labels.unwrap_or_default().into_iter().partition(|label| own.contains(label));
    own.retain(|label| !removed.contains(label));
    view.put(parameter);
    Ok(wire::UnlabelParameterVersionResult { removed_labels: Some(removed), invalid_labels: Some(invalid) })
}

/// The parameter, and the place of the version that is meant: the newest where none is named.
fn find(cx: &Context, view: &View, text: Option<String>, version: Option<i64>) -> Result<(Parameter, usize), ApiError> {
    let text = text.unwrap_or_default();
    let parameter = name::find_whole(cx, view, &text);
    let parameter = parameter
        .ok_or_else(|| ApiError::new(ErrorKind::ParameterNotFound, format_args!("Parameter {text} not found.")))?;
    let at = match version {
        None => parameter.versions.len().checked_sub(1),
        Some(wanted) => parameter.versions.iter().position(|known| i64::from(known.version) == wanted),
    };
    let wanted = version.and_then(|version| u32::try_from(version).ok()).unwrap_or(0);
    let at = at.ok_or_else(|| name::version_not_found(&parameter.name, Selector::Version(wanted)))?;
    Ok((Parameter::clone(&parameter), at))
}

/// Letters, digits, `.`, `-` and `_`; it begins with no digit and with neither `aws` nor `ssm`.
fn is_label(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    !label.is_empty()
        && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        && !label.starts_with(|c: char| c.is_ascii_digit())
        && !lower.starts_with("aws")
        && !lower.starts_with("ssm")
}
