//! Every form of `valueFrom`, and what ECS says where there is nothing behind it.

use serde_json::json;

use super::*;
use crate::control::tests::{definition, scope};
use crate::model::Sealed;
use crate::model::parameter::{ParameterType, ParameterVersion, Tier};
use crate::model::secret::Version;
use crate::store::{Store, View};

const ARN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db";
const OLD: &str = "00000000-0000-0000-0000-000000000001";
const NEW: &str = "00000000-0000-0000-0000-000000000002";

fn key() -> SealingKey {
    SealingKey::from_bytes([3; 32])
}

fn put_secret(
    view: &mut View,
    scope: &Scope,
    name: &str,
    values: &[(&str, &str, &str)],
    deletion_at: Option<Timestamp>,
) {
    let versions = values.iter().map(|(id, stage, _)| Version {
        id: String::from(*id),
        created_at: Timestamp(0),
        stages: vec![String::from(*stage)],
        accessed_on: None,
    });
    view.put(Secret {
        scope: scope.clone(),
        name: String::from(name),
        suffix: String::from("aB3dE6"),
        description: None,
        kms_key_id: None,
        kind: None,
        tags: vec![],
        policy: None,
        created_at: Timestamp(0),
        changed_at: Timestamp(0),
        accessed_on: None,
        deletion_at,
        versions: versions.collect(),
    });
    for (id, _, text) in values {
        let mut value = SecretValue {
            scope: scope.clone(),
            name: String::from(name),
            suffix: String::from("aB3dE6"),
            version: String::from(*id),
            is_binary: *text == "binary",
            value: Sealed(vec![]),
        };
        value.value = key().seal(text.as_bytes(), &value.identity(), [1; 12]);
        view.put(value);
    }
}

fn put_parameter(view: &mut View, scope: &Scope, name: &str, values: &[&str]) {
    let mut parameter = Parameter {
        scope: scope.clone(),
        name: String::from(name),
        id: String::from("1"),
        tags: vec![],
        versions: vec![],
    };
    for (version, value) in (1..).zip(values) {
        parameter.versions.push(ParameterVersion {
            version,
            kind: ParameterType::SecureString,
            value: key().seal(value.as_bytes(), &parameter.identity(version), [2; 12]),
            description: None,
            key_id: None,
            allowed_pattern: None,
            tier: Tier::Standard,
            data_type: String::from("text"),
            policies: None,
            labels: vec![format!("label-{version}")],
            modified_at: Timestamp(0),
            modified_by: String::new(),
        });
    }
    view.put(parameter);
}

fn snapshot() -> Snapshot {
    let store = Store::in_memory();
    let mut view = store.view();
    let old = r#"{"user": "old"}"#;
    let new = r#"{"user": "me", "port": 5432, "tls": true, "pass word": "hush"}"#;
    put_secret(&mut view, &scope(), "db", &[(OLD, "AWSPREVIOUS", old), (NEW, "AWSCURRENT", new)], None);
    put_secret(&mut view, &scope(), "plain", &[(NEW, "AWSCURRENT", "hush!")], None);
    put_secret(&mut view, &scope(), "bytes", &[(NEW, "AWSCURRENT", "binary")], None);
    put_secret(&mut view, &scope(), "leaving", &[(NEW, "AWSCURRENT", "x")], Some(Timestamp(10)));
    put_secret(&mut view, &scope(), "gone", &[(NEW, "AWSCURRENT", "x")], Some(Timestamp(5)));
    let other = Scope { region: "us-east-1".parse().unwrap(), ..scope() };
    put_secret(&mut view, &other, "far", &[(NEW, "AWSCURRENT", "away")], None);
    put_parameter(&mut view, &scope(), "/app/url", &["one", "two"]);
    put_parameter(&mut view, &scope(), "root", &["r"]);
    put_parameter(&mut view, &other, "/far", &["away"]);
    futures_util::FutureExt::now_or_never(store.commit(view)).unwrap().unwrap();
    store.snapshot()
}

fn opened(container: Value) -> Result<Vec<(String, String)>, String> {
    let mut container = container;
    container["name"] = json!("web");
    container["image"] = json!("i");
    let definition = definition(json!({"containerDefinitions": [container]}));
    let (snapshot, key) = (snapshot(), key());
    let vault = Vault { snapshot: &snapshot, sealing: &key, now: Timestamp(5) };
    let opened = open(&vault, &definition).map_err(|failure| failure.text())?;
    Ok(opened.into_iter().map(|secret| (secret.name, String::clone(&secret.value))).collect())
}

