//! Conditions and transforms of rules, through the API as a client calls it.

use super::*;

/// What the conditions of a rule are shown as.
fn meet(conditions: Value) -> Result<Value, String> {
    with(conditions, json!([])).map(|mut rule| rule["Conditions"].take())
}

fn with(conditions: Value, transforms: Value) -> Result<Value, String> {
    let mut api = Api::new();
    let load_balancer = api.load_balancer("web");
    let group = api.target_group("web");
    let listener = api.listener(&load_balancer, 80, &group);
    let actions = json!([{ "Type": "forward", "TargetGroupArn": group }]);
    let input = json!({
        "ListenerArn": listener, "Priority": 1, "Conditions": conditions, "Actions": actions, "Transforms": transforms,
    });
    match api.call("CreateRule", input) {
        Ok(mut answer) => Ok(answer["Rules"][0].take()),
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Validation, "{error}");
            Err(error.message)
        }
    }
}

#[test]
fn every_condition_is_shown_as_it_was_given() {
    let conditions = json!([
        { "Field": "http-header", "HttpHeaderConfig": { "HttpHeaderName": "User-Agent", "Values": ["*Chrome (x)*"] } },
        { "Field": "query-string", "QueryStringConfig": { "Values": [{ "Key": "version", "Value": "v1" }, { "Value": "a\\*b" }] } },
        { "Field": "http-request-method", "HttpRequestMethodConfig": { "Values": ["GET"] } },
        { "Field": "source-ip", "SourceIpConfig": { "Values": ["2001:db8::/32"] } },
    ]);
    assert_eq!(meet(conditions.clone()).unwrap(), conditions);
    let regex = json!([{ "Field": "http-header", "HttpHeaderConfig": { "HttpHeaderName": "x-a", "RegexValues": ["^v[0-9]+$"] } }]);
    assert_eq!(meet(regex.clone()).unwrap(), regex);
}

#[test]
fn hosts_and_paths_have_two_forms() {
    for (field, config, value, regex) in [
        ("host-header", "HostHeaderConfig", "*.Example.com", "^a\\.b:[0-9]+$"),
        ("path-pattern", "PathPatternConfig", "/img/*", "^/v[0-9]+/"),
    ] {
        for (member, value) in [("Values", value), ("RegexValues", regex)] {
            let both = json!([{ "Field": field, member: [value], config: { member: [value] } }]);
            assert_eq!(meet(json!([{ "Field": field, member: [value] }])).as_ref(), Ok(&both));
            assert_eq!(meet(json!([{ "Field": field, config: { member: [value] } }])).as_ref(), Ok(&both));
            // What is shown can be given again.
            assert_eq!(meet(both.clone()).unwrap(), both);
        }
        let differing = json!([{ "Field": field, "Values": ["a.b"], config: { "Values": ["c.d"] } }]);
        let refused = meet(differing).unwrap_err();
        assert_eq!(refused, format!("You cannot provide both Values and '{config}' for a condition of type '{field}'"));
    }
}

#[test]
fn a_rule_has_five_values_and_five_wildcards() {
    let path = |values: &[&str]| json!({ "Field": "path-pattern", "Values": values });
    assert!(meet(json!([path(&["/1", "/2", "/3", "/4", "/5"])])).is_ok());
    let values = meet(json!([path(&["/1", "/2", "/3", "/4", "/5", "/6"])])).unwrap_err();
    assert_eq!(values, "A rule can only have '5' condition values and regex values");
    assert!(meet(json!([path(&["/*/*/?", "/*", "/*"])])).is_ok());
    let wildcards = meet(json!([path(&["/*/*/?", "/*", "/*/*"])])).unwrap_err();
    assert_eq!(wildcards, "A rule can only have '5' condition wildcards");
    let escaped =
        json!({ "Field": "query-string", "QueryStringConfig": { "Values": [{ "Value": "\\*\\*\\?\\*\\*\\*" }] } });
    assert!(meet(json!([escaped])).is_ok());

    let host = json!({ "Field": "host-header", "Values": ["a.b"] });
    let method = json!({ "Field": "http-request-method", "HttpRequestMethodConfig": { "Values": ["GET"] } });
    let source = json!({ "Field": "source-ip", "SourceIpConfig": { "Values": ["10.0.0.0/8"] } });
    for once in [host, path(&["/"]), method, source] {
        let refused = meet(json!([once, once])).unwrap_err();
        assert_eq!(refused, format!("A rule can only have one '{}' condition", text(&once["Field"])));
    }
    let header = json!({ "Field": "http-header", "HttpHeaderConfig": { "HttpHeaderName": "a", "Values": ["b"] } });
    let query = json!({ "Field": "query-string", "QueryStringConfig": { "Values": [{ "Value": "a" }] } });
    assert!(meet(json!([header, header, query, query])).is_ok());
}

