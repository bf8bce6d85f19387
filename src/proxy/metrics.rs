//! The metrics of all load balancers as OpenMetrics text, which Prometheus reads.
//!
//! Names and dimensions are CloudWatch's: what is `RequestCount` of the namespace `AWS/ApplicationELB` with the dimension
//! `LoadBalancer` there is `ApplicationELB_RequestCount_total{LoadBalancer="app/web/…"}` here. A metric that exists for load
//! balancers, groups and targets has samples for each of them, which do not add up: choose by label.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::model::TargetState;
use crate::model::load_balancer::LoadBalancerKind;
use crate::proxy::Proxy;
use crate::proxy::stats::{BalancerStats, GroupStats, LatencyStats, TargetStats};

/// Bounds of the latency histogram, by doublings from 65 microseconds to 69 seconds: those of our own buckets, so counts
/// are exact.
const BOUND_BITS: std::ops::RangeInclusive<u32> = 16..=36;

type Labels = Vec<(&'static str, String)>;

impl Proxy {
    /// Everything that was counted, in the OpenMetrics text format.
    pub fn metrics(&self) -> String {
        let lost = [
            ("coracle_access_log_lines_lost", "Lines of access logs that were not written.", self.log_lines_lost()),
            ("coracle_spans_lost", "Spans that were not sent to the collector of traces.", self.spans_lost()),
        ];
        let scrape = Scrape { families: families(&self.balancer_stats(), &self.stats(), lost) };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(scrape));
        let mut text = String::new();
        match encode(&mut text, &registry) {
            Ok(()) => text,
            Err(fmt::Error) => unreachable!("a String takes everything"),
        }
    }
}

