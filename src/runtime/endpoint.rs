//! What answers at 169.254.170.2: the task's metadata, its credentials, its protection.
//!
//! A trait, because who answers knows of roles and of the store, and the runtime knows neither. It is told which task asks
//! by the runtime, from the socket or the store of the guest: nothing that a guest sends can make it another.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};

use crate::model::TaskId;
use crate::runtime::guest::http::{RequestBody, ResponseBody};

/// Where the agent of ECS answers in every task, at port 80.
pub const TASK_ENDPOINT: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const TASK_ENDPOINT_PORT: u16 = 80;

/// Whether this is the endpoint, also as IPv6 writes an IPv4 address.
pub fn is_task_endpoint(address: SocketAddr) -> bool {
    address.ip().to_canonical() == IpAddr::V4(TASK_ENDPOINT) && address.port() == TASK_ENDPOINT_PORT
}

/// Answers the requests that guests of a task send to [`TASK_ENDPOINT`].
pub trait TaskEndpoint: Send + Sync + 'static {
    /// What cannot be answered is an answer, too: with a status and a reason.
    fn call(&self, task: TaskId, request: Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>>;
}

/// Answers everything with 404: for a runtime without an agent.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEndpoint;

impl TaskEndpoint for NoEndpoint {
    fn call(&self, _: TaskId, _: Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> {
        Box::pin(std::future::ready(answer(StatusCode::NOT_FOUND, "there is no agent here\n")))
    }
}

/// An answer of one line.
pub fn answer(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}
