//! The attributes of target groups that concern connections, read when a connection begins.

use crate::model::TargetGroup;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// Targets are spoken to with TLS.
    pub is_tls: bool,
    /// `proxy_protocol_v2.enabled`.
    pub proxy_protocol: bool,
    /// `stickiness.enabled` of type `source_ip`.
    pub is_sticky: bool,
    /// `preserve_client_ip.enabled`: targets see the client's address as a connection's source, as far as it can be bound on
    /// this machine: that is, where it is a loopback address.
    pub preserves_client: bool,
    /// `deregistration_delay.connection_termination.enabled`.
    pub ends_deregistered: bool,
    /// `target_health_state.unhealthy.connection_termination.enabled`.
    pub ends_unhealthy: bool,
}

impl StreamSettings {
    pub fn of(record: &TargetGroup) -> StreamSettings {
        let text = |name: &str| record.attributes.get(name).map(String::as_str);
        let flag = |name: &str, default: bool| text(name).map_or(default, |text| text == "true");
        // ELB's defaults: targets by address see the load balancer, except over UDP, and instances see the client.
        let is_udp = matches!(record.protocol.as_str(), "UDP" | "TCP_UDP");
        let preserves_client = flag("preserve_client_ip.enabled", is_udp || record.target_type == "instance");
        StreamSettings {
            is_tls: record.protocol == "TLS",
            proxy_protocol: flag("proxy_protocol_v2.enabled", false),
            is_sticky: flag("stickiness.enabled", false)
                && text("stickiness.type").is_none_or(|kind| kind.starts_with("source_ip")),
            preserves_client,
            ends_deregistered: flag("deregistration_delay.connection_termination.enabled", is_udp),
            ends_unhealthy: flag("target_health_state.unhealthy.connection_termination.enabled", !is_udp),
        }
    }
}
