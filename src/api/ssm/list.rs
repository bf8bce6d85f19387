//! Lists of parameters: with their values below a path, or without them.

use std::sync::Arc;

use serde_json::Value;

use crate::api::context::Context;
use crate::api::ecs::page::{PageSize, page};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::ssm::filter::{self, Filter};
use crate::api::ssm::get;
use crate::api::wire::ssm as wire;
use crate::model::Parameter;
use crate::model::parameter::{ParameterVersion, Selector};
use crate::store::{Prefix, View};

const TEN: PageSize = PageSize { default: 10, max: 10 };
const FIFTY: PageSize = PageSize { default: 50, max: 50 };

pub fn invalid_token() -> ApiError {
    ApiError::new(ErrorKind::InvalidToken, "The specified token is not valid.")
}

pub fn by_path(
    cx: &Context,
    view: &mut View,
    input: wire::GetParametersByPathRequest,
) -> Result<wire::GetParametersByPathResult, ApiError> {
    let path = input.path.unwrap_or_default();
    check_path(&path)?;
    let filters = filter::of_path(input.parameter_filters.as_deref().unwrap_or_default())?;
    let below = Filter::below(&path, input.recursive == Some(true));
    let mut found = view.list::<Parameter>(&Prefix::parameters(&cx.scope));
    found.retain(|parameter| below.passes(parameter) && filters.iter().all(|filter| filter.passes(parameter)));
    // A filter on labels asks for the labelled version, not for the newest.
    let label = filters.iter().find_map(Filter::label);
    let key = |parameter: &Arc<Parameter>| parameter.name.clone();
    let (found, next_token) =
        page(found, key, false, input.next_token.as_deref(), input.max_results, TEN).map_err(|_| invalid_token())?;
    let mut parameters = Vec::with_capacity(found.len());
    for parameter in &found {
        let labelled = label.and_then(|label| parameter.selected(Selector::Label(label)));
        if let Some(version) = labelled.or(parameter.latest()) {
            parameters.push(get::shown(cx, parameter, version, input.with_decryption == Some(true))?);
        }
    }
    Ok(wire::GetParametersByPathResult { parameters: Some(parameters), next_token })
}

fn check_path(path: &str) -> Result<(), ApiError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let rest = path.strip_prefix('/').map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let is_valid = rest.is_some_and(|rest| {
        rest.is_empty() || rest.split('/').all(|part| !part.is_empty() && part.chars().all(is_allowed))
    });
    if is_valid {
        return Ok(());
    }
    Err(ApiError::validation(
        "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). It must use only letters, numbers, or the following symbols: . (period), - (hyphen), _ (underscore). Special characters are not allowed. All sub-paths, if specified, must use the forward slash symbol \"/\". Valid example: /get/parameters2-/by1./path0_.",
    ))
}

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeParametersRequest,
) -> Result<wire::DescribeParametersResult, ApiError> {
    let old = input.filters.as_deref().unwrap_or_default();
    let new = input.parameter_filters.as_deref().unwrap_or_default();
    if !old.is_empty() && !new.is_empty() {
        return Err(ApiError::validation("You can use either Filters or ParameterFilters in a single request."));
    }
    let filters = if new.is_empty() { filter::of_old_form(old) } else { filter::of_describe(new)? };
    let mut found = view.list::<Parameter>(&Prefix::parameters(&cx.scope));
    // Nothing is shared between accounts here.
    found.retain(|parameter| input.shared != Some(true) && filters.iter().all(|filter| filter.passes(parameter)));
    let key = |parameter: &Arc<Parameter>| parameter.name.clone();
    let (found, next_token) =
        page(found, key, false, input.next_token.as_deref(), input.max_results, FIFTY).map_err(|_| invalid_token())?;
    let parameters = found.iter().filter_map(|parameter| Some(show(parameter, parameter.latest()?))).collect();
    Ok(wire::DescribeParametersResult { parameters: Some(parameters), next_token })
}

fn show(parameter: &Parameter, version: &ParameterVersion) -> wire::ParameterMetadata {
    wire::ParameterMetadata {
        name: Some(parameter.name.clone()),
        arn: Some(parameter.arn().into()),
        r#type: Some(String::from(version.kind.as_str())),
        key_id: version.key_id.clone(),
        last_modified_date: Some(version.modified_at.epoch_seconds()),
        last_modified_user: Some(version.modified_by.clone()),
        description: version.description.clone(),
        allowed_pattern: version.allowed_pattern.clone(),
        version: Some(i64::from(version.version)),
        tier: Some(String::from(version.tier.as_str())),
        policies: Some(policies(version)),
        data_type: Some(version.data_type.clone()),
    }
}

/// The policies of a version, one by one. They are kept, and nothing acts on them.
pub fn policies(version: &ParameterVersion) -> Vec<wire::ParameterInlinePolicy> {
    let given = version.policies.as_deref().and_then(|text| serde_json::from_str::<Vec<Value>>(text).ok());
    let shown = given.unwrap_or_default().into_iter().map(|policy| wire::ParameterInlinePolicy {
        policy_type: policy["Type"].as_str().map(String::from),
        policy_text: Some(policy.to_string()),
        policy_status: Some(String::from("Pending")),
    });
    shown.collect()
}
