//! HTTPS and TLS listeners with their certificates and policies, through the API as a client calls it.

use super::*;

fn certificate(name: &str) -> Value {
    json!({ "CertificateArn": format!("arn:aws:acm:us-east-1:123456789012:certificate/{name}") })
}

/// A load balancer with a group behind it, and what creates an HTTPS listener.
fn secure() -> (Api, Value) {
    let mut api = Api::new();
    let load_balancer = api.load_balancer("web");
    let group = api.target_group("web");
    let mut input = listener(&load_balancer, 443, &group);
    input["Protocol"] = json!("HTTPS");
    input["Certificates"] = json!([certificate("default")]);
    (api, input)
}

#[test]
fn has_one_default_certificate_and_a_policy() {
    let (mut api, input) = secure();
    let answer = api.done("CreateListener", input.clone());
    let shown = &answer["Listeners"][0];
    assert_eq!(shown["Certificates"], json!([certificate("default")]));
    assert_eq!(shown["SslPolicy"], "ELBSecurityPolicy-2016-08");
    assert_eq!(shown["MutualAuthentication"], json!({ "Mode": "off" }));
    assert_eq!(api.done("CreateListener", input.clone()), answer, "the same again is the same");
    let mut other = input.clone();
    other["SslPolicy"] = json!("ELBSecurityPolicy-TLS13-1-2-2021-06");
    assert_eq!(api.refused("CreateListener", other).0, ErrorKind::DuplicateListener);

    for (member, value, kind, message) in [
        ("Certificates", json!([]), ErrorKind::Validation, "A certificate must be specified for HTTPS listeners"),
        (
            "Certificates",
            json!([certificate("a"), certificate("b")]),
            ErrorKind::Validation,
            "You must specify exactly one certificate, which is the default; AddListenerCertificates adds others",
        ),
        (
            "Certificates",
            json!([{ "CertificateArn": "arn:aws:s3:::bucket" }]),
            ErrorKind::CertificateNotFound,
            "Certificate 'arn:aws:s3:::bucket' not found",
        ),
        ("SslPolicy", json!("mine"), ErrorKind::SslPolicyNotFound, "SSL policy 'mine' not found"),
        (
            "AlpnPolicy",
            json!(["HTTP2Only"]),
            ErrorKind::Validation,
            "An ALPN policy cannot be specified for HTTPS listeners",
        ),
        (
            "AlpnPolicy",
            json!(["HTTP3"]),
            ErrorKind::AlpnPolicyNotSupported,
            "ALPN policy 'HTTP3' is not one of HTTP1Only, HTTP2Only, HTTP2Optional, HTTP2Preferred, None",
        ),
        (
            "MutualAuthentication",
            json!({ "Mode": "verify" }),
            ErrorKind::UnsupportedFeature,
            "Mutual authentication in the mode 'verify' is not available in Coracle: listeners do not ask for clients' certificates; a TCP listener lets the target do it.",
        ),
    ] {
        let mut input = input.clone();
        input["Port"] = json!(444);
        input[member] = value;
        assert_eq!(api.refused("CreateListener", input), (kind, message.to_owned()));
    }
}

#[test]
fn protocols_change_with_what_they_need() {
    let (mut api, input) = secure();
    let listener = text(&api.done("CreateListener", input)["Listeners"][0]["ListenerArn"]);
    let modify = |api: &mut Api, mut change: Value| {
        change["ListenerArn"] = json!(listener);
        api.call("ModifyListener", change).map(|mut answer| answer["Listeners"][0].take())
    };
    let change = json!({ "Certificates": [certificate("new")], "SslPolicy": "ELBSecurityPolicy-TLS13-1-3-2021-06" });
    let shown = modify(&mut api, change).unwrap();
    assert_eq!(shown["Certificates"], json!([certificate("new")]));
    assert_eq!(shown["SslPolicy"], "ELBSecurityPolicy-TLS13-1-3-2021-06");
    let shown = modify(&mut api, json!({ "Protocol": "HTTP", "Port": 80 })).unwrap();
    assert!(["Certificates", "SslPolicy", "MutualAuthentication"].iter().all(|member| shown.get(*member).is_none()));
    let error = modify(&mut api, json!({ "Protocol": "HTTPS" })).unwrap_err();
    assert_eq!(error.message, "A certificate must be specified for HTTPS listeners");
    let shown = modify(&mut api, json!({ "Protocol": "HTTPS", "Certificates": [certificate("a")] })).unwrap();
    assert_eq!(shown["SslPolicy"], "ELBSecurityPolicy-2016-08");
}

