//! The attributes of Network Load Balancers, their target groups and their listeners: keys, defaults and forms as ELBv2
//! documents them.

use crate::api::elbv2::attribute::tables::{BUCKET, PREFIX, TARGETS_MAX, honoured, no_effect};
use crate::api::elbv2::attribute::{Form, Row, Table};

#[rustfmt::skip] // A table: one row a line.
pub const NETWORK_LOAD_BALANCER: Table = Table { subject: "Load balancer", rows: &[
    no_effect("access_logs.s3.bucket", "", BUCKET),
    no_effect("access_logs.s3.enabled", "false", Form::Boolean),
    no_effect("access_logs.s3.prefix", "", PREFIX),
    honoured("deletion_protection.enabled", "false", Form::Boolean),
    no_effect("dns_record.client_routing_policy", "any_availability_zone", Form::OneOf(&["any_availability_zone", "availability_zone_affinity", "partial_availability_zone_affinity"])),
    no_effect("ipv6.deny_all_igw_traffic", "false", Form::Boolean),
    // There is one zone, in which both come to the same; it is honoured once there are more.
    honoured("load_balancing.cross_zone.enabled", "false", Form::Boolean),
    no_effect("secondary_ips.auto_assigned.per_subnet", "0", Form::Number(0, 7)),
    no_effect("zonal_shift.config.enabled", "false", Form::Boolean),
] };

/// TCP and TLS to instances.
pub const NETWORK_TARGET_GROUP: Table = Table {
    subject: "Target group",
    rows: &group_rows(Defaults {
        preserves_client_ip: "true",
        terminates_at_deregistration: "false",
        terminates_if_unhealthy: "true",
    }),
};

/// TCP and TLS to addresses.
pub const NETWORK_TARGET_GROUP_OF_ADDRESSES: Table = Table {
    subject: "Target group",
    rows: &group_rows(Defaults {
        preserves_client_ip: "false",
        terminates_at_deregistration: "false",
        terminates_if_unhealthy: "true",
    }),
};

/// UDP and TCP_UDP.
pub const NETWORK_TARGET_GROUP_OF_DATAGRAMS: Table = Table {
    subject: "Target group",
    rows: &group_rows(Defaults {
        preserves_client_ip: "true",
        terminates_at_deregistration: "true",
        terminates_if_unhealthy: "false",
    }),
};

/// What depends on the protocol and on the type of the targets.
struct Defaults {
    preserves_client_ip: &'static str,
    terminates_at_deregistration: &'static str,
    terminates_if_unhealthy: &'static str,
}

#[rustfmt::skip] // A table: one row a line.
const fn group_rows(defaults: Defaults) -> [Row; 13] {
    [
        honoured("deregistration_delay.connection_termination.enabled", defaults.terminates_at_deregistration, Form::Boolean),
        honoured("deregistration_delay.timeout_seconds", "300", Form::Number(0, 3600)),
        honoured("load_balancing.cross_zone.enabled", "use_load_balancer_configuration", Form::OneOf(&["true", "false", "use_load_balancer_configuration"])),
        honoured("preserve_client_ip.enabled", defaults.preserves_client_ip, Form::Boolean),
        honoured("proxy_protocol_v2.enabled", "false", Form::Boolean),
        honoured("stickiness.enabled", "false", Form::Boolean),
        honoured("stickiness.type", "source_ip", Form::OneOf(&["source_ip"])),
        no_effect("target_group_health.dns_failover.minimum_healthy_targets.count", "1", Form::NumberOr(1, TARGETS_MAX, "off")),
        no_effect("target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", Form::NumberOr(1, 100, "off")),
        honoured("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", Form::Number(1, TARGETS_MAX)),
        honoured("target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off", Form::NumberOr(1, 100, "off")),
        honoured("target_health_state.unhealthy.connection_termination.enabled", defaults.terminates_if_unhealthy, Form::Boolean),
        honoured("target_health_state.unhealthy.draining_interval_seconds", "0", Form::Number(0, 360_000)),
    ]
}

pub const TCP_LISTENER: Table =
    Table { subject: "Listener", rows: &[honoured("tcp.idle_timeout.seconds", "350", Form::Number(60, 6000))] };

/// TLS, UDP and TCP_UDP: nothing can be set.
pub const BARE_LISTENER: Table = Table { subject: "Listener", rows: &[] };
