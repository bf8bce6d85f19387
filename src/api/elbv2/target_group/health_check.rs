//! The health check of a target group: its defaults, and what a request may make of it.

use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::load_balancer::HealthCheck;

const GRPC: &str = "GRPC";

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

/// What a group speaks, which decides how it may be checked.
#[derive(Clone, Copy, Debug)]
pub struct Kind<'a> {
    pub protocol: &'a str,
    pub protocol_version: &'a str,
}

impl Kind<'_> {
    fn is_network(self) -> bool {
        !matches!(self.protocol, "HTTP" | "HTTPS")
    }

    fn is_grpc(self) -> bool {
        self.protocol_version == GRPC
    }

    /// The protocols that such a group may be checked with.
    fn protocols(self) -> &'static [&'static str] {
        match self.is_network() {
            true => &["HTTP", "HTTPS", "TCP"],
            false => &["HTTP", "HTTPS"],
        }
    }

    /// Codes that may be told to be healthy: of gRPC, or of HTTP, where network load balancers take those of failures too.
    fn codes(self) -> std::ops::RangeInclusive<u16> {
        match (self.is_grpc(), self.is_network()) {
            (true, _) => 0..=99,
            (false, true) => 200..=599,
            (false, false) => 200..=499,
        }
    }

    fn default_path(self, check_protocol: &str) -> &'static str {
        match check_protocol {
            "TCP" => "",
            _ if self.is_grpc() => "/AWS.ALB/healthcheck",
            _ => "/",
        }
    }

    fn default_matcher(self, check_protocol: &str) -> &'static str {
        match check_protocol {
            "TCP" => "",
            _ if self.is_grpc() => "12",
            _ if self.is_network() => "200-399",
            _ => "200",
        }
    }
}

/// What holds where nothing is said.
fn default(kind: Kind<'_>, check_protocol: &str) -> HealthCheck {
    HealthCheck {
        enabled: true,
        protocol: check_protocol.to_owned(),
        port: String::from("traffic-port"),
        path: kind.default_path(check_protocol).to_owned(),
        interval_seconds: 30,
        timeout_seconds: match (kind.is_network(), check_protocol) {
            (false, _) => 5,
            (true, "HTTP") => 6,
            (true, _) => 10,
        },
        healthy_threshold: 5,
        unhealthy_threshold: 2,
        matcher: kind.default_matcher(check_protocol).to_owned(),
    }
}

impl Settings {
    /// The check of a new group.
    pub fn create(self, kind: Kind<'_>) -> Result<HealthCheck, ApiError> {
        let usual = if kind.is_network() { "TCP" } else { kind.protocol };
        let before = default(kind, self.protocol.as_deref().unwrap_or(usual));
        self.apply(before, kind)
    }

    /// The check with what was said of it, if it may be so.
    pub fn apply(self, before: HealthCheck, kind: Kind<'_>) -> Result<HealthCheck, ApiError> {
        if self.enabled == Some(false) {
            return Err(ApiError::validation(
                "Health checks cannot be disabled for target groups with target type 'ip' or 'instance'",
            ));
        }
        let protocol = self.protocol.unwrap_or_else(|| before.protocol.clone());
        if !kind.protocols().contains(&protocol.as_str()) {
            return Err(ApiError::validation(format_args!(
                "Health check protocol '{protocol}' must be one of '{}' for target groups with the {} protocol",
                kind.protocols().join(", "),
                kind.protocol
            )));
        }
        let port = self.port.unwrap_or_else(|| before.port.clone());
        if port != "traffic-port" && !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(ApiError::validation(format_args!(
                "Health check port '{port}' must be '1-65535' or 'traffic-port'"
            )));
        }
        let path = checked_path(self.path, &before, &protocol, kind)?;
        let matcher = checked_matcher(self.matcher, &before, &protocol, kind)?;
        let number = |given: Option<i32>, before: u32, what: &str, min: u32, max: u32| match given {
            None => Ok(before),
            Some(given) => u32::try_from(given).ok().filter(|number| (min..=max).contains(number)).ok_or_else(|| {
                ApiError::validation(format_args!("Health check {what} '{given}' must be between {min} and {max}"))
            }),
        };
        let interval_seconds = number(self.interval_seconds, before.interval_seconds, "interval", 5, 300)?;
        let timeout_seconds = number(self.timeout_seconds, before.timeout_seconds, "timeout", 2, 120)?;
        // Network load balancers once had one value for both.
        if interval_seconds < timeout_seconds || (interval_seconds == timeout_seconds && !kind.is_network()) {
            return Err(ApiError::validation("Health check interval must be greater than the timeout."));
        }
        Ok(HealthCheck {
            enabled: true,
            protocol,
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
            matcher,
        })
    }
}

/// The path that is asked for; of a check that asks for none it is empty.
fn checked_path(
    given: Option<String>,
    before: &HealthCheck,
    protocol: &str,
    kind: Kind<'_>,
) -> Result<String, ApiError> {
    let path = match given {
        Some(_) if protocol == "TCP" => return Err(not_for_tcp("paths")),
        Some(path) => path,
        None if protocol == "TCP" || before.path.is_empty() => return Ok(kind.default_path(protocol).to_owned()),
        None => return Ok(before.path.clone()),
    };
    if !path.starts_with('/') || path.len() > PATH_CHARS_MAX || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::validation(format_args!(
            "Health check path '{path}' must begin with a '/' character, and can only contain printable ASCII \
             characters, without spaces"
        )));
    }
    Ok(path)
}

