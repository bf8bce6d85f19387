//! Network load balancers and their target groups, through the API as a client calls it.

use super::*;

impl Api {
    /// The ARN of a new network load balancer.
    #[track_caller]
    fn network_load_balancer(&mut self, name: &str) -> String {
        let answer = self.done("CreateLoadBalancer", json!({ "Name": name, "Type": "network" }));
        text(&answer["LoadBalancers"][0]["LoadBalancerArn"])
    }

    /// The ARN of a new target group of addresses.
    #[track_caller]
    fn group_of(&mut self, protocol: &str) -> String {
        let name = format!("group-{}", protocol.to_ascii_lowercase().replace('_', "-"));
        let input = json!({ "Name": name, "Protocol": protocol, "Port": 80, "TargetType": "ip" });
        text(&self.done("CreateTargetGroup", input)["TargetGroups"][0]["TargetGroupArn"])
    }

    #[track_caller]
    fn attribute(&mut self, group: &str, key: &str) -> String {
        let answer = self.done("DescribeTargetGroupAttributes", json!({ "TargetGroupArn": group }));
        let attributes = answer["Attributes"].as_array().unwrap();
        attributes
            .iter()
            .find(|attribute| attribute["Key"] == key)
            .map(|found| text(&found["Value"]))
            .unwrap_or_default()
    }
}

#[test]
fn has_no_security_groups_unless_it_was_made_with_some() {
    let mut api = Api::new();
    let answer = api.done("CreateLoadBalancer", json!({ "Name": "net", "Type": "network" }));
    let created = &answer["LoadBalancers"][0];
    let arn = text(&created["LoadBalancerArn"]);
    assert!(arn.contains(":loadbalancer/net/net/"), "{arn}");
    assert_eq!((&created["Type"], &created["State"]["Code"]), (&json!("network"), &json!("active")));
    assert!(created.get("SecurityGroups").is_none(), "{created}");
    assert_eq!(api.done("DescribeLoadBalancers", json!({ "LoadBalancerArns": [arn] })), answer);
    let set = json!({ "LoadBalancerArn": arn, "SecurityGroups": ["sg-1"] });
    let (kind, message) = api.refused("SetSecurityGroups", set);
    assert_eq!(kind, ErrorKind::InvalidConfigurationRequest);
    assert!(message.ends_with("which was created without any security groups."), "{message}");

    // The name is one for all types.
    let (kind, _) = api.refused("CreateLoadBalancer", json!({ "Name": "net" }));
    assert_eq!(kind, ErrorKind::DuplicateLoadBalancerName);

    let guarded = json!({ "Name": "guarded", "Type": "network", "SecurityGroups": ["sg-1"] });
    let guarded = text(&api.done("CreateLoadBalancer", guarded)["LoadBalancers"][0]["LoadBalancerArn"]);
    let set = json!({
        "LoadBalancerArn": guarded, "SecurityGroups": ["sg-2"],
        "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic": "off",
    });
    let answer = api.done("SetSecurityGroups", set);
    assert_eq!(answer["SecurityGroupIds"], json!(["sg-2"]));
    assert_eq!(api.cx.without_effect.noted(), ["EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic=off"]);
    let shown = api.done("DescribeLoadBalancers", json!({ "Names": ["guarded"] }))["LoadBalancers"][0].take();
    assert_eq!(shown["SecurityGroups"], json!(["sg-2"]));
    assert_eq!(shown["EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"], "off");
}

#[test]
fn static_addresses_are_of_its_scheme() {
    let mut api = Api::new();
    let mut create = |name: &str, kind: &str, scheme: &str, mapping: Value| {
        let input = json!({ "Name": name, "Type": kind, "Scheme": scheme, "SubnetMappings": [mapping] });
        api.call("CreateLoadBalancer", input).map_err(|error| error.kind)
    };
    let elastic = json!({ "SubnetId": "subnet-1", "AllocationId": "eipalloc-1" });
    let private = json!({ "SubnetId": "subnet-1", "PrivateIPv4Address": "10.0.0.8" });
    let answer = create("elastic", "network", "internet-facing", elastic.clone()).unwrap();
    let zone = &answer["LoadBalancers"][0]["AvailabilityZones"][0];
    assert_eq!(zone["LoadBalancerAddresses"], json!([{ "AllocationId": "eipalloc-1" }]));
    let answer = create("private", "network", "internal", private.clone()).unwrap();
    let zone = &answer["LoadBalancers"][0]["AvailabilityZones"][0];
    assert_eq!(zone["LoadBalancerAddresses"], json!([{ "PrivateIPv4Address": "10.0.0.8" }]));

    let invalid = Err(ErrorKind::InvalidConfigurationRequest);
    assert_eq!(create("x", "network", "internal", elastic.clone()), invalid);
    assert_eq!(create("x", "network", "internet-facing", private), invalid);
    assert_eq!(create("x", "application", "internet-facing", elastic), invalid);
    let missing = json!({ "SubnetId": "subnet-1", "AllocationId": "mine" });
    assert_eq!(create("x", "network", "internet-facing", missing), Err(ErrorKind::AllocationIdNotFound));
}

