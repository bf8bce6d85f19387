//! Listeners, through the API as a client calls it.

use super::*;

/// A load balancer with two groups behind it, and what a listener's action is answered with.
fn act(action: Value) -> Result<Value, (ErrorKind, String)> {
    let mut api = Api::new();
    let load_balancer = api.load_balancer("web");
    let (one, other) = (api.target_group("one"), api.target_group("other"));
    let action = action.to_string().replace("ONE", &one).replace("OTHER", &other);
    let action: Value = serde_json::from_str(&action).unwrap();
    let input = json!({ "LoadBalancerArn": load_balancer, "Protocol": "HTTP", "Port": 80, "DefaultActions": [action] });
    let answer = api.call("CreateListener", input).map_err(|error| (error.kind, error.message))?;
    let shown = answer["Listeners"][0]["DefaultActions"][0].to_string().replace(&one, "ONE").replace(&other, "OTHER");
    Ok(serde_json::from_str(&shown).unwrap())
}

#[test]
fn forwards_to_one_group_or_several_by_weight() {
    let one = act(json!({ "Type": "forward", "TargetGroupArn": "ONE" })).unwrap();
    let config = json!({
        "TargetGroups": [{ "TargetGroupArn": "ONE", "Weight": 1 }],
        "TargetGroupStickinessConfig": { "Enabled": false },
    });
    assert_eq!(one, json!({ "Type": "forward", "TargetGroupArn": "ONE", "ForwardConfig": config }));
    // What is shown can be given again.
    assert_eq!(act(one.clone()).unwrap(), one);

    let groups = json!([{ "TargetGroupArn": "ONE", "Weight": 0 }, { "TargetGroupArn": "OTHER", "Weight": 999 }]);
    let several = act(json!({ "Type": "forward", "ForwardConfig": { "TargetGroups": groups } })).unwrap();
    assert_eq!(several["ForwardConfig"]["TargetGroups"], groups);
    assert!(several.get("TargetGroupArn").is_none());

    // An order is shown as it was given.
    let ordered = act(json!({ "Type": "forward", "TargetGroupArn": "ONE", "Order": 7 })).unwrap();
    assert_eq!(ordered["Order"], 7);
    let stickiness = json!({ "Enabled": true, "DurationSeconds": 604800 });
    let config = json!({ "TargetGroups": groups, "TargetGroupStickinessConfig": stickiness });
    let sticky = act(json!({ "Type": "forward", "ForwardConfig": config })).unwrap();
    assert_eq!(sticky["ForwardConfig"], config);
}

#[test]
fn answers_and_redirects_itself() {
    let fixed = json!({ "MessageBody": "gone", "StatusCode": "410", "ContentType": "text/html" });
    let action = json!({ "Type": "fixed-response", "FixedResponseConfig": fixed });
    assert_eq!(act(action.clone()).unwrap(), action);

    let action = json!({ "Type": "redirect", "RedirectConfig": { "Path": "/new/#{path}", "StatusCode": "HTTP_301" } });
    let shown = json!({
        "Protocol": "#{protocol}", "Port": "#{port}", "Host": "#{host}", "Path": "/new/#{path}", "Query": "#{query}",
        "StatusCode": "HTTP_301",
    });
    assert_eq!(act(action).unwrap()["RedirectConfig"], shown);
}

