//! Rules, through the API as a client calls it.

use super::*;

/// A listener with its target group.
struct Scene {
    api: Api,
    load_balancer: String,
    group: String,
    listener: String,
}

impl Scene {
    fn new() -> Scene {
        let mut api = Api::new();
        let load_balancer = api.load_balancer("web");
        let group = api.target_group("web");
        let listener = api.listener(&load_balancer, 80, &group);
        Scene { api, load_balancer, group, listener }
    }

    fn input(&self, priority: i32) -> Value {
        json!({
            "ListenerArn": self.listener, "Priority": priority, "Conditions": path("/*"), "Actions": forward(&self.group),
        })
    }

    /// The ARN of a new rule.
    #[track_caller]
    fn rule(&mut self, priority: i32) -> String {
        let input = self.input(priority);
        text(&self.api.done("CreateRule", input)["Rules"][0]["RuleArn"])
    }

    /// The priorities of all rules, in the order in which they are shown.
    fn priorities(&mut self) -> Vec<String> {
        column(&self.api.done("DescribeRules", json!({ "ListenerArn": self.listener }))["Rules"], "Priority")
    }
}

fn path(value: &str) -> Value {
    json!([{ "Field": "path-pattern", "Values": [value] }])
}

fn forward(group: &str) -> Value {
    json!([{ "Type": "forward", "TargetGroupArn": group }])
}

fn pairs(pairs: &[(&str, i32)]) -> Value {
    let pairs: Vec<Value> =
        pairs.iter().map(|(arn, priority)| json!({ "RuleArn": arn, "Priority": priority })).collect();
    json!({ "RulePriorities": pairs })
}

#[test]
fn is_created_shown_modified_and_deleted() {
    let mut scene = Scene::new();
    let created = scene.api.done("CreateRule", scene.input(10));
    let rule = &created["Rules"][0];
    let arn = text(&rule["RuleArn"]);
    assert!(arn.starts_with(&scene.listener.replace(":listener/", ":listener-rule/")), "{arn}");
    assert_eq!((&rule["Priority"], &rule["IsDefault"]), (&json!("10"), &json!(false)));
    assert_eq!(rule["Actions"][0]["TargetGroupArn"], json!(scene.group));
    assert_eq!(scene.api.done("DescribeRules", json!({ "RuleArns": [arn] })), created);

    // Each part replaces whole what was there, and nothing else.
    let other = scene.api.target_group("other");
    let modified = scene.api.done("ModifyRule", json!({ "RuleArn": arn, "Conditions": path("/new") }));
    assert_eq!(modified["Rules"][0]["Conditions"][0]["Values"], json!(["/new"]));
    assert_eq!(modified["Rules"][0]["Actions"], rule["Actions"]);
    let modified = scene.api.done("ModifyRule", json!({ "RuleArn": arn, "Actions": forward(&other) }));
    assert_eq!(modified["Rules"][0]["Conditions"][0]["Values"], json!(["/new"]));
    assert_eq!(modified["Rules"][0]["Actions"][0]["TargetGroupArn"], json!(other));
    let rewrite =
        json!([{ "Type": "url-rewrite", "UrlRewriteConfig": { "Rewrites": [{ "Regex": "a", "Replace": "b" }] } }]);
    let modified = scene.api.done("ModifyRule", json!({ "RuleArn": arn, "Transforms": rewrite }));
    assert_eq!(modified["Rules"][0]["Transforms"], rewrite);
    let both = json!({ "RuleArn": arn, "Transforms": rewrite, "ResetTransforms": true });
    assert_eq!(scene.api.refused("ModifyRule", both).1, "You cannot specify both Transforms and ResetTransforms");
    let modified = scene.api.done("ModifyRule", json!({ "RuleArn": arn, "ResetTransforms": true }));
    assert_eq!(modified["Rules"][0]["Transforms"], json!([]));
    let (kind, _) = scene.api.refused("ModifyRule", json!({ "RuleArn": arn }));
    assert_eq!(kind, ErrorKind::Validation);
    let (kind, _) = scene.api.refused("ModifyRule", json!({ "RuleArn": arn, "Conditions": [] }));
    assert_eq!(kind, ErrorKind::Validation);

    scene.api.done("DeleteRule", json!({ "RuleArn": arn }));
    let not_found = (ErrorKind::RuleNotFound, String::from("One or more rules not found"));
    assert_eq!(scene.api.refused("DeleteRule", json!({ "RuleArn": arn })), not_found);
    assert_eq!(scene.api.refused("DescribeRules", json!({ "RuleArns": [arn] })), not_found);
    assert_eq!(scene.api.refused("ModifyRule", json!({ "RuleArn": arn, "Actions": forward(&other) })), not_found);
}