#[test]
fn subnets_and_address_types_are_set() {
    let mut api = Api::new();
    let arn = api.network_load_balancer("net");
    let answer = api.done("SetSubnets", json!({ "LoadBalancerArn": arn, "Subnets": ["subnet-b", "subnet-a"] }));
    assert_eq!(column(&answer["AvailabilityZones"], "SubnetId"), ["subnet-a", "subnet-b"]);
    let shown = api.done("DescribeLoadBalancers", json!({ "LoadBalancerArns": [arn] }))["LoadBalancers"][0].take();
    assert_eq!(shown["AvailabilityZones"], answer["AvailabilityZones"]);
    assert_eq!(api.refused("SetSubnets", json!({ "LoadBalancerArn": arn })).0, ErrorKind::Validation);

    let set = |kind: &str| json!({ "LoadBalancerArn": arn, "IpAddressType": kind });
    assert_eq!(api.done("SetIpAddressType", set("dualstack"))["IpAddressType"], "dualstack");
    assert_eq!(api.cx.without_effect.noted(), ["IpAddressType=dualstack"]);
    let group = api.group_of("UDP");
    let udp = json!({
        "LoadBalancerArn": arn, "Protocol": "UDP", "Port": 53,
        "DefaultActions": [{ "Type": "forward", "TargetGroupArn": group }],
    });
    assert_eq!(api.refused("CreateListener", udp.clone()).0, ErrorKind::InvalidConfigurationRequest);
    assert_eq!(api.done("SetIpAddressType", set("ipv4"))["IpAddressType"], "ipv4");
    api.done("CreateListener", udp);
    assert_eq!(api.refused("SetIpAddressType", set("dualstack")).0, ErrorKind::InvalidConfigurationRequest);
    let (kind, _) = api.refused("SetIpAddressType", set("dualstack-without-public-ipv4"));
    assert_eq!(kind, ErrorKind::InvalidConfigurationRequest);
}

#[test]
fn each_protocol_forwards_to_those_that_fit() {
    let mut api = Api::new();
    let (net, app) = (api.network_load_balancer("net"), api.load_balancer("app"));
    let protocols = ["HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP"];
    let groups: Vec<String> = protocols.iter().map(|protocol| api.group_of(protocol)).collect();
    let certificates = json!([{ "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/a" }]);
    for (listener, fitting) in [
        ("HTTP", &["HTTP", "HTTPS"][..]),
        ("HTTPS", &["HTTP", "HTTPS"]),
        ("TCP", &["TCP", "TCP_UDP"]),
        ("TLS", &["TCP", "TLS"]),
        ("UDP", &["UDP", "TCP_UDP"]),
        ("TCP_UDP", &["TCP_UDP"]),
    ] {
        for (protocol, group) in protocols.iter().zip(&groups) {
            let mut input = json!({
                "LoadBalancerArn": if listener.starts_with("HTTP") { &app } else { &net },
                "Protocol": listener, "Port": 80,
                "DefaultActions": [{ "Type": "forward", "TargetGroupArn": group }],
            });
            if let "HTTPS" | "TLS" = listener {
                input["Certificates"] = certificates.clone();
            }
            match api.call("CreateListener", input) {
                Ok(answer) => {
                    assert!(fitting.contains(protocol), "{listener} to {protocol}");
                    api.done("DeleteListener", json!({ "ListenerArn": answer["Listeners"][0]["ListenerArn"] }));
                }
                Err(error) => {
                    assert!(!fitting.contains(protocol), "{listener} to {protocol}: {error}");
                    assert_eq!(error.kind, ErrorKind::IncompatibleProtocols);
                    assert!(
                        error.message.ends_with(&format!("have incompatible protocols: '{listener}' and '{protocol}'"))
                    );
                }
            }
        }
    }
}

