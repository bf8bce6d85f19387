//! Task definitions: registered once, never changed; a family counts its revisions and never gives one out twice.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::Value;

use crate::api::context::Context;
use crate::api::ecs::page;
use crate::api::ecs::reference::{self, DefinitionReference, to_map};
use crate::api::ecs::tag;
use crate::api::error::ApiError;
use crate::api::wire::ecs as wire;
use crate::model::support::{self, Verdict};
use crate::model::task_definition::{DefinitionStatus, TaskDocument};
use crate::model::{DefinitionId, Family, FamilyRecord, TaskDefinition};
use crate::store::{Key, Prefix, View};

pub mod capabilities;
pub mod normalize;
pub mod read;
pub mod rules;

pub fn register(
    cx: &Context,
    view: &mut View,
    input: wire::RegisterTaskDefinitionRequest,
) -> Result<wire::RegisterTaskDefinitionResponse, ApiError> {
    rules::check(&input)?;
    let family: Family = input.family.as_deref().unwrap_or_default().parse().map_err(|_| rules::family_invalid())?;
    let tags = tag::given(input.tags.as_deref())?;
    note_without_effect(cx, &input);
    let document = document(input)?;

    let last = view.get::<FamilyRecord>(&Key::family(&cx.scope, &family)).map_or(0, |record| record.last_revision);
    let revision = last + 1;
    view.put(FamilyRecord { scope: cx.scope.clone(), family: family.clone(), last_revision: revision });
    let definition = TaskDefinition {
        scope: cx.scope.clone(),
        id: DefinitionId { family, revision },
        status: DefinitionStatus::Active,
        registered_at: cx.now,
        deregistered_at: None,
        registered_by: format!("arn:aws:iam::{}:root", cx.scope.account),
        tags,
        document,
    };
    view.put(definition.clone());
    Ok(wire::RegisterTaskDefinitionResponse {
        task_definition: Some(show(&definition)),
        tags: Some(tag::shown(&definition.tags)),
    })
}

/// Says which members are kept and change nothing here; `coracle check` says why.
fn note_without_effect(cx: &Context, input: &wire::RegisterTaskDefinitionRequest) {
    for field in support::fields(&Value::Object(to_map(input))) {
        if field.verdict == Verdict::WithoutEffect {
            cx.without_effect.note(field.path);
        }
    }
}

/// The request as it is kept: with the defaults that ECS fills in.
pub fn document(mut input: wire::RegisterTaskDefinitionRequest) -> Result<TaskDocument, ApiError> {
    normalize::fill_defaults(&mut input);
    let mut map = to_map(&input);
    map.retain(|member, _| !matches!(member.as_str(), "family" | "tags"));
    serde_json::from_value(Value::Object(map)).map_err(|error| {
        // The codec and the rules let nothing pass that the record cannot hold, except for numbers out of range.
        ApiError::client(format!("The task definition has a value that is out of range: {error}"))
    })
}

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeTaskDefinitionRequest,
) -> Result<wire::DescribeTaskDefinitionResponse, ApiError> {
    let text = input.task_definition.unwrap_or_default();
    let definition = reference::definition(cx, view, &text).ok_or_else(unable_to_describe)?;
    let wants_tags = input.include.unwrap_or_default().iter().any(|part| part == "TAGS");
    Ok(wire::DescribeTaskDefinitionResponse {
        task_definition: Some(show(&definition)),
        tags: Some(if wants_tags { tag::shown(&definition.tags) } else { Vec::new() }),
    })
}

/// The text that clients match.
fn unable_to_describe() -> ApiError {
    ApiError::client("Unable to describe task definition.")
}

pub fn deregister(
    cx: &Context,
    view: &mut View,
    input: wire::DeregisterTaskDefinitionRequest,
) -> Result<wire::DeregisterTaskDefinitionResponse, ApiError> {
    let text = input.task_definition.unwrap_or_default();
    let Some(DefinitionReference::Exact(id)) = reference::definition_reference(cx, &text) else {
        return Err(ApiError::client(format!(
            "Invalid revision number. Number: null: '{text}' must be FAMILY:REVISION or an ARN."
        )));
    };
    let found = view.get::<TaskDefinition>(&Key::task_definition(&cx.scope, &id));
    let mut definition =
        (*found.ok_or_else(|| ApiError::client("The specified task definition does not exist."))?).clone();
    if definition.status == DefinitionStatus::Active {
        definition.status = DefinitionStatus::Inactive;
        definition.deregistered_at = Some(cx.now);
        view.put(definition.clone());
    }
    Ok(wire::DeregisterTaskDefinitionResponse { task_definition: Some(show(&definition)) })
}

