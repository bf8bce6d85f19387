//! What the attributes of a load balancer and of a listener say about HTTP itself: which requests pass, and which headers
//! are added, changed or left alone on the way.

use std::collections::BTreeMap;

use http::header::{HeaderName, HeaderValue};

use crate::model::Listener;
use crate::proxy::desync::DesyncMode;
use crate::proxy::settings::{ForwardedFor, attribute};

/// Attributes `routing.http.*` of a load balancer.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    /// `routing.http.desync_mitigation_mode`.
    pub desync: DesyncMode,
    /// `routing.http.drop_invalid_header_fields.enabled`.
    pub drops_invalid_headers: bool,
    /// `routing.http.preserve_host_header.enabled`.
    pub preserves_host: bool,
    /// `routing.http.xff_header_processing.mode`.
    pub forwarded_for: ForwardedFor,
    /// `routing.http.xff_client_port.enabled`.
    pub forwards_port: bool,
    /// `routing.http.x_amzn_tls_version_and_cipher_suite.enabled`.
    pub tells_tls: bool,
    /// `routing.http2.enabled`: whether clients may speak HTTP/2.
    pub http2: bool,
}

impl HttpSettings {
    pub fn of(set: &BTreeMap<String, String>) -> HttpSettings {
        let is_on = |name: &str| attribute(set, name) == Some("true");
        HttpSettings {
            desync: match attribute(set, "routing.http.desync_mitigation_mode") {
                Some("monitor") => DesyncMode::Monitor,
                Some("strictest") => DesyncMode::Strictest,
                _ => DesyncMode::Defensive,
            },
            drops_invalid_headers: is_on("routing.http.drop_invalid_header_fields.enabled"),
            preserves_host: is_on("routing.http.preserve_host_header.enabled"),
            forwarded_for: match attribute(set, "routing.http.xff_header_processing.mode") {
                Some("preserve") => ForwardedFor::Preserve,
                Some("remove") => ForwardedFor::Remove,
                _ => ForwardedFor::Append,
            },
            forwards_port: is_on("routing.http.xff_client_port.enabled"),
            tells_tls: is_on("routing.http.x_amzn_tls_version_and_cipher_suite.enabled"),
            http2: attribute(set, "routing.http2.enabled") != Some("false"),
        }
    }
}

/// Attributes of an HTTP or HTTPS listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerSettings {
    /// `routing.http.response.NAME.header_value`: what every response says, whatever a target said.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// `routing.http.response.server.enabled`: whether our own answers say what we are.
    pub names_server: bool,
    /// `routing.http.request.x_amzn_tls_version.header_name`, which renames that header.
    pub tls_version: HeaderName,
    /// `routing.http.request.x_amzn_tls_cipher_suite.header_name`.
    pub tls_cipher: HeaderName,
    /// The listener's port as `X-Forwarded-Port` has it, made once.
    pub port: HeaderValue,
}

/// The headers that a listener may set, in the spelling of their attributes.
const RESPONSE_HEADERS: [&str; 10] = [
    "access_control_allow_credentials",
    "access_control_allow_headers",
    "access_control_allow_methods",
    "access_control_allow_origin",
    "access_control_expose_headers",
    "access_control_max_age",
    "content_security_policy",
    "strict_transport_security",
    "x_content_type_options",
    "x_frame_options",
];

impl ListenerSettings {
    pub fn of(record: &Listener) -> ListenerSettings {
        let set = &record.attributes;
        let mut response_headers = Vec::new();
        for name in RESPONSE_HEADERS {
            let value = attribute(set, &format!("routing.http.response.{name}.header_value"));
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            let header = HeaderName::try_from(name.replace('_', "-")).expect("letters and hyphens are a name");
            // What is no header's value cannot be sent; the API refuses it.
            if let Ok(value) = HeaderValue::from_str(value) {
                response_headers.push((header, value));
            }
        }
        let renamed = |name: &str, usual: &'static str| {
            let key = format!("routing.http.request.{name}.header_name");
            let given = attribute(set, &key).filter(|given| !given.is_empty());
            given.and_then(|given| given.parse().ok()).unwrap_or(HeaderName::from_static(usual))
        };
        ListenerSettings {
            response_headers,
            names_server: attribute(set, "routing.http.response.server.enabled") != Some("false"),
            tls_version: renamed("x_amzn_tls_version", "x-amzn-tls-version"),
            tls_cipher: renamed("x_amzn_tls_cipher_suite", "x-amzn-tls-cipher-suite"),
            port: HeaderValue::from(record.port),
        }
    }
}
