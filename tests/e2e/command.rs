//! Commands that users type: `aws`, python with boto3, and `coracle` itself.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use super::server::{Server, coracle};
use super::wait::bounded;

/// Runs `aws ARGUMENTS` against the server; what it printed, as JSON. It must succeed.
pub async fn aws(server: &Server, arguments: &str) -> Value {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    aws_words(server, &words).await
}

/// As `aws`, where an argument has spaces.
pub async fn aws_words(server: &Server, words: &[&str]) -> Value {
    let output = run_aws(server, words).await;
    assert!(output.status.success(), "aws {}: {}", words.join(" "), text(&output.stderr));
    let printed = text(&output.stdout);
    if printed.trim().is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("aws {}: {error} in {printed}", words.join(" ")))
}

/// As `aws`, for a call that must fail: what it said on standard error.
pub async fn aws_error(server: &Server, arguments: &str) -> String {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let output = run_aws(server, &words).await;
    assert!(!output.status.success(), "aws {arguments} succeeded: {}", text(&output.stdout));
    text(&output.stderr)
}

async fn run_aws(server: &Server, words: &[&str]) -> Output {
    let mut command = with_credentials(venv("aws"));
    command.args(["--endpoint-url", &server.endpoint(), "--output", "json"]).args(words);
    bounded("the aws CLI", command.output()).await.unwrap()
}

/// Runs a script of `tests/e2e` with the project's python; it must succeed.
pub async fn python(server: &Server, script: &str) {
    python_with(server, script, &[]).await;
}

/// As `python`, with arguments after the server's endpoint.
pub async fn python_with(server: &Server, script: &str, arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e").join(script);
    let mut command = with_credentials(venv("python"));
    command.arg(path).arg(server.endpoint()).args(arguments);
    let output = bounded("the script", command.output()).await.unwrap();
    assert!(output.status.success(), "{script}:\n{}{}", text(&output.stdout), text(&output.stderr));
}

/// Runs `coracle ARGUMENTS` against the server.
pub async fn run_coracle(server: &Server, arguments: &[&str]) -> Output {
    let mut command = coracle();
    command.args(arguments).env("CORACLE_ENDPOINT", server.endpoint());
    bounded("coracle", command.output()).await.unwrap()
}

/// As `run_coracle`, for a call that must succeed: what it printed.
pub async fn coracle_prints(server: &Server, arguments: &[&str]) -> String {
    let output = run_coracle(server, arguments).await;
    assert!(output.status.success(), "coracle {}: {}", arguments.join(" "), text(&output.stderr));
    text(&output.stdout)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A program of the project's own python environment.
fn venv(program: &str) -> Command {
    let folder = std::env::var_os("CORACLE_VENV").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv"));
    let path = folder.join("bin").join(program);
    assert!(path.exists(), "{} is missing: run tests/run once, which sets it up", path.display());
    let mut command = Command::new(path);
    command.kill_on_drop(true);
    command
}

/// What every client of AWS wants to have; nothing of the person who runs the tests.
fn with_credentials(mut command: Command) -> Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}
