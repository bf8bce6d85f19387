//! Resource policies of secrets: kept and shown, for tools that manage them. Nothing acts on them, because whoever may call
//! here may call everything, and that is said.

use serde_json::Value;

use crate::api::context::Context;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::secretsmanager::reference;
use crate::api::wire::secretsmanager as wire;
use crate::model::Secret;
use crate::store::View;

pub fn get(
    cx: &Context,
    view: &mut View,
    input: wire::GetResourcePolicyRequest,
) -> Result<wire::GetResourcePolicyResponse, ApiError> {
    let secret = reference::usable(cx, view, input.secret_id.as_deref())?;
    Ok(wire::GetResourcePolicyResponse {
        arn: Some(secret.arn().into()),
        name: Some(secret.name.clone()),
        resource_policy: secret.policy.clone(),
    })
}

pub fn put(
    cx: &Context,
    view: &mut View,
    input: wire::PutResourcePolicyRequest,
) -> Result<wire::PutResourcePolicyResponse, ApiError> {
    let policy = input.resource_policy.unwrap_or_default();
    if !serde_json::from_str::<Value>(&policy).is_ok_and(|policy| policy["Statement"].is_array()) {
        return Err(ApiError::new(
            ErrorKind::MalformedPolicyDocument,
            "This resource policy contains invalid Json: it must be an object with a list of statements.",
        ));
    }
    let mut secret = Secret::clone(&*reference::usable(cx, view, input.secret_id.as_deref())?);
    cx.without_effect.note("ResourcePolicy");
    secret.policy = Some(policy);
    let answer = wire::PutResourcePolicyResponse { arn: Some(secret.arn().into()), name: Some(secret.name.clone()) };
    view.put(secret);
    Ok(answer)
}

pub fn delete(
    cx: &Context,
    view: &mut View,
    input: wire::DeleteResourcePolicyRequest,
) -> Result<wire::DeleteResourcePolicyResponse, ApiError> {
    let mut secret = Secret::clone(&*reference::usable(cx, view, input.secret_id.as_deref())?);
    secret.policy = None;
    let answer = wire::DeleteResourcePolicyResponse { arn: Some(secret.arn().into()), name: Some(secret.name.clone()) };
    view.put(secret);
    Ok(answer)
}
