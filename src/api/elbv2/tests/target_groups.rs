//! Target groups, through the API as a client calls it.

use super::*;

#[test]
fn has_the_defaults_of_elb() {
    let mut api = Api::new();
    let answer = api.done("CreateTargetGroup", json!({ "Name": "web", "Protocol": "HTTP", "Port": 8080 }));
    let created = &answer["TargetGroups"][0];
    let expected = json!({
        "TargetGroupArn": created["TargetGroupArn"],
        "TargetGroupName": "web",
        "Protocol": "HTTP",
        "Port": 8080,
        "VpcId": created["VpcId"],
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPort": "traffic-port",
        "HealthCheckEnabled": true,
        "HealthCheckIntervalSeconds": 30,
        "HealthCheckTimeoutSeconds": 5,
        "HealthyThresholdCount": 5,
        "UnhealthyThresholdCount": 2,
        "HealthCheckPath": "/",
        "Matcher": { "HttpCode": "200" },
        "LoadBalancerArns": [],
        "TargetType": "instance",
        "ProtocolVersion": "HTTP1",
        "IpAddressType": "ipv4",
    });
    assert_eq!(*created, expected);
    assert_eq!(api.done("DescribeTargetGroups", json!({ "Names": ["web"] })), answer);
    let grpc = json!({ "Name": "grpc", "Protocol": "HTTP", "Port": 80, "ProtocolVersion": "GRPC" });
    let grpc = api.done("CreateTargetGroup", grpc);
    assert_eq!(grpc["TargetGroups"][0]["Matcher"], json!({ "GrpcCode": "12" }));
}

#[test]
fn the_same_again_is_the_same() {
    let mut api = Api::new();
    let input = |path: &str| json!({ "Name": "web", "Protocol": "HTTP", "Port": 80, "HealthCheckPath": path });
    let first = api.done("CreateTargetGroup", input("/a"));
    assert_eq!(api.done("CreateTargetGroup", input("/a")), first);
    let (kind, message) = api.refused("CreateTargetGroup", input("/b"));
    assert_eq!(kind, ErrorKind::DuplicateTargetGroupName);
    assert_eq!(message, "A target group with the same name 'web' exists, but with different settings");
    assert_eq!(api.view.count(&Prefix::target_groups(&api.cx.scope)), 1);
}

#[test]
fn refuses_what_is_not_here_and_what_cannot_be() {
    let mut api = Api::new();
    for (member, value, kind, message) in [
        ("TargetType", json!("lambda"), ErrorKind::UnsupportedFeature, "run the code as a service of tasks"),
        ("TargetType", json!("alb"), ErrorKind::UnsupportedFeature, "register the address and port of the Application"),
        (
            "Protocol",
            json!("GENEVE"),
            ErrorKind::UnsupportedFeature,
            "The target group protocol 'GENEVE' is not available",
        ),
        ("Protocol", json!("QUIC"), ErrorKind::UnsupportedFeature, "UDP carries QUIC as it is"),
        ("IpAddressType", json!("ipv6"), ErrorKind::UnsupportedFeature, "The IP address type 'ipv6' of a target group"),
        ("HealthCheckProtocol", json!("TCP"), ErrorKind::Validation, "must be one of 'HTTP, HTTPS'"),
        (
            "Tags",
            json!([{ "Key": "coracle.health.interval-ms", "Value": "9" }]),
            ErrorKind::Validation,
            "The value '9' of the tag 'coracle.health.interval-ms' must be a whole number of milliseconds between 10",
        ),
        ("HealthCheckEnabled", json!(false), ErrorKind::Validation, "Health checks cannot be disabled"),
        ("HealthCheckIntervalSeconds", json!(5), ErrorKind::Validation, "interval must be greater than the timeout."),
        ("HealthCheckPath", json!("ping"), ErrorKind::Validation, "Health check path 'ping' must begin with a '/'"),
        ("ProtocolVersion", json!("HTTP3"), ErrorKind::Validation, "Protocol version 'HTTP3' must be one of"),
        ("Port", json!(0), ErrorKind::Validation, "greater than or equal to 1"),
        ("VpcId", json!("mine"), ErrorKind::Validation, "The VPC ID 'mine' is not valid"),
        ("Name", json!("a_b"), ErrorKind::Validation, "alphanumeric characters and hyphens(-)"),
    ] {
        let mut input = json!({ "Name": "web", "Protocol": "HTTP", "Port": 80 });
        input[member] = value;
        let refused = api.refused("CreateTargetGroup", input);
        assert!(refused.0 == kind && refused.1.contains(message), "{member}: {refused:?}");
    }
    let (_, message) = api.refused("CreateTargetGroup", json!({ "Name": "web", "Protocol": "HTTP" }));
    assert_eq!(message, "A port must be specified");
    assert!(api.view.is_read_only());
}