#[test]
fn the_default_rule_is_last_and_cannot_be_changed() {
    let mut scene = Scene::new();
    for priority in [300, 5, 50_000, 20] {
        scene.rule(priority);
    }
    assert_eq!(scene.priorities(), ["5", "20", "300", "50000", "default"]);
    let answer = scene.api.done("DescribeRules", json!({ "ListenerArn": scene.listener }));
    let default = text(&answer["Rules"][4]["RuleArn"]);
    let (kind, message) = scene.api.refused("DeleteRule", json!({ "RuleArn": default }));
    assert_eq!(
        (kind, message),
        (ErrorKind::OperationNotPermitted, format!("Default rule '{default}' cannot be deleted"))
    );
    let (kind, _) = scene.api.refused("ModifyRule", json!({ "RuleArn": default, "Conditions": path("/") }));
    assert_eq!(kind, ErrorKind::OperationNotPermitted);
    let (kind, _) = scene.api.refused("SetRulePriorities", pairs(&[(&default, 1)]));
    assert_eq!(kind, ErrorKind::OperationNotPermitted);
}

#[test]
fn pages_give_every_rule_once() {
    let mut scene = Scene::new();
    for priority in 1..=7 {
        scene.rule(priority);
    }
    let (mut seen, mut marker) = (Vec::new(), Value::Null);
    loop {
        let mut input = json!({ "ListenerArn": scene.listener, "PageSize": 3 });
        if !marker.is_null() {
            input["Marker"] = marker;
        }
        let answer = scene.api.done("DescribeRules", input);
        seen.extend(column(&answer["Rules"], "Priority"));
        marker = answer["NextMarker"].clone();
        if marker.is_null() {
            break;
        }
    }
    assert_eq!(seen, ["1", "2", "3", "4", "5", "6", "7", "default"]);
}

#[test]
fn a_priority_is_one_rules() {
    let mut scene = Scene::new();
    let (one, two, three) = (scene.rule(1), scene.rule(2), scene.rule(3));
    let in_use = |priority| (ErrorKind::PriorityInUse, format!("Priority '{priority}' is currently in use"));
    assert_eq!(scene.api.refused("CreateRule", scene.input(2)), in_use(2));
    assert_eq!(scene.api.refused("SetRulePriorities", pairs(&[(&one, 3)])), in_use(3));

    // Only the state afterwards counts: a ring of three.
    let answer = scene.api.done("SetRulePriorities", pairs(&[(&one, 2), (&two, 3), (&three, 1)]));
    assert_eq!(column(&answer["Rules"], "RuleArn"), [three.clone(), one.clone(), two.clone()]);
    // All or nothing.
    assert_eq!(scene.api.refused("SetRulePriorities", pairs(&[(&one, 9), (&two, 1)])), in_use(1));
    assert_eq!(scene.priorities(), ["1", "2", "3", "default"]);

    let (_, message) = scene.api.refused("SetRulePriorities", pairs(&[(&one, 9), (&two, 9)]));
    assert_eq!(message, "Priority '9' was provided multiple times");
    let (_, message) = scene.api.refused("SetRulePriorities", pairs(&[(&one, 8), (&one, 9)]));
    assert_eq!(message, format!("Rule '{one}' was provided multiple times"));
    assert_eq!(scene.api.refused("SetRulePriorities", json!({ "RulePriorities": [] })).0, ErrorKind::Validation);
    let elsewhere = scene.api.listener(&scene.load_balancer, 81, &scene.group);
    let mut input = scene.input(1);
    input["ListenerArn"] = json!(elsewhere);
    let elsewhere = text(&scene.api.done("CreateRule", input)["Rules"][0]["RuleArn"]);
    let (_, message) = scene.api.refused("SetRulePriorities", pairs(&[(&one, 10), (&elsewhere, 11)]));
    assert_eq!(message, "All rules must belong to the same listener");
    for priority in [0, 50_001] {
        assert_eq!(scene.api.refused("CreateRule", scene.input(priority)).0, ErrorKind::Validation);
    }
}