#[test]
fn only_forwards_and_changes_its_protocol_within_its_type() {
    let mut api = Api::new();
    let arn = api.network_load_balancer("net");
    let (tcp, both) = (api.group_of("TCP"), api.group_of("TCP_UDP"));
    let mut input = json!({
        "LoadBalancerArn": arn, "Protocol": "TCP", "Port": 80,
        "DefaultActions": [{ "Type": "fixed-response", "FixedResponseConfig": { "StatusCode": "200" } }],
    });
    assert_eq!(api.refused("CreateListener", input.clone()).0, ErrorKind::InvalidLoadBalancerAction);
    let weighted = json!([{ "TargetGroupArn": tcp, "Weight": 1 }, { "TargetGroupArn": both, "Weight": 3 }]);
    input["DefaultActions"] = json!([{ "Type": "forward", "ForwardConfig": { "TargetGroups": weighted } }]);
    let answer = api.done("CreateListener", input);
    let listener = text(&answer["Listeners"][0]["ListenerArn"]);
    assert!(listener.contains(":listener/net/net/"), "{listener}");
    assert_eq!(answer["Listeners"][0]["DefaultActions"][0]["ForwardConfig"]["TargetGroups"], weighted);
    let (kind, message) = api.refused("ModifyListener", json!({ "ListenerArn": listener, "Protocol": "HTTP" }));
    assert_eq!(kind, ErrorKind::Validation);
    assert_eq!(message, "Listener protocol 'HTTP' must be one of 'TLS, TCP, TCP_UDP, UDP'");
    let udp = json!({ "ListenerArn": listener, "Protocol": "UDP" });
    assert_eq!(api.refused("ModifyListener", udp).0, ErrorKind::IncompatibleProtocols);
    let forward = json!([{ "Type": "forward", "TargetGroupArn": both }]);
    let udp = json!({ "ListenerArn": listener, "Protocol": "UDP", "DefaultActions": forward });
    assert_eq!(api.done("ModifyListener", udp)["Listeners"][0]["Protocol"], "UDP");

    let idle = |value: &str| json!({ "ListenerArn": listener, "Attributes": [{ "Key": "tcp.idle_timeout.seconds", "Value": value }] });
    assert_eq!(api.refused("ModifyListenerAttributes", idle("60")).0, ErrorKind::Validation, "UDP has none");
    api.done("ModifyListener", json!({ "ListenerArn": listener, "Protocol": "TCP" }));
    let answer = api.done("ModifyListenerAttributes", idle("6000"));
    assert_eq!(answer["Attributes"], json!([{ "Key": "tcp.idle_timeout.seconds", "Value": "6000" }]));
    assert_eq!(api.refused("ModifyListenerAttributes", idle("59")).0, ErrorKind::Validation);
    assert_eq!(api.done("DescribeListenerAttributes", json!({ "ListenerArn": listener })), answer);
}

#[test]
fn groups_have_the_defaults_of_their_protocol() {
    let mut api = Api::new();
    let arn = api.group_of("TCP");
    let shown = api.done("DescribeTargetGroups", json!({ "TargetGroupArns": [arn] }))["TargetGroups"][0].take();
    assert_eq!((&shown["HealthCheckProtocol"], &shown["HealthCheckTimeoutSeconds"]), (&json!("TCP"), &json!(10)));
    for absent in ["ProtocolVersion", "HealthCheckPath", "Matcher"] {
        assert!(shown.get(absent).is_none(), "{absent} in {shown}");
    }
    let http = json!({ "TargetGroupArn": arn, "HealthCheckProtocol": "HTTP", "HealthCheckPath": "/up" });
    let shown = api.done("ModifyTargetGroup", http)["TargetGroups"][0].take();
    assert_eq!((&shown["HealthCheckPath"], &shown["Matcher"]["HttpCode"]), (&json!("/up"), &json!("200-399")));
    let version = json!({ "Name": "x", "Protocol": "TCP", "Port": 1, "ProtocolVersion": "HTTP2" });
    assert_eq!(api.refused("CreateTargetGroup", version).0, ErrorKind::InvalidConfigurationRequest);

    let preserve = "preserve_client_ip.enabled";
    assert_eq!(api.attribute(&arn, preserve), "false", "addresses behind TCP");
    let udp = api.group_of("UDP");
    assert_eq!(api.attribute(&udp, preserve), "true");
    assert_eq!(api.attribute(&udp, "deregistration_delay.connection_termination.enabled"), "true");
    assert_eq!(api.attribute(&udp, "slow_start.duration_seconds"), "", "it is of application load balancers");
    let instances = json!({ "Name": "instances", "Protocol": "TCP", "Port": 80 });
    let instances = text(&api.done("CreateTargetGroup", instances)["TargetGroups"][0]["TargetGroupArn"]);
    assert_eq!(api.attribute(&instances, preserve), "true");
}

