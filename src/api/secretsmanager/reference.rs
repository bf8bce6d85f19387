//! How callers name a secret, and what they are told where it is not there or on its way out.

use std::sync::Arc;

use crate::api::context::Context;
use crate::api::error::{ApiError, ErrorKind};
use crate::model::secret::SecretReference;
use crate::model::{Secret, SecretValue};
use crate::store::{Key, Prefix, View};

pub fn not_found() -> ApiError {
    ApiError::new(ErrorKind::ResourceNotFound, "Secrets Manager can't find the specified secret.")
}

pub fn invalid_request(message: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::InvalidRequest, message)
}

/// The secret, also one that is marked for deletion, until its recovery window is over.
pub fn any(cx: &Context, view: &View, id: Option<&str>) -> Result<Arc<Secret>, ApiError> {
    let reference = SecretReference::parse(id.unwrap_or_default(), &cx.scope);
    let found = reference.find(|name| view.get::<Secret>(&Key::secret(&cx.scope, name)));
    found.filter(|secret| !secret.is_gone(cx.now)).ok_or_else(not_found)
}

/// The secret, where it is not marked for deletion.
pub fn usable(cx: &Context, view: &View, id: Option<&str>) -> Result<Arc<Secret>, ApiError> {
    let secret = any(cx, view, id)?;
    if secret.is_marked_for_deletion() {
        return Err(invalid_request(
            "You can't perform this operation on the secret because it was marked for deletion.",
        ));
    }
    Ok(secret)
}

/// Deletes everything of a secret: at most its hundred versions and itself, which one transaction holds.
pub fn forget(view: &mut View, secret: &Secret) {
    for value in view.list::<SecretValue>(&Prefix::secret_values(&secret.scope, &secret.name)) {
        view.delete::<SecretValue>(&Key::secret_value(&value.scope, &value.name, &value.version));
    }
    view.delete::<Secret>(&Key::secret(&secret.scope, &secret.name));
}
