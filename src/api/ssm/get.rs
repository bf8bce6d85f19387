//! Parameters, read by their names: one, several, or the history of one.

use std::collections::BTreeSet;

use crate::api::context::Context;
use crate::api::ecs::page::{PageSize, page};
use crate::api::error::ApiError;
use crate::api::ssm::name::{self, Found};
use crate::api::ssm::{list, parameter};
use crate::api::wire::ssm as wire;
use crate::model::Parameter;
use crate::model::parameter::ParameterVersion;
use crate::store::View;

const FIFTY: PageSize = PageSize { default: 50, max: 50 };

pub fn get(
    cx: &Context,
    view: &mut View,
    input: wire::GetParameterRequest,
) -> Result<wire::GetParameterResult, ApiError> {
    let text = input.name.unwrap_or_default();
    let found = name::find(cx, view, &text).ok_or_else(name::not_found)?;
    let version = found.parameter.selected(found.selector);
    let version = version.ok_or_else(|| name::version_not_found(&found.parameter.name, found.selector))?;
    let shown = show(cx, &found, version, input.with_decryption == Some(true))?;
    Ok(wire::GetParameterResult { parameter: Some(shown) })
}

pub fn get_several(
    cx: &Context,
    view: &mut View,
    input: wire::GetParametersRequest,
) -> Result<wire::GetParametersResult, ApiError> {
    let (mut parameters, mut invalid) = (Vec::new(), Vec::new());
    let names: BTreeSet<String> = input.names.unwrap_or_default().into_iter().collect();
    for text in &names {
        let found = name::find(cx, view, text);
        let version = found.as_ref().and_then(|found| Some((found, found.parameter.selected(found.selector)?)));
        match version {
            Some((found, version)) => parameters.push(show(cx, found, version, input.with_decryption == Some(true))?),
            None => invalid.push(text.clone()),
        }
    }
    Ok(wire::GetParametersResult { parameters: Some(parameters), invalid_parameters: Some(invalid) })
}

fn show(
    cx: &Context,
    found: &Found<'_>,
    version: &ParameterVersion,
    with_decryption: bool,
) -> Result<wire::Parameter, ApiError> {
    let selector = Some(String::from(found.selector_text)).filter(|text| !text.is_empty());
    let shown = shown(cx, &found.parameter, version, with_decryption)?;
    Ok(wire::Parameter { selector, ..shown })
}

/// One version of a parameter, with its value.
pub fn shown(
    cx: &Context,
    parameter: &Parameter,
    version: &ParameterVersion,
    with_decryption: bool,
) -> Result<wire::Parameter, ApiError> {
    Ok(wire::Parameter {
        name: Some(parameter.name.clone()),
        r#type: Some(String::from(version.kind.as_str())),
        value: Some(parameter::shown_value(cx, parameter, version, with_decryption)?),
        version: Some(i64::from(version.version)),
        selector: None,
        source_result: None,
        last_modified_date: Some(version.modified_at.epoch_seconds()),
        arn: Some(parameter.arn().into()),
        data_type: Some(version.data_type.clone()),
    })
}

pub fn history(
    cx: &Context,
    view: &mut View,
    input: wire::GetParameterHistoryRequest,
) -> Result<wire::GetParameterHistoryResult, ApiError> {
    let text = input.name.unwrap_or_default();
    let parameter = name::find_whole(cx, view, &text).ok_or_else(name::not_found)?;
    let versions: Vec<&ParameterVersion> = parameter.versions.iter().collect();
    let key = |version: &&ParameterVersion| version.version;
    let (versions, next_token) = page(versions, key, false, input.next_token.as_deref(), input.max_results, FIFTY)
        .map_err(|_| list::invalid_token())?;
    let with_decryption = input.with_decryption == Some(true);
    let shown = versions.into_iter().map(|version| {
        Ok(wire::ParameterHistory {
            name: Some(parameter.name.clone()),
            r#type: Some(String::from(version.kind.as_str())),
            key_id: version.key_id.clone(),
            last_modified_date: Some(version.modified_at.epoch_seconds()),
            last_modified_user: Some(version.modified_by.clone()),
            description: version.description.clone(),
            value: Some(parameter::shown_value(cx, &parameter, version, with_decryption)?),
            allowed_pattern: version.allowed_pattern.clone(),
            version: Some(i64::from(version.version)),
            labels: Some(version.labels.clone()),
            tier: Some(String::from(version.tier.as_str())),
            policies: Some(list::policies(version)),
            data_type: Some(version.data_type.clone()),
        })
    });
    Ok(wire::GetParameterHistoryResult { parameters: Some(shown.collect::<Result<_, ApiError>>()?), next_token })
}
