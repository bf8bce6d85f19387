//! What the load balancer answers itself: fixed responses, redirects, and its failures. The only place of the proxy where
//! a failure becomes a status.

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Request, Response, StatusCode};

use crate::proxy::action::Redirect;
use crate::proxy::body;
use crate::proxy::client::Client;
use crate::proxy::connect::SendError;
use crate::proxy::routes::{Route, split_port};
use crate::proxy::target::{Body, TargetError};

/// Why a request got no answer of a target.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error("the request has {0}")]
    BadRequest(&'static str),
    #[error("TRACE is not allowed")]
    MethodNotAllowed,
    #[error("X-Forwarded-For has more than 30 addresses")]
    TooManyForwarders,
    #[error("no load balancer is called {0}")]
    NoRoute(String),
    #[error("the path and the query have more than 16 KiB")]
    TargetTooLong,
    #[error("it can be read in more than one way, which the desync mitigation mode forbids ({0})")]
    Desync(&'static str),
    #[error("the body of the request was cut off")]
    BodyCutOff,
    #[error("the client sent nothing of the request's body for too long")]
    ClientSilent,
    #[error("HTTP/2 is switched off for this load balancer")]
    HttpVersion,
    #[error("{0}")]
    ProtocolVersion(&'static str),
    #[error("the target is a wasi:http handler, which cannot switch protocols; a program that listens on a socket can")]
    CannotUpgrade,
    #[error("the listener has no action")]
    NoAction,
    #[error("no target group of the listener has any weight")]
    NoGroup,
    #[error("no target is registered that could take the request")]
    NoTarget,
    #[error("the service has not started a task for the request in time")]
    HeldTooLong,
    #[error("too many requests wait for the service's first task")]
    TooManyHeld,
    #[error("nothing listens at the target's port yet")]
    NotListening,
    #[error("the target did not answer in time")]
    TimedOut,
    #[error("the target failed")]
    Target(#[source] TargetError),
    #[error("the target failed")]
    Send(#[source] SendError),
}

impl ForwardError {
    pub fn status(&self) -> StatusCode {
        match self {
            ForwardError::BadRequest(_) | ForwardError::Desync(_) | ForwardError::BodyCutOff => StatusCode::BAD_REQUEST,
            ForwardError::ClientSilent => StatusCode::REQUEST_TIMEOUT,
            ForwardError::TargetTooLong => StatusCode::URI_TOO_LONG,
            ForwardError::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            ForwardError::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            // ELB's own numbers.
            ForwardError::TooManyForwarders => elb_status(463),
            ForwardError::ProtocolVersion(_) => elb_status(464),
            ForwardError::NoRoute(_) => StatusCode::NOT_FOUND,
            ForwardError::CannotUpgrade => StatusCode::NOT_IMPLEMENTED,
            ForwardError::NoAction
            | ForwardError::NoGroup
            | ForwardError::NoTarget
            | ForwardError::HeldTooLong
            | ForwardError::TooManyHeld => StatusCode::SERVICE_UNAVAILABLE,
            ForwardError::NotListening => StatusCode::BAD_GATEWAY,
            ForwardError::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            ForwardError::Target(error) => match error {
                TargetError::NotStarted | TargetError::Overloaded | TargetError::OutOfFuel => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                TargetError::TimedOut => StatusCode::GATEWAY_TIMEOUT,
                TargetError::Stopped
                | TargetError::Trapped(_)
                | TargetError::OutOfMemory
                | TargetError::InvalidResponse(_)
                | TargetError::Failed(_) => StatusCode::BAD_GATEWAY,
            },
            ForwardError::Send(error) => match error {
                SendError::ConnectTimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
                SendError::Connect(..) | SendError::Unsent(_) | SendError::Stale(_) | SendError::Broken(_) => {
                    StatusCode::BAD_GATEWAY
                }
            },
        }
    }

    /// The response in the target's stead. It names what failed, not how: a trap's text may hold what is the guest's own.
    pub fn answer(&self) -> Response<Body> {
        let status = self.status();
        let title = match status.as_u16() {
            503 => "503 Service Temporarily Unavailable".to_owned(),
            504 => "504 Gateway Time-out".to_owned(),
            code => format!("{code} {}", status.canonical_reason().unwrap_or("Request Refused")),
        };
        let detail = match self {
            ForwardError::NoRoute(_) => "no load balancer has this name and a listener to go with it".to_owned(),
            other => other.to_string(),
        };
        text(status, format!("{title}: {detail}\n"))
    }
}

fn elb_status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("a number of three digits")
}

pub fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

pub fn fixed(status: u16, content_type: &str, content: &str) -> Response<Body> {
    let mut response = text(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), content.to_owned());
    if let Some(content_type) = Some(content_type).filter(|text| !text.is_empty())
        && let Ok(value) = HeaderValue::from_str(content_type)
    {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// A redirect: the parts of the request's own address in place of `#{protocol}`, `#{host}`, `#{port}`, `#{path}` (without
/// its leading slash) and `#{query}`.
pub fn redirect<B>(
    redirect: &Redirect,
    route: &Route,
    client: &Client,
    request: &Request<B>,
    host: &str,
) -> Response<Body> {
    let port = split_port(host).1.unwrap_or(route.record.port).to_string();
    let path = request.uri().path();
    let path = path.strip_prefix('/').unwrap_or(path);
    let fill = |template: &str| {
        template
            .replace("#{protocol}", client.scheme())
            .replace("#{host}", split_port(host).0)
            .replace("#{port}", &port)
            .replace("#{path}", path)
            .replace("#{query}", request.uri().query().unwrap_or(""))
    };
    let protocol = fill(&redirect.protocol).to_ascii_lowercase();
    let mut location =
        format!("{protocol}://{}:{}{}", fill(&redirect.host), fill(&redirect.port), fill(&redirect.path));
    let query = fill(&redirect.query);
    if !query.is_empty() {
        location.push('?');
        location.push_str(&query);
    }
    let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND);
    let mut response = text(status, String::new());
    match HeaderValue::from_str(&location) {
        Ok(location) => response.headers_mut().insert(LOCATION, location),
        Err(_) => return ForwardError::BadRequest("an address that no redirect can hold").answer(),
    };
    response
}