#[test]
fn attributes_of_groups_are_of_their_protocol() {
    let mut api = Api::new();
    let (tcp, tls, udp, http) = (api.group_of("TCP"), api.group_of("TLS"), api.group_of("UDP"), api.group_of("HTTP"));
    let set = |group: &str, pairs: &[(&str, &str)]| {
        let pairs: Vec<Value> = pairs.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        json!({ "TargetGroupArn": group, "Attributes": pairs })
    };
    let termination = "target_health_state.unhealthy.connection_termination.enabled";
    let interval = "target_health_state.unhealthy.draining_interval_seconds";
    for (group, pairs, message) in [
        (
            &tcp,
            &[("stickiness.type", "lb_cookie")][..],
            "Stickiness type 'lb_cookie' is not supported for target groups with the TCP protocol",
        ),
        (
            &http,
            &[("stickiness.type", "source_ip")],
            "Stickiness type 'source_ip' is not supported for target groups with the HTTP protocol",
        ),
        (
            &tls,
            &[("stickiness.enabled", "true")],
            "Stickiness is not supported for target groups with the TLS protocol",
        ),
        (&udp, &[("preserve_client_ip.enabled", "false")], "Client IP preservation cannot be disabled"),
        (&udp, &[(termination, "true")], "Connection termination for unhealthy targets cannot be enabled"),
        (&tcp, &[(interval, "5")], "The unhealthy draining interval can be set only"),
        (&http, &[("stickiness.app_cookie.cookie_name", "AWSALBmine")], "are reserved"),
        (&http, &[("stickiness.app_cookie.cookie_name", "a b")], "characters that names of cookies cannot have"),
    ] {
        let (kind, text) = api.refused("ModifyTargetGroupAttributes", set(group, pairs));
        assert_eq!(kind, ErrorKind::InvalidConfigurationRequest, "{text}");
        assert!(text.contains(message), "{text}");
    }
    let (kind, _) = api.refused("ModifyTargetGroupAttributes", set(&tcp, &[("slow_start.duration_seconds", "30")]));
    assert_eq!(kind, ErrorKind::Validation);
    api.done("ModifyTargetGroupAttributes", set(&tcp, &[(termination, "false"), (interval, "5")]));
    api.done(
        "ModifyTargetGroupAttributes",
        set(&tcp, &[("stickiness.enabled", "true"), ("stickiness.type", "source_ip")]),
    );
    assert_eq!(api.attribute(&tcp, interval), "5");
}

#[test]
fn attributes_are_of_its_type() {
    let mut api = Api::new();
    let arn = api.network_load_balancer("net");
    let set =
        |key: &str, value: &str| json!({ "LoadBalancerArn": arn, "Attributes": [{ "Key": key, "Value": value }] });
    let (kind, message) = api.refused("ModifyLoadBalancerAttributes", set("idle_timeout.timeout_seconds", "60"));
    assert_eq!(kind, ErrorKind::Validation);
    assert_eq!(message, "Load balancer attribute key 'idle_timeout.timeout_seconds' is not recognized");
    api.done("ModifyLoadBalancerAttributes", set("load_balancing.cross_zone.enabled", "true"));
    api.done("ModifyLoadBalancerAttributes", set("dns_record.client_routing_policy", "availability_zone_affinity"));
    let (kind, _) = api.refused("ModifyLoadBalancerAttributes", set("access_logs.s3.enabled", "true"));
    assert_eq!(kind, ErrorKind::InvalidConfigurationRequest, "a bucket is needed");
    let answer = api.done("DescribeCapacityReservation", json!({ "LoadBalancerArn": arn }));
    assert_eq!(answer, json!({ "CapacityReservationState": [] }));
}
