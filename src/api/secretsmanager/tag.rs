//! Tags of secrets.

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::secretsmanager::reference;
use crate::api::tags::{self, Problem};
use crate::api::wire::secretsmanager as wire;
use crate::model::{Secret, Tag};
use crate::store::View;

/// Tags of a request, checked.
pub fn given(given: Option<&[wire::Tag]>) -> Result<Vec<Tag>, ApiError> {
    let pairs = given.unwrap_or_default().iter().map(|tag| (tag.key.clone().unwrap_or_default(), tag.value.clone()));
    tags::checked(pairs).map_err(refused)
}

pub fn shown(tags: &[Tag]) -> Vec<wire::Tag> {
    tags.iter().map(|tag| wire::Tag { key: Some(tag.key.clone()), value: tag.value.clone() }).collect()
}

fn refused(problem: Problem) -> ApiError {
    ApiError::invalid_parameter(problem)
}

pub fn add(
    cx: &Context,
    view: &mut View,
    input: wire::TagResourceRequest,
) -> Result<wire::TagResourceResponse, ApiError> {
    let new = given(input.tags.as_deref())?;
    let mut secret = Secret::clone(&*reference::usable(cx, view, input.secret_id.as_deref())?);
    tags::add(&mut secret.tags, new).map_err(refused)?;
    secret.changed_at = cx.now;
    view.put(secret);
    Ok(wire::TagResourceResponse::default())
}

pub fn remove(
    cx: &Context,
    view: &mut View,
    input: wire::UntagResourceRequest,
) -> Result<wire::UntagResourceResponse, ApiError> {
    let keys = input.tag_keys.unwrap_or_default();
    let mut secret = Secret::clone(&*reference::usable(cx, view, input.secret_id.as_deref())?);
    secret.tags.retain(|tag| !keys.contains(&tag.key));
    secret.changed_at = cx.now;
    view.put(secret);
    Ok(wire::UntagResourceResponse::default())
}
