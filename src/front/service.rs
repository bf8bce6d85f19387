//! Who answers what is not a load balancer's: the API of the AWS services, and the local one of our own command line.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};

use crate::api::context::IdSource;
use crate::api::{Api, ApiError};
use crate::model::Timestamp;
use crate::proxy::Body;

/// The AWS services. Called on the control runtime.
#[async_trait]
pub trait ApiService: Send + Sync + 'static {
    async fn call(&self, request: Request<Bytes>) -> Response<Bytes>;

    /// The answer, in the protocol of the request, to a body that is too large to be read.
    fn too_large(&self, parts: &Parts) -> Response<Bytes>;
}

/// What our own command line asks for under `/_coracle/`, such as logs that follow. Called on the control runtime; the
/// response's body is polled by the connection.
#[async_trait]
pub trait LocalApi: Send + Sync + 'static {
    async fn call(&self, request: Request<Bytes>) -> Response<Body>;
}

/// Here time and randomness come in: below, they are arguments.
#[async_trait]
impl ApiService for Api {
    async fn call(&self, request: Request<Bytes>) -> Response<Bytes> {
        match IdSource::random() {
            Ok(ids) => Api::call(self, request, now(), ids).await,
            Err(error) => without_randomness(&error),
        }
    }

    fn too_large(&self, parts: &Parts) -> Response<Bytes> {
        match IdSource::random() {
            Ok(ids) => self.refuse(parts, &ApiError::too_large(), &ids),
            Err(error) => without_randomness(&error),
        }
    }
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

fn without_randomness(error: &getrandom::Error) -> Response<Bytes> {
    tracing::error!(%error, "the operating system gave no randomness");
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
