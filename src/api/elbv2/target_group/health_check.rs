//! The health check of a target group: its defaults, and what a request may make of it.

use crate::api::elbv2::not_yet;
use crate::api::error::ApiError;
use crate::api::wire::elbv2 as wire;
use crate::model::load_balancer::HealthCheck;

const GRPC: &str = "GRPC";

/// Codes that an Application Load Balancer can be told to take for healthy: of HTTP, and of gRPC.
const HTTP_CODES: std::ops::RangeInclusive<u16> = 200..=499;
const GRPC_CODES: std::ops::RangeInclusive<u16> = 0..=99;

/// The bounds of a path, as of the model.
const PATH_CHARS_MAX: usize = 1024;

/// What `CreateTargetGroup` and `ModifyTargetGroup` say of the health check.
#[derive(Debug, Default)]
pub struct Settings {
    pub enabled: Option<bool>,
    pub protocol: Option<String>,
    pub port: Option<String>,
    pub path: Option<String>,
    pub interval_seconds: Option<i32>,
    pub timeout_seconds: Option<i32>,
    pub healthy_threshold: Option<i32>,
    pub unhealthy_threshold: Option<i32>,
    pub matcher: Option<wire::Matcher>,
}

/// What holds where nothing is said, for a group that speaks HTTP.
pub fn default(protocol_version: &str) -> HealthCheck {
    let (path, matcher) = match protocol_version {
        GRPC => ("/AWS.ALB/healthcheck", "12"),
        _ => ("/", "200"),
    };
    HealthCheck {
        enabled: true,
        protocol: String::from("HTTP"),
        port: String::from("traffic-port"),
        path: String::from(path),
        interval_seconds: 30,
        timeout_seconds: 5,
        healthy_threshold: 5,
        unhealthy_threshold: 2,
        matcher: String::from(matcher),
    }
}

impl Settings {
    /// The check with what was said of it, if it may be so.
    pub fn apply(self, before: HealthCheck, protocol_version: &str) -> Result<HealthCheck, ApiError> {
        if self.enabled == Some(false) {
            return Err(ApiError::validation(
                "Health checks cannot be disabled for target groups with target type 'ip' or 'instance'",
            ));
        }
        match self.protocol.as_deref() {
            None | Some("HTTP") => {}
            Some(other) => return Err(not_yet(format_args!("The health check protocol '{other}'"))),
        }
        let port = self.port.unwrap_or(before.port);
        if port != "traffic-port" && !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(ApiError::validation(format_args!(
                "Health check port '{port}' must be '1-65535' or 'traffic-port'"
            )));
        }
        let path = self.path.unwrap_or(before.path);
        if !path.starts_with('/') || path.len() > PATH_CHARS_MAX || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiError::validation(format_args!(
                "Health check path '{path}' must begin with a '/' character, and can only contain printable ASCII \
                 characters, without spaces"
            )));
        }
        let number = |given: Option<i32>, before: u32, what: &str, min: u32, max: u32| match given {
            None => Ok(before),
            Some(given) => u32::try_from(given).ok().filter(|number| (min..=max).contains(number)).ok_or_else(|| {
                ApiError::validation(format_args!("Health check {what} '{given}' must be between {min} and {max}"))
            }),
        };
        let interval_seconds = number(self.interval_seconds, before.interval_seconds, "interval", 5, 300)?;
        let timeout_seconds = number(self.timeout_seconds, before.timeout_seconds, "timeout", 2, 120)?;
        if interval_seconds <= timeout_seconds {
            return Err(ApiError::validation("Health check interval must be greater than the timeout."));
        }
        Ok(HealthCheck {
            enabled: true,
            protocol: before.protocol,
            port,
            path,
            interval_seconds,
            timeout_seconds,
            healthy_threshold: number(self.healthy_threshold, before.healthy_threshold, "healthy threshold", 2, 10)?,
            unhealthy_threshold: number(
                self.unhealthy_threshold,
                before.unhealthy_threshold,
                "unhealthy threshold",
                2,
                10,
            )?,
            matcher: match self.matcher {
                Some(matcher) => checked_matcher(matcher, protocol_version)?,
                None => before.matcher,
            },
        })
    }
}

