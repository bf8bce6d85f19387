//! What load balancers did, for `coracle balancers`: the typed counts of the proxy as JSON, under CloudWatch's names.

use serde_json::{Map, Value, json};

use crate::model::load_balancer::LoadBalancerKind;
use crate::proxy::{BalancerStats, CodeStats, GroupStats, LatencyStats, TargetStats};

const MS_PER_SECOND: f64 = 1e3;

/// One object for each load balancer of the region.
pub fn report(balancers: &[BalancerStats], groups: &[GroupStats], region: Option<&str>) -> Value {
    let is_wanted = |stats: &&BalancerStats| {
        region.is_none_or(|region| stats.load_balancer.as_str().split(':').nth(3) == Some(region))
    };
    let mut wanted: Vec<_> = balancers.iter().filter(is_wanted).collect();
    wanted.sort_by_key(|stats| &stats.name);
    wanted.into_iter().map(|stats| balancer(stats, groups)).collect()
}

fn balancer(stats: &BalancerStats, groups: &[GroupStats]) -> Value {
    let groups: Vec<&GroupStats> = groups.iter().filter(|group| stats.groups.contains(group.group.as_str())).collect();
    json!({
        "loadBalancerArn": stats.load_balancer.as_str(),
        "loadBalancerName": stats.name,
        "type": stats.kind.as_str(),
        "requests": stats.requests,
        "requestsInFlight": stats.in_flight,
        "healthyHosts": groups.iter().map(|group| group.healthy()).sum::<usize>(),
        "hosts": groups.iter().map(|group| group.targets.len()).sum::<usize>(),
        "latencyMs": latency(&stats.response_time),
        "metrics": metrics(stats),
        "targetGroups": groups.into_iter().map(group).collect::<Vec<_>>(),
    })
}

/// CloudWatch's metrics, by their names there.
fn metrics(stats: &BalancerStats) -> Value {
    if stats.kind == LoadBalancerKind::Network {
        return json!({
            "ActiveFlowCount": stats.connections_active,
            "NewFlowCount": stats.connections,
            "RejectedFlowCount": stats.connections_rejected,
            "ProcessedBytes": stats.processed_bytes,
            "TCP_Client_Reset_Count": stats.client_resets,
            "TCP_Target_Reset_Count": stats.target_resets,
            "TCP_ELB_Reset_Count": stats.elb_resets,
            "ClientTLSNegotiationErrorCount": stats.client_tls_errors,
            "TargetTLSNegotiationErrorCount": stats.target_tls_errors,
        });
    }
    let mut metrics = codes("HTTPCode_Target", &stats.target_codes);
    let own = &stats.elb_codes;
    let more = json!({
        "RequestCount": stats.request_count,
        "HTTPCode_ELB_3XX_Count": own.classes.of_3xx,
        "HTTPCode_ELB_4XX_Count": own.classes.of_4xx,
        "HTTPCode_ELB_5XX_Count": own.classes.of_5xx,
        "HTTPCode_ELB_500_Count": own.of_500,
        "HTTPCode_ELB_502_Count": own.of_502,
        "HTTPCode_ELB_503_Count": own.of_503,
        "HTTPCode_ELB_504_Count": own.of_504,
        "ActiveConnectionCount": stats.connections_active,
        "NewConnectionCount": stats.connections,
        "RejectedConnectionCount": stats.connections_rejected,
        "ProcessedBytes": stats.processed_bytes,
        "RuleEvaluations": stats.rule_evaluations,
        "HTTP_Redirect_Count": stats.redirects,
        "HTTP_Fixed_Response_Count": stats.fixed_responses,
        "GrpcRequestCount": stats.grpc_requests,
        "DesyncMitigationMode_NonCompliant_Request_Count": stats.non_compliant,
        "TargetConnectionErrorCount": stats.target_connection_errors,
        "TargetTLSNegotiationErrorCount": stats.target_tls_errors,
        "ClientTLSNegotiationErrorCount": stats.client_tls_errors,
    });
    if let Value::Object(more) = more {
        metrics.extend(more);
    }
    Value::Object(metrics)
}

fn codes(prefix: &str, codes: &CodeStats) -> Map<String, Value> {
    let classes = [("2XX", codes.of_2xx), ("3XX", codes.of_3xx), ("4XX", codes.of_4xx), ("5XX", codes.of_5xx)];
    classes.into_iter().map(|(class, count)| (format!("{prefix}_{class}_Count"), json!(count))).collect()
}

fn group(stats: &GroupStats) -> Value {
    let mut metrics = codes("HTTPCode_Target", &stats.codes);
    metrics.insert(String::from("RequestCount"), json!(stats.requests));
    metrics.insert(String::from("HealthyHostCount"), json!(stats.healthy()));
    metrics.insert(String::from("UnHealthyHostCount"), json!(stats.unhealthy()));
    metrics.insert(String::from("AnomalousHostCount"), json!(stats.anomalous()));
    metrics.insert(String::from("MitigatedHostCount"), json!(stats.mitigated()));
    metrics.insert(String::from("TargetConnectionErrorCount"), json!(stats.connection_errors));
    metrics.insert(String::from("TargetTLSNegotiationErrorCount"), json!(stats.tls_errors));
    json!({
        "targetGroupArn": stats.group.as_str(),
        "latencyMs": latency(&stats.response_time),
        "metrics": metrics,
        "targets": stats.targets.iter().map(target).collect::<Vec<_>>(),
    })
}

fn target(stats: &TargetStats) -> Value {
    let mut metrics = codes("HTTPCode_Target", &stats.codes);
    metrics.insert(String::from("RequestCount"), json!(stats.requests));
    metrics.insert(String::from("TargetConnectionErrorCount"), json!(stats.connection_errors));
    json!({
        "id": stats.target.address.to_string(),
        "port": stats.target.port,
        "task": stats.target.task.map(|task| task.to_string()),
        "health": stats.health.as_str(),
        "requestsInFlight": stats.in_flight,
        "failures": stats.failures,
        "metrics": metrics,
    })
}

/// Null as long as no target has answered.
fn latency(stats: &LatencyStats) -> Value {
    let ms = |fraction: f64| stats.quantile(fraction).map(|latency| latency.as_secs_f64() * MS_PER_SECOND);
    #[allow(clippy::cast_precision_loss, reason = "an average of more than 2^53 requests is as good")]
    let average = (stats.count > 0).then(|| stats.sum.as_secs_f64() * MS_PER_SECOND / stats.count as f64);
    json!({"average": average, "p50": ms(0.5), "p90": ms(0.9), "p99": ms(0.99)})
}