fn not_for_tcp(what: &str) -> ApiError {
    ApiError::new(
        ErrorKind::InvalidConfigurationRequest,
        format_args!("Health check {what} are not supported for TCP health checks"),
    )
}

/// Codes such as `200`, `200,202` or `200-299`.
fn checked_matcher(
    given: Option<wire::Matcher>,
    before: &HealthCheck,
    protocol: &str,
    kind: Kind<'_>,
) -> Result<String, ApiError> {
    let matcher = match given {
        Some(_) if protocol == "TCP" => return Err(not_for_tcp("matchers")),
        Some(matcher) => matcher,
        None if protocol == "TCP" || before.matcher.is_empty() => return Ok(kind.default_matcher(protocol).to_owned()),
        None => return Ok(before.matcher.clone()),
    };
    let (given, other, what) = match kind.is_grpc() {
        true => (matcher.grpc_code, matcher.http_code, "gRPC"),
        false => (matcher.http_code, matcher.grpc_code, "HTTP"),
    };
    let given = match (given, other) {
        (Some(given), None) => given,
        _ if kind.is_network() => {
            return Err(ApiError::validation(format_args!(
                "The matcher of a target group with the {} protocol must have HTTP codes only",
                kind.protocol
            )));
        }
        _ => {
            return Err(ApiError::validation(format_args!(
                "The matcher of a target group with the protocol version '{}' must have {what} codes only",
                kind.protocol_version
            )));
        }
    };
    let range = kind.codes();
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
            if kind.is_grpc() { "0,12' or '0-5" } else { "200,202' or '200-299" },
        )));
    }
    Ok(given)
}

/// Of a check that has a matcher.
pub fn shown_matcher(check: &HealthCheck, protocol_version: &str) -> Option<wire::Matcher> {
    let codes = Some(check.matcher.clone()).filter(|codes| !codes.is_empty())?;
    Some(match protocol_version {
        GRPC => wire::Matcher { http_code: None, grpc_code: Some(codes) },
        _ => wire::Matcher { http_code: Some(codes), grpc_code: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: Settings) -> String {
        settings.create(HTTP).unwrap_err().message
    }

    const HTTP: Kind<'static> = Kind { protocol: "HTTP", protocol_version: "HTTP1" };
    const GRPC_GROUP: Kind<'static> = Kind { protocol: "HTTP", protocol_version: "GRPC" };
    const TCP: Kind<'static> = Kind { protocol: "TCP", protocol_version: "" };

    fn matched(codes: wire::Matcher, kind: Kind<'_>) -> Result<String, ApiError> {
        checked_matcher(Some(codes), &default(kind, "HTTP"), "HTTP", kind)
    }

    #[test]
    fn network_groups_are_checked_by_connecting_or_by_asking() {
        let check = Settings::default().create(TCP).unwrap();
        assert_eq!((check.protocol.as_str(), check.path.as_str(), check.timeout_seconds), ("TCP", "", 10));
        let path = Settings { path: Some("/".into()), ..Settings::default() };
        let error = path.apply(check.clone(), TCP).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidConfigurationRequest);
        assert_eq!(error.message, "Health check paths are not supported for TCP health checks");
        let http = Settings { protocol: Some("HTTP".into()), ..Settings::default() };
        let asking = http.apply(check, TCP).unwrap();
        assert_eq!((asking.path.as_str(), asking.matcher.as_str()), ("/", "200-399"));
        let tcp = Settings { protocol: Some("TCP".into()), ..Settings::default() };
        assert_eq!(tcp.apply(asking, TCP).unwrap().matcher, "");
        let same = Settings { interval_seconds: Some(10), ..Settings::default() };
        assert!(same.create(TCP).is_ok());
        let udp = Settings { protocol: Some("UDP".into()), ..Settings::default() };
        assert!(udp.create(TCP).unwrap_err().message.contains("must be one of 'HTTP, HTTPS, TCP'"));
        assert!(refused(Settings { protocol: Some("TCP".into()), ..Settings::default() }).contains("'HTTP, HTTPS'"));
        assert_eq!(matched(wire::Matcher { http_code: Some("599".into()), grpc_code: None }, TCP).unwrap(), "599");
    }

    #[test]
    fn the_interval_is_greater_than_the_timeout() {
        let settings = |interval, timeout| Settings {
            interval_seconds: Some(interval),
            timeout_seconds: Some(timeout),
            ..Settings::default()
        };
        assert_eq!(refused(settings(5, 5)), "Health check interval must be greater than the timeout.");
        let check = settings(6, 5).create(HTTP).unwrap();
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
            assert!(matched(matcher(wrong), HTTP).is_err(), "{wrong}");
        }
        assert_eq!(matched(matcher("200,202-299"), HTTP).unwrap(), "200,202-299");
        assert!(matched(matcher("200"), GRPC_GROUP).is_err());
        let grpc = wire::Matcher { http_code: None, grpc_code: Some("0-99".into()) };
        assert_eq!(matched(grpc, GRPC_GROUP).unwrap(), "0-99");
    }
}
