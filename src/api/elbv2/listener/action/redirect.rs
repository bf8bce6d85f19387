//! Redirects, whose parts may name those of the request.

use crate::api::error::ApiError;
use crate::api::wire::elbv2 as wire;
use crate::model::load_balancer::Action;

/// The bound of the model.
const PART_CHARS_MAX: usize = 128;

pub fn read(action: wire::Action) -> Result<Action, ApiError> {
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
    check_parts(&protocol, &host, &port, &path, &query)?;
    Ok(Action::Redirect { status, protocol, host, port, path, query })
}

fn check_parts(protocol: &str, host: &str, port: &str, path: &str, query: &str) -> Result<(), ApiError> {
    let refused = |what: &str, value: &str, rule: &str| {
        Err(ApiError::validation(format_args!("Redirect {what} '{value}' must be {rule}")))
    };
    if !matches!(protocol, "HTTP" | "HTTPS" | "#{protocol}") {
        return refused("protocol", protocol, "HTTP, HTTPS or #{protocol}");
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    if port != "#{port}" && !(digits && port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return refused("port", port, "1-65535 or #{port}");
    }
    if !path.starts_with('/') {
        return refused("path", path, "a path that begins with '/'");
    }
    if host.is_empty() {
        return refused("host", host, "a host name");
    }
    for (what, value) in [("host", host), ("path", path), ("query", query)] {
        if value.chars().count() > PART_CHARS_MAX || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused(what, value, "at most 128 printable ASCII characters, without spaces");
        }
    }
    Ok(())
}