#[test]
fn actions_that_cannot_be_are_refused() {
    let fixed = |status: &str, content_type: &str| json!({ "Type": "fixed-response", "FixedResponseConfig": { "StatusCode": status, "ContentType": content_type } });
    let redirect = |member: &str, value: &str| json!({ "Type": "redirect", "RedirectConfig": { "StatusCode": "HTTP_302", member: value } });
    let forward = |groups: Value| json!({ "Type": "forward", "ForwardConfig": { "TargetGroups": groups } });
    let sticky = |config: Value| json!({ "Type": "forward", "TargetGroupArn": "ONE", "ForwardConfig": { "TargetGroupStickinessConfig": config } });
    let missing = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/x/0123456789abcdef";
    for (action, kind, message) in [
        (
            json!({ "Type": "authenticate-oidc" }),
            ErrorKind::UnsupportedFeature,
            "validate tokens with 'jwt-validation' instead",
        ),
        (
            json!({ "Type": "jwt-validation" }),
            ErrorKind::Validation,
            "A jwt-validation action must have a configuration",
        ),
        (sticky(json!({ "Enabled": true })), ErrorKind::Validation, "duration must be specified"),
        (sticky(json!({ "Enabled": true, "DurationSeconds": 0 })), ErrorKind::Validation, "between 1 and 604800"),
        (sticky(json!({ "Enabled": true, "DurationSeconds": 604801 })), ErrorKind::Validation, "between 1 and 604800"),
        (json!({ "Type": "forward" }), ErrorKind::Validation, "A forward action must have a target group"),
        (json!({ "Type": "forward", "TargetGroupArn": missing }), ErrorKind::TargetGroupNotFound, "' not found"),
        (forward(json!([{ "TargetGroupArn": "ONE", "Weight": 1000 }])), ErrorKind::Validation, "between 0 and 999"),
        (
            forward(json!([{ "TargetGroupArn": "ONE" }, { "TargetGroupArn": "ONE" }])),
            ErrorKind::InvalidLoadBalancerAction,
            "twice",
        ),
        (fixed("302", "text/plain"), ErrorKind::Validation, "'302' must be 2XX, 4XX or 5XX"),
        (fixed("200", "text/xml"), ErrorKind::Validation, "Fixed response content type 'text/xml'"),
        (redirect("Protocol", "FTP"), ErrorKind::Validation, "HTTP, HTTPS or #{protocol}"),
        (redirect("Port", "0"), ErrorKind::Validation, "1-65535 or #{port}"),
        (redirect("Path", "x"), ErrorKind::Validation, "begins with '/'"),
        (redirect("Port", "80"), ErrorKind::InvalidLoadBalancerAction, "because it creates a loop."),
        (redirect("Query", "again=1"), ErrorKind::InvalidLoadBalancerAction, "because it creates a loop."),
        (
            json!({ "Type": "forward", "TargetGroupArn": "ONE", "RedirectConfig": { "StatusCode": "HTTP_301" } }),
            ErrorKind::InvalidLoadBalancerAction,
            "An action of type 'forward' cannot have the configuration of type 'redirect'",
        ),
    ] {
        let refused = act(action.clone()).unwrap_err();
        assert!(refused.0 == kind && refused.1.contains(message), "{action}: {refused:?}");
    }
}

#[test]
fn a_port_is_one_listeners() {
    let mut api = Api::new();
    let load_balancer = api.load_balancer("web");
    let (one, other) = (api.target_group("one"), api.target_group("other"));
    let first = api.listener(&load_balancer, 80, &one);
    assert_eq!(api.listener(&load_balancer, 80, &one), first, "the same again is the same");
    let duplicate = (
        ErrorKind::DuplicateListener,
        format!("A listener already exists on this port for this load balancer '{load_balancer}'"),
    );
    assert_eq!(api.refused("CreateListener", listener(&load_balancer, 80, &other)), duplicate);
    let second = api.listener(&load_balancer, 81, &other);
    assert_eq!(api.refused("ModifyListener", json!({ "ListenerArn": second, "Port": 80 })), duplicate);
    api.done("ModifyListener", json!({ "ListenerArn": second, "Port": 81 }));
    api.done("ModifyListener", json!({ "ListenerArn": second, "Port": 79 }));
    let answer = api.done("DescribeListeners", json!({ "LoadBalancerArn": load_balancer }));
    assert_eq!(column(&answer["Listeners"], "ListenerArn"), [second, first]);
}