#[test]
fn a_target_group_is_used_by_rules_too() {
    let mut scene = Scene::new();
    let other = scene.api.target_group("other");
    let mut input = scene.input(1);
    input["Actions"] = forward(&other);
    let rule = text(&scene.api.done("CreateRule", input)["Rules"][0]["RuleArn"]);
    let balancers = |api: &mut Api| {
        api.done("DescribeTargetGroups", json!({ "TargetGroupArns": [other] }))["TargetGroups"][0]["LoadBalancerArns"]
            .take()
    };
    assert_eq!(balancers(&mut scene.api), json!([scene.load_balancer]));
    let (kind, _) = scene.api.refused("DeleteTargetGroup", json!({ "TargetGroupArn": other }));
    assert_eq!(kind, ErrorKind::ResourceInUse);

    // Neither a listener nor a rule of another load balancer may have it.
    let far = scene.api.load_balancer("far");
    let (kind, _) = scene.api.refused("CreateListener", listener(&far, 80, &other));
    assert_eq!(kind, ErrorKind::TargetGroupAssociationLimit);
    let free = scene.api.target_group("free");
    let far_listener = scene.api.listener(&far, 80, &free);
    let mut input = scene.input(1);
    input["ListenerArn"] = json!(far_listener);
    let (kind, message) = scene.api.refused("CreateRule", input);
    assert_eq!(kind, ErrorKind::TargetGroupAssociationLimit);
    assert!(message.ends_with(&scene.group), "{message}");

    scene.api.done("DeleteRule", json!({ "RuleArn": rule }));
    assert_eq!(balancers(&mut scene.api), json!([]));
    scene.api.done("DeleteTargetGroup", json!({ "TargetGroupArn": other }));
}

#[test]
fn rules_go_with_their_listener() {
    let mut scene = Scene::new();
    let other = scene.api.target_group("other");
    // More than are deleted in one transaction.
    for priority in 1..=100 {
        let mut input = scene.input(priority);
        input["Actions"] = forward(&other);
        scene.api.done("CreateRule", input);
    }
    let rule = text(&scene.api.done("DescribeRules", json!({ "ListenerArn": scene.listener }))["Rules"][99]["RuleArn"]);
    scene.api.done("DeleteListener", json!({ "ListenerArn": scene.listener }));
    for (operation, input) in [
        ("DescribeRules", json!({ "RuleArns": [rule] })),
        ("DeleteRule", json!({ "RuleArn": rule })),
        ("DescribeTags", json!({ "ResourceArns": [rule] })),
        ("SetRulePriorities", pairs(&[(&rule, 1)])),
    ] {
        assert_eq!(scene.api.refused(operation, input).0, ErrorKind::RuleNotFound, "{operation}");
    }
    let groups = scene.api.done("DescribeTargetGroups", json!({ "TargetGroupArns": [other] }));
    assert_eq!(groups["TargetGroups"][0]["LoadBalancerArns"], json!([]));
    // The same port again begins without rules.
    scene.listener = scene.api.listener(&scene.load_balancer, 80, &scene.group);
    assert_eq!(scene.priorities(), ["default"]);
    scene.rule(1);
    scene.api.done("DeleteLoadBalancer", json!({ "LoadBalancerArn": scene.load_balancer }));
    scene.api.done("DeleteTargetGroup", json!({ "TargetGroupArn": other }));
}

#[test]
fn a_listener_has_a_thousand_rules() {
    let mut scene = Scene::new();
    for priority in 1..=1000 {
        scene.rule(priority);
    }
    let (kind, message) = scene.api.refused("CreateRule", scene.input(1001));
    assert_eq!(kind, ErrorKind::TooManyRules);
    assert_eq!(message, "A listener can have at most 1000 rules beside its default");
}

