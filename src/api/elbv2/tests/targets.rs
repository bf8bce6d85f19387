//! Targets and their health, through the API as a client calls it.

use super::*;

impl Api {
    #[track_caller]
    fn register(&mut self, group: &str, targets: Value) {
        self.done("RegisterTargets", json!({ "TargetGroupArn": group, "Targets": targets }));
    }

    /// Address, port, state and reason of each target.
    #[track_caller]
    fn health(&mut self, input: Value) -> Vec<String> {
        let answer = self.done("DescribeTargetHealth", input);
        let show = |description: &Value| {
            let (target, health) = (&description["Target"], &description["TargetHealth"]);
            let reason = health.get("Reason").map_or("", |reason| reason.as_str().unwrap());
            format!("{}:{} {} {reason}", text(&target["Id"]), target["Port"], text(&health["State"]))
                .trim_end()
                .to_owned()
        };
        answer["TargetHealthDescriptions"].as_array().unwrap().iter().map(show).collect()
    }

    /// What a health check found.
    fn found(&mut self, port: u16, state: TargetState) {
        let key = Key::target(&self.cx.scope, "web", std::net::Ipv4Addr::LOCALHOST, port);
        let mut target = (*self.view.get::<Target>(&key).unwrap()).clone();
        target.health = TargetHealth { state, reason: None, description: None };
        self.view.put(target);
    }
}

/// A load balancer, and a group behind it where `used`.
fn group(used: bool) -> (Api, String) {
    let mut api = Api::new();
    let load_balancer = api.load_balancer("web");
    let group = api.target_group("web");
    if used {
        api.listener(&load_balancer, 80, &group);
    }
    (api, group)
}

#[test]
fn a_target_lives_from_registration_to_the_end_of_draining() {
    let (mut api, group) = group(true);
    let all = json!({ "TargetGroupArn": group });
    api.register(&group, json!([{ "Id": "127.0.0.1" }, { "Id": "127.0.0.1", "Port": 81 }]));
    let registering = "initial Elb.RegistrationInProgress";
    assert_eq!(api.health(all.clone()), [format!("127.0.0.1:80 {registering}"), format!("127.0.0.1:81 {registering}")]);
    api.found(80, TargetState::Healthy);
    // Once more is as good as once: it stays healthy.
    api.register(&group, json!([{ "Id": "127.0.0.1" }]));
    assert_eq!(api.health(all.clone())[0], "127.0.0.1:80 healthy");

    let one = json!({ "TargetGroupArn": group, "Targets": [{ "Id": "127.0.0.1" }] });
    api.done("DeregisterTargets", one.clone());
    assert_eq!(api.health(one.clone()), ["127.0.0.1:80 draining Target.DeregistrationInProgress"]);
    let key = Key::target(&api.cx.scope, "web", std::net::Ipv4Addr::LOCALHOST, 80);
    assert_eq!(api.view.get::<Target>(&key).unwrap().draining_since, Some(api.cx.now));
    api.done("DeregisterTargets", one.clone());

    // Registered anew while it drains, it begins anew.
    api.done("RegisterTargets", one.clone());
    assert_eq!(api.health(one.clone()), [format!("127.0.0.1:80 {registering}")]);

    // Control has taken it away: what `aws elbv2 wait target-deregistered` waits for.
    api.view.delete::<Target>(&key);
    assert_eq!(api.health(one.clone()), ["127.0.0.1:80 unused Target.NotRegistered"]);
    api.done("DeregisterTargets", one);
}

#[test]
fn without_a_listener_targets_are_unused_and_leave_at_once() {
    let (mut api, group) = group(false);
    let one =
        json!({ "TargetGroupArn": group, "Targets": [{ "Id": "10.0.0.1", "Port": 8080, "AvailabilityZone": "all" }] });
    api.done("RegisterTargets", one.clone());
    let answer = api.done("DescribeTargetHealth", one.clone());
    let expected = json!({
        "Target": { "Id": "10.0.0.1", "Port": 8080, "AvailabilityZone": "us-east-1a" },
        "HealthCheckPort": "8080",
        "TargetHealth": {
            "State": "unused",
            "Reason": "Target.NotInUse",
            "Description": "Target group is not configured to receive traffic from the load balancer",
        },
    });
    assert_eq!(answer["TargetHealthDescriptions"][0], expected);
    api.done("ModifyTargetGroup", json!({ "TargetGroupArn": group, "HealthCheckPort": "9" }));
    let answer = api.done("DescribeTargetHealth", json!({ "TargetGroupArn": group, "Include": ["AnomalyDetection"] }));
    assert_eq!(answer["TargetHealthDescriptions"][0]["HealthCheckPort"], "9");
    assert_eq!(answer["TargetHealthDescriptions"][0]["AnomalyDetection"]["Result"], "normal");

    api.done("DeregisterTargets", one);
    assert_eq!(api.health(json!({ "TargetGroupArn": group })), Vec::<String>::new());
}