#[test]
fn a_target_group_is_behind_one_load_balancer() {
    let mut api = Api::new();
    let (one, other) = (api.load_balancer("one"), api.load_balancer("other"));
    let (group, free) = (api.target_group("group"), api.target_group("free"));
    api.listener(&one, 80, &group);
    api.listener(&one, 81, &group);
    let limit = (
        ErrorKind::TargetGroupAssociationLimit,
        format!("The following target groups cannot be associated with more than one load balancer: {group}"),
    );
    assert_eq!(api.refused("CreateListener", listener(&other, 80, &group)), limit);
    let listener = api.listener(&other, 80, &free);
    let actions = json!([{ "Type": "forward", "TargetGroupArn": group }]);
    let modify = json!({ "ListenerArn": listener, "DefaultActions": actions });
    assert_eq!(api.refused("ModifyListener", modify), limit);
}

#[test]
fn has_a_protocol_of_its_load_balancers_type() {
    let mut api = Api::new();
    let load_balancer = api.load_balancer("web");
    let group = api.target_group("web");
    for (protocol, kind, text) in [
        ("TCP", ErrorKind::Validation, "Listener protocol 'TCP' must be one of 'HTTPS, HTTP'"),
        ("GENEVE", ErrorKind::Validation, "Listener protocol 'GENEVE' must be one of 'HTTPS, HTTP'"),
        ("QUIC", ErrorKind::UnsupportedFeature, "The listener protocol 'QUIC' is not available in Coracle: "),
    ] {
        let mut input = listener(&load_balancer, 80, &group);
        input["Protocol"] = json!(protocol);
        let refused = api.refused("CreateListener", input);
        assert!(refused.0 == kind && refused.1.starts_with(text), "{refused:?}");
    }
    let mut input = listener(&load_balancer, 80, &group);
    input["Certificates"] = json!([{ "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/x" }]);
    let (kind, message) = api.refused("CreateListener", input);
    assert_eq!(kind, ErrorKind::Validation);
    assert_eq!(message, "A certificate cannot be specified for HTTP listeners");
}

#[test]
fn has_a_default_rule_and_attributes() {
    let mut api = Api::new();
    let load_balancer = api.load_balancer("web");
    let group = api.target_group("web");
    let listener = api.listener(&load_balancer, 80, &group);
    let answer = api.done("DescribeRules", json!({ "ListenerArn": listener }));
    let rule = &answer["Rules"][0];
    assert_eq!(rule["Priority"], "default");
    assert_eq!(rule["IsDefault"], true);
    assert_eq!(rule["Actions"][0]["TargetGroupArn"], json!(group));
    let arn = text(&rule["RuleArn"]);
    assert!(arn.starts_with(&listener.replace(":listener/", ":listener-rule/")), "{arn}");
    assert_eq!(api.done("DescribeRules", json!({ "RuleArns": [arn] })), answer);
    let (kind, message) = api.refused("DescribeRules", json!({ "RuleArns": [format!("{arn}0")] }));
    assert_eq!((kind, message.as_str()), (ErrorKind::RuleNotFound, "One or more rules not found"));

    let answer = api.done("DescribeListenerAttributes", json!({ "ListenerArn": listener }));
    assert!(column(&answer["Attributes"], "Key").contains(&String::from("routing.http.response.server.enabled")));
    api.done("DeleteListener", json!({ "ListenerArn": listener }));
    let not_found = (ErrorKind::ListenerNotFound, String::from("One or more listeners not found"));
    for operation in ["DeleteListener", "ModifyListener", "DescribeRules", "DescribeListenerAttributes"] {
        assert_eq!(api.refused(operation, json!({ "ListenerArn": listener })), not_found);
    }
    assert_eq!(api.refused("DescribeListeners", json!({ "ListenerArns": [listener] })), not_found);
    let (_, message) = api.refused("DescribeListeners", json!({}));
    assert_eq!(message, "You must specify either listener ARNs or a load balancer ARN");
}