fn value(value_from: &str) -> Result<String, String> {
    let opened = opened(json!({"secrets": [{"name": "S", "valueFrom": value_from}]}))?;
    Ok(opened.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

#[test]
fn every_form_of_a_secret_is_found() {
    for (rest, expected) in [
        ("plain", "hush!"),
        ("plain-aB3dE6", "hush!"),
        ("db-aB3dE6:user::", "me"),
        ("db:port::", "5432"),
        ("db:tls::", "true"),
        ("db:pass word::", "hush"),
        ("db:user:AWSPREVIOUS:", "old"),
        (&format!("db:user::{OLD}"), "old"),
        (&format!("db:user:AWSCURRENT:{NEW}"), "me"),
        ("db::AWSPREVIOUS:", r#"{"user": "old"}"#),
        ("plain:::", "hush!"),
        ("db:user", "me"),
    ] {
        let arn = format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{rest}");
        assert_eq!(value(&arn).as_deref(), Ok(format!("S={expected}").as_str()), "{rest}");
    }
    assert_eq!(value("arn:aws:secretsmanager:us-east-1:123456789012:secret:far").as_deref(), Ok("S=away"));
}

#[test]
fn every_form_of_a_parameter_is_found() {
    for (value_from, expected) in [
        ("/app/url", "two"),
        ("/app/url:1", "one"),
        ("/app/url:label-1", "one"),
        ("root", "r"),
        ("arn:aws:ssm:eu-central-1:123456789012:parameter/app/url", "two"),
        ("arn:aws:ssm:eu-central-1:123456789012:parameter/app/url:1", "one"),
        ("arn:aws:ssm:eu-central-1:123456789012:parameter/root", "r"),
        ("arn:aws:ssm:us-east-1:123456789012:parameter/far", "away"),
    ] {
        assert_eq!(value(value_from).as_deref(), Ok(format!("S={expected}").as_str()), "{value_from}");
    }
}

#[test]
fn what_is_missing_is_said_as_ecs_says_it() {
    const PREFIX: &str =
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: ";
    const ASM: &str = "unable to retrieve secret from asm: service call has been retried 1 time(s): ";
    let said = |value_from: &str| {
        let text = value(value_from).unwrap_err();
        text.strip_prefix(PREFIX).unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let fetching = |name: &str, why: &str| {
        let name = ARN.replace(":db", &format!(":{name}"));
        format!("{ASM}failed to fetch secret {name} from secrets manager: {why}")
    };
    let not_found = "ResourceNotFoundException: Secrets Manager can't find the specified secret.";
    assert_eq!(said(&format!("{ARN}x-123456:user::")), fetching("dbx-123456", not_found));
    assert_eq!(said(&ARN.replace(":db", ":gone")), fetching("gone", not_found));
    assert!(said("arn:aws:secretsmanager:eu-central-1:999999999999:secret:db").ends_with(not_found));
    assert!(said(&ARN.replace(":db", ":leaving")).ends_with("because it was marked for deletion."));
    assert_eq!(
        said(&format!("{ARN}:user:AWSPENDING:")),
        fetching(
            "db",
            "ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: AWSPENDING"
        )
    );
    assert!(said(&format!("{ARN}:user::short")).ends_with("minimum field size of 32, GetSecretValueInput.VersionId."));
    assert!(said(&format!("{ARN}:user:AWSPENDING:{OLD}")).contains("not associated to the provided VersionId"));
    assert_eq!(
        said(&format!("{ARN}:missing::")),
        format!("{ASM}retrieved secret from Secrets Manager did not contain json key missing")
    );
    assert!(said(&format!("{ARN}:a:b:c:d")).contains("is not an ARN of a secret"));
    assert!(said(&ARN.replace(":db", ":bytes")).contains("it is binary"));
    let not_json = said(&ARN.replace(":db", ":plain:key::"));
    assert!(not_json.contains("is not JSON") && !not_json.contains("hush"), "{not_json}");
    let ssm = "unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid ssm parameters: ";
    assert_eq!(said("/nothing"), format!("{ssm}/nothing"));
    assert_eq!(said("/app/url:9"), format!("{ssm}/app/url:9"));
    let far = "arn:aws:ssm:us-east-1:123456789012:parameter/app/url";
    assert_eq!(said(far), format!("{ssm}{far}"));
}

#[test]
fn all_parameters_that_are_missing_are_named() {
    let text = opened(json!({"secrets": [
        {"name": "A", "valueFrom": "/a"}, {"name": "B", "valueFrom": "/app/url"}, {"name": "C", "valueFrom": "/c"}
    ]}))
    .unwrap_err();
    assert!(text.ends_with("invalid ssm parameters: /a,/c"), "{text}");
}

#[test]
fn options_of_the_log_driver_have_to_be_there_and_are_no_variables() {
    let log = |name: &str| json!({"logConfiguration": {"logDriver": "splunk", "secretOptions": [{"name": "token", "valueFrom": name}]}});
    assert_eq!(opened(log("root")), Ok(vec![]));
    assert!(opened(log("none")).is_err());
}