#[test]
fn conditions_that_cannot_be_are_refused() {
    let host = |value: &str| json!({ "Field": "host-header", "Values": [value] });
    let path = |value: &str| json!({ "Field": "path-pattern", "PathPatternConfig": { "Values": [value] } });
    let header = |name: &str, value: &str| json!({ "Field": "http-header", "HttpHeaderConfig": { "HttpHeaderName": name, "Values": [value] } });
    let query = |key: &str, value: &str| json!({ "Field": "query-string", "QueryStringConfig": { "Values": [{ "Key": key, "Value": value }] } });
    let method =
        |value: &str| json!({ "Field": "http-request-method", "HttpRequestMethodConfig": { "Values": [value] } });
    let source = |value: &str| json!({ "Field": "source-ip", "SourceIpConfig": { "Values": [value] } });
    let regex = |value: &str| json!({ "Field": "path-pattern", "RegexValues": [value] });
    let (long, long_host) = ("a".repeat(129), format!("{}.com", "a".repeat(125)));
    let invalid = "contains a character that is not valid";
    for (condition, message) in [
        (json!({ "Values": ["/"] }), "A condition field must be specified"),
        (json!({ "Field": "host", "Values": ["a.b"] }), "Condition field 'host' must be one of '["),
        (json!({ "Field": "host-header" }), "A condition value must be specified"),
        (json!({ "Field": "path-pattern", "Values": [] }), "A condition value must be specified"),
        (json!({ "Field": "source-ip" }), "A 'SourceIpConfig' must be specified with 'source-ip'"),
        (
            json!({ "Field": "source-ip", "Values": ["10.0.0.0/8"] }),
            "The 'Values' field is not compatible with 'source-ip'",
        ),
        (
            json!({ "Field": "path-pattern", "HostHeaderConfig": { "Values": ["a.b"] } }),
            "The 'HostHeaderConfig' field is not compatible with 'path-pattern'",
        ),
        (
            json!({ "Field": "path-pattern", "Values": ["/"], "RegexValues": ["/"] }),
            "You cannot provide both Values and RegexValues",
        ),
        (host(""), "A condition value must be specified"),
        (host("localhost"), "must include at least one '.' character"),
        (host("example.c0m"), "only alphabetical characters after the final '.'"),
        (host("example.com:8443"), "Condition value 'example.com:8443' contains a character that is not valid"),
        (host(&long_host), "The 'host-header' value is too long; the limit is '128'"),
        (path("/a b"), invalid),
        (path("/%20"), invalid),
        (path(&long), "The 'path-pattern' value is too long"),
        (header("", "a"), "A 'HttpHeaderName' must be specified"),
        (header("a b", "a"), invalid),
        (header("HOST", "a"), "use a condition of type 'host-header'"),
        (header(&"a".repeat(41), "a"), "The 'HttpHeaderName' value is too long; the limit is '40'"),
        (header("a", "\u{e9}"), invalid),
        (query("a", ""), "A 'Value' must be specified"),
        (query(&long, "a"), "The 'Key' value is too long"),
        (query("a", "b#"), invalid),
        (method("get"), "the allowed characters are A-Z, hyphen and underscore"),
        (method(&"A".repeat(41)), "The 'http-request-method' value is too long; the limit is '40'"),
        (source("10.0.0.1"), "Condition value '10.0.0.1' is not a valid CIDR block"),
        (source("10.0.0.0/33"), "is not a valid CIDR block"),
        (source("::/129"), "is not a valid CIDR block"),
        (source("255.255.255.255/32"), "is not a valid CIDR block"),
        (regex("("), "The regular expression '(' is not valid: unclosed group"),
        (regex("(?=a)"), "look-around"),
        (regex("(a)\\1"), "backreferences are not supported"),
        (regex("\\p{L}"), "is not valid"),
        (regex("((a{99}){99}){99}"), "it is too complex"),
        (regex(&long), "too long"),
    ] {
        let refused = meet(json!([condition])).unwrap_err();
        assert!(refused.contains(message), "{condition}: {refused}");
    }
    assert_eq!(meet(json!([])).unwrap_err(), "A condition must be specified");
}

#[test]
fn transforms_are_one_of_each_type() {
    let host = json!({
        "Type": "host-header-rewrite",
        "HostHeaderRewriteConfig": { "Rewrites": [{ "Regex": "^old\\.(.*)$", "Replace": "new.$1" }] },
    });
    let url = json!({
        "Type": "url-rewrite", "UrlRewriteConfig": { "Rewrites": [{ "Regex": "^/api/(.*)", "Replace": "/$1" }] },
    });
    let condition = json!([{ "Field": "path-pattern", "Values": ["/*"] }]);
    let both = json!([host, url]);
    assert_eq!(with(condition.clone(), both.clone()).unwrap()["Transforms"], both);
    let rewrites = |rewrites: Value| json!({ "Type": "url-rewrite", "UrlRewriteConfig": { "Rewrites": rewrites } });
    let rewrite = |regex: &str, replace: &str| json!({ "Regex": regex, "Replace": replace });
    let long = "a".repeat(1025);
    for (transforms, message) in [
        (json!([url, url]), "A rule can only have one 'url-rewrite' transform"),
        (json!([{ "Type": "url-rewrite" }]), "A 'UrlRewriteConfig' must be specified with 'url-rewrite'"),
        (
            json!([{ "Type": "host-header-rewrite", "UrlRewriteConfig": url["UrlRewriteConfig"] }]),
            "The 'UrlRewriteConfig' field is not compatible with 'host-header-rewrite'",
        ),
        (json!([rewrites(json!([]))]), "must have one rewrite, and not 0"),
        (json!([rewrites(json!([rewrite("a", ""), rewrite("b", "")]))]), "must have one rewrite, and not 2"),
        (json!([rewrites(json!([rewrite("[", "")]))]), "is not valid"),
        (json!([rewrites(json!([rewrite("", "a")]))]), "A 'Regex' must be specified"),
        (json!([rewrites(json!([rewrite(&long, "")]))]), "The 'Regex' value is too long; the limit is '1024'"),
        (json!([rewrites(json!([rewrite("a", &long)]))]), "The 'Replace' value is too long"),
        (json!([rewrites(json!([rewrite("a", "b\n")]))]), "contains a character that is not valid"),
    ] {
        let refused = with(condition.clone(), transforms.clone()).unwrap_err();
        assert!(refused.contains(message), "{transforms}: {refused}");
    }
}
