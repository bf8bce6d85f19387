//! The life of a request, top to bottom.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Body as HttpBody;

use crate::proxy::Proxy;
use crate::proxy::answer::{self, ForwardError};
use crate::proxy::body::{self, Lender};
use crate::proxy::connect::SendError;
use crate::proxy::group::Group;
use crate::proxy::headers;
use crate::proxy::routes::{Entrance, Route, RouteAction};
use crate::proxy::spec::{Endpoint, ProtocolVersion};
use crate::proxy::target::{Body, BoxError, Target, TargetError};
use crate::proxy::upgrade::{self, Upgrade};

/// Targets that one request is tried at. During a deployment a few may have stopped since the snapshot; a group in which
/// four in a row cannot take a request has a trouble that a fifth does not cure.
const ATTEMPTS_MAX: usize = 4;

impl Proxy {
    /// Answers a request of a client, with a target's response or with our own.
    pub async fn forward<B>(&self, entrance: Entrance<'_>, request: Request<B>, peer: SocketAddr) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match self.try_forward(entrance, request, peer).await {
            Ok(response) => response,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| cause.to_string());
                tracing::debug!(?entrance, %peer, %error, cause, "answered in a target's stead");
                error.answer()
            }
        }
    }

    async fn try_forward<B>(
        &self,
        entrance: Entrance<'_>,
        mut request: Request<B>,
        peer: SocketAddr,
    ) -> Result<Response<Body>, ForwardError>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let upgrade = Upgrade::of(&mut request);
        let (parts, body) = request.into_parts();
        headers::check(&parts)?;
        let host = headers::host(&parts)?;
        let found = self.shared.routes.load().find(entrance, Some(host));
        let route = found.ok_or_else(|| ForwardError::NoRoute(host.chars().take(300).collect()))?;
        let split = match &route.action {
            RouteAction::Forward(split) => split,
            RouteAction::FixedResponse { status, content_type, body } => {
                return Ok(answer::fixed(*status, content_type, body));
            }
            RouteAction::Redirect(redirect) => return Ok(answer::redirect(redirect, &route, &parts, host)),
            RouteAction::Nothing => return Err(ForwardError::NoAction),
        };
        let group = split.choose().ok_or(ForwardError::NoGroup)?;
        group.counts.requests.fetch_add(1, Ordering::Relaxed);
        let answered = to_group(group, &route, parts, body, peer, upgrade).await;
        if answered.as_ref().is_err_and(|error| error.status().is_server_error()) {
            group.counts.errors.fetch_add(1, Ordering::Relaxed);
        }
        answered
    }
}

/// Sends the request to the group's next target, and on to another as long as that changes nothing for the client.
async fn to_group<B>(
    group: &Group,
    route: &Route,
    mut parts: Parts,
    body: B,
    peer: SocketAddr,
    mut upgrade: Option<Upgrade>,
) -> Result<Response<Body>, ForwardError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if group.members.load().protocol_version != ProtocolVersion::Http1 && parts.version < Version::HTTP_2 {
        return Err(ForwardError::ProtocolVersion);
    }
    parts.extensions.clear();
    headers::to_target(&mut parts, route, peer, upgrade.as_ref().map(Upgrade::protocol));
    let lender = Lender::new(body);
    let mut tried: Vec<u64> = Vec::new();
    let mut failure = ForwardError::NoTarget;
    while tried.len() < ATTEMPTS_MAX {
        let Some((target, in_flight)) = group.enter(&tried) else { break };
        let mut attempt = Request::from_parts(parts.clone(), lender.lend());
        let sent = lender.within_idle(route.idle_timeout, send(&target, &mut attempt, upgrade.is_some())).await;
        match sent.unwrap_or(Err(ForwardError::TimedOut)) {
            Ok(mut response) => {
                in_flight.answered(response.status());
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    let client = upgrade.take().ok_or(ForwardError::Target(unasked_switch()))?;
                    return Ok(upgrade::join(client, response, in_flight, route.idle_timeout));
                }
                headers::remove_hop_by_hop(response.headers_mut());
                return Ok(response.map(|inner| body::carried(inner, in_flight, route.idle_timeout)));
            }
            Err(error) => {
                in_flight.failed();
                tracing::debug!(target = ?target.state.key, %error, "the target did not answer");
                let is_over = !lender.is_untouched() || !may_go_elsewhere(&error, &parts);
                failure = error;
                if is_over {
                    break;
                }
                tried.push(target.state.ordinal);
            }
        }
    }
    Err(failure)
}

async fn send(target: &Target, request: &mut Request<Body>, upgrades: bool) -> Result<Response<Body>, ForwardError> {
    let request = std::mem::replace(request, Request::new(body::empty()));
    match (&target.endpoint, &target.pool) {
        (Endpoint::Local(_), _) if upgrades => Err(ForwardError::CannotUpgrade),
        (Endpoint::Local(handler), _) => handler.call(request).await.map_err(ForwardError::Target),
        (Endpoint::Tcp(_), Some(pool)) => pool.send(request).await.map_err(ForwardError::Send),
        (Endpoint::Tcp(_) | Endpoint::NotListening, _) => Err(ForwardError::NotListening),
    }
}

/// Whether another target may have the request, of whose body nobody has seen a byte: where this one surely never saw
/// it, or where seeing it twice does no harm because its method says so.
fn may_go_elsewhere(error: &ForwardError, parts: &Parts) -> bool {
    match error {
        ForwardError::NotListening
        | ForwardError::Target(TargetError::NotStarted | TargetError::Overloaded)
        | ForwardError::Send(SendError::Connect(..)) => true,
        ForwardError::Target(TargetError::Stopped) | ForwardError::Send(SendError::Stale(_)) => {
            parts.method.is_idempotent()
        }
        _ => false,
    }
}

fn unasked_switch() -> TargetError {
    TargetError::InvalidResponse("it switched protocols, unasked".to_owned())
}
