//! With access keys, every request must be signed with one of them.

use std::fs;

use http::StatusCode;
use serde_json::json;

use super::api::ecs_request;
use super::command::{aws, aws_error, run_coracle};
use super::definitions::{guest, single};
use super::http::{get, once};
use super::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_signed_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (folder.path().join("right.json"), folder.path().join("wrong.json"));
    let keys = |secret: &str| json!({"accessKeys": [{"accessKeyId": "test", "secretAccessKey": secret}]}).to_string();
    for (file, secret) in [(&right, "test"), (&wrong, "something else")] {
        fs::write(file, keys(secret)).unwrap();
        private(file);
    }
    let server = Server::start_with(&["--access-keys", right.to_str().unwrap()]).await;
    assert!(aws(&server, "ecs list-clusters").await["clusterArns"].is_array());
    assert!(aws(&server, "elbv2 describe-load-balancers").await["LoadBalancers"].is_array());
    let unsigned = once(server.address, ecs_request("ListClusters", "{}")).await;
    assert!(
        unsigned.status.is_client_error() && unsigned.text().contains("MissingAuthenticationToken"),
        "{}",
        unsigned.text()
    );
    assert_eq!(once(server.address, get("localhost", "/_coracle/images")).await.status, StatusCode::FORBIDDEN);
    assert!(!run_coracle(&server, &["ps"]).await.status.success());

    // Who holds a key may still not make the server read any file.
    let definition = single("outside", &guest("batch"), &["exit", "0"]).to_string();
    super::command::aws_words(&server, &["ecs", "register-task-definition", "--cli-input-json", &definition]).await;
    let ran = aws(
        &server,
        "ecs run-task --task-definition outside --launch-type FARGATE \
         --network-configuration awsvpcConfiguration={subnets=[subnet-1]}",
    )
    .await;
    let task = ran["tasks"][0]["taskArn"].as_str().unwrap().to_owned();
    aws(&server, &format!("ecs wait tasks-stopped --tasks {task}")).await;
    let stopped = aws(&server, &format!("ecs describe-tasks --tasks {task}")).await;
    assert!(stopped["tasks"][0]["stoppedReason"].as_str().unwrap().contains("--image-dir"), "{stopped}");

    let server = Server::start_with(&["--access-keys", wrong.to_str().unwrap()]).await;
    let said = aws_error(&server, "ecs list-clusters").await;
    assert!(said.contains("InvalidSignatureException"), "{said}");
}

fn private(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}