#[test]
fn addresses_are_of_this_machine_or_private() {
    let (mut api, group) = group(true);
    let mut refused =
        |target: Value| api.refused("RegisterTargets", json!({ "TargetGroupArn": group, "Targets": [target] }));
    for public in ["8.8.8.8", "169.254.170.2", "0.0.0.0", "224.0.0.1", "100.128.0.1", "172.32.0.1"] {
        let (kind, message) = refused(json!({ "Id": public }));
        assert!(kind == ErrorKind::InvalidTarget && message.contains(public), "{message}");
    }
    let (kind, message) = refused(json!({ "Id": "web" }));
    assert_eq!((kind, message.as_str()), (ErrorKind::Validation, "The IP address 'web' is not a valid IPv4 address"));
    assert!(refused(json!({ "Id": "127.0.0.1", "AvailabilityZone": "mars" })).1.contains("'mars'"));
    assert_eq!(refused(json!({ "Id": "127.0.0.1", "QuicServerId": "0x01" })).0, ErrorKind::UnsupportedFeature);
    for private in ["127.0.0.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"] {
        api.register(&group, json!([{ "Id": private }]));
    }
    assert_eq!(api.health(json!({ "TargetGroupArn": group })).len(), 5);
}

#[test]
fn the_one_instance_is_this_node() {
    let mut api = Api::new();
    let answer = api.done("CreateTargetGroup", json!({ "Name": "web", "Protocol": "HTTP", "Port": 80 }));
    let group = text(&answer["TargetGroups"][0]["TargetGroupArn"]);
    let node = ec2_instance_id(api.cx.config.node);
    api.register(&group, json!([{ "Id": node, "Port": 8080 }]));
    assert_eq!(api.health(json!({ "TargetGroupArn": group })), [format!("{node}:8080 unused Target.NotInUse")]);
    let key = Key::target(&api.cx.scope, "web", std::net::Ipv4Addr::LOCALHOST, 8080);
    assert!(api.view.exists(&key));
    for other in ["i-0123456789abcdef0", "127.0.0.1"] {
        let input = json!({ "TargetGroupArn": group, "Targets": [{ "Id": other }] });
        let (kind, message) = api.refused("RegisterTargets", input);
        assert!(kind == ErrorKind::InvalidTarget && message.contains(&node), "{message}");
    }
}

#[test]
fn clients_register_a_bounded_number() {
    let (mut api, group) = group(false);
    let targets = |range: std::ops::Range<u16>| -> Value {
        range.map(|port| json!({ "Id": "127.0.0.1", "Port": 1000 + port })).collect()
    };
    api.register(&group, targets(0..100));
    let input = json!({ "TargetGroupArn": group, "Targets": targets(99..101) });
    assert_eq!(api.refused("RegisterTargets", input).0, ErrorKind::TooManyTargets);
    let input = json!({ "TargetGroupArn": group, "Targets": targets(0..101) });
    assert_eq!(api.refused("DeregisterTargets", input).0, ErrorKind::TooManyTargets);

    // A service's tasks do not count, and more of them than fit are left to control when the group is deleted.
    let scope = api.cx.scope.clone();
    for port in 1..=30 {
        api.view.put(Target {
            scope: scope.clone(),
            group: "web".into(),
            address: std::net::Ipv4Addr::LOCALHOST,
            port,
            task: Some(TargetTask { cluster: "default".parse().unwrap(), task: TaskId(1), container: "web".into() }),
            registered_at: api.cx.now,
            draining_since: None,
            anomaly: Default::default(),
            health: TargetHealth { state: TargetState::Healthy, reason: None, description: None },
        });
    }
    api.register(&group, targets(0..100));
    api.done("DeleteTargetGroup", json!({ "TargetGroupArn": group }));
    let left = api.view.list::<Target>(&Prefix::targets(&scope, "web"));
    assert!(left.len() == 10 && left.iter().all(|target| target.task.is_some()));
}
