//! Rules of a listener: finding the one that a request meets, and publishing a change of one of them.
//!
//! `cargo bench --bench routes --no-default-features --features proxy`. The bar is that a thousand rules cost a request
//! little more than ten, and that a publication with one changed rule is far below a millisecond.

use std::collections::HashMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use coracle::model::rule::Condition;
use coracle::model::{Listener, LoadBalancer, Rule};
use coracle::proxy::rules::{Facts, Rules};
use coracle::proxy::{ListenerSpec, LoadBalancerSpec, Proxy, RoutesSpec};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use http::header::{HeaderValue, USER_AGENT};
use serde_json::json;

const COUNTS: [usize; 3] = [10, 100, 1000];

fn listener() -> Listener {
    let listener = json!({
        "scope": {"account": "123456789012", "region": "eu-west-1"}, "load_balancer": "web",
        "load_balancer_id": "0000000000000002", "id": "0000000000000003", "port": 80, "protocol": "HTTP",
        "default_actions": [fixed()], "attributes": {}, "tags": [], "created_at": 0
    });
    serde_json::from_value(listener).expect("a listener as the model has it")
}

fn load_balancer() -> LoadBalancer {
    let load_balancer = json!({
        "scope": {"account": "123456789012", "region": "eu-west-1"}, "name": "web", "id": "0000000000000002",
        "created_at": 0, "scheme": "internal", "ip_address_type": "ipv4", "attributes": {}, "tags": [], "document": {}
    });
    serde_json::from_value(load_balancer).expect("a load balancer as the model has it")
}

fn fixed() -> serde_json::Value {
    json!({"FixedResponse": {"status": 200, "content_type": "text/plain", "body": ""}})
}

fn rule(number: usize, conditions: Vec<Condition>) -> Arc<Rule> {
    let rule = json!({
        "scope": {"account": "123456789012", "region": "eu-west-1"}, "load_balancer": "web",
        "load_balancer_id": "0000000000000002", "listener": "0000000000000003", "id": format!("{number:016x}"),
        "priority": number + 1, "conditions": conditions, "actions": [fixed()], "tags": [], "created_at": 0
    });
    Arc::new(serde_json::from_value(rule).expect("a rule as the model has it"))
}

/// What conditions of each kind of rules are like.
fn conditions(kind: &str, number: usize) -> Vec<Condition> {
    let host = |value: String| Condition::HostHeader { values: vec![value], regex_values: Vec::new() };
    let path = |value: String| Condition::PathPattern { values: vec![value], regex_values: Vec::new() };
    match kind {
        // One host for each service, as most have it.
        "hosts" => vec![host(format!("service-{number}.example.com"))],
        "paths" => vec![path(format!("/service-{number}/*"))],
        "hosts and paths" => {
            vec![host(format!("tenant-{}.example.com", number % 100)), path(format!("/api-{number}/*"))]
        }
        // Nothing that an index could use: each rule is asked.
        _ => vec![host(format!("*-{number}.example.com")), path(format!("*/v{number}/*"))],
    }
}

const KINDS: [&str; 4] = ["hosts", "paths", "hosts and paths", "wildcards"];

fn rules(kind: &str, count: usize) -> Vec<Arc<Rule>> {
    (0..count).map(|number| rule(number, conditions(kind, number))).collect()
}

fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find");
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static("curl/8.14.1"));
    for kind in KINDS {
        for count in COUNTS {
            let rules = Rules::next(&listener(), &rules(kind, count), &HashMap::new(), None);
            // The last one, behind all others.
            let last = count - 1;
            let host = match kind {
                "hosts and paths" => format!("Tenant-{}.example.com:80", last % 100),
                _ => format!("Service-{last}.example.com:80"),
            };
            let path = match kind {
                "hosts and paths" => format!("/api-{last}/a"),
                "wildcards" => format!("/a/v{last}/b"),
                _ => format!("/service-{last}/a"),
            };
            let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let facts = Facts { host: &host, method: "GET", path: &path, query: None, headers: &headers, source };
            let found = rules.find(&facts).record.as_ref().map(|record| record.priority as usize);
            assert_eq!(found, Some(count), "{kind}");
            group.bench_function(BenchmarkId::new(kind, count), |bencher| {
                bencher.iter(|| black_box(rules.find(black_box(&facts))));
            });
        }
    }
    group.finish();
}

fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish with one change");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for kind in KINDS {
        for count in COUNTS {
            let proxy = Proxy::new(runtime.handle());
            let listener = ListenerSpec { record: Arc::new(listener()), rules: rules(kind, count) };
            let balancer = LoadBalancerSpec { record: Arc::new(load_balancer()), listeners: vec![listener] };
            let mut spec = RoutesSpec { load_balancers: vec![balancer], target_groups: Vec::new() };
            proxy.publish(&spec);
            let half = count / 2;
            group.bench_function(BenchmarkId::new(kind, count), |bencher| {
                bencher.iter(|| {
                    let rule = &mut spec.load_balancers[0].listeners[0].rules[half];
                    *rule = Arc::new(Rule::clone(rule));
                    proxy.publish(&spec);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, find, publish);
criterion_main!(benches);
