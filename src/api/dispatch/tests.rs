use http::Method;
use serde_json::json;

use super::*;
use crate::api::context::scripted_config;
use crate::api::operation::{operation, reading};
use crate::api::wire;
use crate::api::wire::ecs::TagResourceResponse;
use crate::api::wire::ecs::{Cluster, CreateClusterRequest, CreateClusterResponse, DeleteClusterRequest};
use crate::api::wire::ecs::{DeleteClusterResponse, StopTaskRequest, StopTaskResponse, TagResourceRequest};
use crate::api::wire::elbv2::{DescribeLoadBalancersInput, DescribeLoadBalancersOutput, LoadBalancer};
use crate::model::{self, ClusterName, ClusterStatus, TaskId};
use crate::store::Key;
use crate::telemetry::Stream;

const NOW: Timestamp = Timestamp(1_440_938_160_000);

/// Says where it was called, so that a test sees the scope.
fn create_cluster(cx: &Context, _: &mut View, input: CreateClusterRequest) -> Result<CreateClusterResponse, ApiError> {
    if input.settings.is_some() {
        cx.without_effect.note("settings");
    }
    let cluster = Cluster {
        cluster_name: input.cluster_name,
        cluster_arn: Some(format!("{}/{}", cx.scope.region, cx.caller.access_key_id.clone().unwrap_or_default())),
        ..Default::default()
    };
    Ok(CreateClusterResponse { cluster: Some(cluster) })
}

/// Adds the tag to the only cluster, and makes it first: a change of what it read.
fn tag_resource(cx: &Context, view: &mut View, input: TagResourceRequest) -> Result<TagResourceResponse, ApiError> {
    let name: ClusterName = "only".parse().unwrap();
    let found = view.get::<model::Cluster>(&Key::cluster(&cx.scope, &name));
    let mut cluster = found.map(|found| (*found).clone()).unwrap_or_else(|| model::Cluster {
        scope: cx.scope.clone(),
        name,
        status: ClusterStatus::Active,
        created_at: cx.now,
        tags: Vec::new(),
        document: serde_json::Map::new(),
    });
    for tag in input.tags.unwrap_or_default() {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value);
        cluster.tags.push(model::Tag { key, value });
    }
    view.put(cluster);
    match input.resource_arn.as_deref() {
        Some("refused") => Err(ApiError::invalid_parameter("No.")),
        _ => Ok(TagResourceResponse {}),
    }
}

fn delete_cluster(_: &Context, _: &mut View, _: DeleteClusterRequest) -> Result<DeleteClusterResponse, ApiError> {
    Err(ApiError::cluster_not_found())
}

fn stop_task(_: &Context, _: &mut View, _: StopTaskRequest) -> Result<StopTaskResponse, ApiError> {
    Err(ApiError::server(std::io::Error::other("the disk is gone")))
}

/// Finds what the only task logged.
fn describe_load_balancers(
    _: &Context,
    _: &mut View,
    logs: &Logs,
    input: DescribeLoadBalancersInput,
) -> Result<DescribeLoadBalancersOutput, ApiError> {
    let named = |name| LoadBalancer { load_balancer_name: Some(name), ..Default::default() };
    let load_balancers = input.names.unwrap_or_default().into_iter().map(named).collect();
    let logged = logs.read(TaskId(1), 0, 1).lines.first().map(|line| line.message.to_string());
    Ok(DescribeLoadBalancersOutput { load_balancers: Some(load_balancers), next_marker: logged })
}

fn api(keys: AccessKeys) -> Api {
    api_over(Store::in_memory(), keys)
}

fn api_over(store: Store, keys: AccessKeys) -> Api {
    let ecs = [
        ("CreateCluster", operation(create_cluster)),
        ("DeleteCluster", operation(delete_cluster)),
        ("StopTask", operation(stop_task)),
        ("TagResource", operation(tag_resource)),
    ];
    let elbv2 = [("DescribeLoadBalancers", reading(describe_load_balancers))];
    let logs = Logs::default();
    logs.append(TaskId(1), "web", Stream::Stdout, NOW, "hello");
    let offers = vec![
        Offer { service: &wire::ecs::SERVICE, operations: ecs.into() },
        Offer { service: &wire::elbv2::SERVICE, operations: elbv2.into() },
    ];
    let sealing = Arc::new(SealingKey::from_bytes([7; 32]));
    Api { offers, store, logs, keys, sealing, config: Arc::new(scripted_config()) }
}

fn json_request(operation: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
    Request::post("/").header("x-amz-target", target).body(body.into()).unwrap()
}

fn form_request(body: &'static str) -> Request<Bytes> {
    let content_type = "application/x-www-form-urlencoded; charset=utf-8";
    Request::post("/").header("content-type", content_type).body(Bytes::from(body)).unwrap()
}

