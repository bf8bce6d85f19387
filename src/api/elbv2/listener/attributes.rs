//! The attributes of listeners: those of its protocol.

use crate::api::context::Context;
use crate::api::elbv2::attribute::Table;
use crate::api::elbv2::{attribute, reference};
use crate::api::error::ApiError;
use crate::api::wire::elbv2 as wire;
use crate::model::Listener;
use crate::store::View;

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeListenerAttributesInput,
) -> Result<wire::DescribeListenerAttributesOutput, ApiError> {
    let listener = reference::listener(cx, view, input.listener_arn.as_deref())?;
    Ok(wire::DescribeListenerAttributesOutput { attributes: Some(shown(&listener)) })
}

pub fn modify(
    cx: &Context,
    view: &mut View,
    input: wire::ModifyListenerAttributesInput,
) -> Result<wire::ModifyListenerAttributesOutput, ApiError> {
    let mut listener = (*reference::listener(cx, view, input.listener_arn.as_deref())?).clone();
    let given = input.attributes.unwrap_or_default();
    let is_not_there = |attribute: &&wire::ListenerAttribute| !is_of(&listener, attribute.key.as_deref().unwrap_or(""));
    if let Some(attribute) = given.iter().find(is_not_there) {
        return Err(ApiError::validation(format_args!(
            "Listener attribute key '{}' is not recognized for listeners with the {} protocol",
            attribute.key.as_deref().unwrap_or_default(),
            listener.protocol
        )));
    }
    let given = given.into_iter().map(|attribute| (attribute.key, attribute.value));
    let without_effect = table(&listener).set(&mut listener.attributes, given)?;
    without_effect.into_iter().for_each(|setting| cx.without_effect.note(setting));
    let attributes = shown(&listener);
    view.put(listener);
    Ok(wire::ModifyListenerAttributesOutput { attributes: Some(attributes) })
}

/// Forgets what a listener of the protocol that it has now does not have.
pub fn keep_those_of_the_protocol(listener: &mut Listener) {
    let mut attributes = std::mem::take(&mut listener.attributes);
    attributes.retain(|key, _| is_of(listener, key));
    listener.attributes = attributes;
}

/// Whether a listener has the attribute. Only HTTPS has something to say of TLS to targets.
fn is_of(listener: &Listener, key: &str) -> bool {
    table(listener).has(key) && (listener.protocol == "HTTPS" || !key.starts_with("routing.http.request."))
}

fn table(listener: &Listener) -> &'static Table {
    match listener.protocol.as_str() {
        "HTTP" | "HTTPS" => &attribute::LISTENER,
        "TCP" => &attribute::TCP_LISTENER,
        _ => &attribute::BARE_LISTENER,
    }
}

fn shown(listener: &Listener) -> Vec<wire::ListenerAttribute> {
    let pairs = table(listener).shown(&listener.attributes).into_iter().filter(|(key, _)| is_of(listener, key));
    pairs.map(|(key, value)| wire::ListenerAttribute { key: Some(key), value: Some(value) }).collect()
}