#[derive(Debug)]
struct Family {
    name: String,
    help: &'static str,
    samples: Vec<(Labels, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Counter(u64),
    Gauge(u64),
    Histogram(LatencyStats),
}

/// All families at one moment.
#[derive(Debug)]
struct Scrape {
    families: Vec<Family>,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for family in self.families.iter().filter(|family| !family.samples.is_empty()) {
            let kind = match family.samples.first() {
                Some((_, Value::Gauge(_))) => MetricType::Gauge,
                Some((_, Value::Histogram(_))) => MetricType::Histogram,
                _ => MetricType::Counter,
            };
            let mut metric = encoder.encode_descriptor(&family.name, family.help, None, kind)?;
            for (labels, value) in &family.samples {
                if labels.is_empty() {
                    value.encode(&mut metric)?;
                } else {
                    value.encode(&mut metric.encode_family(labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, sample: &mut MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Value::Counter(count) => sample.encode_counter::<NoLabelSet, _, u64>(count, None),
            Value::Gauge(count) => sample.encode_gauge(count),
            Value::Histogram(stats) => {
                let sum = stats.sum.as_secs_f64();
                sample.encode_histogram::<NoLabelSet>(sum, stats.count, &buckets(stats), None)
            }
        }
    }
}

/// Upper bounds in seconds with how many are between them and the bound before.
fn buckets(stats: &LatencyStats) -> Vec<(f64, u64)> {
    let mut before = 0;
    let mut buckets: Vec<(f64, u64)> = BOUND_BITS
        .map(|bits| {
            let bound = Duration::from_nanos((1 << bits) - 1);
            let within = stats.count_within(bound);
            let bucket = (bound.as_secs_f64(), within - before);
            before = within;
            bucket
        })
        .collect();
    buckets.push((f64::INFINITY, stats.count - before));
    buckets
}

/// A metric: what it is called, what it is, and how it is read.
type Row<T> = (&'static str, &'static str, fn(&T) -> Value);

/// Of application load balancers.
const APPLICATION: &[Row<BalancerStats>] = &[
    ("RequestCount", "Requests for which a target was chosen.", |stats| Value::Counter(stats.request_count)),
    ("HTTPCode_Target_2XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.target_codes.of_2xx)),
    ("HTTPCode_Target_3XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.target_codes.of_3xx)),
    ("HTTPCode_Target_4XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.target_codes.of_4xx)),
    ("HTTPCode_Target_5XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.target_codes.of_5xx)),
    ("HTTPCode_ELB_3XX_Count", "Redirects of the load balancer.", |stats| {
        Value::Counter(stats.elb_codes.classes.of_3xx)
    }),
    ("HTTPCode_ELB_4XX_Count", "Client errors that the load balancer answered.", |stats| {
        Value::Counter(stats.elb_codes.classes.of_4xx)
    }),
    ("HTTPCode_ELB_5XX_Count", "Server errors that the load balancer answered.", |stats| {
        Value::Counter(stats.elb_codes.classes.of_5xx)
    }),
    ("HTTPCode_ELB_500_Count", "Responses 500 of the load balancer.", |stats| Value::Counter(stats.elb_codes.of_500)),
    ("HTTPCode_ELB_502_Count", "Responses 502 of the load balancer.", |stats| Value::Counter(stats.elb_codes.of_502)),
    ("HTTPCode_ELB_503_Count", "Responses 503 of the load balancer.", |stats| Value::Counter(stats.elb_codes.of_503)),
    ("HTTPCode_ELB_504_Count", "Responses 504 of the load balancer.", |stats| Value::Counter(stats.elb_codes.of_504)),
    ("TargetResponseTime", "Seconds from a request to the head of the target's response.", |stats| {
        Value::Histogram(stats.response_time.clone())
    }),
    ("ActiveConnectionCount", "Connections that are open.", |stats| Value::Gauge(stats.connections_active)),
    ("NewConnectionCount", "Connections that clients opened.", |stats| Value::Counter(stats.connections)),
    ("RejectedConnectionCount", "Connections that were refused at the limit.", |stats| {
        Value::Counter(stats.connections_rejected)
    }),
    ("ProcessedBytes", "Bytes of requests and responses, heads included.", |stats| {
        Value::Counter(stats.processed_bytes)
    }),
    ("RuleEvaluations", "Rules that were looked at.", |stats| Value::Counter(stats.rule_evaluations)),
    ("HTTP_Redirect_Count", "Redirects.", |stats| Value::Counter(stats.redirects)),
    ("HTTP_Fixed_Response_Count", "Fixed responses.", |stats| Value::Counter(stats.fixed_responses)),
    ("GrpcRequestCount", "Requests of gRPC.", |stats| Value::Counter(stats.grpc_requests)),
    ("DesyncMitigationMode_NonCompliant_Request_Count", "Requests that are not as RFC 9112 wants them.", |stats| {
        Value::Counter(stats.non_compliant)
    }),
    ("TargetConnectionErrorCount", "Connections to targets that failed.", |stats| {
        Value::Counter(stats.target_connection_errors)
    }),
    ("TargetTLSNegotiationErrorCount", "TLS handshakes with targets that failed.", |stats| {
        Value::Counter(stats.target_tls_errors)
    }),
    ("ClientTLSNegotiationErrorCount", "TLS handshakes with clients that failed.", |stats| {
        Value::Counter(stats.client_tls_errors)
    }),
    // Not CloudWatch's, and wanted all the same.
    ("Requests", "All requests, also those that were answered without a target.", |stats| {
        Value::Counter(stats.requests)
    }),
    ("RequestsInFlight", "Requests that have not ended.", |stats| Value::Gauge(stats.in_flight)),
];

/// Of network load balancers.
const NETWORK: &[Row<BalancerStats>] = &[
    ("ActiveFlowCount", "Flows that are open.", |stats| Value::Gauge(stats.connections_active)),
    ("NewFlowCount", "Flows that clients opened.", |stats| Value::Counter(stats.connections)),
    ("RejectedFlowCount", "Flows that were refused.", |stats| Value::Counter(stats.connections_rejected)),
    ("ProcessedBytes", "Bytes both ways.", |stats| Value::Counter(stats.processed_bytes)),
    ("TCP_Client_Reset_Count", "Connections that the client reset.", |stats| Value::Counter(stats.client_resets)),
    ("TCP_Target_Reset_Count", "Connections that the target reset.", |stats| Value::Counter(stats.target_resets)),
    ("TCP_ELB_Reset_Count", "Connections that the load balancer reset.", |stats| Value::Counter(stats.elb_resets)),
    ("ClientTLSNegotiationErrorCount", "TLS handshakes with clients that failed.", |stats| {
        Value::Counter(stats.client_tls_errors)
    }),
    ("TargetTLSNegotiationErrorCount", "TLS handshakes with targets that failed.", |stats| {
        Value::Counter(stats.target_tls_errors)
    }),
];

/// Of target groups of either.
const GROUP: &[Row<GroupStats>] = &[
    ("HealthyHostCount", "Targets that are healthy.", |stats| Value::Gauge(stats.healthy() as u64)),
    ("UnHealthyHostCount", "Targets that are not healthy.", |stats| Value::Gauge(stats.unhealthy() as u64)),
];

/// Of target groups of application load balancers.
const HTTP_GROUP: &[Row<GroupStats>] = &[
    ("AnomalousHostCount", "Targets that fail much more than the others.", |stats| {
        Value::Gauge(stats.anomalous() as u64)
    }),
    ("MitigatedHostCount", "Targets that get fewer requests for it.", |stats| Value::Gauge(stats.mitigated() as u64)),
    ("RequestCount", "Requests for which a target was chosen.", |stats| Value::Counter(stats.requests)),
    ("HTTPCode_Target_2XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.codes.of_2xx)),
    ("HTTPCode_Target_3XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.codes.of_3xx)),
    ("HTTPCode_Target_4XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.codes.of_4xx)),
    ("HTTPCode_Target_5XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.codes.of_5xx)),
    ("TargetResponseTime", "Seconds from a request to the head of the target's response.", |stats| {
        Value::Histogram(stats.response_time.clone())
    }),
    ("TargetConnectionErrorCount", "Connections to targets that failed.", |stats| {
        Value::Counter(stats.connection_errors)
    }),
    ("TargetTLSNegotiationErrorCount", "TLS handshakes with targets that failed.", |stats| {
        Value::Counter(stats.tls_errors)
    }),
];

/// Of each target: not CloudWatch's dimension, and what one looks for first.
const TARGET: &[Row<TargetStats>] = &[
    ("RequestCount", "Requests for which a target was chosen.", |stats| Value::Counter(stats.requests)),
    ("HTTPCode_Target_2XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.codes.of_2xx)),
    ("HTTPCode_Target_3XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.codes.of_3xx)),
    ("HTTPCode_Target_4XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.codes.of_4xx)),
    ("HTTPCode_Target_5XX_Count", "Responses of targets by class.", |stats| Value::Counter(stats.codes.of_5xx)),
    ("TargetConnectionErrorCount", "Connections to targets that failed.", |stats| {
        Value::Counter(stats.connection_errors)
    }),
    ("RequestsInFlight", "Requests that have not ended.", |stats| Value::Gauge(stats.in_flight as u64)),
    ("HealthyHostCount", "Targets that are healthy.", |stats| {
        Value::Gauge(u64::from(stats.health == TargetState::Healthy))
    }),
];

fn families(balancers: &[BalancerStats], groups: &[GroupStats], lost: [(&str, &'static str, u64); 2]) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for stats in balancers {
        let rows = if stats.kind == LoadBalancerKind::Network { NETWORK } else { APPLICATION };
        let labels = vec![("LoadBalancer", dimension(stats.load_balancer.as_str(), "loadbalancer/"))];
        add(&mut families, namespace(stats.kind), rows, &labels, stats);
    }
    let of_network = balancers.iter().filter(|stats| stats.kind == LoadBalancerKind::Network);
    let network_groups: HashSet<&str> = of_network.flat_map(|stats| &stats.groups).map(String::as_str).collect();
    for stats in groups {
        let is_network = network_groups.contains(stats.group.as_str());
        let namespace = namespace(if is_network { LoadBalancerKind::Network } else { LoadBalancerKind::Application });
        let labels = vec![("TargetGroup", dimension(stats.group.as_str(), ""))];
        add(&mut families, namespace, GROUP, &labels, stats);
        if is_network {
            continue;
        }
        add(&mut families, namespace, HTTP_GROUP, &labels, stats);
        for target in &stats.targets {
            let mut labels = labels.clone();
            labels.push(("Target", format!("{}:{}", target.target.address, target.target.port)));
            labels.extend(target.target.task.map(|task| ("Task", task.to_string())));
            add(&mut families, namespace, TARGET, &labels, target);
        }
    }
    families.extend(lost.map(|(name, help, count)| Family {
        name: name.to_owned(),
        help,
        samples: vec![(Labels::new(), Value::Counter(count))],
    }));
    families
}

/// Samples of one family must stand together: so they are sorted in here.
fn add<T>(families: &mut Vec<Family>, namespace: &str, rows: &[Row<T>], labels: &Labels, stats: &T) {
    for (name, help, read) in rows {
        let name = format!("{namespace}_{name}");
        let sample = (labels.clone(), read(stats));
        match families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.samples.push(sample),
            None => families.push(Family { name, help, samples: vec![sample] }),
        }
    }
}

fn namespace(kind: LoadBalancerKind) -> &'static str {
    match kind {
        LoadBalancerKind::Application => "ApplicationELB",
        LoadBalancerKind::Network => "NetworkELB",
    }
}

/// The part of an ARN that CloudWatch's dimensions have: `app/NAME/ID`, `targetgroup/NAME/ID`.
fn dimension(arn: &str, without: &str) -> String {
    let resource = arn.splitn(6, ':').last().unwrap_or(arn);
    resource.strip_prefix(without).unwrap_or(resource).to_owned()
}

#[cfg(test)]
mod tests;
