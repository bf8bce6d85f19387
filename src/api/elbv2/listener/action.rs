//! What a listener does with a request: read from the wire, checked, and shown again.

use crate::api::context::Context;
use crate::api::elbv2::{not_yet, reference};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::load_balancer::Action;
use crate::store::View;

/// Target groups of one forward action: ELB's own quota.
const GROUPS_MAX: usize = 5;
const WEIGHT_MAX: i32 = 999;

/// The bounds of the model.
const MESSAGE_CHARS_MAX: usize = 1024;
const REDIRECT_PART_CHARS_MAX: usize = 128;

const CONTENT_TYPES: [&str; 5] = ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];

/// The default actions of a listener on `port`. Without authentication, which is not here yet, it is exactly one.
pub fn read(cx: &Context, view: &View, actions: Option<Vec<wire::Action>>, port: u16) -> Result<Vec<Action>, ApiError> {
    let mut actions = actions.unwrap_or_default();
    for action in &actions {
        if let Some(kind @ ("authenticate-oidc" | "authenticate-cognito" | "jwt-validation")) = action.r#type.as_deref()
        {
            return Err(not_yet(format_args!("The action type '{kind}'")));
        }
    }
    let action = match (actions.pop(), actions.as_slice()) {
        (Some(action), []) => action,
        (None, _) => return Err(ApiError::validation("A listener must have a default action")),
        (Some(_), _) => {
            return Err(ApiError::new(
                ErrorKind::InvalidLoadBalancerAction,
                "A listener must have exactly one forward, redirect or fixed-response action",
            ));
        }
    };
    let action = match action.r#type.as_deref() {
        Some("forward") => forward(cx, view, action)?,
        Some("fixed-response") => fixed_response(action)?,
        Some("redirect") => redirect(action, port)?,
        other => {
            return Err(ApiError::validation(format_args!("Action type '{}' is not valid", other.unwrap_or_default())));
        }
    };
    Ok(vec![action])
}

fn forward(cx: &Context, view: &View, action: wire::Action) -> Result<Action, ApiError> {
    only(&action, "forward")?;
    let invalid = |message: &str| Err(ApiError::new(ErrorKind::InvalidLoadBalancerAction, message));
    let config = action.forward_config.unwrap_or_default();
    if config.target_group_stickiness_config.is_some_and(|stickiness| stickiness.enabled == Some(true)) {
        return Err(not_yet("TargetGroupStickinessConfig"));
    }
    let mut tuples = config.target_groups.unwrap_or_default();
    if let Some(arn) = action.target_group_arn {
        match tuples.as_slice() {
            [] => tuples.push(wire::TargetGroupTuple { target_group_arn: Some(arn), weight: None }),
            [tuple] if tuple.target_group_arn.as_ref() == Some(&arn) => {}
            _ => {
                return invalid(
                    "A target group ARN and the target groups of the forward configuration must be the same",
                );
            }
        }
    }
    match tuples.len() {
        0 => return Err(ApiError::validation("A forward action must have a target group")),
        count if count > GROUPS_MAX => {
            return Err(ApiError::new(
                ErrorKind::TooManyTargetGroups,
                format_args!("A forward action can have at most {GROUPS_MAX} target groups"),
            ));
        }
        _ => {}
    }
    let mut groups: Vec<(String, u32)> = Vec::new();
    for tuple in tuples {
        let arn = tuple.target_group_arn.unwrap_or_default();
        reference::target_group(cx, view, Some(&arn)).map_err(|error| match error.kind {
            ErrorKind::TargetGroupNotFound => {
                ApiError::new(ErrorKind::TargetGroupNotFound, format_args!("Target groups '{arn}' not found"))
            }
            _ => error,
        })?;
        if groups.iter().any(|(earlier, _)| *earlier == arn) {
            return invalid("A forward action cannot have the same target group twice");
        }
        let weight = tuple.weight.unwrap_or(1);
        let checked = u32::try_from(weight).ok().filter(|_| weight <= WEIGHT_MAX);
        let weight = checked.ok_or_else(|| {
            ApiError::validation(format_args!("Target group weight '{weight}' must be between 0 and {WEIGHT_MAX}"))
        })?;
        groups.push((arn, weight));
    }
    Ok(Action::forward(groups))
}

fn fixed_response(action: wire::Action) -> Result<Action, ApiError> {
    only(&action, "fixed-response")?;
    let config = action.fixed_response_config;
    let config = config.ok_or_else(|| ApiError::validation("A fixed-response action must have a configuration"))?;
    let status = config.status_code.unwrap_or_default();
    let plain = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    let code = status.parse::<u16>().ok().filter(|code| plain && matches!(code / 100, 2 | 4 | 5));
    let code = code.ok_or_else(|| {
        ApiError::validation(format_args!("Fixed response status code '{status}' must be 2XX, 4XX or 5XX"))
    })?;
    let content_type = config.content_type.unwrap_or_else(|| String::from("text/plain"));
    if !CONTENT_TYPES.contains(&content_type.as_str()) {
        return Err(ApiError::validation(format_args!(
            "Fixed response content type '{content_type}' must be one of {}",
            CONTENT_TYPES.join(", ")
        )));
    }
    let body = config.message_body.unwrap_or_default();
    if body.chars().count() > MESSAGE_CHARS_MAX {
        return Err(ApiError::validation(format_args!(
            "Fixed response message body must be at most {MESSAGE_CHARS_MAX} characters long"
        )));
    }
    Ok(Action::FixedResponse { status: code, content_type, body })
}