pub fn list(
    cx: &Context,
    view: &mut View,
    input: wire::ListTaskDefinitionsRequest,
) -> Result<wire::ListTaskDefinitionsResponse, ApiError> {
    let status = status_of(input.status.as_deref());
    let descending = input.sort.as_deref() == Some("DESC");
    let prefix = match input.family_prefix.as_deref().filter(|family| !family.is_empty()) {
        // The reference calls it a prefix; it is the full name of one family.
        Some(family) => Prefix::task_definitions_of(&cx.scope, &family.parse().map_err(|_| rules::family_invalid())?),
        None => Prefix::task_definitions(&cx.scope),
    };
    let mut found: Vec<Arc<TaskDefinition>> =
        view.list::<TaskDefinition>(&prefix).into_iter().filter(|definition| definition.status == status).collect();
    found.sort_by(|one, other| one.id.cmp(&other.id));
    if descending {
        found.reverse();
    }
    let (definitions, next_token) = page::page(
        found,
        |definition| definition.id.clone(),
        descending,
        input.next_token.as_deref(),
        input.max_results,
        page::HUNDRED,
    )?;
    Ok(wire::ListTaskDefinitionsResponse {
        task_definition_arns: Some(definitions.iter().map(|definition| definition.arn().into()).collect()),
        next_token,
    })
}

pub fn list_families(
    cx: &Context,
    view: &mut View,
    input: wire::ListTaskDefinitionFamiliesRequest,
) -> Result<wire::ListTaskDefinitionFamiliesResponse, ApiError> {
    let prefix = input.family_prefix.unwrap_or_default();
    let status = input.status.as_deref().unwrap_or("ALL");
    let families: Vec<Arc<FamilyRecord>> = view
        .list::<FamilyRecord>(&Prefix::families(&cx.scope))
        .into_iter()
        .filter(|record| record.family.as_str().starts_with(&prefix))
        .collect();
    let mut kept: Vec<String> = Vec::new();
    for record in families {
        let is_active = view
            .list::<TaskDefinition>(&Prefix::task_definitions_of(&cx.scope, &record.family))
            .iter()
            .any(|definition| definition.status == DefinitionStatus::Active);
        if status == "ALL" || is_active == (status == "ACTIVE") {
            kept.push(record.family.to_string());
        }
    }
    kept.sort_by(|one, other| compare_bytes(one, other));
    let (families, next_token) =
        page::page(kept, String::clone, false, input.next_token.as_deref(), input.max_results, page::HUNDRED)?;
    Ok(wire::ListTaskDefinitionFamiliesResponse { families: Some(families), next_token })
}

fn compare_bytes(one: &str, other: &str) -> Ordering {
    one.as_bytes().cmp(other.as_bytes())
}

fn status_of(text: Option<&str>) -> DefinitionStatus {
    match text {
        Some("INACTIVE") => DefinitionStatus::Inactive,
        Some("DELETE_IN_PROGRESS") => DefinitionStatus::DeleteInProgress,
        _ => DefinitionStatus::Active,
    }
}

/// A definition as the wire shows it.
pub fn show(definition: &TaskDefinition) -> wire::TaskDefinition {
    let map = to_map(&definition.document);
    let shown: wire::TaskDefinition = reference::from_map(&map);
    wire::TaskDefinition {
        task_definition_arn: Some(definition.arn().into()),
        family: Some(definition.id.family.to_string()),
        revision: Some(i32::try_from(definition.id.revision).unwrap_or(i32::MAX)),
        status: Some(String::from(match definition.status {
            DefinitionStatus::Active => "ACTIVE",
            DefinitionStatus::Inactive => "INACTIVE",
            DefinitionStatus::DeleteInProgress => "DELETE_IN_PROGRESS",
        })),
        requires_attributes: Some(capabilities::required(&definition.document)),
        compatibilities: Some(capabilities::compatibilities(&definition.document)),
        registered_at: Some(definition.registered_at.epoch_seconds()),
        deregistered_at: definition.deregistered_at.map(|at| at.epoch_seconds()),
        registered_by: Some(definition.registered_by.clone()),
        ..shown
    }
}