/// Codes such as `200`, `200,202` or `200-299`.
fn checked_matcher(matcher: wire::Matcher, protocol_version: &str) -> Result<String, ApiError> {
    let (given, other, range, what) = match protocol_version {
        GRPC => (matcher.grpc_code, matcher.http_code, GRPC_CODES, "gRPC"),
        _ => (matcher.http_code, matcher.grpc_code, HTTP_CODES, "HTTP"),
    };
    let given = match (given, other) {
        (Some(given), None) => given,
        _ => {
            return Err(ApiError::validation(format_args!(
                "The matcher of a target group with the protocol version '{protocol_version}' must have {what} codes only"
            )));
        }
    };
    let code = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|code| plain && range.contains(code))
    };
    let is_part = |part: &str| match part.split_once('-') {
        None => code(part).is_some(),
        Some((from, to)) => code(from).zip(code(to)).is_some_and(|(from, to)| from <= to),
    };
    if !given.split(',').all(is_part) {
        return Err(ApiError::validation(format_args!(
            "Health check matcher {what} code '{given}' must be within '{}-{}', as in '{}'",
            range.start(),
            range.end(),
            if protocol_version == GRPC { "0,12' or '0-5" } else { "200,202' or '200-299" },
        )));
    }
    Ok(given)
}

pub fn shown_matcher(check: &HealthCheck, protocol_version: &str) -> wire::Matcher {
    let codes = Some(check.matcher.clone());
    match protocol_version {
        GRPC => wire::Matcher { http_code: None, grpc_code: codes },
        _ => wire::Matcher { http_code: codes, grpc_code: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: Settings) -> String {
        settings.apply(default("HTTP1"), "HTTP1").unwrap_err().message
    }

    #[test]
    fn the_interval_is_greater_than_the_timeout() {
        let settings = |interval, timeout| Settings {
            interval_seconds: Some(interval),
            timeout_seconds: Some(timeout),
            ..Settings::default()
        };
        assert_eq!(refused(settings(5, 5)), "Health check interval must be greater than the timeout.");
        let check = settings(6, 5).apply(default("HTTP1"), "HTTP1").unwrap();
        assert_eq!((check.interval_seconds, check.timeout_seconds, check.healthy_threshold), (6, 5, 5));
        assert!(refused(settings(4, 2)).contains("'4' must be between 5 and 300"));
        // The default of 5 seconds counts as well.
        assert!(refused(Settings { interval_seconds: Some(5), ..Settings::default() }).contains("greater"));
    }

    #[test]
    fn ports_paths_and_matchers_have_their_forms() {
        for port in ["0", "65536", "http", ""] {
            let message = refused(Settings { port: Some(port.into()), ..Settings::default() });
            assert_eq!(message, format!("Health check port '{port}' must be '1-65535' or 'traffic-port'"));
        }
        for path in ["health", "/a b", "", "/\u{e9}"] {
            assert!(refused(Settings { path: Some(path.into()), ..Settings::default() }).contains("begin with a '/'"));
        }
        let matcher = |codes: &str| wire::Matcher { http_code: Some(codes.into()), grpc_code: None };
        for wrong in ["", "199", "500", "300-200", "200,", "200-", "ok"] {
            assert!(checked_matcher(matcher(wrong), "HTTP1").is_err(), "{wrong}");
        }
        assert_eq!(checked_matcher(matcher("200,202-299"), "HTTP1").unwrap(), "200,202-299");
        assert!(checked_matcher(matcher("200"), "GRPC").is_err());
        let grpc = wire::Matcher { http_code: None, grpc_code: Some("0-99".into()) };
        assert_eq!(checked_matcher(grpc, "GRPC").unwrap(), "0-99");
    }
}
