//! Load balancers, through the API as a client calls it.

use super::*;

#[test]
fn is_active_at_once_under_a_name_that_the_front_routes() {
    let mut api = Api::new();
    let answer = api.done("CreateLoadBalancer", json!({ "Name": "Web", "Subnets": ["subnet-b", "subnet-a"] }));
    let created = &answer["LoadBalancers"][0];
    assert_eq!(created["DNSName"], "web.us-east-1.elb.localhost");
    assert_eq!(created["State"], json!({ "Code": "active" }));
    assert_eq!(created["Scheme"], "internet-facing");
    assert_eq!(created["Type"], "application");
    assert_eq!(created["IpAddressType"], "ipv4");
    assert_eq!(created["CreatedTime"], 1_700_000_000.0);
    assert_eq!(column(&created["AvailabilityZones"], "SubnetId"), ["subnet-a", "subnet-b"]);
    assert_eq!(column(&created["AvailabilityZones"], "ZoneName"), ["us-east-1a", "us-east-1b"]);
    assert!(text(&created["LoadBalancerArn"]).contains(":loadbalancer/app/Web/"));
    assert!(text(&created["VpcId"]).starts_with("vpc-"));
    assert!(text(&created["SecurityGroups"][0]).starts_with("sg-"));
    assert_eq!(api.done("DescribeLoadBalancers", json!({})), answer);
}

#[test]
fn security_groups_are_what_tasks_know_it_by() {
    let mut api = Api::new();
    let answer = api.done("CreateLoadBalancer", json!({ "Name": "web", "SecurityGroups": ["sg-1"] }));
    assert_eq!(answer["LoadBalancers"][0]["SecurityGroups"], json!(["sg-1"]));
    assert_eq!(api.cx.without_effect.noted(), Vec::<String>::new());
}

#[test]
fn the_same_again_is_the_same() {
    let mut api = Api::new();
    let input = json!({ "Name": "web", "Subnets": ["subnet-1"], "Tags": [{ "Key": "a", "Value": "b" }] });
    let first = api.done("CreateLoadBalancer", input.clone());
    assert_eq!(api.done("CreateLoadBalancer", input), first);
    let other = json!({ "Name": "web", "Subnets": ["subnet-2"], "Tags": [{ "Key": "a", "Value": "b" }] });
    let (kind, message) = api.refused("CreateLoadBalancer", other);
    assert_eq!(kind, ErrorKind::DuplicateLoadBalancerName);
    assert_eq!(message, "A load balancer with the same name 'web' exists, but with different settings");
    let (kind, message) = api.refused("CreateLoadBalancer", json!({ "Name": "WEB" }));
    assert_eq!(kind, ErrorKind::DuplicateLoadBalancerName);
    assert!(message.ends_with("both would be 'web.us-east-1.elb.localhost'"), "{message}");
    assert_eq!(api.view.count(&Prefix::load_balancers(&api.cx.scope)), 1);
}

#[test]
fn what_is_not_here_is_refused_with_its_name() {
    let mut api = Api::new();
    for (member, value, what) in [
        ("Type", json!("gateway"), "A load balancer of type 'gateway'"),
        ("EnablePrefixForIpv6SourceNat", json!("on"), "EnablePrefixForIpv6SourceNat"),
        ("IpamPools", json!({}), "IpamPools"),
        ("CustomerOwnedIpv4Pool", json!("pool"), "CustomerOwnedIpv4Pool"),
    ] {
        let (kind, text) = api.refused("CreateLoadBalancer", json!({ "Name": "web", member: value }));
        assert_eq!(kind, ErrorKind::UnsupportedFeature);
        assert!(text.starts_with(&format!("{what} is not available in Coracle: ")), "{text}");
    }
    let (_, message) = api.refused("CreateLoadBalancer", json!({ "Name": "internal-web" }));
    assert_eq!(message, "Load balancer name 'internal-web' cannot begin with 'internal-'");
    let both = json!({ "Name": "web", "Subnets": ["subnet-1"], "SubnetMappings": [{ "SubnetId": "subnet-1" }] });
    assert_eq!(api.refused("CreateLoadBalancer", both).0, ErrorKind::Validation);
    assert!(api.view.is_read_only());
}