#[test]
fn rules_have_tags() {
    let mut scene = Scene::new();
    let mut input = scene.input(1);
    input["Tags"] = json!([{ "Key": "Name", "Value": "first" }]);
    let rule = text(&scene.api.done("CreateRule", input)["Rules"][0]["RuleArn"]);
    scene.api.done("AddTags", json!({ "ResourceArns": [rule], "Tags": [{ "Key": "team", "Value": "blue" }] }));
    scene.api.done("RemoveTags", json!({ "ResourceArns": [rule], "TagKeys": ["Name"] }));
    let answer = scene.api.done("DescribeTags", json!({ "ResourceArns": [rule] }));
    assert_eq!(answer["TagDescriptions"][0]["Tags"], json!([{ "Key": "team", "Value": "blue" }]));

    let rules = scene.api.done("DescribeRules", json!({ "ListenerArn": scene.listener }));
    let default = text(&rules["Rules"][1]["RuleArn"]);
    let answer = scene.api.done("DescribeTags", json!({ "ResourceArns": [default] }));
    assert_eq!(answer["TagDescriptions"], json!([{ "ResourceArn": default, "Tags": [] }]));
    let (kind, _) = scene.api.refused("AddTags", json!({ "ResourceArns": [default], "Tags": [{ "Key": "a" }] }));
    assert_eq!(kind, ErrorKind::OperationNotPermitted);
}

#[test]
fn several_actions_are_performed_in_their_order() {
    let mut scene = Scene::new();
    let fixed = |order: i32| json!({ "Type": "fixed-response", "Order": order, "FixedResponseConfig": { "StatusCode": "200" } });
    let forward = |order: i32| json!({ "Type": "forward", "Order": order, "TargetGroupArn": scene.group });
    let config = json!({ "JwksEndpoint": "https://idp.example.com/keys", "Issuer": "idp" });
    let jwt = |order: i32| json!({ "Type": "jwt-validation", "Order": order, "JwtValidationConfig": config });
    let last = "and it must be the last to be performed";
    let group = &scene.group;
    for (actions, kind, message) in [
        (json!([]), ErrorKind::Validation, "An action must be specified"),
        (json!([fixed(1), forward(2)]), ErrorKind::InvalidLoadBalancerAction, last),
        (
            json!([fixed(1), { "Type": "forward", "TargetGroupArn": group }]),
            ErrorKind::Validation,
            "An order must be specified for each action",
        ),
        (json!([fixed(3), forward(3)]), ErrorKind::InvalidLoadBalancerAction, "The order '3'"),
        (json!([fixed(1), fixed(2), forward(3)]), ErrorKind::TooManyActions, "'2' actions"),
        (json!([jwt(1), forward(2)]), ErrorKind::InvalidLoadBalancerAction, "supported only on HTTPS listeners"),
    ] {
        let mut input = scene.input(1);
        input["Actions"] = actions.clone();
        let refused = scene.api.refused("CreateRule", input);
        assert!(refused.0 == kind && refused.1.contains(message), "{actions}: {refused:?}");
    }
}

#[test]
fn tokens_are_validated_on_https_listeners() {
    let mut scene = Scene::new();
    let config = json!({ "JwksEndpoint": "https://idp.example.com/keys", "Issuer": "idp" });
    let jwt = json!({ "Type": "jwt-validation", "Order": 10, "JwtValidationConfig": config });
    let fixed = json!({ "Type": "fixed-response", "Order": 20, "FixedResponseConfig": { "StatusCode": "200", "ContentType": "text/plain" } });
    let certificate = json!({ "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/a" });
    let answer = scene.api.done(
        "CreateListener",
        json!({
            "LoadBalancerArn": scene.load_balancer, "Protocol": "HTTPS", "Port": 443, "Certificates": [certificate],
            "DefaultActions": forward(&scene.group),
        }),
    );
    let secure = text(&answer["Listeners"][0]["ListenerArn"]);
    let mut input = scene.input(1);
    input["ListenerArn"] = json!(secure);
    input["Actions"] = json!([fixed, jwt]);
    let rule = scene.api.done("CreateRule", input.clone())["Rules"][0].take();
    assert_eq!(rule["Actions"], json!([jwt, fixed]), "in the order in which they are performed");
    input["Actions"] = json!([jwt]);
    input["Priority"] = json!(2);
    let (_, message) = scene.api.refused("CreateRule", input.clone());
    assert!(message.ends_with("must be the last to be performed"), "{message}");
    input["Actions"] = json!([{ "Type": "redirect", "RedirectConfig": { "Protocol": "HTTP", "Port": "80", "StatusCode": "HTTP_301" } }]);
    let (_, message) = scene.api.refused("CreateRule", input);
    assert_eq!(message, "A redirect from HTTPS to HTTP is not supported");

    // The listener cannot become one on which its rule could not be performed.
    let plain = json!({ "ListenerArn": secure, "Protocol": "HTTP" });
    let (kind, message) = scene.api.refused("ModifyListener", plain);
    assert_eq!(kind, ErrorKind::InvalidLoadBalancerAction);
    assert_eq!(message, "Actions of type 'jwt-validation' are supported only on HTTPS listeners");
}

