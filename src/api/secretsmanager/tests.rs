//! The operations as pure functions of a view: no server, no clock, no store behind it.

use serde_json::{Value, json};

use super::*;
use crate::api::error::ErrorKind;
use crate::api::testing::Api;
use crate::model::{SecretValue, Timestamp};
use crate::store::Prefix;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const TOKENS: [&str; 3] = [
    "00000000-0000-0000-0000-000000000001",
    "00000000-0000-0000-0000-000000000002",
    "00000000-0000-0000-0000-000000000003",
];

fn api() -> Api {
    Api::at(Timestamp(100 * DAY_MS + 5))
}

impl Api {
    fn create(&mut self, name: &str, value: &str) -> Value {
        self.ok(secret::create, json!({"Name": name, "SecretString": value, "ClientRequestToken": TOKENS[0]}))
    }

    fn put_value(&mut self, value: &str, token: &str) -> Value {
        self.ok(value::put, json!({"SecretId": "db", "SecretString": value, "ClientRequestToken": token}))
    }

    fn read(&mut self, more: Value) -> String {
        let mut input = json!({"SecretId": "db"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ok(value::get, input)["SecretString"].as_str().unwrap().to_owned()
    }

    fn stages(&mut self) -> Value {
        self.ok(secret::describe, json!({"SecretId": "db"}))["VersionIdsToStages"].take()
    }

    fn pass_days(&mut self, days: i64) {
        self.cx.now = Timestamp(self.cx.now.0 + days * DAY_MS);
    }
}

#[test]
fn a_secret_is_read_by_its_name_and_by_its_arn() {
    let mut api = api();
    let created = api.create("prod/db", "hush");
    let arn = created["ARN"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-"), "{arn}");
    let (partial, suffix) = arn.rsplit_once('-').unwrap();
    assert!(suffix.len() == 6 && suffix.bytes().all(|b| b.is_ascii_alphanumeric()), "{suffix}");
    for id in ["prod/db", arn, partial] {
        let read = api.ok(value::get, json!({"SecretId": id}));
        assert_eq!((&read["SecretString"], &read["VersionStages"]), (&json!("hush"), &json!(["AWSCURRENT"])));
        assert_eq!((&read["ARN"], &read["VersionId"]), (&created["ARN"], &created["VersionId"]));
    }
    let missing = (ErrorKind::ResourceNotFound, String::from("Secrets Manager can't find the specified secret."));
    for id in ["prod", &format!("{partial}-zzzzzz"), "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db"] {
        assert_eq!(api.refused(value::get, json!({"SecretId": id})), missing, "{id}");
    }
    let (kind, text) = api.refused(secret::create, json!({"Name": "prod/db", "SecretString": "other"}));
    assert_eq!(kind, ErrorKind::ResourceExists);
    assert_eq!(text, "The operation failed because the secret prod/db already exists.");
    assert_eq!(api.refused(secret::create, json!({"Name": "a b"})).0, ErrorKind::Validation);
}

#[test]
fn a_value_is_sealed_in_the_store_and_bytes_come_back_as_bytes() {
    let mut api = api();
    api.create("db", "hush-hush");
    api.ok(secret::create, json!({"Name": "key", "SecretBinary": "aHVzaA=="}));
    let read = api.ok(value::get, json!({"SecretId": "key"}));
    assert_eq!((&read["SecretBinary"], &read["SecretString"]), (&json!("aHVzaA=="), &Value::Null));
    for kept in api.view.list::<SecretValue>(&Prefix::all_secret_values()) {
        assert!(!kept.value.0.windows(4).any(|window| window == b"hush"));
    }
    let both = json!({"SecretId": "db", "SecretString": "a", "SecretBinary": "aHVzaA=="});
    assert_eq!(api.refused(value::put, both).0, ErrorKind::InvalidParameter);
    let (kind, text) = api.refused(value::put, json!({"SecretId": "db", "SecretBinary": "hush!"}));
    assert!(kind == ErrorKind::Serialization && !text.contains("hush"), "{text}");
    assert_eq!(api.refused(value::put, json!({"SecretId": "db"})).0, ErrorKind::InvalidParameter);
    let long = "é".repeat(40_000);
    assert_eq!(api.refused(value::put, json!({"SecretId": "db", "SecretString": long})).0, ErrorKind::InvalidParameter);
}

#[test]
fn a_new_value_is_current_and_the_one_before_previous() {
    let mut api = api();
    api.create("db", "one");
    api.put_value("two", TOKENS[1]);
    assert_eq!(api.read(json!({})), "two");
    assert_eq!(api.read(json!({"VersionStage": "AWSPREVIOUS"})), "one");
    assert_eq!(api.read(json!({"VersionId": TOKENS[0]})), "one");
    // As a rotation does it: pending first, then moved.
    let pending = json!({"SecretId": "db", "SecretString": "three", "ClientRequestToken": TOKENS[2], "VersionStages": ["AWSPENDING"]});
    assert_eq!(api.ok(value::put, pending)["VersionStages"], json!(["AWSPENDING"]));
    assert_eq!(api.read(json!({})), "two");
    let (kind, text) = api.refused(
        version::update_stage,
        json!({"SecretId": "db", "VersionStage": "AWSCURRENT", "MoveToVersionId": TOKENS[2]}),
    );
    assert_eq!(kind, ErrorKind::InvalidParameter);
    assert!(text.contains("RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to version 00000000-0000-0000-0000-000000000002"), "{text}");
    api.ok(
        version::update_stage,
        json!({"SecretId": "db", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": TOKENS[1], "MoveToVersionId": TOKENS[2]}),
    );
    assert_eq!(api.read(json!({})), "three");
    assert_eq!(api.stages(), json!({TOKENS[1]: ["AWSPREVIOUS"], TOKENS[2]: ["AWSPENDING", "AWSCURRENT"]}));
    let listed = api.ok(version::list, json!({"SecretId": "db"}));
    assert_eq!(listed["Versions"].as_array().unwrap().len(), 2);
    let listed = api.ok(version::list, json!({"SecretId": "db", "IncludeDeprecated": true, "MaxResults": 2}));
    let token = listed["NextToken"].clone();
    let rest = api.ok(version::list, json!({"SecretId": "db", "IncludeDeprecated": true, "NextToken": token}));
    assert_eq!(rest["Versions"].as_array().unwrap().len(), 1);
    let removed = json!({"SecretId": "db", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": TOKENS[2]});
    assert!(api.refused(version::update_stage, removed).1.contains("It can't be completely removed."));
}

#[test]
fn a_version_that_is_not_there_is_named_as_it_was_asked_for() {
    let mut api = api();
    api.create("db", "one");
    let ask = |api: &mut Api, more: Value| {
        let mut input = json!({"SecretId": "db"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        api.refused(value::get, input)
    };
    let (kind, text) = ask(&mut api, json!({"VersionStage": "AWSPENDING"}));
    assert_eq!(kind, ErrorKind::ResourceNotFound);
    assert_eq!(text, "Secrets Manager can't find the specified secret value for staging label: AWSPENDING");
    assert!(ask(&mut api, json!({"VersionId": TOKENS[1]})).1.ends_with(TOKENS[1]));
    let both = ask(&mut api, json!({"VersionId": TOKENS[0], "VersionStage": "AWSPREVIOUS"}));
    assert_eq!(both.0, ErrorKind::InvalidRequest);
    api.ok(secret::create, json!({"Name": "empty"}));
    assert!(api.refused(value::get, json!({"SecretId": "empty"})).1.ends_with("staging label: AWSCURRENT"));
}

#[test]
fn a_token_makes_one_version() {
    let mut api = api();
    let created = api.create("db", "one");
    assert_eq!(api.create("db", "one"), created);
    api.put_value("two", TOKENS[1]);
    api.put_value("three", TOKENS[2]);
    assert_eq!(api.put_value("two", TOKENS[1])["VersionStages"], json!(["AWSPREVIOUS"]), "it is done already");
    assert_eq!(api.read(json!({})), "three");
    let other = json!({"SecretId": "db", "SecretString": "hush", "ClientRequestToken": TOKENS[1]});
    let (kind, text) = api.refused(value::put, other.clone());
    assert_eq!(kind, ErrorKind::ResourceExists);
    assert!(text.starts_with("You can't use ClientRequestToken 00000000-") && !text.contains("hush"), "{text}");
    assert_eq!(api.refused(secret::update, other).0, ErrorKind::ResourceExists);
}

#[test]
fn old_versions_go_where_there_is_no_room() {
    let mut api = api();
    api.create("db", "first");
    for number in 0..150 {
        api.put_value("value", &format!("{number:032}"));
    }
    let kept = api.view.list::<SecretValue>(&Prefix::all_secret_values());
    assert_eq!(kept.len(), version::VERSIONS_MAX);
    assert_eq!(api.stages(), json!({format!("{:032}", 148): ["AWSPREVIOUS"], format!("{:032}", 149): ["AWSCURRENT"]}));
    assert_eq!(
        api.refused(value::get, json!({"SecretId": "db", "VersionId": TOKENS[0]})).0,
        ErrorKind::ResourceNotFound
    );
}

#[test]
fn a_deleted_secret_can_be_restored_until_its_window_is_over() {
    let mut api = api();
    let created = api.create("db", "one");
    for days in [6, 31] {
        let window = json!({"SecretId": "db", "RecoveryWindowInDays": days});
        let (kind, text) = api.refused(secret::delete, window);
        assert_eq!(kind, ErrorKind::InvalidParameter);
        assert_eq!(text, "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).");
    }
    let deleted = api.ok(secret::delete, json!({"SecretId": "db", "RecoveryWindowInDays": 7}));
    assert_eq!(deleted["DeletionDate"], json!((107 * DAY_MS + 5) as f64 / 1000.0));
    let marked = "You can't perform this operation on the secret because it was marked for deletion.";
    assert_eq!(api.refused(value::get, json!({"SecretId": "db"})), (ErrorKind::InvalidRequest, String::from(marked)));
    assert_eq!(api.refused(value::put, json!({"SecretId": "db", "SecretString": "x"})).1, marked);
    let (_, text) = api.refused(secret::create, json!({"Name": "db", "SecretString": "x"}));
    assert_eq!(text, "You can't create this secret because a secret with this name is already scheduled for deletion.");
    assert_eq!(api.ok(list::list, json!({}))["SecretList"], json!([]));
    let all = api.ok(list::list, json!({"IncludePlannedDeletion": true}));
    assert_eq!(all["SecretList"][0]["DeletedDate"], deleted["DeletionDate"]);
    api.ok(secret::restore, json!({"SecretId": "db"}));
    assert_eq!(api.read(json!({})), "one");

    api.ok(secret::delete, json!({"SecretId": "db"}));
    api.pass_days(31);
    assert_eq!(api.refused(secret::restore, json!({"SecretId": "db"})).0, ErrorKind::ResourceNotFound);
    let again = api.create("db", "two");
    assert_ne!(again["ARN"], created["ARN"]);
    assert_eq!(api.read(json!({})), "two");
}

#[test]
fn a_secret_that_is_deleted_by_force_is_gone_at_once() {
    let mut api = api();
    api.create("db", "one");
    let force = json!({"SecretId": "db", "ForceDeleteWithoutRecovery": true});
    let mut both = force.clone();
    both["RecoveryWindowInDays"] = json!(7);
    assert_eq!(api.refused(secret::delete, both).0, ErrorKind::InvalidParameter);
    api.ok(secret::delete, force.clone());
    assert_eq!(api.refused(secret::describe, json!({"SecretId": "db"})).0, ErrorKind::ResourceNotFound);
    assert_eq!(api.view.count(&Prefix::all_secret_values()), 0);
    assert_eq!(api.ok(secret::delete, force)["Name"], "db");
}

#[test]
fn lists_are_filtered_sorted_and_paged() {
    let mut api = api();
    for (name, description, team) in
        [("prod/db", "Main database", "blue"), ("prod/api", "Key of the API", "red"), ("dev/db", "", "blue")]
    {
        api.ok(
            secret::create,
            json!({"Name": name, "Description": description, "Tags": [{"Key": "team", "Value": team}], "KmsKeyId": "alias/mine"}),
        );
        api.pass_days(1);
    }
    assert_eq!(api.cx.without_effect.noted().first().map(String::as_str), Some("KmsKeyId"));
    let mut names = |input: Value| -> Vec<String> {
        let listed = api.ok(list::list, input);
        listed["SecretList"].as_array().unwrap().iter().map(|s| s["Name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(json!({})), ["prod/db", "prod/api", "dev/db"]);
    assert_eq!(names(json!({"SortOrder": "desc"})), ["dev/db", "prod/api", "prod/db"]);
    assert_eq!(names(json!({"SortBy": "name"})), ["dev/db", "prod/api", "prod/db"]);
    let mut filtered = |key: &str, values: &[&str]| names(json!({"Filters": [{"Key": key, "Values": values}]}));
    assert_eq!(filtered("name", &["prod/"]), ["prod/db", "prod/api"]);
    assert_eq!(filtered("name", &["!prod/"]), ["dev/db"]);
    assert_eq!(filtered("description", &["main"]), ["prod/db"]);
    assert_eq!(filtered("tag-value", &["blue"]), ["prod/db", "dev/db"]);
    assert_eq!(filtered("tag-key", &["team"]).len(), 3);
    assert_eq!(filtered("all", &["DATABASE blue"]), ["prod/db"]);
    assert!(filtered("owning-service", &["rds"]).is_empty());
    let first = api.ok(list::list, json!({"MaxResults": 2}));
    let rest = api.ok(list::list, json!({"MaxResults": 2, "NextToken": first["NextToken"]}));
    assert_eq!((&rest["SecretList"][0]["Name"], &rest["NextToken"]), (&json!("dev/db"), &Value::Null));
    assert_eq!(api.refused(list::list, json!({"NextToken": "%"})).0, ErrorKind::InvalidNextToken);
}

#[test]
fn several_are_read_at_once_and_what_is_missing_is_said_beside_them() {
    let mut api = api();
    api.create("a", "one");
    api.create("b", "two");
    let read = api.ok(value::get_batch, json!({"SecretIdList": ["a", "missing", "b"]}));
    assert_eq!(read["SecretValues"][1]["SecretString"], "two");
    assert_eq!(read["Errors"][0]["ErrorCode"], "ResourceNotFoundException");
    let read = api.ok(value::get_batch, json!({"Filters": [{"Key": "name", "Values": ["b"]}]}));
    assert_eq!(read["SecretValues"].as_array().unwrap().len(), 1);
    assert_eq!(api.refused(value::get_batch, json!({})).0, ErrorKind::InvalidParameter);
}

#[test]
fn tags_are_added_replaced_and_removed() {
    let mut api = api();
    api.create("db", "one");
    let tags = json!([{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]);
    api.ok(tag::add, json!({"SecretId": "db", "Tags": tags}));
    api.ok(tag::add, json!({"SecretId": "db", "Tags": [{"Key": "a", "Value": "3"}]}));
    api.ok(tag::remove, json!({"SecretId": "db", "TagKeys": ["b"]}));
    assert_eq!(api.ok(secret::describe, json!({"SecretId": "db"}))["Tags"], json!([{"Key": "a", "Value": "3"}]));
    let reserved = json!({"SecretId": "db", "Tags": [{"Key": "aws:x", "Value": ""}]});
    assert_eq!(api.refused(tag::add, reserved).0, ErrorKind::InvalidParameter);
}

#[test]
fn a_policy_is_kept_and_has_no_effect() {
    let mut api = api();
    api.create("db", "one");
    assert_eq!(api.ok(policy::get, json!({"SecretId": "db"}))["ResourcePolicy"], Value::Null);
    let policy = r#"{"Version": "2012-10-17", "Statement": []}"#;
    api.ok(policy::put, json!({"SecretId": "db", "ResourcePolicy": policy}));
    assert_eq!(api.cx.without_effect.noted(), ["ResourcePolicy"]);
    assert_eq!(api.ok(policy::get, json!({"SecretId": "db"}))["ResourcePolicy"], policy);
    api.ok(policy::delete, json!({"SecretId": "db"}));
    assert_eq!(api.ok(policy::get, json!({"SecretId": "db"}))["ResourcePolicy"], Value::Null);
    let wrong = json!({"SecretId": "db", "ResourcePolicy": "{"});
    assert_eq!(api.refused(policy::put, wrong).0, ErrorKind::MalformedPolicyDocument);
}

#[test]
fn passwords_hold_what_was_asked_for() {
    let mut api = api();
    let mut password = |input: Value| api.ok(password::get, input)["RandomPassword"].as_str().unwrap().to_owned();
    let plain = password(json!({}));
    assert_eq!(plain.len(), 32);
    assert_ne!(password(json!({})), plain);
    for _ in 0..50 {
        let four = password(json!({"PasswordLength": 4}));
        assert!(
            four.chars().any(|c| c.is_ascii_uppercase()) && four.chars().any(|c| c.is_ascii_punctuation()),
            "{four}"
        );
    }
    let digits = password(json!({
        "PasswordLength": 100, "ExcludePunctuation": true, "ExcludeUppercase": true, "ExcludeLowercase": true,
        "ExcludeCharacters": "0"
    }));
    assert!(digits.len() == 100 && digits.chars().all(|c| ('1'..='9').contains(&c)), "{digits}");
    assert_eq!(api.refused(password::get, json!({"PasswordLength": 3})).0, ErrorKind::InvalidParameter);
    assert_eq!(api.refused(password::get, json!({"ExcludeCharacters": "0123456789"})).0, ErrorKind::InvalidParameter);
}
