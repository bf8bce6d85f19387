//! Tags of parameters: the only resource of Systems Manager that is here.

use crate::api::context::Context;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::ssm::name;
use crate::api::tags::{self, Problem};
use crate::api::wire::ssm as wire;
use crate::model::{Parameter, Tag};
use crate::store::View;

/// Tags of a request, checked.
pub fn given(given: Option<&[wire::Tag]>) -> Result<Vec<Tag>, ApiError> {
    let pairs = given.unwrap_or_default().iter().map(|tag| (tag.key.clone().unwrap_or_default(), tag.value.clone()));
    tags::checked(pairs).map_err(refused)
}

fn refused(problem: Problem) -> ApiError {
    match problem {
        Problem::TooMany => ApiError::new(ErrorKind::TooManyTagsError, problem),
        problem => ApiError::validation(problem),
    }
}

fn find(cx: &Context, view: &View, kind: Option<String>, id: Option<String>) -> Result<Parameter, ApiError> {
    if kind.as_deref() != Some("Parameter") {
        return Err(ApiError::new(
            ErrorKind::InvalidResourceType,
            "The resource type is not valid. For example, if you are attempting to tag an EC2 instance, the instance must be a registered managed node.",
        ));
    }
    let found = name::find_whole(cx, view, &id.unwrap_or_default());
    let found = found.ok_or_else(|| {
        ApiError::new(
            ErrorKind::InvalidResourceId,
            "The resource ID is not valid. Verify that you entered the correct ID and try again.",
        )
    })?;
    Ok(Parameter::clone(&found))
}

pub fn add(
    cx: &Context,
    view: &mut View,
    input: wire::AddTagsToResourceRequest,
) -> Result<wire::AddTagsToResourceResult, ApiError> {
    let new = given(input.tags.as_deref())?;
    let mut parameter = find(cx, view, input.resource_type, input.resource_id)?;
    tags::add(&mut parameter.tags, new).map_err(refused)?;
    view.put(parameter);
    Ok(wire::AddTagsToResourceResult::default())
}

pub fn remove(
    cx: &Context,
    view: &mut View,
    input: wire::RemoveTagsFromResourceRequest,
) -> Result<wire::RemoveTagsFromResourceResult, ApiError> {
    let keys = input.tag_keys.unwrap_or_default();
    let mut parameter = find(cx, view, input.resource_type, input.resource_id)?;
    parameter.tags.retain(|tag| !keys.contains(&tag.key));
    view.put(parameter);
    Ok(wire::RemoveTagsFromResourceResult::default())
}

pub fn list(
    cx: &Context,
    view: &mut View,
    input: wire::ListTagsForResourceRequest,
) -> Result<wire::ListTagsForResourceResult, ApiError> {
    let parameter = find(cx, view, input.resource_type, input.resource_id)?;
    let shown = parameter.tags.iter().map(|tag| wire::Tag { key: Some(tag.key.clone()), value: tag.value.clone() });
    Ok(wire::ListTagsForResourceResult { tag_list: Some(shown.collect()) })
}
