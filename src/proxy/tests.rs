//! A load balancer `web` with a listener on port 80 and a group of scripted targets.

mod health;
mod local;
mod tcp;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use super::*;
use crate::model::load_balancer::{Action, HealthCheck};
use crate::model::{Scope, TargetState, TaskId};

const WAIT_MAX: Duration = Duration::from_secs(20);

fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() }
}

fn group_arn() -> Arn {
    Arn::target_group(&scope(), "web", "0000000000000001")
}

fn listener_arn() -> Arn {
    Arn::listener(&scope(), "web", "0000000000000002", "0000000000000003")
}

fn health_check() -> HealthCheck {
    HealthCheck {
        enabled: true,
        protocol: "HTTP".into(),
        port: "traffic-port".into(),
        path: "/health".into(),
        interval_seconds: 10,
        timeout_seconds: 2,
        healthy_threshold: 3,
        unhealthy_threshold: 2,
        matcher: "200".into(),
    }
}

fn listener(port: u16, actions: Vec<Action>) -> ListenerSpec {
    ListenerSpec { arn: listener_arn(), port, protocol: "HTTP".into(), actions }
}

fn balancer(name: &str, listeners: Vec<ListenerSpec>) -> LoadBalancerSpec {
    LoadBalancerSpec {
        name: name.into(),
        region: scope().region,
        idle_timeout: IDLE_TIMEOUT,
        forwarded_for: ForwardedFor::Append,
        listeners,
    }
}

/// `web` forwards to one group with these targets.
fn forwarding(targets: Vec<TargetSpec>) -> RoutesSpec {
    let forward = Action::Forward { groups: vec![(group_arn().to_string(), 1)] };
    RoutesSpec {
        load_balancers: vec![balancer("web", vec![listener(80, vec![forward])])],
        target_groups: vec![TargetGroupSpec {
            arn: group_arn(),
            algorithm: Algorithm::RoundRobin,
            protocol_version: ProtocolVersion::Http1,
            health_check: health_check(),
            targets,
        }],
    }
}

/// The target of task `number`.
fn target(number: u8, endpoint: Endpoint) -> TargetSpec {
    TargetSpec {
        address: Ipv4Addr::new(127, 0, 1, number),
        port: 80,
        task: Some(TaskId(number.into())),
        endpoint,
        check: None,
        draining: false,
    }
}

/// A handler that is a function. Health checks are answered with 200 and not shown to it.
struct Scripted<F>(F);

impl<F> LocalTarget for Scripted<F>
where
    F: Fn(Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TargetError>> + Send + Sync,
{
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TargetError>> {
        if request.uri().path() == "/health" { std::future::ready(Ok(ok("fine"))).boxed() } else { (self.0)(request) }
    }
}

fn local<F>(handler: F) -> Endpoint
where
    F: Fn(Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TargetError>> + Send + Sync + 'static,
{
    Endpoint::Local(Arc::new(Scripted(handler)))
}

/// A handler that answers with `name`.
fn named(name: &'static str) -> Endpoint {
    local(move |_| std::future::ready(Ok(ok(name))).boxed())
}

/// A handler that fails in the same way always.
fn failing(error: impl Fn() -> TargetError + Send + Sync + 'static) -> Endpoint {
    local(move |_| std::future::ready(Err(error())).boxed())
}

fn ok(content: &'static str) -> Response<Body> {
    Response::new(full(content))
}

fn peer() -> SocketAddr {
    "10.1.2.3:5000".parse().unwrap()
}

fn get() -> Request<Full<Bytes>> {
    Request::get("/").header("host", "web.elb.localhost").body(Full::default()).unwrap()
}

fn new_proxy() -> Arc<Proxy> {
    Proxy::new(&tokio::runtime::Handle::current())
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The bodies of so many requests, one after the other, in a line.
async fn bodies(proxy: &Proxy, count: usize) -> String {
    let mut line = String::new();
    for _ in 0..count {
        line += &text(proxy.forward(Entrance::Host, get(), peer()).await).await;
    }
    line
}

/// Publishes, and waits until so many of the targets are healthy.
async fn publish_healthy(proxy: &Proxy, spec: &RoutesSpec, count: usize) {
    proxy.publish(spec);
    let healthy = || {
        let stats = proxy.stats();
        stats.iter().flat_map(|group| &group.targets).filter(|target| target.health == TargetState::Healthy).count()
    };
    let reached = async {
        while healthy() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT_MAX, reached).await.expect("the targets become healthy");
}

async fn status(proxy: &Proxy, request: Request<Full<Bytes>>) -> StatusCode {
    proxy.forward(Entrance::Host, request, peer()).await.status()
}
