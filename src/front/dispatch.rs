//! Whose request it is.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::runtime::Handle;

use crate::api::protocol::BODY_BYTES_MAX;
use crate::front::Services;
use crate::front::guard::{Guard, called_host};
use crate::front::socket::Site;
use crate::proxy::{Body, Client, Entrance, Proxy, full, is_balancer_host};

/// What belongs to our own command line.
const LOCAL_PATH: &str = "/_coracle/";

/// How long the body of an API request may take: it is at most a mebibyte, of a client that has it ready.
const API_BODY_TIMEOUT: Duration = Duration::from_secs(30);

pub struct Dispatch {
    services: Services,
    guard: Guard,
    control: Handle,
}

/// Why the body of an API request was not read.
enum Unread {
    TooLarge,
    TooSlow,
    CutOff,
}

impl Dispatch {
    pub fn new(services: Services, guard: Guard, control: Handle) -> Dispatch {
        Dispatch { services, guard, control }
    }

    pub fn proxy(&self) -> &Proxy {
        &self.services.proxy
    }

    /// The whole life of a request, whatever it is.
    pub async fn answer(&self, site: &Site, request: Request<Incoming>, client: &Client) -> Response<Body> {
        if let Site::Listener(arn) = site {
            return self.services.proxy.forward(Entrance::Listener(arn), request, client).await;
        }
        let (parts, body) = request.into_parts();
        if called_host(&parts).is_some_and(is_balancer_host) {
            let entrance = if client.tls.is_some() { Entrance::SecureHost } else { Entrance::Host };
            return self.services.proxy.forward(entrance, Request::from_parts(parts, body), client).await;
        }
        if client.tls.is_some() {
            // The certificate was a load balancer's, and says nothing of the API.
            return text(
                StatusCode::MISDIRECTED_REQUEST,
                "421 Misdirected Request: the API is spoken in the clear".into(),
            );
        }
        if let Err(refusal) = self.guard.admit(&parts) {
            tracing::debug!(peer = %client.peer, %refusal, "refused a request to the API");
            return text(StatusCode::FORBIDDEN, refusal.to_string());
        }
        let body = match read(&parts, body).await {
            Ok(body) => body,
            Err(Unread::TooLarge) => return closing(self.services.api.too_large(&parts).map(full)),
            Err(Unread::TooSlow) => {
                return closing(text(
                    StatusCode::REQUEST_TIMEOUT,
                    "408 Request Timeout: the body took too long".into(),
                ));
            }
            // Nobody is there any more to read this.
            Err(Unread::CutOff) => {
                return text(StatusCode::BAD_REQUEST, "400 Bad Request: the body was cut off".into());
            }
        };
        self.call(Request::from_parts(parts, body)).await
    }

    /// Calls the API on the control runtime. A client that goes away does not take its call with it: what was begun is
    /// ended there.
    async fn call(&self, request: Request<Bytes>) -> Response<Body> {
        let services = self.services.clone();
        let is_local = request.uri().path().starts_with(LOCAL_PATH);
        let called = self.control.spawn(async move {
            if is_local { services.local.call(request).await } else { services.api.call(request).await.map(full) }
        });
        match called.await {
            Ok(response) => response,
            Err(error) => {
                tracing::error!(%error, "a call of the API ended without an answer");
                text(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error: the server's log has more".into())
            }
        }
    }
}

async fn read(parts: &Parts, body: Incoming) -> Result<Bytes, Unread> {
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(Unread::TooLarge);
    }
    let limited = Limited::new(body, BODY_BYTES_MAX);
    match tokio::time::timeout(API_BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Unread::TooLarge),
        Ok(Err(_)) => Err(Unread::CutOff),
        Err(_) => Err(Unread::TooSlow),
    }
}

/// What is left of the body is not read, so the connection cannot go on.
fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn text(status: StatusCode, mut text: String) -> Response<Body> {
    text.push('\n');
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
