//! Requests between a server and its worker: HTTP/2 over a Unix socket, so that bodies stream both ways, trailers pass,
//! and a request that is not wanted any more is cancelled on the other side.
//!
//! Two members of a message cannot be said in HTTP/2's own words: the request's target as it came, and why a handler gave
//! no response. They travel in headers of ours, which are removed from what guests write.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

use crate::runtime::guest::http::{BoxError, HandlerError, RequestBody, ResponseBody};

/// The container that a request is for.
const CONTAINER: HeaderName = HeaderName::from_static("x-coracle-worker-container");
/// The request's target as it came.
const TARGET: HeaderName = HeaderName::from_static("x-coracle-worker-target");
/// Why there is no response, as JSON.
const FAILURE: HeaderName = HeaderName::from_static("x-coracle-worker-failure");

/// Requests on one connection at once: as many as may wait for an instance of one handler, for each of ten containers.
const STREAMS_MAX: u32 = 10 * 1024;
/// What a side takes of one message before the other reads it, and of all together.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// As much as a guest's own host keeps of the headers of one message, and our own.
const HEADERS_BYTES_MAX: u32 = 160 << 10;

/// The asking end of a connection.
#[derive(Clone)]
pub struct Requests {
    sender: SendRequest<RequestBody>,
}

impl Requests {
    /// Ends when the connection does; `connection` is what drives it.
    pub async fn over(stream: UnixStream) -> hyper::Result<(Requests, impl Future<Output = ()> + Send)> {
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await?;
        let drive = async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn Error, "the connection of a worker ended");
            }
        };
        Ok((Requests { sender }, drive))
    }

    /// Whether the other end is there.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Asks the handler of `container`, or the task endpoint where there is none.
    pub async fn send(
        &self,
        container: Option<&str>,
        mut request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, HandlerError> {
        let invalid = |error: &dyn std::fmt::Display| HandlerError::InvalidRequest(error.to_string());
        let target = HeaderValue::try_from(request.uri().to_string()).map_err(|error| invalid(&error))?;
        *request.uri_mut() = Uri::from_static("http://worker/");
        request.headers_mut().insert(TARGET, target);
        if let Some(container) = container {
            let container = HeaderValue::try_from(container).map_err(|error| invalid(&error))?;
            request.headers_mut().insert(CONTAINER, container);
        }
        *request.version_mut() = hyper::Version::HTTP_2;
        // Any failure here is that of the worker itself: it has ended, or broken off.
        let response = self.sender.clone().send_request(request).await.map_err(|_| HandlerError::NotRunning)?;
        if let Some(failure) = response.headers().get(FAILURE) {
            let failure = serde_json::from_slice(failure.as_bytes());
            return Err(failure.unwrap_or_else(|_| HandlerError::Failed(String::from("the worker gave no reason"))));
        }
        let mut response = response.map(|body| body.map_err(|error| Box::new(error) as BoxError).boxed_unsync());
        *response.version_mut() = hyper::Version::HTTP_11;
        Ok(response)
    }
}

/// Who answers on the other end.
pub type Answer = Arc<
    dyn Fn(Option<String>, Request<RequestBody>) -> BoxFuture<'static, Result<Response<ResponseBody>, HandlerError>>
        + Send
        + Sync,
>;

/// Answers the requests of a connection until it ends.
pub async fn answer(stream: UnixStream, answer: Answer) {
    let service = service_fn(move |request| {
        let answer = Arc::clone(&answer);
        async move { Ok::<_, Infallible>(respond(&answer, request).await) }
    });
    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(error = &error as &dyn Error, "the connection of a worker ended");
    }
}

async fn respond(answer: &Answer, mut request: Request<Incoming>) -> Response<ResponseBody> {
    let target = request.headers_mut().remove(TARGET).and_then(|target| Uri::try_from(target.as_bytes()).ok());
    let container = request.headers_mut().remove(CONTAINER).and_then(|name| name.to_str().map(String::from).ok());
    let Some(target) = target else {
        return failed(&HandlerError::InvalidRequest(String::from("it has no target")));
    };
    *request.uri_mut() = target;
    *request.version_mut() = hyper::Version::HTTP_11;
    let request = request.map(|body| body.map_err(|error| Box::new(error) as BoxError).boxed_unsync());
    match answer(container, request).await {
        Ok(mut response) => {
            response.headers_mut().remove(FAILURE);
            response
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &HandlerError) -> Response<ResponseBody> {
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    // What a header may not hold, JSON escapes, but for what is beyond ASCII.
    let text = serde_json::to_string(error).unwrap_or_default();
    let ascii: String = text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
    let value = HeaderValue::try_from(ascii).unwrap_or(HeaderValue::from_static("\"NotRunning\""));
    response.headers_mut().insert(FAILURE, value);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn body(text: &'static str) -> RequestBody {
        Full::from(text).map_err(|never| match never {}).boxed_unsync()
    }

    async fn pair(answering: Answer) -> Requests {
        let (here, there) = UnixStream::pair().unwrap();
        tokio::spawn(answer(there, answering));
        let (requests, drive) = Requests::over(here).await.unwrap();
        tokio::spawn(drive);
        requests
    }

    #[tokio::test]
    async fn a_request_arrives_as_it_was_and_its_body_streams_back() {
        let echo: Answer = Arc::new(|container, request| {
            Box::pin(async move {
                assert_eq!(request.uri(), "/a?b=c");
                assert_eq!(request.headers()["host"], "web.test");
                let (parts, body) = request.into_parts();
                assert!(!parts.headers.contains_key(TARGET) && !parts.headers.contains_key(CONTAINER));
                let mut response = Response::new(body);
                response.headers_mut().insert("of", HeaderValue::try_from(container.unwrap()).unwrap());
                Ok(response)
            })
        });
        let requests = pair(echo).await;
        let request = Request::post("/a?b=c").header("host", "web.test").body(body("hello")).unwrap();
        let response = requests.send(Some("web"), request).await.unwrap();
        assert_eq!(response.headers()["of"], "web");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    }

    #[tokio::test]
    async fn why_a_handler_failed_is_told_and_cannot_be_forged() {
        let failing: Answer = Arc::new(|container, _| {
            Box::pin(async move {
                match container {
                    Some(_) => Err(HandlerError::Failed(String::from("ünfair \"reason\"\n"))),
                    None => Ok(Response::builder().header(FAILURE, "\"OutOfFuel\"").body(body("")).unwrap()),
                }
            })
        });
        let requests = pair(failing).await;
        let request = || Request::get("http://a.test/").body(body("")).unwrap();
        let error = requests.send(Some("web"), request()).await.unwrap_err();
        assert_eq!(error, HandlerError::Failed(String::from("?nfair \"reason\"\n")));
        assert!(requests.send(None, request()).await.is_ok());
    }

    #[tokio::test]
    async fn a_worker_that_is_gone_runs_nothing() {
        let (here, there) = UnixStream::pair().unwrap();
        let (requests, drive) = Requests::over(here).await.unwrap();
        tokio::spawn(drive);
        drop(there);
        let request = Request::get("/").body(body("")).unwrap();
        assert_eq!(requests.send(Some("web"), request).await.unwrap_err(), HandlerError::NotRunning);
    }
}
