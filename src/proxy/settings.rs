//! The attributes of load balancers and target groups as the data path uses them: read once from the texts of a record,
//! and kept as long as the record is the same.

mod http;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::load_balancer::{CHECK_INTERVAL_TAG, HealthCheck, checked_interval_ms};
use crate::model::{LoadBalancer, TargetGroup};
use crate::proxy::connect::Speech;

pub use http::{HttpSettings, ListenerSettings};

/// The longest that a connection may stay without a byte, as `idle_timeout.timeout_seconds` of a load balancer has it
/// by default.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq)]
pub struct BalancerSettings {
    /// `idle_timeout.timeout_seconds`.
    pub idle_timeout: Duration,
    pub http: HttpSettings,
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
            http: HttpSettings::of(set),
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

/// How a client stays with the target that it got first: `stickiness.*`. The duration is that of the load balancer's own
/// cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stickiness {
    /// From the first response on.
    BalancerCookie { duration: Duration },
    /// From the response on in which the target sets its cookie `name`, and as long as the client sends that.
    ApplicationCookie { name: String, duration: Duration },
}

/// `target_group_health.unhealthy_state_routing.minimum_healthy_targets`: with fewer healthy targets than that, all get
/// requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinimumHealthy {
    pub count: usize,
    pub percentage: Option<usize>,
}

impl MinimumHealthy {
    pub fn is_met(self, healthy: usize, registered: usize) -> bool {
        let of_all = |percentage| healthy * 100 >= registered * percentage;
        healthy >= self.count && self.percentage.is_none_or(of_all)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    pub algorithm: Algorithm,
    /// `load_balancing.algorithm.anomaly_mitigation`, which only the weighted random algorithm has.
    pub mitigates_anomalies: bool,
    /// `slow_start.duration_seconds`, which only the round robin algorithm has.
    pub slow_start: Option<Duration>,
    pub stickiness: Option<Stickiness>,
    pub minimum_healthy: MinimumHealthy,
    pub protocol_version: ProtocolVersion,
    /// `HTTPS`: targets are spoken to over TLS.
    pub is_tls: bool,
    pub health_check: HealthCheck,
    /// Of the health check, or of the tag `coracle.health.interval-ms`.
    pub check_interval: Duration,
    /// Of the health check; where the tag sets the interval, bounded by that.
    pub check_timeout: Duration,
    /// How long an unhealthy target of a network load balancer keeps its connections, and is shown as
    /// `unhealthy.draining`.
    pub unhealthy_draining: Option<Duration>,
}

impl GroupSettings {
    pub fn speech(&self) -> Speech {
        Speech { version: self.protocol_version, is_tls: self.is_tls }
    }

    pub fn of(record: &TargetGroup) -> GroupSettings {
        let set = &record.attributes;
        let algorithm = match attribute(set, "load_balancing.algorithm.type") {
            Some("least_outstanding_requests") => Algorithm::LeastOutstandingRequests,
            Some("weighted_random") => Algorithm::WeightedRandom,
            _ => Algorithm::RoundRobin,
        };
        let slow_start = seconds(set, "slow_start.duration_seconds").filter(|_| algorithm == Algorithm::RoundRobin);
        let (check_interval, check_timeout) = pace(record);
        GroupSettings {
            algorithm,
            mitigates_anomalies: algorithm == Algorithm::WeightedRandom
                && attribute(set, "load_balancing.algorithm.anomaly_mitigation") == Some("on"),
            slow_start,
            stickiness: stickiness(set),
            minimum_healthy: MinimumHealthy {
                count: number(set, &format!("{MINIMUM_HEALTHY}.count")).unwrap_or(1),
                percentage: number(set, &format!("{MINIMUM_HEALTHY}.percentage")),
            },
            is_tls: record.protocol == "HTTPS",
            protocol_version: match record.protocol_version.as_str() {
                "HTTP2" => ProtocolVersion::Http2,
                "GRPC" => ProtocolVersion::Grpc,
                _ => ProtocolVersion::Http1,
            },
            health_check: record.health_check.clone(),
            check_interval,
            check_timeout,
            unhealthy_draining: seconds(set, &format!("{UNHEALTHY}.draining_interval_seconds"))
                .filter(|_| attribute(set, &format!("{UNHEALTHY}.connection_termination.enabled")) == Some("false")),
        }
    }
}

const UNHEALTHY: &str = "target_health_state.unhealthy";
const MINIMUM_HEALTHY: &str = "target_group_health.unhealthy_state_routing.minimum_healthy_targets";
/// What `stickiness.*.duration_seconds` are by default: a day.
const STICKINESS_DURATION: Duration = Duration::from_secs(86_400);
/// The time-out is at most the interval, but not so short that a busy machine makes targets look dead.
const CHECK_TIMEOUT_MIN: Duration = Duration::from_millis(100);

fn stickiness(set: &BTreeMap<String, String>) -> Option<Stickiness> {
    if attribute(set, "stickiness.enabled") != Some("true") {
        return None;
    }
    let duration = |name| seconds(set, name).unwrap_or(STICKINESS_DURATION);
    match attribute(set, "stickiness.type") {
        Some("app_cookie") => Some(Stickiness::ApplicationCookie {
            name: attribute(set, "stickiness.app_cookie.cookie_name").filter(|name| !name.is_empty())?.to_owned(),
            duration: duration("stickiness.app_cookie.duration_seconds"),
        }),
        // `source_ip` is of network load balancers, which have no cookies.
        Some("lb_cookie") | None => {
            Some(Stickiness::BalancerCookie { duration: duration("stickiness.lb_cookie.duration_seconds") })
        }
        Some(_) => None,
    }
}

/// Interval and time-out of the health checks. A tag that is no number within its bounds says nothing.
fn pace(record: &TargetGroup) -> (Duration, Duration) {
    let check = &record.health_check;
    let timeout = Duration::from_secs(u64::from(check.timeout_seconds.max(1)));
    let tag = record.tags.iter().find(|tag| tag.key == CHECK_INTERVAL_TAG);
    match tag.and_then(|tag| checked_interval_ms(tag.value.as_deref()?.trim())) {
        Some(milliseconds) => {
            let interval = Duration::from_millis(u64::from(milliseconds));
            (interval, timeout.min(interval.max(CHECK_TIMEOUT_MIN)))
        }
        None => (Duration::from_secs(u64::from(check.interval_seconds.max(1))), timeout),
    }
}

/// A time that is not 0, which means off.
fn seconds(set: &BTreeMap<String, String>, name: &str) -> Option<Duration> {
    attribute(set, name)?.parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

fn number(set: &BTreeMap<String, String>, name: &str) -> Option<usize> {
    attribute(set, name)?.parse().ok()
}

fn attribute<'a>(set: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    set.get(name).map(String::as_str)
}