#[test]
fn certificates_are_added_and_removed_beside_the_default() {
    let (mut api, input) = secure();
    let listener = text(&api.done("CreateListener", input)["Listeners"][0]["ListenerArn"]);
    let with = |names: &[&str]| {
        let certificates: Vec<Value> = names.iter().map(|name| certificate(name)).collect();
        json!({ "ListenerArn": listener, "Certificates": certificates })
    };
    let listed = |api: &mut Api| -> Vec<String> {
        let answer = api.done("DescribeListenerCertificates", json!({ "ListenerArn": listener }));
        let show = |shown: &Value| {
            let name = text(&shown["CertificateArn"]).rsplit('/').next().unwrap().to_owned();
            if shown["IsDefault"] == true { format!("{name}*") } else { name }
        };
        answer["Certificates"].as_array().unwrap().iter().map(show).collect()
    };
    let answer = api.done("AddListenerCertificates", with(&["a", "b"]));
    assert_eq!(answer["Certificates"][1]["IsDefault"], false);
    api.done("AddListenerCertificates", with(&["a", "default"]));
    assert_eq!(listed(&mut api), ["default*", "a", "b", "default"]);
    api.done("RemoveListenerCertificates", with(&["default"]));
    api.done("RemoveListenerCertificates", with(&["a", "absent"]));
    assert_eq!(listed(&mut api), ["default*", "b"]);
    let (kind, _) = api.refused("RemoveListenerCertificates", with(&["default"]));
    assert_eq!(kind, ErrorKind::OperationNotPermitted);

    let names: Vec<String> = (0..24).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    api.done("AddListenerCertificates", with(&names));
    assert_eq!(api.refused("AddListenerCertificates", with(&["one-more"])).0, ErrorKind::TooManyCertificates);
    let first = api.done("DescribeListenerCertificates", json!({ "ListenerArn": listener, "PageSize": 20 }));
    assert_eq!(first["Certificates"].as_array().unwrap().len(), 20);
    let next = json!({ "ListenerArn": listener, "PageSize": 20, "Marker": first["NextMarker"] });
    let second = api.done("DescribeListenerCertificates", next);
    assert_eq!(second["Certificates"].as_array().unwrap().len(), 6);
    assert!(second.get("NextMarker").is_none());
    // Another default leaves the others.
    api.done("ModifyListener", with(&["new"]));
    assert_eq!(listed(&mut api)[..2], ["new*", "b"]);

    let plain =
        api.done("DescribeListeners", json!({ "ListenerArns": [listener] }))["Listeners"][0]["LoadBalancerArn"].take();
    let group = api.target_group("plain");
    let plain = api.listener(&text(&plain), 80, &group);
    let (kind, _) = api.refused("DescribeListenerCertificates", json!({ "ListenerArn": plain }));
    assert_eq!(kind, ErrorKind::Validation);
}

#[test]
fn tls_listeners_have_alpn_policies() {
    let mut api = Api::new();
    let answer = api.done("CreateLoadBalancer", json!({ "Name": "net", "Type": "network" }));
    let load_balancer = text(&answer["LoadBalancers"][0]["LoadBalancerArn"]);
    let group = json!({ "Name": "tcp", "Protocol": "TCP", "Port": 80, "TargetType": "ip" });
    let group = text(&api.done("CreateTargetGroup", group)["TargetGroups"][0]["TargetGroupArn"]);
    let mut input = listener(&load_balancer, 443, &group);
    input["Protocol"] = json!("TLS");
    input["Certificates"] = json!([{ "CertificateArn": "arn:aws:iam::123456789012:server-certificate/mine" }]);
    input["AlpnPolicy"] = json!(["HTTP2Preferred"]);
    let shown = api.done("CreateListener", input)["Listeners"][0].take();
    assert_eq!(shown["AlpnPolicy"], json!(["HTTP2Preferred"]));
    assert!(shown.get("MutualAuthentication").is_none(), "it is of HTTPS");
    let none = json!({ "ListenerArn": shown["ListenerArn"], "AlpnPolicy": ["None"] });
    assert_eq!(api.done("ModifyListener", none)["Listeners"][0]["AlpnPolicy"], json!(["None"]));
    let tcp = json!({ "ListenerArn": shown["ListenerArn"], "Protocol": "TCP" });
    let shown = api.done("ModifyListener", tcp)["Listeners"][0].take();
    assert!(["AlpnPolicy", "Certificates", "SslPolicy"].iter().all(|member| shown.get(*member).is_none()), "{shown}");
}

#[test]
fn policies_are_listed_with_protocols_and_ciphers() {
    let mut api = Api::new();
    let all = api.done("DescribeSSLPolicies", json!({}));
    let names = column(&all["SslPolicies"], "Name");
    assert!(names.len() > 30 && names[0] == "ELBSecurityPolicy-2016-08", "{names:?}");
    let one = json!({ "Names": ["ELBSecurityPolicy-TLS13-1-2-Res-2021-06"] });
    let one = api.done("DescribeSSLPolicies", one)["SslPolicies"][0].take();
    assert_eq!(one["SslProtocols"], json!(["TLSv1.2", "TLSv1.3"]));
    assert_eq!(one["Ciphers"][0], json!({ "Name": "TLS_AES_128_GCM_SHA256", "Priority": 1 }));
    assert_eq!(one["SupportedLoadBalancerTypes"], json!(["application", "network"]));
    let (kind, _) = api.refused("DescribeSSLPolicies", json!({ "Names": ["mine"] }));
    assert_eq!(kind, ErrorKind::SslPolicyNotFound);
    let page = api.done("DescribeSSLPolicies", json!({ "PageSize": 30 }));
    let rest = api.done("DescribeSSLPolicies", json!({ "PageSize": 30, "Marker": page["NextMarker"] }));
    assert_eq!([column(&page["SslPolicies"], "Name"), column(&rest["SslPolicies"], "Name")].concat(), names);
}

#[test]
fn limits_are_those_that_hold() {
    let mut api = Api::new();
    let answer = api.done("DescribeAccountLimits", json!({}));
    let names = column(&answer["Limits"], "Name");
    assert!(names.is_sorted() && names.contains(&String::from("network-load-balancers")));
    let one = answer["Limits"].as_array().unwrap().iter().find(|limit| limit["Name"] == "target-groups").unwrap();
    assert_eq!(one["Max"], "3000");
    let page = api.done("DescribeAccountLimits", json!({ "PageSize": 1 }));
    assert_eq!(column(&page["Limits"], "Name"), [names[0].clone()]);
}
