//! Secrets Manager and Parameter Store as users drive them, and tasks that are given what they hold.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::api::{Refused, ecs_answer};
use super::command::{aws, aws_error, python};
use super::definitions::program;
use super::http::once;
use super::server::Server;

const ROLE: &str = "arn:aws:iam::123456789012:role/execution";
/// Of no other text on this machine.
const PLAIN: &str = "hush-3f1c9a7e5d";

impl Server {
    async fn try_json(&self, target: &str, input: Value) -> Result<Value, Refused> {
        let request = Request::post("/")
            .header("host", "localhost")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .body(Bytes::from(input.to_string()))
            .unwrap();
        ecs_answer(&once(self.address, request).await)
    }

    async fn secret(&self, operation: &str, input: Value) -> Value {
        let answer = self.try_json(&format!("secretsmanager.{operation}"), input).await;
        answer.unwrap_or_else(|refused| panic!("{operation}: {refused:?}"))
    }

    async fn ssm(&self, operation: &str, input: Value) -> Value {
        let answer = self.try_json(&format!("AmazonSSM.{operation}"), input).await;
        answer.unwrap_or_else(|refused| panic!("{operation}: {refused:?}"))
    }

    /// Creates a secret; its ARN.
    async fn create_secret(&self, name: &str, value: &str) -> String {
        let created = self.secret("CreateSecret", json!({"Name": name, "SecretString": value})).await;
        created["ARN"].as_str().unwrap().to_owned()
    }
}

