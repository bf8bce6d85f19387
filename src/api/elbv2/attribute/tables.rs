//! The attributes of Application Load Balancers, their target groups and their HTTP listeners: keys, defaults and forms as
//! ELBv2 documents them.

use crate::api::elbv2::attribute::{Effect, Form, Row, Table};

/// A bucket's name is at most 63 characters long.
pub const BUCKET: Form = Form::Text(63);
/// Of an object's key in S3.
pub const PREFIX: Form = Form::Text(1024);
/// ELB's own limit of a header's value.
const HEADER_VALUE: Form = Form::Text(1024);
const HEADER_NAME: Form = Form::Text(40);
const DAY_SECONDS: &str = "86400";
const WEEK_SECONDS: u32 = 604_800;
/// Targets of one group at AWS.
pub const TARGETS_MAX: u32 = 1000;

pub const fn honoured(key: &'static str, default: &'static str, form: Form) -> Row {
    Row { key, default, form, effect: Effect::Honoured }
}

pub const fn no_effect(key: &'static str, default: &'static str, form: Form) -> Row {
    Row { key, default, form, effect: Effect::None }
}

#[rustfmt::skip] // A table: one row a line.
pub const LOAD_BALANCER: Table = Table { subject: "Load balancer", rows: &[
    honoured("access_logs.s3.bucket", "", BUCKET),
    honoured("access_logs.s3.enabled", "false", Form::Boolean),
    honoured("access_logs.s3.prefix", "", PREFIX),
    honoured("client_keep_alive.seconds", "3600", Form::Number(60, WEEK_SECONDS)),
    honoured("connection_logs.s3.bucket", "", BUCKET),
    honoured("connection_logs.s3.enabled", "false", Form::Boolean),
    honoured("connection_logs.s3.prefix", "", PREFIX),
    honoured("deletion_protection.enabled", "false", Form::Boolean),
    no_effect("health_check_logs.s3.bucket", "", BUCKET),
    no_effect("health_check_logs.s3.enabled", "false", Form::Boolean),
    no_effect("health_check_logs.s3.prefix", "", PREFIX),
    honoured("idle_timeout.timeout_seconds", "60", Form::Number(1, 4000)),
    no_effect("ipv6.deny_all_igw_traffic", "false", Form::Boolean),
    // An Application Load Balancer's is always on, at AWS too.
    honoured("load_balancing.cross_zone.enabled", "true", Form::OneOf(&["true"])),
    honoured("routing.http.desync_mitigation_mode", "defensive", Form::OneOf(&["monitor", "defensive", "strictest"])),
    honoured("routing.http.drop_invalid_header_fields.enabled", "false", Form::Boolean),
    honoured("routing.http.preserve_host_header.enabled", "false", Form::Boolean),
    honoured("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", Form::Boolean),
    honoured("routing.http.xff_client_port.enabled", "false", Form::Boolean),
    honoured("routing.http.xff_header_processing.mode", "append", Form::OneOf(&["append", "preserve", "remove"])),
    honoured("routing.http2.enabled", "true", Form::Boolean),
    no_effect("waf.fail_open.enabled", "false", Form::Boolean),
    no_effect("zonal_shift.config.enabled", "false", Form::Boolean),
] };

#[rustfmt::skip] // A table: one row a line.
pub const TARGET_GROUP: Table = Table { subject: "Target group", rows: &[
    honoured("deregistration_delay.timeout_seconds", "300", Form::Number(0, 3600)),
    honoured("load_balancing.algorithm.anomaly_mitigation", "off", Form::OneOf(&["on", "off"])),
    honoured("load_balancing.algorithm.type", "round_robin", Form::OneOf(&["round_robin", "least_outstanding_requests", "weighted_random"])),
    // There is one zone, in which all values come to the same; it is honoured once there are more.
    honoured("load_balancing.cross_zone.enabled", "use_load_balancer_configuration", Form::OneOf(&["true", "false", "use_load_balancer_configuration"])),
    // 0 is off, and what is on is at least 30; see `target_group::modify_attributes`.
    honoured("slow_start.duration_seconds", "0", Form::Number(0, 900)),
    honoured("stickiness.app_cookie.cookie_name", "", Form::Text(256)),
    honoured("stickiness.app_cookie.duration_seconds", DAY_SECONDS, Form::Number(1, WEEK_SECONDS)),
    honoured("stickiness.enabled", "false", Form::Boolean),
    honoured("stickiness.lb_cookie.duration_seconds", DAY_SECONDS, Form::Number(1, WEEK_SECONDS)),
    honoured("stickiness.type", "lb_cookie", Form::OneOf(&["lb_cookie", "app_cookie"])),
    no_effect("target_group_health.dns_failover.minimum_healthy_targets.count", "1", Form::NumberOr(1, TARGETS_MAX, "off")),
    no_effect("target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", Form::NumberOr(1, 100, "off")),
    honoured("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", Form::Number(1, TARGETS_MAX)),
    honoured("target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off", Form::NumberOr(1, 100, "off")),
] };

#[rustfmt::skip] // A table: one row a line.
pub const LISTENER: Table = Table { subject: "Listener", rows: &[
    // Clients are asked for no certificate, so there is nothing to say of one.
    no_effect("routing.http.request.x_amzn_mtls_clientcert.header_name", "", HEADER_NAME),
    no_effect("routing.http.request.x_amzn_mtls_clientcert_issuer.header_name", "", HEADER_NAME),
    no_effect("routing.http.request.x_amzn_mtls_clientcert_leaf.header_name", "", HEADER_NAME),
    no_effect("routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name", "", HEADER_NAME),
    no_effect("routing.http.request.x_amzn_mtls_clientcert_subject.header_name", "", HEADER_NAME),
    no_effect("routing.http.request.x_amzn_mtls_clientcert_validity.header_name", "", HEADER_NAME),
    honoured("routing.http.request.x_amzn_tls_cipher_suite.header_name", "", HEADER_NAME),
    honoured("routing.http.request.x_amzn_tls_version.header_name", "", HEADER_NAME),
    honoured("routing.http.response.access_control_allow_credentials.header_value", "", HEADER_VALUE),
    honoured("routing.http.response.access_control_allow_headers.header_value", "", HEADER_VALUE),
    honoured("routing.http.response.access_control_allow_methods.header_value", "", HEADER_VALUE),
    honoured("routing.http.response.access_control_allow_origin.header_value", "", HEADER_VALUE),
    honoured("routing.http.response.access_control_expose_headers.header_value", "", HEADER_VALUE),
    honoured("routing.http.response.access_control_max_age.header_value", "", HEADER_VALUE),
    honoured("routing.http.response.content_security_policy.header_value", "", HEADER_VALUE),
    honoured("routing.http.response.server.enabled", "true", Form::Boolean),
    honoured("routing.http.response.strict_transport_security.header_value", "", HEADER_VALUE),
    honoured("routing.http.response.x_content_type_options.header_value", "", HEADER_VALUE),
    honoured("routing.http.response.x_frame_options.header_value", "", HEADER_VALUE),
] };