async fn call(request: Request<Bytes>) -> Response<Bytes> {
    api(AccessKeys::default()).call(request, NOW, IdSource::from_seed(1)).await
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

/// The exception, the message and the status of a JSON failure.
async fn failure(request: Request<Bytes>) -> (String, String, u16) {
    let response = call(request).await;
    let body = body(&response);
    let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (field("__type"), field("message"), response.status().as_u16())
}

#[tokio::test]
async fn answers_json() {
    let response = call(json_request("CreateCluster", r#"{"clusterName":"a","colour":1,"é":2}"#)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-amz-json-1.1");
    assert_eq!(response.headers()["x-amzn-requestid"].len(), 36);
    assert_eq!(response.headers()["x-coracle-ignored-members"], "colour, ?");
    assert_eq!(body(&response), json!({"cluster": {"clusterName": "a", "clusterArn": "us-east-1/"}}));
    let response = call(json_request("CreateCluster", "")).await;
    assert!(!response.headers().contains_key("x-coracle-ignored-members"));
    assert!(!response.headers().contains_key("x-coracle-without-effect"));
    let response = call(json_request("CreateCluster", r#"{"settings":[]}"#)).await;
    assert_eq!(response.headers()["x-coracle-without-effect"], "settings");
}

#[tokio::test]
async fn answers_forms_in_bodies_and_in_urls() {
    let form = "Action=DescribeLoadBalancers&Version=2015-12-01&Names.member.1=a";
    let response = call(form_request(form)).await;
    assert_eq!(response.headers()["content-type"], "text/xml");
    assert!(text(&response).contains("<LoadBalancerName>a</LoadBalancerName>"), "{}", text(&response));
    assert!(text(&response).contains("<NextMarker>hello</NextMarker>"), "{}", text(&response));
    let get = Request::get(format!("/?{form}")).body(Bytes::new()).unwrap();
    assert_eq!(call(get).await.body(), response.body());
}

#[tokio::test]
async fn failures_take_the_protocols_form() {
    let (exception, message, status) = failure(json_request("DeleteCluster", r#"{"cluster":"x"}"#)).await;
    assert_eq!((exception.as_str(), message.as_str(), status), ("ClusterNotFoundException", "Cluster not found.", 400));

    let response = call(form_request("Action=DescribeLoadBalancers&Version=2015-12-01&PageSize=x")).await;
    assert_eq!(response.status(), 400);
    assert!(text(&response).contains("<Code>MalformedInput</Code>"), "{}", text(&response));
    assert!(text(&response).contains("PageSize: expected an integer, found 'x'"), "{}", text(&response));
}

#[tokio::test]
async fn what_went_wrong_inside_is_not_told() {
    let (exception, message, status) = failure(json_request("StopTask", r#"{"task":"x"}"#)).await;
    assert_eq!((exception.as_str(), status), ("ServerException", 500));
    assert!(!message.contains("disk"), "{message}");
}

#[tokio::test]
async fn unknown_operations_are_told_apart() {
    let (exception, message, _) = failure(json_request("CreateCapacityProvider", "{}")).await;
    assert_eq!(exception, "UnsupportedFeatureException");
    assert_eq!(message, "CreateCapacityProvider is not available in Coracle yet.");
    assert_eq!(failure(json_request("MakeCoffee", "{}")).await.0, "UnknownOperationException");
    let other = Request::post("/").header("x-amz-target", "Nobody.Knows").body(Bytes::new()).unwrap();
    assert_eq!(failure(other).await.0, "UnknownOperationException");
    let nothing = Request::get("/").body(Bytes::new()).unwrap();
    assert_eq!(failure(nothing).await.0, "UnknownOperationException");
    let mut get = json_request("CreateCluster", "{}");
    *get.method_mut() = Method::GET;
    assert_eq!(failure(get).await.0, "UnknownOperationException");

    for (form, told) in [
        ("Action=MakeCoffee&Version=2015-12-01", "Could not find operation MakeCoffee for version 2015-12-01"),
        ("Action=DescribeLoadBalancers&Version=2012-06-01", "for version 2012-06-01"),
        ("Version=2015-12-01", "must contain the parameter Action"),
        ("Action=DescribeLoadBalancers", "must contain the parameter Version"),
    ] {
        let response = call(form_request(form)).await;
        assert!(text(&response).contains("<Code>InvalidAction</Code>"), "{}", text(&response));
        assert!(text(&response).contains(told), "{}", text(&response));
    }
}

#[tokio::test]
async fn broken_bodies_are_refused() {
    for (body, told) in [
        ("{", "The body is not JSON"),
        ("[]", "the request: expected an object, found a list"),
        (r#"{"clusterName":1}"#, "clusterName: expected a string, found a number"),
    ] {
        let (exception, message, status) = failure(json_request("CreateCluster", body)).await;
        assert_eq!((exception.as_str(), status), ("SerializationException", 400));
        assert!(message.contains(told), "{message}");
    }
    let (exception, _, status) = failure(json_request("CreateCluster", vec![b' '; BODY_BYTES_MAX + 1])).await;
    assert_eq!((exception.as_str(), status), ("RequestEntityTooLargeException", 413));
    let (exception, message, _) = failure(json_request("StopTask", "{}")).await;
    assert_eq!(exception, "InvalidParameterException");
    assert!(message.contains("at 'task'"), "{message}");
}

#[tokio::test]
async fn the_region_is_the_signatures() {
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIA/20150830/eu-west-1/ecs/aws4_request, \
                         SignedHeaders=host;x-amz-date, Signature=00";
    let signed = |region: &str, date: &str| {
        let mut request = json_request("CreateCluster", "{}");
        let authorization = authorization.replace("eu-west-1", region);
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
        request.headers_mut().insert("x-amz-date", date.parse().unwrap());
        request
    };
    // Without configured keys the signature itself is not looked at.
    let response = call(signed("eu-west-1", "20150830T123600Z")).await;
    assert_eq!(body(&response)["cluster"]["clusterArn"], "eu-west-1/AKIA");
    assert_eq!(failure(signed("EU west", "20150830T123600Z")).await.0, "InvalidSignatureException");

    let keys = AccessKeys::of(&[("AKIA", "secret")]);
    let guarded = api(keys);
    let ask = async |request| {
        let response = guarded.call(request, NOW, IdSource::from_seed(1)).await;
        (body(&response)["__type"].as_str().unwrap().to_owned(), response.status().as_u16())
    };
    let wrong = ask(signed("eu-west-1", "20150830T123600Z")).await;
    assert_eq!(wrong, (String::from("InvalidSignatureException"), 403));
    let unsigned = ask(json_request("CreateCluster", "{}")).await;
    assert_eq!(unsigned, (String::from("MissingAuthenticationTokenException"), 403));
}

#[tokio::test]
async fn calls_in_process_need_no_bytes() {
    let api = api(AccessKeys::default());
    let scope = Scope { account: "123456789012".parse().unwrap(), region: "eu-north-1".parse().unwrap() };
    let surroundings = || (NOW, IdSource::from_seed(1));
    let input = json!({"clusterName": "a"});
    let output = api.call_json("ecs", "CreateCluster", scope.clone(), input, surroundings()).await.unwrap();
    assert_eq!(output, json!({"cluster": {"clusterName": "a", "clusterArn": "eu-north-1/"}}));
    let wrong = api.call_json("ecs", "CreateCluster", scope, json!({"clusterName": []}), surroundings()).await;
    assert_eq!(wrong.unwrap_err().kind, ErrorKind::Serialization);
}

#[tokio::test]
async fn what_the_front_refuses_takes_the_same_form() {
    let (parts, _) = form_request("").into_parts();
    let response = api(AccessKeys::default()).refuse(&parts, &ApiError::too_large(), &IdSource::from_seed(1));
    assert_eq!(response.status(), 413);
    assert!(text(&response).contains("<Code>RequestEntityTooLarge</Code>"));
}

#[test]
fn what_the_store_does_not_take_is_told_without_its_reasons() {
    for (error, kind) in [
        (CommitError::Conflict(String::from("tasks")), ErrorKind::Throttling),
        (CommitError::TooLarge(String::from("200 writes")), ErrorKind::LimitExceeded),
        (CommitError::Closed, ErrorKind::Unavailable),
    ] {
        let told = uncommitted(error);
        assert_eq!(told.kind, kind);
        assert!(!told.message.contains("tasks") && !told.message.contains("200"), "{told}");
    }
}

/// The tags of the only cluster.
fn tags(store: &Store) -> Vec<String> {
    let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
    let cluster = store.snapshot().get::<model::Cluster>(&Key::cluster(&scope, &"only".parse().unwrap()));
    cluster.map(|cluster| cluster.tags.iter().map(|tag| tag.key.clone()).collect()).unwrap_or_default()
}

#[tokio::test]
async fn concurrent_changes_are_all_kept_and_a_refused_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_redb(directory.path()).unwrap();
    let api = api_over(store.clone(), AccessKeys::default());
    let call = async |arn: &str, key: String| {
        let body = json!({"resourceArn": arn, "tags": [{"key": key, "value": ""}]}).to_string();
        api.call(json_request("TagResource", body), NOW, IdSource::from_seed(1)).await.status()
    };
    assert_eq!(call("refused", String::from("never")).await, 400);
    let calls = (0..20).map(|number| call("only", format!("{number:02}")));
    assert!(futures_util::future::join_all(calls).await.iter().all(|status| *status == 200));
    let mut kept = tags(&store);
    kept.sort();
    let all: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    assert_eq!(kept, all);
    store.close().await.unwrap();
}
