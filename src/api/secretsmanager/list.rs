//! Lists of secrets and the filters on them.
//!
//! Filters narrow each other; of one filter's values any may match, and one that begins with `!` must not.

use std::sync::Arc;

use crate::api::context::Context;
use crate::api::ecs::page::{HUNDRED, page};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::secretsmanager::{secret, tag};
use crate::api::wire::secretsmanager as wire;
use crate::model::{Secret, Timestamp};
use crate::store::{Prefix, View};

pub fn list(
    cx: &Context,
    view: &mut View,
    input: wire::ListSecretsRequest,
) -> Result<wire::ListSecretsResponse, ApiError> {
    let filters = input.filters.unwrap_or_default();
    let mut found = filtered(cx, view, &filters, input.include_planned_deletion == Some(true))?;
    let order = input.sort_by.unwrap_or_default();
    let key = |secret: &Arc<Secret>| sort_key(secret, &order);
    let descending = input.sort_order.as_deref() == Some("desc");
    found.sort_by(|one, other| {
        let ascending = key(one).cmp(&key(other));
        if descending { ascending.reverse() } else { ascending }
    });
    let (found, next_token) = page(found, key, descending, input.next_token.as_deref(), input.max_results, HUNDRED)
        .map_err(|_| invalid_token())?;
    Ok(wire::ListSecretsResponse { secret_list: Some(found.iter().map(|secret| show(secret)).collect()), next_token })
}

pub fn invalid_token() -> ApiError {
    ApiError::new(ErrorKind::InvalidNextToken, "Invalid next token.")
}

fn sort_key(secret: &Secret, order: &str) -> (Timestamp, String) {
    let at = match order {
        "name" => Timestamp(0),
        "last-accessed-date" => secret.accessed_on.unwrap_or_default(),
        "last-changed-date" => secret.changed_at,
        _ => secret.created_at,
    };
    (at, secret.name.clone())
}

/// The secrets that pass all filters, in the order of their names.
pub fn filtered(
    cx: &Context,
    view: &View,
    filters: &[wire::Filter],
    with_deleted: bool,
) -> Result<Vec<Arc<Secret>>, ApiError> {
    for filter in filters {
        if filter.key.is_none() || filter.values.as_ref().is_none_or(Vec::is_empty) {
            return Err(ApiError::invalid_parameter("A filter needs a key and at least one value."));
        }
    }
    let mut found = view.list::<Secret>(&Prefix::secrets(&cx.scope));
    found.retain(|secret| {
        let is_there = if with_deleted { !secret.is_gone(cx.now) } else { !secret.is_marked_for_deletion() };
        is_there && filters.iter().all(|filter| passes(secret, filter))
    });
    Ok(found)
}

fn passes(secret: &Secret, filter: &wire::Filter) -> bool {
    let key = filter.key.as_deref().unwrap_or_default();
    let values = filter.values.iter().flatten();
    let (negated, plain): (Vec<&String>, Vec<&String>) = values.partition(|value| value.starts_with('!'));
    let excluded = negated.iter().any(|value| matches(secret, key, &value[1..]));
    let included = plain.is_empty() || plain.iter().any(|value| matches(secret, key, value));
    included && !excluded
}

fn matches(secret: &Secret, key: &str, value: &str) -> bool {
    let tag_values = || secret.tags.iter().filter_map(|tag| tag.value.as_deref());
    match key {
        "name" => secret.name.starts_with(value),
        "description" => {
            let value = value.to_lowercase();
            let text = secret.description.as_deref().unwrap_or_default().to_lowercase();
            text.starts_with(&value) || words(&text).any(|word| word.starts_with(&value))
        }
        "tag-key" => secret.tags.iter().any(|tag| tag.key.starts_with(value)),
        "tag-value" => tag_values().any(|own| own.starts_with(value)),
        // Nothing is replicated, and no other service owns a secret.
        "primary-region" => secret.scope.region.as_str().starts_with(value),
        "owning-service" => false,
        _ => {
            let keys = secret.tags.iter().map(|tag| tag.key.as_str());
            let texts = [secret.name.as_str(), secret.description.as_deref().unwrap_or_default()];
            let all = texts.into_iter().chain(keys).chain(tag_values()).collect::<Vec<_>>().join(" ").to_lowercase();
            words(&value.to_lowercase()).all(|word| all.contains(word))
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn show(secret: &Secret) -> wire::SecretListEntry {
    wire::SecretListEntry {
        arn: Some(secret.arn().into()),
        name: Some(secret.name.clone()),
        r#type: secret.kind.clone(),
        description: secret.description.clone(),
        kms_key_id: secret.kms_key_id.clone(),
        last_changed_date: Some(secret.changed_at.epoch_seconds()),
        last_accessed_date: secret.accessed_on.map(|at| at.epoch_seconds()),
        deleted_date: secret.deletion_at.map(|at| at.epoch_seconds()),
        tags: Some(tag::shown(&secret.tags)),
        secret_versions_to_stages: secret::stages(secret),
        created_date: Some(secret.created_at.epoch_seconds()),
        ..wire::SecretListEntry::default()
    }
}
