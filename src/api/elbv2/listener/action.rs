//! What a listener or a rule does with a request: read from the wire, checked, and shown again.
//!
//! The last action answers (forward, redirect or fixed-response); one before it may say who gets that far. They are kept
//! in the order in which they are performed, and `Order` as it was given beside them: Terraform compares it.

use crate::api::context::Context;
use crate::api::elbv2::listener::protocol;
use crate::api::elbv2::not_yet;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::load_balancer::Action;
use crate::store::View;

mod forward;
mod jwt;
mod redirect;

/// Actions of one rule: ELB's own quota, one that authenticates and one that routes.
const ACTIONS_MAX: usize = 2;

/// The bound of the model.
const MESSAGE_CHARS_MAX: usize = 1024;

const CONTENT_TYPES: [&str; 5] = ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];

/// The listener on which actions are performed.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub protocol: &'a str,
    pub port: u16,
}

impl Place<'_> {
    fn is_http(&self) -> bool {
        matches!(self.protocol, "HTTP" | "HTTPS")
    }
}

/// The actions of a listener or a rule, first to last, and their orders where any was given.
pub fn read(
    cx: &Context,
    view: &View,
    actions: Option<Vec<wire::Action>>,
    place: Place<'_>,
) -> Result<(Vec<Action>, Vec<u32>), ApiError> {
    let (given, orders) = sorted(actions.unwrap_or_default())?;
    let actions: Vec<Action> =
        given.into_iter().map(|action| one(cx, view, action, place)).collect::<Result<_, _>>()?;
    let routes = |action: &Action| !matches!(action, Action::JwtValidation { .. });
    if actions.iter().filter(|action| routes(action)).count() != 1 || !actions.last().is_some_and(routes) {
        return Err(invalid(
            "There must be exactly one action of type 'forward', 'redirect' or 'fixed-response', and it must be the last to be performed",
        ));
    }
    Ok((actions, orders))
}

/// By `Order`, which several actions need and one alone may have.
fn sorted(mut actions: Vec<wire::Action>) -> Result<(Vec<wire::Action>, Vec<u32>), ApiError> {
    match actions.len() {
        0 => return Err(ApiError::validation("An action must be specified")),
        1 => {}
        count if count > ACTIONS_MAX => {
            return Err(ApiError::new(
                ErrorKind::TooManyActions,
                format_args!("A rule can only have '{ACTIONS_MAX}' actions"),
            ));
        }
        _ if actions.iter().any(|action| action.order.is_none()) => {
            return Err(ApiError::validation(
                "An order must be specified for each action of a rule with several actions",
            ));
        }
        _ => {}
    }
    actions.sort_by_key(|action| action.order);
    let orders: Vec<u32> = actions.iter().filter_map(|action| u32::try_from(action.order?).ok()).collect();
    if let Some(twice) = orders.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(invalid(format_args!("The order '{}' was specified for more than one action", twice[0])));
    }
    Ok((actions, orders))
}

fn one(cx: &Context, view: &View, action: wire::Action, place: Place<'_>) -> Result<Action, ApiError> {
    let kind = action.r#type.clone().unwrap_or_default();
    if let "authenticate-oidc" | "authenticate-cognito" = kind.as_str() {
        return Err(not_yet(format_args!(
            "The action type '{kind}' (a login in the browser; validate tokens with 'jwt-validation' instead, or forward to an authenticating proxy)"
        )));
    }
    only(&action, &kind)?;
    let action = match kind.as_str() {
        "forward" => forward::read(cx, view, action)?,
        "fixed-response" => fixed_response(action)?,
        "redirect" => redirect::read(action)?,
        "jwt-validation" => jwt::read(action)?,
        _ => return Err(ApiError::validation(format_args!("Action type '{kind}' is not valid"))),
    };
    check_place(&action, place)?;
    protocol::check_groups(cx, view, place.protocol, &action)?;
    Ok(action)
}

/// Whether an action can be performed on a listener: when it is read, and when the listener changes under it.
pub fn check_place(action: &Action, place: Place<'_>) -> Result<(), ApiError> {
    let only_on =
        |what: &str| Err(invalid(format_args!("{what} are supported only on listeners of Application Load Balancers")));
    match action {
        Action::Forward { stickiness_seconds: Some(_), .. } if !place.is_http() => only_on("Sticky target groups"),
        Action::Forward { .. } => Ok(()),
        _ if !place.is_http() => only_on(&format!("Actions of type '{}'", type_of(action))),
        Action::JwtValidation { .. } if place.protocol != "HTTPS" => {
            Err(invalid("Actions of type 'jwt-validation' are supported only on HTTPS listeners"))
        }
        Action::Redirect { protocol, .. } if place.protocol == "HTTPS" && protocol == "HTTP" => {
            Err(invalid("A redirect from HTTPS to HTTP is not supported"))
        }
        Action::Redirect { protocol, port, host, path, .. } => {
            // The query does not count: where only it changes, the redirected request meets the same rule again.
            let same_place = (protocol == "#{protocol}" || protocol == place.protocol)
                && (port == "#{port}" || *port == place.port.to_string())
                && (host.as_str(), path.as_str()) == ("#{host}", "/#{path}");
            match same_place {
                true => Err(invalid("The redirect configuration is not valid because it creates a loop.")),
                false => Ok(()),
            }
        }
        Action::JwtValidation { .. } | Action::FixedResponse { .. } => Ok(()),
    }
}

fn type_of(action: &Action) -> &'static str {
    match action {
        Action::Forward { .. } => "forward",
        Action::JwtValidation { .. } => "jwt-validation",
        Action::FixedResponse { .. } => "fixed-response",
        Action::Redirect { .. } => "redirect",
    }
}

fn invalid(message: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::InvalidLoadBalancerAction, message)
}

fn fixed_response(action: wire::Action) -> Result<Action, ApiError> {
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
        Some((other, _)) => {
            Err(invalid(format_args!("An action of type '{kind}' cannot have the configuration of type '{other}'")))
        }
        None => Ok(()),
    }
}

/// Actions as the wire shows them.
pub fn shown(actions: &[Action], orders: &[u32]) -> Vec<wire::Action> {
    let order = |place: usize| orders.get(place).and_then(|order| i32::try_from(*order).ok());
    actions
        .iter()
        .enumerate()
        .map(|(place, action)| wire::Action { order: order(place), ..shown_one(action) })
        .collect()
}

fn shown_one(action: &Action) -> wire::Action {
    let shown = match action {
        Action::Forward { groups, stickiness_seconds } => forward::shown(groups, *stickiness_seconds),
        Action::JwtValidation { jwks_endpoint, issuer, claims } => jwt::shown(jwks_endpoint, issuer, claims),
        Action::FixedResponse { status, content_type, body } => {
            let config = wire::FixedResponseActionConfig {
                message_body: Some(body.clone()).filter(|body| !body.is_empty()),
                status_code: Some(status.to_string()),
                content_type: Some(content_type.clone()),
            };
            wire::Action { fixed_response_config: Some(config), ..wire::Action::default() }
        }
        Action::Redirect { status, protocol, host, port, path, query } => {
            let config = wire::RedirectActionConfig {
                protocol: Some(protocol.clone()),
                port: Some(port.clone()),
                host: Some(host.clone()),
                path: Some(path.clone()),
                query: Some(query.clone()),
                status_code: Some(format!("HTTP_{status}")),
            };
            wire::Action { redirect_config: Some(config), ..wire::Action::default() }
        }
    };
    wire::Action { r#type: Some(String::from(type_of(action))), ..shown }
}
