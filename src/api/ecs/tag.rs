//! Tags: how they are given, shown, added and removed.

use crate::api::context::Context;
use crate::api::ecs::reference;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::tags::{self, KEY_CHARS_MAX, TAGS_MAX, VALUE_CHARS_MAX};
use crate::api::wire::ecs as wire;
use crate::model::arn::ArnParts;
use crate::model::{Cluster, ClusterStatus, Service, Tag, Task, TaskDefinition};
use crate::store::{Key, View};

/// Tags of a request, checked.
pub fn given(tags: Option<&[wire::Tag]>) -> Result<Vec<Tag>, ApiError> {
    let mut checked: Vec<Tag> = Vec::new();
    for tag in tags.unwrap_or_default() {
        let key = tag.key.clone().unwrap_or_default();
        if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
            return Err(ApiError::invalid_parameter(format!("Tag key must be 1 to {KEY_CHARS_MAX} characters long.")));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::invalid_parameter("Tag key may not begin with 'aws:'."));
        }
        if tag.value.as_ref().is_some_and(|value| value.chars().count() > VALUE_CHARS_MAX) {
            return Err(ApiError::invalid_parameter(format!(
                "Tag value of '{key}' must be at most {VALUE_CHARS_MAX} characters long."
            )));
        }
        if checked.iter().any(|earlier| earlier.key == key) {
            return Err(ApiError::invalid_parameter(format!("Duplicate tag keys found: '{key}'.")));
        }
        checked.push(Tag { key, value: tag.value.clone() });
    }
    if checked.len() > TAGS_MAX {
        return Err(ApiError::invalid_parameter(format!("A resource can have at most {TAGS_MAX} tags.")));
    }
    Ok(checked)
}

pub fn shown(tags: &[Tag]) -> Vec<wire::Tag> {
    tags.iter().map(|tag| wire::Tag { key: Some(tag.key.clone()), value: tag.value.clone() }).collect()
}

/// A resource that has tags, by its ARN.
enum Tagged {
    Cluster(Cluster),
    Service(Box<Service>),
    Task(Box<Task>),
    Definition(Box<TaskDefinition>),
}

impl Tagged {
    fn find(cx: &Context, view: &mut View, arn: &str) -> Result<Tagged, ApiError> {
        let parts = ArnParts::parse(arn).filter(|parts| parts.service == "ecs" && parts.is_in(&cx.scope));
        let parts = parts.ok_or_else(|| {
            ApiError::invalid_parameter(format!(
                "resourceArn: '{arn}' is not an ARN of ECS in this account and region."
            ))
        })?;
        let missing = || ApiError::new(ErrorKind::ResourceNotFound, "The specified resource could not be found.");
        let (kind, rest) = parts.resource.split_once('/').ok_or_else(missing)?;
        match (kind, rest.split_once('/')) {
            ("cluster", None) => {
                let name = rest.parse().map_err(|_| missing())?;
                let cluster = view.get::<Cluster>(&Key::cluster(&cx.scope, &name));
                let cluster = cluster.filter(|cluster| cluster.status == ClusterStatus::Active);
                Ok(Tagged::Cluster((*cluster.ok_or_else(missing)?).clone()))
            }
            ("service", Some((cluster, name))) => {
                let cluster = cluster.parse().map_err(|_| missing())?;
                let service = view.get::<Service>(&Key::service(&cx.scope, &cluster, name)).ok_or_else(missing)?;
                Ok(Tagged::Service(Box::new((*service).clone())))
            }
            ("task", Some((cluster, id))) => {
                let (cluster, id) = (cluster.parse().map_err(|_| missing())?, id.parse().map_err(|_| missing())?);
                let task = view.get::<Task>(&Key::task(&cx.scope, &cluster, id)).ok_or_else(missing)?;
                Ok(Tagged::Task(Box::new((*task).clone())))
            }
            ("task-definition", None) => {
                let definition = reference::definition(cx, view, arn).ok_or_else(missing)?;
                Ok(Tagged::Definition(Box::new((*definition).clone())))
            }
            _ => Err(missing()),
        }
    }

    fn tags(&mut self) -> &mut Vec<Tag> {
        match self {
            Tagged::Cluster(cluster) => &mut cluster.tags,
            Tagged::Service(service) => &mut service.tags,
            Tagged::Task(task) => &mut task.tags,
            Tagged::Definition(definition) => &mut definition.tags,
        }
    }

    fn put(self, view: &mut View) {
        match self {
            Tagged::Cluster(cluster) => view.put(cluster),
            Tagged::Service(service) => view.put(*service),
            Tagged::Task(task) => view.put(*task),
            Tagged::Definition(definition) => view.put(*definition),
        }
    }
}

pub fn list(
    cx: &Context,
    view: &mut View,
    input: wire::ListTagsForResourceRequest,
) -> Result<wire::ListTagsForResourceResponse, ApiError> {
    let mut resource = Tagged::find(cx, view, &input.resource_arn.unwrap_or_default())?;
    Ok(wire::ListTagsForResourceResponse { tags: Some(shown(resource.tags())) })
}

pub fn add(
    cx: &Context,
    view: &mut View,
    input: wire::TagResourceRequest,
) -> Result<wire::TagResourceResponse, ApiError> {
    let new = given(input.tags.as_deref())?;
    let mut resource = Tagged::find(cx, view, &input.resource_arn.unwrap_or_default())?;
    tags::add(resource.tags(), new).map_err(ApiError::invalid_parameter)?;
    resource.put(view);
    Ok(wire::TagResourceResponse::default())
}

pub fn remove(
    cx: &Context,
    view: &mut View,
    input: wire::UntagResourceRequest,
) -> Result<wire::UntagResourceResponse, ApiError> {
    let keys = input.tag_keys.unwrap_or_default();
    let mut resource = Tagged::find(cx, view, &input.resource_arn.unwrap_or_default())?;
    resource.tags().retain(|tag| !keys.contains(&tag.key));
    resource.put(view);
    Ok(wire::UntagResourceResponse::default())
}