fn redirect(action: wire::Action, listener_port: u16) -> Result<Action, ApiError> {
    only(&action, "redirect")?;
    let config = action.redirect_config;
    let config = config.ok_or_else(|| ApiError::validation("A redirect action must have a configuration"))?;
    let status = match config.status_code.as_deref() {
        Some("HTTP_301") => 301,
        Some("HTTP_302") => 302,
        other => {
            return Err(ApiError::validation(format_args!(
                "Redirect status code '{}' must be HTTP_301 or HTTP_302",
                other.unwrap_or_default()
            )));
        }
    };
    let part = |given: Option<String>, default: &str| given.unwrap_or_else(|| String::from(default));
    let protocol = part(config.protocol, "#{protocol}");
    let host = part(config.host, "#{host}");
    let port = part(config.port, "#{port}");
    let path = part(config.path, "/#{path}");
    let query = part(config.query, "#{query}");
    let refused = |what: &str, value: &str, rule: &str| {
        Err(ApiError::validation(format_args!("Redirect {what} '{value}' must be {rule}")))
    };
    if !matches!(protocol.as_str(), "HTTP" | "HTTPS" | "#{protocol}") {
        return refused("protocol", &protocol, "HTTP, HTTPS or #{protocol}");
    }
    if port != "#{port}" && !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return refused("port", &port, "1-65535 or #{port}");
    }
    if !path.starts_with('/') {
        return refused("path", &path, "a path that begins with '/'");
    }
    if host.is_empty() {
        return refused("host", &host, "a host name");
    }
    for (what, value) in [("host", &host), ("path", &path), ("query", &query)] {
        if value.chars().count() > REDIRECT_PART_CHARS_MAX || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused(what, value, "at most 128 printable ASCII characters, without spaces");
        }
    }
    let same_place = matches!(protocol.as_str(), "HTTP" | "#{protocol}")
        && (port == "#{port}" || port == listener_port.to_string())
        && (host.as_str(), path.as_str(), query.as_str()) == ("#{host}", "/#{path}", "#{query}");
    if same_place {
        return Err(ApiError::new(
            ErrorKind::InvalidLoadBalancerAction,
            "The redirect configuration is not valid because it creates a loop.",
        ));
    }
    Ok(Action::Redirect { status, protocol, host, port, path, query })
}

/// Refuses the configuration of another type than the action's.
fn only(action: &wire::Action, kind: &str) -> Result<(), ApiError> {
    let given = [
        ("forward", action.target_group_arn.is_some() || action.forward_config.is_some()),
        ("fixed-response", action.fixed_response_config.is_some()),
        ("redirect", action.redirect_config.is_some()),
        ("authenticate-oidc", action.authenticate_oidc_config.is_some()),
        ("authenticate-cognito", action.authenticate_cognito_config.is_some()),
        ("jwt-validation", action.jwt_validation_config.is_some()),
    ];
    match given.iter().find(|(other, is_given)| *is_given && *other != kind) {
        Some((other, _)) => Err(ApiError::new(
            ErrorKind::InvalidLoadBalancerAction,
            format_args!("An action of type '{kind}' cannot have the configuration of type '{other}'"),
        )),
        None => Ok(()),
    }
}

/// An action as the wire shows it.
pub fn shown(action: &Action) -> wire::Action {
    match action {
        Action::Forward { groups, .. } => wire::Action {
            r#type: Some(String::from("forward")),
            target_group_arn: match groups.as_slice() {
                [(only, _)] => Some(only.clone()),
                _ => None,
            },
            forward_config: Some(wire::ForwardActionConfig {
                target_groups: Some(
                    groups
                        .iter()
                        .map(|(arn, weight)| wire::TargetGroupTuple {
                            target_group_arn: Some(arn.clone()),
                            weight: i32::try_from(*weight).ok(),
                        })
                        .collect(),
                ),
                target_group_stickiness_config: Some(wire::TargetGroupStickinessConfig {
                    enabled: Some(false),
                    duration_seconds: None,
                }),
            }),
            ..wire::Action::default()
        },
        Action::JwtValidation { jwks_endpoint, issuer, .. } => wire::Action {
            r#type: Some(String::from("jwt-validation")),
            jwt_validation_config: Some(wire::JwtValidationActionConfig {
                jwks_endpoint: Some(jwks_endpoint.clone()),
                issuer: Some(issuer.clone()),
                ..Default::default()
            }),
            ..wire::Action::default()
        },
        Action::FixedResponse { status, content_type, body } => wire::Action {
            r#type: Some(String::from("fixed-response")),
            fixed_response_config: Some(wire::FixedResponseActionConfig {
                message_body: Some(body.clone()).filter(|body| !body.is_empty()),
                status_code: Some(status.to_string()),
                content_type: Some(content_type.clone()),
            }),
            ..wire::Action::default()
        },
        Action::Redirect { status, protocol, host, port, path, query } => wire::Action {
            r#type: Some(String::from("redirect")),
            redirect_config: Some(wire::RedirectActionConfig {
                protocol: Some(protocol.clone()),
                port: Some(port.clone()),
                host: Some(host.clone()),
                path: Some(path.clone()),
                query: Some(query.clone()),
                status_code: Some(format!("HTTP_{status}")),
            }),
            ..wire::Action::default()
        },
    }
}
