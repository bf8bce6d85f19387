//! A load balancer `web` with a listener on port 80 and a group of scripted targets.

mod deregistration;
mod faults;
mod health;
mod hold;
mod local;
mod observe;
mod streaming;
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
use crate::model::load_balancer::Action;
use crate::model::{Listener, LoadBalancer, Scope, TargetState, TaskId};
use crate::proxy::testing::*;

const WAIT_MAX: Duration = Duration::from_secs(60);

/// The target of task `number`.
fn target(number: u8, endpoint: Endpoint) -> TargetSpec {
    TargetSpec {
        address: Ipv4Addr::new(127, 0, 1, number),
        port: 80,
        task: Some(TaskId(number.into())),
        endpoint,
        check: None,
        draining: false,
        unusable: None,
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

fn client() -> Client {
    Client::plain("10.1.2.3:5000".parse().unwrap())
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
        line += &text(proxy.forward(Entrance::Host, get(), &client()).await).await;
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
    proxy.forward(Entrance::Host, request, &client()).await.status()
}