/// A program that prints these variables.
fn printing(family: &str, names: &[&str], more: Value) -> Value {
    let mut steps: Vec<&str> = names.iter().flat_map(|name| ["env", name]).collect();
    steps.extend(["exit", "0"]);
    let mut definition = program(family, "batch", &steps);
    definition["executionRoleArn"] = json!(ROLE);
    definition["containerDefinitions"][0].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    definition
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_aws_cli_keeps_secrets() {
    let server = Server::start().await;
    let aws = async |arguments: &str| aws(&server, arguments).await;
    let created = aws("secretsmanager create-secret --name prod/db --secret-string one --description d").await;
    let arn = created["ARN"].as_str().unwrap();
    aws(&format!("secretsmanager put-secret-value --secret-id {arn} --secret-string two")).await;
    let read = aws("secretsmanager get-secret-value --secret-id prod/db").await;
    assert_eq!((&read["SecretString"], &read["VersionStages"]), (&json!("two"), &json!(["AWSCURRENT"])));
    let before = aws("secretsmanager get-secret-value --secret-id prod/db --version-stage AWSPREVIOUS").await;
    assert_eq!(before["SecretString"], "one");
    let versions = aws("secretsmanager list-secret-version-ids --secret-id prod/db").await;
    assert_eq!(versions["Versions"].as_array().unwrap().len(), 2);
    let (current, previous) = (read["VersionId"].as_str().unwrap(), before["VersionId"].as_str().unwrap());
    aws(&format!(
        "secretsmanager update-secret-version-stage --secret-id prod/db --version-stage AWSCURRENT \
         --remove-from-version-id {current} --move-to-version-id {previous}"
    ))
    .await;
    assert_eq!(aws("secretsmanager get-secret-value --secret-id prod/db").await["SecretString"], "one");
    aws("secretsmanager update-secret --secret-id prod/db --secret-string three --description e").await;
    aws("secretsmanager tag-resource --secret-id prod/db --tags Key=team,Value=blue Key=x,Value=y").await;
    aws("secretsmanager untag-resource --secret-id prod/db --tag-keys x").await;
    let described = aws("secretsmanager describe-secret --secret-id prod/db").await;
    assert_eq!(
        (&described["Description"], &described["Tags"]),
        (&json!("e"), &json!([{"Key": "team", "Value": "blue"}]))
    );
    aws("secretsmanager create-secret --name other --secret-string x").await;
    let listed = aws("secretsmanager list-secrets --filters Key=tag-key,Values=team").await;
    assert_eq!(listed["SecretList"].as_array().unwrap().len(), 1);
    let both = aws("secretsmanager batch-get-secret-value --secret-id-list prod/db other").await;
    assert_eq!(both["SecretValues"].as_array().unwrap().len(), 2);
    aws("secretsmanager delete-secret --secret-id prod/db --recovery-window-in-days 7").await;
    let refused = aws_error(&server, "secretsmanager get-secret-value --secret-id prod/db").await;
    assert!(
        refused.contains("(InvalidRequestException)")
            && refused.contains("You can't perform this operation on the secret because it was marked for deletion."),
        "{refused}"
    );
    aws("secretsmanager restore-secret --secret-id prod/db").await;
    assert_eq!(aws("secretsmanager get-secret-value --secret-id prod/db").await["SecretString"], "three");
    aws("secretsmanager delete-secret --secret-id prod/db --force-delete-without-recovery").await;
    let gone = aws_error(&server, "secretsmanager get-secret-value --secret-id prod/db").await;
    assert!(
        gone.contains("(ResourceNotFoundException)")
            && gone.contains("Secrets Manager can't find the specified secret."),
        "{gone}"
    );
    let password = aws("secretsmanager get-random-password --password-length 20").await;
    assert_eq!(password["RandomPassword"].as_str().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_aws_cli_keeps_parameters() {
    let server = Server::start().await;
    let aws = async |arguments: &str| aws(&server, arguments).await;
    aws("ssm put-parameter --name /app/db/user --value me --type String --tags Key=team,Value=blue").await;
    aws("ssm put-parameter --name /app/db/password --value hush --type SecureString").await;
    aws("ssm put-parameter --name /app/hosts --value a,b --type StringList").await;
    let again = aws_error(&server, "ssm put-parameter --name /app/hosts --value c --type StringList").await;
    assert!(again.contains("(ParameterAlreadyExists)") && again.contains("set the overwrite option"), "{again}");
    assert_eq!(aws("ssm put-parameter --name /app/hosts --value c --overwrite").await["Version"], 2);
    let closed = aws("ssm get-parameter --name /app/db/password").await["Parameter"]["Value"].take();
    assert!(!closed.as_str().unwrap().contains("hush"), "{closed}");
    let opened = aws("ssm get-parameter --name /app/db/password --with-decryption").await;
    assert_eq!(opened["Parameter"]["Value"], "hush");
    let below = aws("ssm get-parameters-by-path --path /app --recursive --with-decryption --page-size 1").await;
    let values: Vec<&str> =
        below["Parameters"].as_array().unwrap().iter().map(|found| found["Value"].as_str().unwrap()).collect();
    assert_eq!(values, ["hush", "me", "c"]);
    let several = aws("ssm get-parameters --names /app/hosts:1 /none").await;
    assert_eq!((&several["Parameters"][0]["Value"], &several["InvalidParameters"]), (&json!("a,b"), &json!(["/none"])));
    aws("ssm label-parameter-version --name /app/hosts --parameter-version 1 --labels stable").await;
    assert_eq!(aws("ssm get-parameter --name /app/hosts:stable").await["Parameter"]["Version"], 1);
    aws("ssm unlabel-parameter-version --name /app/hosts --parameter-version 1 --labels stable").await;
    let unlabelled = aws_error(&server, "ssm get-parameter --name /app/hosts:stable").await;
    assert!(unlabelled.contains("(ParameterVersionNotFound)"), "{unlabelled}");
    let history = aws("ssm get-parameter-history --name /app/hosts").await;
    assert_eq!(history["Parameters"].as_array().unwrap().len(), 2);
    let found = aws("ssm describe-parameters --parameter-filters Key=Name,Option=Contains,Values=db").await;
    assert_eq!(found["Parameters"].as_array().unwrap().len(), 2);
    let tagged = "--resource-type Parameter --resource-id /app/hosts";
    aws(&format!("ssm add-tags-to-resource {tagged} --tags Key=a,Value=1 Key=b,Value=2")).await;
    aws(&format!("ssm remove-tags-from-resource {tagged} --tag-keys a")).await;
    let tags = aws(&format!("ssm list-tags-for-resource {tagged}")).await;
    assert_eq!(tags["TagList"], json!([{"Key": "b", "Value": "2"}]));
    aws("ssm delete-parameter --name /app/hosts").await;
    let missing = aws_error(&server, "ssm get-parameter --name /app/hosts").await;
    assert!(missing.contains("(ParameterNotFound)"), "{missing}");
    let deleted = aws("ssm delete-parameters --names /app/db/user /app/hosts").await;
    assert_eq!(deleted, json!({"DeletedParameters": ["/app/db/user"], "InvalidParameters": ["/app/hosts"]}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_and_parameters_as_boto3_sees_them() {
    let server = Server::start().await;
    python(&server, "boto3_secrets.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_given_its_secrets() {
    let server = Server::start().await;
    let arn = server.create_secret("db", r#"{"user": "me", "port": 5432}"#).await;
    let plain = server.create_secret("plain", "hush").await;
    server.secret("PutSecretValue", json!({"SecretId": "plain", "SecretString": "newer"})).await;
    for (name, kind) in [("/app/url", "String"), ("token", "SecureString")] {
        server.ssm("PutParameter", json!({"Name": name, "Value": format!("value of {name}"), "Type": kind})).await;
    }
    let secret = |name: &str, value_from: String| json!({"name": name, "valueFrom": value_from});
    let partial = plain.rsplit_once('-').unwrap().0;
    let secrets = json!([
        secret("WHOLE", arn.clone()),
        secret("USER", format!("{arn}:user::")),
        secret("PORT", format!("{arn}:port:AWSCURRENT:")),
        secret("PLAIN", String::from(partial)),
        secret("BEFORE", format!("{plain}::AWSPREVIOUS:")),
        secret("URL", String::from("/app/url")),
        secret("TOKEN", String::from("arn:aws:ssm:us-east-1:123456789012:parameter/token"))
    ]);
    let names = ["WHOLE", "USER", "PORT", "PLAIN", "BEFORE", "URL", "TOKEN", "MODE"];
    let more = json!({"secrets": secrets, "environment": [{"name": "MODE", "value": "test"}]});
    let task = server.run(printing("given", &names, more)).await;
    let stopped = server.task_in(&task, "STOPPED").await;
    assert_eq!(stopped["containers"][0]["exitCode"], 0, "{stopped}");
    assert_eq!(
        server.printed(&task).await,
        [
            r#"WHOLE={"user": "me", "port": 5432}"#,
            "USER=me",
            "PORT=5432",
            "PLAIN=newer",
            "BEFORE=hush",
            "URL=value of /app/url",
            "TOKEN=value of token",
            "MODE=test"
        ]
    );
    let shown = server.ecs("DescribeTaskDefinition", json!({"taskDefinition": "given"})).await.to_string();
    assert!(shown.contains("valueFrom") && !shown.contains("newer") && !stopped.to_string().contains("newer"));
    // A task may not hide a secret behind a variable of its own.
    let hiding = json!({
        "taskDefinition": "given", "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
        "overrides": {"containerOverrides": [{"name": "given", "environment": [{"name": "USER", "value": "x"}]}]}
    });
    let refused = server.try_ecs("RunTask", hiding).await.unwrap_err();
    assert!(refused.message.starts_with("The secret name must be unique and not shared with"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_fails_the_start_with_ecs_text() {
    const PREFIX: &str =
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: ";
    let server = Server::start().await;
    server.create_secret("db", r#"{"user": "me"}"#).await;
    let base = "arn:aws:secretsmanager:us-east-1:123456789012:secret";
    for (value_from, text) in [
        (
            format!("{base}:none-123456"),
            format!(
                "unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret {base}:none-123456 from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret."
            ),
        ),
        (
            format!("{base}:db:pass::"),
            String::from(
                "unable to retrieve secret from asm: service call has been retried 1 time(s): retrieved secret from Secrets Manager did not contain json key pass",
            ),
        ),
        (
            String::from("/none"),
            String::from(
                "unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid ssm parameters: /none",
            ),
        ),
    ] {
        let definition = printing("lacking", &["S"], json!({"secrets": [{"name": "S", "valueFrom": value_from}]}));
        let task = server.run(definition).await;
        let stopped = server.task_in(&task, "STOPPED").await;
        assert_eq!(stopped["stopCode"], "TaskFailedToStart");
        assert_eq!(stopped["stoppedReason"], format!("{PREFIX}{text}"));
        assert!(server.printed(&task).await.is_empty());
    }
    // And the definition itself is refused where ECS refuses it.
    let mut definition = printing("lacking", &["S"], json!({"secrets": [{"name": "S", "valueFrom": "/none"}]}));
    definition["executionRoleArn"] = Value::Null;
    let refused = server.try_ecs("RegisterTaskDefinition", definition).await.unwrap_err();
    assert_eq!(
        refused.message,
        "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_come_from_files_that_stand_for_s3() {
    let folder = tempfile::tempdir().unwrap();
    let objects = folder.path().join("objects");
    fs::create_dir_all(objects.join("conf/app")).unwrap();
    fs::write(objects.join("conf/app/one.env"), "# first\nA=one\nMODE=file\nQUOTED=\"as is\"\n").unwrap();
    fs::write(objects.join("conf/two.env"), "A=two\nB=two\n").unwrap();
    let config = folder.path().join("coracle.json");
    fs::write(&config, json!({"files": {"objectDirectory": objects}}).to_string()).unwrap();
    let server = Server::start_with(&["--config", config.to_str().unwrap()]).await;
    let file = |key: &str| json!({"type": "s3", "value": format!("arn:aws:s3:::conf/{key}")});
    let more = json!({
        "environmentFiles": [file("app/one.env"), file("two.env")],
        "environment": [{"name": "MODE", "value": "definition"}]
    });
    let task = server.run(printing("files", &["A", "B", "MODE", "QUOTED"], more)).await;
    server.task_in(&task, "STOPPED").await;
    assert_eq!(server.printed(&task).await, ["A=one", "B=two", "MODE=definition", "QUOTED=\"as is\""]);
    let overrides = json!({"containerOverrides": [{"name": "files", "environmentFiles": [file("two.env")]}]});
    let task = server.run_with(json!({"taskDefinition": "files", "overrides": overrides})).await;
    server.task_in(&task, "STOPPED").await;
    assert_eq!(server.printed(&task).await[..2], ["A=two", "B=two"]);
    let task = server.run(printing("none", &["A"], json!({"environmentFiles": [file("none.env")]}))).await;
    let stopped = server.task_in(&task, "STOPPED").await;
    let reason = stopped["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("ResourceInitializationError: failed to download env files: "), "{reason}");
    assert!(reason.contains("StatusCode: 404") && stopped["stopCode"] == "TaskFailedToStart", "{stopped}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_survive_a_kill_and_are_nowhere_in_plain() {
    let server = Server::start().await;
    let arn = server.create_secret("db", &format!(r#"{{"password": "{PLAIN}"}}"#)).await;
    server.secret("PutSecretValue", json!({"SecretId": "db", "SecretString": format!("{PLAIN}-2")})).await;
    server.ssm("PutParameter", json!({"Name": "/a", "Value": PLAIN, "Type": "SecureString"})).await;
    server.ssm("PutParameter", json!({"Name": "/b", "Value": PLAIN, "Type": "String"})).await;
    // Errors do not quote it either.
    let twice = json!({"Name": "db", "SecretString": PLAIN});
    server.try_json("secretsmanager.CreateSecret", twice).await.unwrap_err();
    let pattern = json!({"Name": "/c", "Value": PLAIN, "Type": "String", "AllowedPattern": "[0-9]+"});
    server.try_json("AmazonSSM.PutParameter", pattern).await.unwrap_err();
    let long = json!({"Name": "x", "SecretString": PLAIN.repeat(10_000)});
    let refused = server.try_json("secretsmanager.CreateSecret", long).await.unwrap_err();
    assert!(!refused.message.contains(PLAIN), "{}", &refused.message[..200]);
    let secrets = json!([{"name": "S", "valueFrom": arn}, {"name": "P", "valueFrom": "/a"}]);
    let mut definition = printing("silent", &[], json!({"secrets": secrets}));
    definition["containerDefinitions"][0]["command"] = json!(["exit", "0"]);
    let task = server.run(definition).await;
    let stopped = server.task_in(&task, "STOPPED").await;
    assert_eq!(stopped["containers"][0]["exitCode"], 0, "{stopped}");

    let server = server.kill_and_restart().await;
    let read = server.secret("GetSecretValue", json!({"SecretId": "db"})).await;
    assert_eq!(read["SecretString"], format!("{PLAIN}-2"));
    let read = server.ssm("GetParameter", json!({"Name": "/a", "WithDecryption": true})).await;
    assert_eq!(read["Parameter"]["Value"], PLAIN);
    assert!(!server.log().contains(PLAIN), "the log has it");
    assert_eq!(files_with(&server.data_dir(), PLAIN.as_bytes()), Vec::<String>::new());
}

/// Without its key the store's secrets would be lost, so the server does not make another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_key_is_said_at_the_start() {
    let server = Server::start().await;
    server.create_secret("db", PLAIN).await;
    let home = server.kill().await;
    let data = home.path().join("data");
    fs::rename(data.join("sealing-key"), home.path().join("kept")).unwrap();
    let mut command = super::server::coracle();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data);
    let output = super::wait::bounded("the server to refuse", command.output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("sealing-key is missing"), "{said}");
    assert!(!data.join("sealing-key").exists());
}

/// The files below a directory that hold these bytes.
fn files_with(directory: &Path, wanted: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, wanted));
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            if bytes.windows(wanted.len()).any(|window| window == wanted) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}