#[test]
fn is_found_by_name_by_arn_and_in_pages() {
    let mut api = Api::new();
    let arns: Vec<String> = ["a", "b", "c"].iter().map(|name| api.load_balancer(name)).collect();
    let answer = api.done("DescribeLoadBalancers", json!({ "Names": ["c", "a", "a"] }));
    assert_eq!(column(&answer["LoadBalancers"], "LoadBalancerName"), ["a", "c"]);
    let answer = api.done("DescribeLoadBalancers", json!({ "LoadBalancerArns": [arns[1]] }));
    assert_eq!(column(&answer["LoadBalancers"], "LoadBalancerName"), ["b"]);

    let first = api.done("DescribeLoadBalancers", json!({ "PageSize": 2 }));
    assert_eq!(column(&first["LoadBalancers"], "LoadBalancerName"), ["a", "b"]);
    let second = api.done("DescribeLoadBalancers", json!({ "PageSize": 2, "Marker": first["NextMarker"] }));
    assert_eq!(column(&second["LoadBalancers"], "LoadBalancerName"), ["c"]);
    assert!(second.get("NextMarker").is_none());

    let not_found = (ErrorKind::LoadBalancerNotFound, String::from("One or more load balancers not found"));
    assert_eq!(api.refused("DescribeLoadBalancers", json!({ "Names": ["a", "z"] })), not_found);
    for wrong in [arns[0].replace("us-east-1", "us-east-2"), arns[0].replace("app/a", "net/a"), format!("{}0", arns[0])]
    {
        assert_eq!(api.refused("DescribeLoadBalancers", json!({ "LoadBalancerArns": [wrong] })), not_found);
    }
    let (kind, message) = api.refused("DescribeLoadBalancers", json!({ "LoadBalancerArns": ["a"] }));
    assert_eq!((kind, message.as_str()), (ErrorKind::Validation, "'a' is not a valid load balancer ARN"));
    assert!(api.refused("DescribeLoadBalancers", json!({ "PageSize": 401 })).1.contains("400"));
}

#[test]
fn is_deleted_with_its_listeners_unless_protected() {
    let mut api = Api::new();
    let arn = api.load_balancer("web");
    let group = api.target_group("web");
    api.listener(&arn, 80, &group);
    let protect = |value: &str| json!({ "LoadBalancerArn": arn, "Attributes": [{ "Key": "deletion_protection.enabled", "Value": value }] });
    api.done("ModifyLoadBalancerAttributes", protect("true"));
    let (kind, message) = api.refused("DeleteLoadBalancer", json!({ "LoadBalancerArn": arn }));
    assert_eq!(kind, ErrorKind::OperationNotPermitted);
    assert_eq!(message, format!("Load balancer '{arn}' cannot be deleted because deletion protection is enabled"));

    api.done("ModifyLoadBalancerAttributes", protect("false"));
    for _ in 0..2 {
        api.done("DeleteLoadBalancer", json!({ "LoadBalancerArn": arn }));
        assert!(api.view.list::<LoadBalancer>(&Prefix::load_balancers(&api.cx.scope)).is_empty());
        assert!(api.view.list::<Listener>(&Prefix::listeners_in(&api.cx.scope)).is_empty());
    }
    // What the waiter of `aws elbv2 wait load-balancers-deleted` ends on.
    let (kind, _) = api.refused("DescribeLoadBalancers", json!({ "LoadBalancerArns": [arn] }));
    assert_eq!(kind, ErrorKind::LoadBalancerNotFound);
    api.done("DeleteTargetGroup", json!({ "TargetGroupArn": group }));
}

#[test]
fn attributes_have_defaults_and_keep_what_was_set() {
    let mut api = Api::new();
    let arn = api.load_balancer("web");
    let value = |answer: &Value, key: &str| {
        let attributes = answer["Attributes"].as_array().unwrap();
        text(&attributes.iter().find(|attribute| attribute["Key"] == key).unwrap()["Value"])
    };
    let before = api.done("DescribeLoadBalancerAttributes", json!({ "LoadBalancerArn": arn }));
    assert_eq!(value(&before, "idle_timeout.timeout_seconds"), "60");
    let set = json!([{ "Key": "idle_timeout.timeout_seconds", "Value": "4000" }]);
    let answer = api.done("ModifyLoadBalancerAttributes", json!({ "LoadBalancerArn": arn, "Attributes": set }));
    assert_eq!(value(&answer, "idle_timeout.timeout_seconds"), "4000");
    assert_eq!(api.done("DescribeLoadBalancerAttributes", json!({ "LoadBalancerArn": arn })), answer);

    let wrong = json!([{ "Key": "deregistration_delay.timeout_seconds", "Value": "1" }]);
    let (kind, message) =
        api.refused("ModifyLoadBalancerAttributes", json!({ "LoadBalancerArn": arn, "Attributes": wrong }));
    assert_eq!(kind, ErrorKind::Validation);
    assert_eq!(message, "Load balancer attribute key 'deregistration_delay.timeout_seconds' is not recognized");
}
