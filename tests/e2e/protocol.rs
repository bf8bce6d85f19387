//! Requests that are wrong: each is answered in its protocol's own form, and says what is wrong.

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::json;

use super::api::{ecs_answer, ecs_request};
use super::definitions::program;
use super::http::once;
use super::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_unknown_and_mistyped_requests() {
    let server = Server::start().await;
    let call = async |operation: &str, body: &str| {
        let answer = once(server.address, ecs_request(operation, body)).await;
        assert!(answer.headers.contains_key("x-amzn-requestid"));
        ecs_answer(&answer).unwrap_err()
    };
    let refused = call("CreateCluster", "{not json").await;
    assert_eq!((refused.status, refused.kind.as_str()), (StatusCode::BAD_REQUEST, "SerializationException"));

    let refused = call("MakeCoffee", "{}").await;
    assert_eq!((refused.status, refused.kind.as_str()), (StatusCode::BAD_REQUEST, "UnknownOperationException"));

    // An operation of ECS that is not there yet says which.
    let refused = call("ListAccountSettings", "{}").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.message.contains("ListAccountSettings"), "{refused:?}");

    // The path of what has the wrong type is named.
    let mut mistyped = program("typed", "batch", &[]);
    mistyped["containerDefinitions"][0]["memory"] = json!("100");
    let refused = call("RegisterTaskDefinition", &mistyped.to_string()).await;
    assert_eq!(refused.kind, "SerializationException");
    assert!(refused.message.contains("containerDefinitions[0].memory"), "{refused:?}");

    // A value that no enum has, a name that breaks its rules, a missing member.
    let mut unknown = program("typed", "batch", &[]);
    unknown["networkMode"] = json!("telepathy");
    let refused = call("RegisterTaskDefinition", &unknown.to_string()).await;
    assert_eq!(refused.kind, "ClientException");
    assert!(refused.message.contains("telepathy") || refused.message.contains("networkMode"), "{refused:?}");
    let refused = call("RegisterTaskDefinition", &program("a name with spaces", "batch", &[]).to_string()).await;
    assert_eq!(refused.kind, "ClientException");
    let refused = call("RegisterTaskDefinition", r#"{"family": "x"}"#).await;
    assert!(refused.message.contains("containerDefinitions"), "{refused:?}");
    let refused = call("DescribeTasks", "{}").await;
    assert_eq!(refused.kind, "InvalidParameterException");
    // Nothing of it was taken.
    let families = server.ecs("ListTaskDefinitionFamilies", json!({})).await;
    assert_eq!(families["families"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_nobody_knows_are_ignored_and_reported() {
    let server = Server::start().await;
    let request = ecs_request("CreateCluster", r#"{"clusterName": "odd", "flavour": "salty", "settings": null}"#);
    let answer = once(server.address, request).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    assert!(answer.headers["x-coracle-ignored-members"].to_str().unwrap().contains("flavour"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_is_refused() {
    let server = Server::start().await;
    let body = format!(r#"{{"clusterName": "{}"}}"#, "x".repeat(3 << 20));
    let mut request = ecs_request("CreateCluster", "");
    *request.body_mut() = Bytes::from(body);
    let refused = ecs_answer(&once(server.address, request).await).unwrap_err();
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{refused:?}");
    server.ecs("ListClusters", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn query_errors_are_xml() {
    let server = Server::start().await;
    let refused = server.try_elb("DescribeLoadBalancers", &[("Names.member.1", "none")]).await.unwrap_err();
    assert_eq!((refused.status, refused.kind.as_str()), (StatusCode::BAD_REQUEST, "LoadBalancerNotFound"));
    let refused = server.try_elb("CreateLoadBalancer", &[]).await.unwrap_err();
    assert_eq!(refused.kind, "ValidationError", "{refused:?}");
    let refused = server.try_elb("CreateTrustStore", &[("Name", "x")]).await.unwrap_err();
    assert!(refused.message.contains("CreateTrustStore"), "{refused:?}");
    let refused = server.try_elb("MakeTea", &[]).await.unwrap_err();
    assert_eq!(refused.kind, "InvalidAction", "{refused:?}");
    let strange = Request::post("/").header("host", "localhost").body(Bytes::from_static(b"what is this")).unwrap();
    let answer = once(server.address, strange).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
}
