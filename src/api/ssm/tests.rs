//! The operations as pure functions of a view: no server, no clock, no store behind it.

use serde_json::{Value, json};

use super::*;
use crate::api::error::ErrorKind;
use crate::api::testing::Api;
use crate::model::Parameter;
use crate::store::Prefix;

impl Api {
    fn put_parameter(&mut self, name: &str, value: &str) -> Value {
        self.ok(parameter::put, json!({"Name": name, "Value": value, "Type": "String", "Overwrite": true}))
    }

    fn value(&mut self, name: &str) -> Value {
        self.ok(get::get, json!({"Name": name, "WithDecryption": true}))["Parameter"]["Value"].take()
    }

    fn below(&mut self, input: Value) -> Vec<String> {
        names(&self.ok(list::by_path, input))
    }
}

fn names(answer: &Value) -> Vec<String> {
    answer["Parameters"].as_array().unwrap().iter().map(|one| one["Name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_parameter_has_versions_that_selectors_choose() {
    let mut api = Api::new();
    let first = api.ok(parameter::put, json!({"Name": "/app/url", "Value": "one", "Type": "String"}));
    assert_eq!(first, json!({"Version": 1, "Tier": "Standard"}));
    let (kind, text) = api.refused(parameter::put, json!({"Name": "/app/url", "Value": "two", "Type": "String"}));
    assert_eq!(kind, ErrorKind::ParameterAlreadyExists);
    assert_eq!(
        text,
        "The parameter already exists. To overwrite this value, set the overwrite option in the request to true."
    );
    assert_eq!(api.put_parameter("/app/url", "two")["Version"], 2);
    assert_eq!(api.value("/app/url"), "two");
    assert_eq!(api.value("/app/url:1"), "one");
    assert_eq!(api.value("arn:aws:ssm:us-east-1:123456789012:parameter/app/url:1"), "one");
    let labelled = json!({"Name": "/app/url", "ParameterVersion": 1, "Labels": ["good", "1bad"]});
    let answer = api.ok(label::add, labelled);
    assert_eq!(answer, json!({"InvalidLabels": ["1bad"], "ParameterVersion": 1}));
    assert_eq!(api.value("/app/url:good"), "one");
    api.ok(label::add, json!({"Name": "/app/url", "Labels": ["good"]}));
    assert_eq!(api.value("/app/url:good"), "two");
    let shown = api.ok(get::get, json!({"Name": "/app/url:good"}));
    assert_eq!((&shown["Parameter"]["Selector"], &shown["Parameter"]["Version"]), (&json!(":good"), &json!(2)));
    assert_eq!(shown["Parameter"]["ARN"], "arn:aws:ssm:us-east-1:123456789012:parameter/app/url");
    let unlabelled = json!({"Name": "/app/url", "ParameterVersion": 2, "Labels": ["good", "none"]});
    let answer = api.ok(label::remove, unlabelled);
    assert_eq!(answer, json!({"RemovedLabels": ["good"], "InvalidLabels": ["none"]}));
    let history = api.ok(get::history, json!({"Name": "/app/url", "MaxResults": 1}));
    assert_eq!((&history["Parameters"][0]["Value"], &history["Parameters"][0]["Version"]), (&json!("one"), &json!(1)));
    let rest = api.ok(get::history, json!({"Name": "/app/url", "NextToken": history["NextToken"]}));
    assert_eq!((&rest["Parameters"][0]["Value"], &rest["NextToken"]), (&json!("two"), &Value::Null));
}

#[test]
fn what_is_not_there_is_said_as_the_service_says_it() {
    let mut api = Api::new();
    api.put_parameter("a", "1");
    assert_eq!(api.refused(get::get, json!({"Name": "b"})), (ErrorKind::ParameterNotFound, String::new()));
    let (kind, text) = api.refused(get::get, json!({"Name": "a:9"}));
    assert_eq!(kind, ErrorKind::ParameterVersionNotFound);
    assert_eq!(text, "Systems Manager could not find version 9 of a. Verify the version and try again.");
    assert_eq!(api.refused(get::get, json!({"Name": "a:x"})).0, ErrorKind::ParameterVersionNotFound);
    let several = api.ok(get::get_several, json!({"Names": ["b", "a", "a:9"]}));
    assert_eq!(names(&several), ["a"]);
    assert_eq!(several["InvalidParameters"], json!(["a:9", "b"]));
    assert_eq!(api.refused(parameter::delete, json!({"Name": "b"})).0, ErrorKind::ParameterNotFound);
    let deleted = api.ok(parameter::delete_several, json!({"Names": ["a", "b"]}));
    assert_eq!(deleted, json!({"DeletedParameters": ["a"], "InvalidParameters": ["b"]}));
    assert_eq!(api.view.count(&Prefix::all_parameters()), 0);
}

#[test]
fn a_secure_string_is_shown_only_to_whoever_asks() {
    let mut api = Api::new();
    api.ok(parameter::put, json!({"Name": "/db", "Value": "hush", "Type": "SecureString"}));
    let closed = api.ok(get::get, json!({"Name": "/db"}))["Parameter"]["Value"].take();
    assert!(!closed.as_str().unwrap().contains("hush"));
    assert_eq!(api.value("/db"), "hush");
    let described = api.ok(list::describe, json!({}));
    assert_eq!(described["Parameters"][0]["KeyId"], "alias/aws/ssm");
    assert_eq!(described["Parameters"][0]["Value"], Value::Null);
    let kept = api.view.list::<Parameter>(&Prefix::all_parameters());
    assert!(!kept[0].versions[0].value.0.windows(4).any(|window| window == b"hush"));
    let key = json!({"Name": "/plain", "Value": "a", "Type": "String", "KeyId": "alias/mine"});
    assert_eq!(api.refused(parameter::put, key).0, ErrorKind::Validation);
}

#[test]
fn names_have_their_rules() {
    for good in ["a", "/a", "/a/b.c/d-e_f", "/my/ssm"] {
        assert!(name::check(good).is_ok(), "{good}");
    }
    let kind = |name: &str| name::check(name).unwrap_err().kind;
    for bad in ["", "a b", "/a//b", "/a/", "ssm-x", "awsome", "/ssm/x", "é", "a/b"] {
        assert_eq!(kind(bad), ErrorKind::Validation, "{bad}");
    }
    assert_eq!(kind("/aws/x"), ErrorKind::AccessDenied);
    assert_eq!(kind(&"/a".repeat(16)), ErrorKind::HierarchyLevelLimitExceeded);
    assert!(name::check("a/b").unwrap_err().message.contains("fully qualified"));
}

#[test]
fn values_have_their_rules() {
    let mut api = Api::new();
    let mut put = |input: Value| api.call(parameter::put, input).map_err(|error| (error.kind, error.message));
    let long = "v".repeat(4097);
    let (kind, text) = put(json!({"Name": "a", "Type": "String", "Value": long})).unwrap_err();
    assert_eq!(kind, ErrorKind::Validation);
    assert!(text.starts_with("Standard tier parameters support a maximum parameter value of 4096"), "{text}");
    let tiered = json!({"Name": "a", "Type": "String", "Value": long, "Tier": "Intelligent-Tiering"});
    assert_eq!(put(tiered).unwrap()["Tier"], "Advanced");
    assert_eq!(put(json!({"Name": "a", "Value": "short", "Overwrite": true})).unwrap()["Tier"], "Advanced");
    let down = json!({"Name": "a", "Value": "short", "Overwrite": true, "Tier": "Standard"});
    assert!(put(down).unwrap_err().1.contains("You can't downgrade a parameter"));
    assert_eq!(
        put(json!({"Name": "b", "Value": "x"})).unwrap_err().1,
        "A parameter type is required when you create a parameter."
    );
    assert!(put(json!({"Name": "b", "Value": "", "Type": "String"})).is_err());
    let pattern =
        |value: &str, pattern: &str| json!({"Name": "n", "Value": value, "Type": "String", "AllowedPattern": pattern});
    let (kind, text) = put(pattern("hush", r"^\d+$")).unwrap_err();
    assert_eq!(kind, ErrorKind::ParameterPatternMismatch);
    assert_eq!(text, r"Parameter value, cannot be validated against allowedPattern: ^\d+$");
    assert_eq!(put(pattern("1", "(")).unwrap_err().0, ErrorKind::InvalidAllowedPattern);
    put(pattern("42", r"^\d+$")).unwrap();
    let tagged = json!({"Name": "n", "Value": "1", "Overwrite": true, "Tags": [{"Key": "a", "Value": "b"}]});
    assert!(put(tagged).unwrap_err().1.contains("tags and overwrite can't be used together"));
}

#[test]
fn old_versions_go_unless_they_are_labelled() {
    let mut api = Api::new();
    for _ in 0..120 {
        api.put_parameter("a", "v");
    }
    let kept = api.view.list::<Parameter>(&Prefix::all_parameters());
    assert_eq!((kept[0].versions.len(), kept[0].versions[0].version), (100, 21));
    api.ok(label::add, json!({"Name": "a", "ParameterVersion": 21, "Labels": ["keep"]}));
    let next = json!({"Name": "a", "Value": "v", "Overwrite": true});
    assert_eq!(api.refused(parameter::put, next).0, ErrorKind::ParameterMaxVersionLimitExceeded);
    let many: Vec<String> = (0..10).map(|number| format!("l{number}")).collect();
    let many = json!({"Name": "a", "ParameterVersion": 21, "Labels": many});
    assert_eq!(api.refused(label::add, many).0, ErrorKind::ParameterVersionLabelLimitExceeded);
}

#[test]
fn a_path_gives_what_is_below_it() {
    let mut api = Api::new();
    for name in ["/app/a", "/app/b", "/app/db/user", "/application", "root"] {
        api.put_parameter(name, "v");
    }
    assert_eq!(api.below(json!({"Path": "/app"})), ["/app/a", "/app/b"]);
    assert_eq!(api.below(json!({"Path": "/app/", "Recursive": true})), ["/app/a", "/app/b", "/app/db/user"]);
    assert_eq!(api.below(json!({"Path": "/"})), ["/application", "root"]);
    assert_eq!(api.below(json!({"Path": "/", "Recursive": true})).len(), 5);
    let first = api.ok(list::by_path, json!({"Path": "/app", "Recursive": true, "MaxResults": 2}));
    assert_eq!(names(&first), ["/app/a", "/app/b"]);
    let rest = json!({"Path": "/app", "Recursive": true, "MaxResults": 2, "NextToken": first["NextToken"]});
    assert_eq!(api.below(rest), ["/app/db/user"]);
    api.ok(label::add, json!({"Name": "/app/a", "Labels": ["stable"]}));
    api.put_parameter("/app/a", "newer");
    let stable = json!({"Path": "/app", "ParameterFilters": [{"Key": "Label", "Values": ["stable"]}]});
    let found = api.ok(list::by_path, stable);
    assert_eq!((names(&found), &found["Parameters"][0]["Version"]), (vec![String::from("/app/a")], &json!(1)));
    let (kind, text) =
        api.refused(list::by_path, json!({"Path": "/", "ParameterFilters": [{"Key": "Name", "Values": ["a"]}]}));
    assert_eq!(kind, ErrorKind::InvalidFilterKey);
    assert_eq!(text, "The following filter key is not valid: Name. Valid filter keys include: [Type, KeyId, Label].");
    assert_eq!(api.refused(list::by_path, json!({"Path": "app"})).0, ErrorKind::Validation);
    assert_eq!(api.refused(list::by_path, json!({"Path": "/", "NextToken": "%"})).0, ErrorKind::InvalidToken);
}

#[test]
fn descriptions_are_filtered() {
    let mut api = Api::new();
    api.ok(
        parameter::put,
        json!({"Name": "/app/url", "Value": "v", "Type": "String", "Tags": [{"Key": "team", "Value": "blue"}]}),
    );
    api.ok(parameter::put, json!({"Name": "/app/key", "Value": "v", "Type": "SecureString", "Tier": "Advanced"}));
    api.put_parameter("plain", "v");
    let mut find = |filter: Value| names(&api.ok(list::describe, json!({"ParameterFilters": [filter]})));
    assert_eq!(find(json!({"Key": "Name", "Values": ["/app/url", "plain"]})), ["/app/url", "plain"]);
    assert_eq!(find(json!({"Key": "Name", "Option": "BeginsWith", "Values": ["/app"]})), ["/app/key", "/app/url"]);
    assert_eq!(find(json!({"Key": "Name", "Option": "Contains", "Values": ["ur"]})), ["/app/url"]);
    assert_eq!(find(json!({"Key": "Type", "Values": ["SecureString"]})), ["/app/key"]);
    assert_eq!(find(json!({"Key": "Tier", "Values": ["Advanced"]})), ["/app/key"]);
    assert_eq!(find(json!({"Key": "KeyId", "Values": ["alias/aws/ssm"]})), ["/app/key"]);
    assert_eq!(find(json!({"Key": "Path", "Option": "Recursive", "Values": ["/"]})).len(), 3);
    assert_eq!(find(json!({"Key": "tag:team"})), ["/app/url"]);
    assert_eq!(find(json!({"Key": "tag:team", "Values": ["red"]})), Vec::<String>::new());
    let old = api.ok(list::describe, json!({"Filters": [{"Key": "Name", "Values": ["/app"]}]}));
    assert_eq!(names(&old).len(), 2);
    let mut refused = |filter: Value| api.refused(list::describe, json!({"ParameterFilters": [filter]})).0;
    assert_eq!(refused(json!({"Key": "Label", "Values": ["a"]})), ErrorKind::InvalidFilterKey);
    assert_eq!(refused(json!({"Key": "Type", "Option": "Contains", "Values": ["a"]})), ErrorKind::InvalidFilterOption);
    assert_eq!(refused(json!({"Key": "Type"})), ErrorKind::InvalidFilterValue);
}

#[test]
fn tags_are_of_parameters_only() {
    let mut api = Api::new();
    api.put_parameter("/a", "v");
    let id = |more: Value| {
        let mut input = json!({"ResourceType": "Parameter", "ResourceId": "/a"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    api.ok(tag::add, id(json!({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]})));
    api.ok(tag::remove, id(json!({"TagKeys": ["a"]})));
    assert_eq!(api.ok(tag::list, id(json!({})))["TagList"], json!([{"Key": "b", "Value": "2"}]));
    assert_eq!(api.refused(tag::list, id(json!({"ResourceType": "Document"}))).0, ErrorKind::InvalidResourceType);
    assert_eq!(api.refused(tag::list, id(json!({"ResourceId": "/b"}))).0, ErrorKind::InvalidResourceId);
    let many: Vec<Value> = (0..60).map(|number| json!({"Key": format!("k{number}"), "Value": ""})).collect();
    assert_eq!(api.refused(tag::add, id(json!({"Tags": many}))).0, ErrorKind::TooManyTagsError);
}
