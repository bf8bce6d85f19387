//! Load balancers, listeners and target groups, as ELBv2 names them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{Arn, Scope, Tag, Timestamp};

/// What the wire calls the type of a load balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadBalancerKind {
    /// HTTP, by the content of requests.
    #[default]
    Application,
    /// TCP, TLS and UDP, by connection.
    Network,
}

impl LoadBalancerKind {
    pub fn as_str(self) -> &'static str {
        match self {
            LoadBalancerKind::Application => "application",
            LoadBalancerKind::Network => "network",
        }
    }

    /// As ARNs have it.
    pub fn in_arns(self) -> &'static str {
        match self {
            LoadBalancerKind::Application => "app",
            LoadBalancerKind::Network => "net",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    pub scope: Scope,
    pub name: String,
    #[serde(default)]
    pub kind: LoadBalancerKind,
    /// 16 hexadecimal digits: the last part of its ARN.
    pub id: String,
    pub created_at: Timestamp,
    /// `internet-facing` or `internal`.
    pub scheme: String,
    pub ip_address_type: String,
    pub attributes: BTreeMap<String, String>,
    pub tags: Vec<Tag>,
    /// Subnets, security groups and the like, in the wire's form.
    #[serde(default)]
    pub document: Map<String, Value>,
}

impl LoadBalancer {
    pub fn arn(&self) -> Arn {
        Arn::load_balancer(&self.scope, self.kind.in_arns(), &self.name, &self.id)
    }

    /// The name that the front routes by Host; `NAME.elb.localhost` works too while the name is unique.
    pub fn dns_name(&self) -> String {
        format!("{}.{}.elb.localhost", self.name, self.scope.region).to_ascii_lowercase()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    pub scope: Scope,
    pub load_balancer: String,
    #[serde(default)]
    pub load_balancer_kind: LoadBalancerKind,
    pub load_balancer_id: String,
    /// 16 hexadecimal digits.
    pub id: String,
    pub port: u16,
    /// `HTTP`, `HTTPS`; of network load balancers `TCP`, `TLS`, `UDP`, `TCP_UDP`.
    pub protocol: String,
    /// ARNs; the first is the default certificate, the others are chosen by the server name that a client asks for.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// Of HTTPS and TLS, such as `ELBSecurityPolicy-TLS13-1-2-2021-06`.
    #[serde(default)]
    pub ssl_policy: Option<String>,
    /// Of TLS: `HTTP1Only`, `HTTP2Only`, `HTTP2Optional`, `HTTP2Preferred`, `None`.
    #[serde(default)]
    pub alpn_policy: Option<String>,
    pub default_actions: Vec<Action>,
    /// The `Order` of each action as it was given, to be shown again; empty where none was.
    #[serde(default)]
    pub action_orders: Vec<u32>,
    pub attributes: BTreeMap<String, String>,
    pub tags: Vec<Tag>,
    pub created_at: Timestamp,
}

impl Listener {
    pub fn arn(&self) -> Arn {
        Arn::listener(
            &self.scope,
            self.load_balancer_kind.in_arns(),
            &self.load_balancer,
            &self.load_balancer_id,
            &self.id,
        )
    }
}

/// What a listener does with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Target groups with their weights.
    Forward {
        groups: Vec<(String, u32)>,
        /// For how many seconds a client stays with the group that it got first; `None`: it does not.
        #[serde(default)]
        stickiness_seconds: Option<u32>,
    },
    /// Lets through only who shows a token that the issuer signed; other actions come after it.
    JwtValidation {
        jwks_endpoint: String,
        issuer: String,
        #[serde(default)]
        claims: Vec<Claim>,
    },
    FixedResponse {
        status: u16,
        content_type: String,
        body: String,
    },
    Redirect {
        status: u16,
        protocol: String,
        host: String,
        port: String,
        path: String,
        query: String,
    },
}

/// What a token must say beside its issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub name: String,
    /// `single-string`, `string-array` or `space-separated-values`.
    pub format: String,
    pub values: Vec<String>,
}

impl Action {
    /// Forwards to target groups, without stickiness between them.
    pub fn forward(groups: Vec<(String, u32)>) -> Action {
        Action::Forward { groups, stickiness_seconds: None }
    }

    /// The target groups that it forwards to, with their weights.
    pub fn groups(&self) -> &[(String, u32)] {
        match self {
            Action::Forward { groups, .. } => groups,
            Action::JwtValidation { .. } | Action::FixedResponse { .. } | Action::Redirect { .. } => &[],
        }
    }
}

/// A tag of a target group: milliseconds in place of the interval of its health checks, whose least at ELB is 5 seconds.
pub const CHECK_INTERVAL_TAG: &str = "coracle.health.interval-ms";
/// 100 checks of a target a second, to ELB's longest interval.
pub const CHECK_INTERVAL_MS: std::ops::RangeInclusive<u32> = 10..=300_000;

/// The tag's value, if it is a whole number within its bounds.
pub fn checked_interval_ms(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && CHECK_INTERVAL_MS.contains(number))
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetGroup {
    pub scope: Scope,
    pub name: String,
    /// 16 hexadecimal digits.
    pub id: String,
    pub created_at: Timestamp,
    /// `HTTP`, `HTTPS`; for network load balancers `TCP`, `TLS`, `UDP`, `TCP_UDP`.
    pub protocol: String,
    /// `HTTP1`, `HTTP2`, `GRPC`; empty for network load balancers.
    pub protocol_version: String,
    pub port: u16,
    /// `ip` or `instance`.
    pub target_type: String,
    pub vpc_id: Option<String>,
    pub health_check: HealthCheck,
    pub attributes: BTreeMap<String, String>,
    pub tags: Vec<Tag>,
}

impl TargetGroup {
    pub fn arn(&self) -> Arn {
        Arn::target_group(&self.scope, &self.name, &self.id)
    }

    /// Whether it is for network load balancers: connections and datagrams, not requests.
    pub fn is_network(&self) -> bool {
        !matches!(self.protocol.as_str(), "HTTP" | "HTTPS")
    }

    pub fn is_udp(&self) -> bool {
        matches!(self.protocol.as_str(), "UDP" | "TCP_UDP")
    }

    /// What `preserve_client_ip.enabled` is where nobody set it: off for addresses behind TCP and TLS.
    pub fn preserves_client_ip_by_default(&self) -> bool {
        self.is_udp() || self.target_type != "ip"
    }

    /// `deregistration_delay.timeout_seconds`, 300 by default.
    pub fn deregistration_delay_seconds(&self) -> u32 {
        self.attributes.get("deregistration_delay.timeout_seconds").and_then(|text| text.parse().ok()).unwrap_or(300)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub enabled: bool,
    /// `HTTP`, `HTTPS` or `TCP`; a group of protocol version GRPC is asked by gRPC.
    pub protocol: String,
    /// `traffic-port` or a number.
    pub port: String,
    /// Empty where the protocol is `TCP`, as is the matcher.
    pub path: String,
    pub interval_seconds: u32,
    pub timeout_seconds: u32,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    /// HTTP codes such as `200`, `200,202` or `200-299`; gRPC codes for a group of protocol version GRPC.
    pub matcher: String,
}
