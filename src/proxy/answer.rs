//! The failures of the load balancer. The only place of the proxy where a failure becomes a status.

use http::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::proxy::action::JwtError;
use crate::proxy::body;
use crate::proxy::connect::SendError;
use crate::proxy::rules::TransformError;
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
    #[error("the request is not authorized")]
    Jwt(#[source] JwtError),
    #[error("the rule's transforms make no request of it")]
    Transform(#[source] TransformError),
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
            ForwardError::Jwt(JwtError::Keys(_)) | ForwardError::Transform(_) => StatusCode::INTERNAL_SERVER_ERROR,
            ForwardError::Jwt(_) => StatusCode::UNAUTHORIZED,
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

    /// The `error_reason` of ELB's access logs, which has words for failures of actions and transforms only.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            ForwardError::Jwt(error) => Some(error.reason()),
            ForwardError::Transform(error) => Some(error.reason()),
            _ => None,
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
        let mut response = text(status, format!("{title}: {detail}\n"));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
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
