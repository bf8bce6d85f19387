//! The attributes of load balancers and target groups as the data path uses them: read once from the texts of a record,
//! and kept as long as the record is the same.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::load_balancer::HealthCheck;
use crate::model::{LoadBalancer, TargetGroup};

/// The longest that a connection may stay without a byte, as `idle_timeout.timeout_seconds` of a load balancer has it
/// by default.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq)]
pub struct BalancerSettings {
    /// `idle_timeout.timeout_seconds`.
    pub idle_timeout: Duration,
    /// `routing.http.xff_header_processing.mode`.
    pub forwarded_for: ForwardedFor,
}

/// What becomes of `X-Forwarded-For`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedFor {
    Append,
    Preserve,
    Remove,
}

impl BalancerSettings {
    pub fn of(record: &LoadBalancer) -> BalancerSettings {
        let set = &record.attributes;
        let idle_seconds = attribute(set, "idle_timeout.timeout_seconds").and_then(|text| text.parse().ok());
        BalancerSettings {
            idle_timeout: idle_seconds.map_or(IDLE_TIMEOUT, Duration::from_secs),
            forwarded_for: match attribute(set, "routing.http.xff_header_processing.mode") {
                Some("preserve") => ForwardedFor::Preserve,
                Some("remove") => ForwardedFor::Remove,
                _ => ForwardedFor::Append,
            },
        }
    }
}

/// How a request's target is chosen: `load_balancing.algorithm.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    RoundRobin,
    LeastOutstandingRequests,
    WeightedRandom,
}

/// What the targets of a group speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolVersion {
    Http1,
    Http2,
    Grpc,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    pub algorithm: Algorithm,
    pub protocol_version: ProtocolVersion,
    pub health_check: HealthCheck,
}

impl GroupSettings {
    pub fn of(record: &TargetGroup) -> GroupSettings {
        let set = &record.attributes;
        GroupSettings {
            algorithm: match attribute(set, "load_balancing.algorithm.type") {
                Some("least_outstanding_requests") => Algorithm::LeastOutstandingRequests,
                Some("weighted_random") => Algorithm::WeightedRandom,
                _ => Algorithm::RoundRobin,
            },
            protocol_version: match record.protocol_version.as_str() {
                "HTTP2" => ProtocolVersion::Http2,
                "GRPC" => ProtocolVersion::Grpc,
                _ => ProtocolVersion::Http1,
            },
            health_check: record.health_check.clone(),
        }
    }
}

fn attribute<'a>(set: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    set.get(name).map(String::as_str)
}
