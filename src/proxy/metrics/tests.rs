use std::collections::BTreeSet;

use super::*;
use crate::proxy::stats::{CodeStats, Latency};
use crate::proxy::testing::{group_arn, load_balancer};

fn balancer(kind: LoadBalancerKind) -> BalancerStats {
    let record = crate::model::LoadBalancer { kind, ..load_balancer("web") };
    let response_time = Latency::default();
    for ms in [1, 2, 500] {
        response_time.record(Duration::from_millis(ms));
    }
    BalancerStats {
        load_balancer: record.arn(),
        name: record.name,
        kind,
        requests: 5,
        in_flight: 1,
        request_count: 4,
        target_codes: CodeStats { of_2xx: 3, ..CodeStats::default() },
        elb_codes: Default::default(),
        response_time: response_time.read(),
        processed_bytes: 1000,
        rule_evaluations: 0,
        redirects: 0,
        fixed_responses: 1,
        grpc_requests: 0,
        non_compliant: 0,
        target_connection_errors: 0,
        target_tls_errors: 0,
        client_tls_errors: 0,
        connections: 7,
        connections_active: 2,
        connections_rejected: 0,
        client_resets: 0,
        target_resets: 0,
        elb_resets: 0,
        groups: BTreeSet::from([group_arn().to_string()]),
    }
}

fn text(kind: LoadBalancerKind) -> String {
    let group = GroupStats {
        group: group_arn(),
        requests: 4,
        errors: 0,
        codes: CodeStats { of_2xx: 3, ..CodeStats::default() },
        response_time: Default::default(),
        connection_errors: 0,
        tls_errors: 0,
        targets: Vec::new(),
    };
    let lost = [("a_lost", "Lost.", 3), ("b_lost", "Lost.", 0)];
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { families: families(&[balancer(kind)], &[group], lost) }));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

#[test]
fn metrics_have_the_names_and_dimensions_of_cloudwatch() {
    let text = text(LoadBalancerKind::Application);
    for line in [
        "# TYPE ApplicationELB_RequestCount counter",
        "ApplicationELB_RequestCount_total{LoadBalancer=\"app/web/0000000000000002\"} 4",
        "ApplicationELB_RequestCount_total{TargetGroup=\"targetgroup/web/0000000000000001\"} 4",
        "ApplicationELB_HTTPCode_Target_2XX_Count_total{LoadBalancer=\"app/web/0000000000000002\"} 3",
        "ApplicationELB_ActiveConnectionCount{LoadBalancer=\"app/web/0000000000000002\"} 2",
        "ApplicationELB_HealthyHostCount{TargetGroup=\"targetgroup/web/0000000000000001\"} 0",
        "ApplicationELB_TargetResponseTime_count{LoadBalancer=\"app/web/0000000000000002\"} 3",
        "ApplicationELB_TargetResponseTime_sum{LoadBalancer=\"app/web/0000000000000002\"} 0.503",
        "ApplicationELB_TargetResponseTime_bucket{le=\"+Inf\",LoadBalancer=\"app/web/0000000000000002\"} 3",
        "a_lost_total 3",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // 4.194303 s is above all, 4.194303 ms above two.
    let within = |bound: &str| {
        let line = text.lines().find(|line| line.contains("_bucket") && line.contains(bound)).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!((within("le=\"0.004194303\"").as_str(), within("le=\"4.294967295\"").as_str()), ("2", "3"));
}

#[test]
fn network_load_balancers_have_metrics_of_their_own() {
    let text = text(LoadBalancerKind::Network);
    assert!(text.contains("NetworkELB_NewFlowCount_total{LoadBalancer=\"net/web/0000000000000002\"} 7"), "{text}");
    assert!(text.contains("NetworkELB_HealthyHostCount{TargetGroup="), "{text}");
    assert!(!text.contains("ApplicationELB_"), "{text}");
}