#[test]
fn network_load_balancers_have_no_rules() {
    let mut scene = Scene::new();
    let answer = scene.api.done("CreateLoadBalancer", json!({ "Name": "net", "Type": "network" }));
    let load_balancer = text(&answer["LoadBalancers"][0]["LoadBalancerArn"]);
    let group = json!({ "Name": "tcp", "Protocol": "TCP", "Port": 80, "TargetType": "ip" });
    let group = text(&scene.api.done("CreateTargetGroup", group)["TargetGroups"][0]["TargetGroupArn"]);
    let answer = scene.api.done(
        "CreateListener",
        json!({ "LoadBalancerArn": load_balancer, "Protocol": "TCP", "Port": 80, "DefaultActions": forward(&group) }),
    );
    // A group of another protocol than the listener's cannot be forwarded to.
    let mut input = scene.input(1);
    input["Actions"] = forward(&group);
    assert_eq!(scene.api.refused("CreateRule", input.clone()).0, ErrorKind::IncompatibleProtocols);
    input["ListenerArn"] = answer["Listeners"][0]["ListenerArn"].clone();
    let (kind, message) = scene.api.refused("CreateRule", input);
    assert_eq!(kind, ErrorKind::UnsupportedProtocol);
    assert!(message.starts_with("Rules are supported only on listeners of Application Load Balancers"), "{message}");
}

/// As `aws_lb_listener_rule` works: the next free priority, an order for every action, and all of it read again.
#[test]
fn terraform_creates_reads_and_updates() {
    let mut scene = Scene::new();
    scene.rule(7);
    let highest: Option<i32> = scene.priorities().iter().filter_map(|priority| priority.parse().ok()).max();
    let stickiness = json!({ "Enabled": true, "DurationSeconds": 600 });
    let tuples = json!([{ "TargetGroupArn": scene.group, "Weight": 100 }]);
    let action = json!({
        "Type": "forward", "Order": 1,
        "ForwardConfig": { "TargetGroups": tuples, "TargetGroupStickinessConfig": stickiness },
    });
    let mut input = scene.input(highest.unwrap() + 1);
    input["Actions"] = json!([action]);
    input["Conditions"] = json!([{ "Field": "host-header", "HostHeaderConfig": { "Values": ["my.example.com"] } }]);
    input["Tags"] = json!([{ "Key": "Name", "Value": "rule" }]);
    let arn = text(&scene.api.done("CreateRule", input)["Rules"][0]["RuleArn"]);
    let read = scene.api.done("DescribeRules", json!({ "RuleArns": [arn] }))["Rules"][0].take();
    assert_eq!(read["Priority"], "8");
    assert_eq!(read["Actions"][0]["Order"], 1);
    assert_eq!(read["Actions"][0]["ForwardConfig"]["TargetGroupStickinessConfig"], stickiness);
    assert_eq!(read["Conditions"][0]["HostHeaderConfig"]["Values"], json!(["my.example.com"]));
    let tags = scene.api.done("DescribeTags", json!({ "ResourceArns": [arn] }));
    assert_eq!(tags["TagDescriptions"][0]["Tags"], json!([{ "Key": "Name", "Value": "rule" }]));

    scene.api.done("SetRulePriorities", pairs(&[(&arn, 99)]));
    let fixed = json!([{ "Type": "fixed-response", "Order": 1, "FixedResponseConfig": { "StatusCode": "503", "ContentType": "text/plain" } }]);
    let update = json!({ "RuleArn": arn, "Actions": fixed, "Conditions": path("/static/*"), "ResetTransforms": true });
    scene.api.done("ModifyRule", update);
    let read = scene.api.done("DescribeRules", json!({ "RuleArns": [arn] }))["Rules"][0].take();
    assert_eq!((&read["Priority"], &read["Actions"]), (&json!("99"), &fixed));
    scene.api.done("DeleteRule", json!({ "RuleArn": arn }));
}
