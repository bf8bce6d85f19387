//! A web page must not be able to drive the API of the person who looks at it.

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::json;

use super::api::ecs_request;
use super::definitions::handler;
use super::http::{get, once};
use super::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_hosts_and_origins_get_403() {
    let server = Server::start().await;
    let with = async |name: &'static str, value: &str| {
        let mut request = ecs_request("ListClusters", "{}");
        request.headers_mut().insert(name, value.parse().unwrap());
        once(server.address, request).await.status
    };
    for host in ["localhost", "127.0.0.1", &server.address.to_string()] {
        assert_eq!(with("host", host).await, StatusCode::OK, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "example.com:4566"] {
        assert_eq!(with("host", host).await, StatusCode::FORBIDDEN, "{host}");
    }
    for origin in ["http://evil.example", "https://localhost.evil.example", "null", "http://localhost:1"] {
        assert_eq!(with("origin", origin).await, StatusCode::FORBIDDEN, "{origin}");
    }
    assert_eq!(with("sec-fetch-site", "cross-site").await, StatusCode::FORBIDDEN);
    // Nor what the command line reads.
    let mut logs = get("localhost", "/_coracle/images");
    logs.headers_mut().insert("origin", "http://evil.example".parse().unwrap());
    assert_eq!(once(server.address, logs).await.status, StatusCode::FORBIDDEN);
    // Nothing was changed by what was refused.
    let mut request = ecs_request("CreateCluster", r#"{"clusterName": "pwned"}"#);
    request.headers_mut().insert("origin", "http://evil.example".parse().unwrap());
    assert_eq!(once(server.address, request).await.status, StatusCode::FORBIDDEN);
    let listed = server.ecs("ListClusters", json!({})).await;
    assert!(!listed.to_string().contains("pwned"), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_balancers_traffic_is_never_judged() {
    let server = Server::start().await;
    let service = server.balanced(handler("open", "hello"), 1).await;
    let own = server.bound(&service.listener).await;
    for (address, host) in
        [(server.address, service.host.as_str()), (own, "shop.example"), (own, service.host.as_str())]
    {
        let request = Request::get("/plain")
            .header("host", host)
            .header("origin", "https://elsewhere.example")
            .header("sec-fetch-site", "cross-site")
            .body(Bytes::new())
            .unwrap();
        let answer = once(address, request).await;
        assert_eq!(answer.status, StatusCode::OK, "{host}: {}", answer.text());
    }
    // And the API does not answer at a listener's own port.
    let there = once(own, ecs_request("ListClusters", "{}")).await;
    assert!(!there.text().contains("clusterArns"), "{}", there.text());
}