#[test]
fn a_check_is_modified_in_part() {
    let mut api = Api::new();
    let arn = api.target_group("web");
    let settings =
        json!({ "TargetGroupArn": arn, "HealthCheckIntervalSeconds": 10, "Matcher": { "HttpCode": "200-299" } });
    let answer = api.done("ModifyTargetGroup", settings);
    let group = &answer["TargetGroups"][0];
    assert_eq!(group["HealthCheckIntervalSeconds"], 10);
    assert_eq!(group["HealthCheckTimeoutSeconds"], 5);
    assert_eq!(group["Matcher"]["HttpCode"], "200-299");
    assert_eq!(api.done("DescribeTargetGroups", json!({ "TargetGroupArns": [arn] })), answer);
    let (_, message) =
        api.refused("ModifyTargetGroup", json!({ "TargetGroupArn": arn, "HealthCheckTimeoutSeconds": 10 }));
    assert_eq!(message, "Health check interval must be greater than the timeout.");
}

#[test]
fn is_not_deleted_while_a_listener_uses_it() {
    let mut api = Api::new();
    let load_balancer = api.load_balancer("web");
    let group = api.target_group("web");
    let listener = api.listener(&load_balancer, 80, &group);
    let (kind, message) = api.refused("DeleteTargetGroup", json!({ "TargetGroupArn": group }));
    assert_eq!(kind, ErrorKind::ResourceInUse);
    assert_eq!(message, format!("Target group '{group}' is currently in use by a listener or a rule"));
    let answer = api.done("DescribeTargetGroups", json!({ "LoadBalancerArn": load_balancer }));
    assert_eq!(answer["TargetGroups"][0]["LoadBalancerArns"], json!([load_balancer]));

    api.done("RegisterTargets", json!({ "TargetGroupArn": group, "Targets": [{ "Id": "127.0.0.1" }] }));
    api.done("DeleteListener", json!({ "ListenerArn": listener }));
    for _ in 0..2 {
        api.done("DeleteTargetGroup", json!({ "TargetGroupArn": group }));
        assert!(api.view.list::<TargetGroup>(&Prefix::target_groups(&api.cx.scope)).is_empty());
        assert!(api.view.list::<Target>(&Prefix::targets(&api.cx.scope, "web")).is_empty());
    }
    let not_found = (ErrorKind::TargetGroupNotFound, String::from("One or more target groups not found"));
    assert_eq!(api.refused("DescribeTargetGroups", json!({ "TargetGroupArns": [group] })), not_found);
    assert_eq!(api.refused("DescribeTargetGroups", json!({ "Names": ["web"] })), not_found);
}

#[test]
fn attributes_are_judged_together() {
    let mut api = Api::new();
    let arn = api.target_group("web");
    let set = |pairs: &[(&str, &str)]| {
        let pairs: Vec<Value> = pairs.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        json!({ "TargetGroupArn": arn, "Attributes": pairs })
    };
    let answer = api.done("ModifyTargetGroupAttributes", set(&[("deregistration_delay.timeout_seconds", "5")]));
    let delay = json!({ "Key": "deregistration_delay.timeout_seconds", "Value": "5" });
    assert_eq!(answer["Attributes"][0], delay);
    assert_eq!(answer["Attributes"].as_array().unwrap().len(), 14);
    assert_eq!(api.done("DescribeTargetGroupAttributes", json!({ "TargetGroupArn": arn })), answer);

    let (algorithm, slow) = ("load_balancing.algorithm.type", "slow_start.duration_seconds");
    let (kind, _) = api.refused("ModifyTargetGroupAttributes", set(&[(slow, "30"), (algorithm, "weighted_random")]));
    assert_eq!(kind, ErrorKind::InvalidConfigurationRequest);
    assert_eq!(api.refused("ModifyTargetGroupAttributes", set(&[(slow, "29")])).0, ErrorKind::Validation);
    let app_cookie = [("stickiness.enabled", "true"), ("stickiness.type", "app_cookie")];
    let (kind, _) = api.refused("ModifyTargetGroupAttributes", set(&app_cookie));
    assert_eq!(kind, ErrorKind::InvalidConfigurationRequest);
    let (_, message) = api.refused("ModifyTargetGroupAttributes", set(&[("preserve_client_ip.enabled", "true")]));
    assert_eq!(message, "Target group attribute key 'preserve_client_ip.enabled' is not recognized");
    api.done("ModifyTargetGroupAttributes", set(&[(algorithm, "least_outstanding_requests")]));
    assert_eq!(api.cx.without_effect.noted(), Vec::<String>::new());
    let failover = "target_group_health.dns_failover.minimum_healthy_targets.percentage";
    api.done("ModifyTargetGroupAttributes", set(&[(failover, "50")]));
    assert_eq!(api.cx.without_effect.noted(), [format!("{failover}=50")]);
}
