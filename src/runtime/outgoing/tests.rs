use std::sync::Arc;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};

use crate::model::{Exit, TaskId};
use crate::runtime::guest::http::{RequestBody, ResponseBody};
use crate::runtime::spec::Stream;
use crate::runtime::testing::{TestNode, guest};
use crate::runtime::{ContainerSpec, TaskEndpoint};

/// Says who asked for what.
struct Mirror;

impl TaskEndpoint for Mirror {
    fn call(&self, task: TaskId, request: Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let path = head.uri.path();
            let text = format!("{} {path} of {} {}", head.method, task.0, String::from_utf8_lossy(&body));
            Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync())
        })
    }
}

async fn said(node: &TestNode, containers: Vec<ContainerSpec>) -> Vec<String> {
    node.run(containers).await;
    node.logs.lines(Stream::Stdout)
}

#[tokio::test]
async fn the_task_endpoint_knows_who_asks_by_sockets_and_by_http() {
    let node = TestNode::answering(Arc::new(Mirror), |_| {});
    let ask = "GET /v4 HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n";
    let steps = ["get", "http://169.254.170.2/v3/x", "post", "http://169.254.170.2:80/p", "body", "connect"];
    let lines = said(&node, vec![guest("dial", &[&steps[..], &["169.254.170.2:80", ask]].concat())]).await;
    assert_eq!(lines[0], "get http://169.254.170.2/v3/x: 200 GET /v3/x of 1");
    assert_eq!(lines[1], "post http://169.254.170.2:80/p: 200 POST /p of 1 body");
    assert!(lines[2].starts_with("connect 169.254.170.2:80: HTTP/1.1 200 OK"), "{lines:?}");
    assert!(lines[2].contains("GET /v4 of 1 ") && lines[2].ends_with("to 169.254.170.2:80)"), "{lines:?}");
}

#[tokio::test]
async fn no_other_link_local_address_is_reached_in_any_form() {
    let node = TestNode::answering(Arc::new(Mirror), |_| {});
    let urls = [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://2852039166/",
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.170.2:8080/",
        "https://169.254.170.2/",
    ];
    let steps: Vec<&str> =
        urls.iter().flat_map(|url| ["get", url]).chain(["connect", "169.254.169.254:80", "x"]).collect();
    let exit = node.exit(guest("dial", &steps)).await;
    assert_eq!(exit, Exit::Returned { code: 1 });
    let lines = node.logs.lines(Stream::Stdout);
    assert_eq!(lines.len(), urls.len() + 1);
    assert!(lines.iter().all(|line| line.contains(": error ")), "{lines:?}");
}

#[tokio::test]
async fn a_connection_that_no_task_announced_is_dropped() {
    let guests = tokio::runtime::Handle::current();
    let gateway = super::Gateway::open(&guests, Arc::new(Mirror)).unwrap();
    let mut stranger = tokio::net::TcpStream::connect(gateway.callers().at()).await.unwrap();
    let mut answer = Vec::new();
    // Closed without a word, or reset.
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stranger, &mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let body = Full::from(vec![0; (64 << 10) + 1]);
    let response = super::endpoint::answer(Arc::new(Mirror), TaskId(1), Request::new(body)).await;
    assert_eq!(response.status(), 413);
}
