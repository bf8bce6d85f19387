//! The life of a request, top to bottom.

use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Body as HttpBody;

use crate::proxy::Proxy;
use crate::proxy::action::RouteAction;
use crate::proxy::answer::{self, ForwardError};
use crate::proxy::body::{self, Lender};
use crate::proxy::client::Client;
use crate::proxy::connect::SendError;
use crate::proxy::exchange::Exchange;
use crate::proxy::group::Group;
use crate::proxy::headers;
use crate::proxy::routes::{Entrance, Route};
use crate::proxy::rules::Facts;
use crate::proxy::settings::ProtocolVersion;
use crate::proxy::spec::Endpoint;
use crate::proxy::sticky::Session;
use crate::proxy::target::{Body, BoxError, InFlight, Target, TargetError};
use crate::proxy::upgrade::{self, Upgrade};

/// Targets that one request is tried at. During a deployment a few may have stopped since the snapshot; a group in which
/// four in a row cannot take a request has a trouble that a fifth does not cure.
const ATTEMPTS_MAX: usize = 4;

impl Proxy {
    /// Answers a request of a client, with a target's response or with our own.
    pub async fn forward<B>(&self, entrance: Entrance<'_>, request: Request<B>, client: &Client) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let found = headers::host(&request).and_then(|host| {
            let found = self.shared.routes.load().find(entrance, Some(host));
            found.ok_or_else(|| ForwardError::NoRoute(host.chars().take(300).collect()))
        });
        let route = match found {
            Ok(route) => route,
            // Of no load balancer that could count it.
            Err(error) => return refused(&error, client),
        };
        let mut exchange = Exchange::begin(&self.shared.observers, &route, &request, client);
        match answer(&route, &mut exchange, request, client).await {
            Ok(Answer::Own(response)) => {
                exchange.responds(&response);
                response
            }
            Ok(Answer::Target(response, in_flight)) => {
                exchange.responds(&response);
                let idle = route.balancer.settings.idle_timeout;
                response.map(|inner| body::carried(inner, exchange, in_flight, idle))
            }
            Ok(Answer::Switched(response)) => {
                exchange.responds(&response);
                response
            }
            Err(error) => {
                exchange.failed(&error);
                let response = error.answer();
                exchange.responds(&response);
                response
            }
        }
    }
}

/// What a request came to.
enum Answer {
    /// A response of the load balancer itself.
    Own(Response<Body>),
    /// A target's, which counts as in flight until its body has ended.
    Target(Response<Body>, InFlight),
    /// The target's `101`; both connections are joined.
    Switched(Response<Body>),
}

fn refused(error: &ForwardError, client: &Client) -> Response<Body> {
    let cause = std::error::Error::source(error).map(|cause| cause.to_string());
    tracing::debug!(peer = %client.peer, %error, cause, "answered in a target's stead");
    error.answer()
}

async fn answer<B>(
    route: &Route,
    exchange: &mut Exchange,
    mut request: Request<B>,
    client: &Client,
) -> Result<Answer, ForwardError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let upgrade = Upgrade::of(&mut request);
    headers::check(&request)?;
    let host = headers::host(&request)?;
    let rule = route.rules.find(&Facts {
        host,
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query(),
        headers: request.headers(),
        source: client.peer.ip().to_canonical(),
    });
    exchange.matched(rule);
    let split = match &rule.action {
        RouteAction::Forward(split) => split,
        RouteAction::FixedResponse { status, content_type, body } => {
            exchange.fixed();
            return Ok(Answer::Own(answer::fixed(*status, content_type, body)));
        }
        RouteAction::Redirect(redirect) => {
            exchange.redirected();
            return Ok(Answer::Own(answer::redirect(redirect, route, client, &request, host)));
        }
        RouteAction::Nothing => return Err(ForwardError::NoAction),
    };
    let now = SystemTime::now();
    let chosen = split.choose(request.headers(), &route.balancer.seal, now).ok_or(ForwardError::NoGroup)?;
    let group = chosen.group;
    exchange.chose(group);
    let (parts, body) = request.into_parts();
    let mut answered = to_group(group, route, exchange, parts, body, client, upgrade).await;
    if let Ok(Answer::Target(response, _) | Answer::Switched(response)) = &mut answered {
        chosen.remember(response.headers_mut(), now);
    }
    answered
}

/// Sends the request to the group's next target, and on to another as long as that changes nothing for the client.
async fn to_group<B>(
    group: &Group,
    route: &Route,
    exchange: &mut Exchange,
    mut parts: Parts,
    body: B,
    client: &Client,
    mut upgrade: Option<Upgrade>,
) -> Result<Answer, ForwardError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if group.members.load().settings.protocol_version != ProtocolVersion::Http1 && parts.version < Version::HTTP_2 {
        return Err(ForwardError::ProtocolVersion);
    }
    let seal = &route.balancer.seal;
    let now = SystemTime::now();
    let session = Session::of(group, &parts.headers, seal, now);
    let mark = session.as_ref().and_then(|session| session.mark);
    parts.extensions.clear();
    headers::to_target(&mut parts, route, client, upgrade.as_ref().map(Upgrade::protocol));
    exchange.forwards(&mut parts.headers);
    let idle = route.balancer.settings.idle_timeout;
    let lender = Lender::new(body);
    exchange.reads(lender.received());
    let mut tried: Vec<u64> = Vec::new();
    let mut failure = ForwardError::NoTarget;
    while tried.len() < ATTEMPTS_MAX {
        let Some((target, in_flight)) = group.enter(mark, &tried) else { break };
        exchange.sent(&target);
        let mut attempt = Request::from_parts(parts.clone(), lender.lend());
        let sent = lender.within_idle(idle, send(&target, &mut attempt, upgrade.is_some())).await;
        match sent.unwrap_or(Err(ForwardError::TimedOut)) {
            Ok(mut response) => {
                in_flight.answered(response.status());
                exchange.answered(response.status());
                if let Some(session) = &session {
                    session.remember(&target.state, response.headers_mut(), seal, now);
                }
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    let client = upgrade.take().ok_or(ForwardError::Target(unasked_switch()))?;
                    return Ok(Answer::Switched(upgrade::join(client, response, in_flight, idle)));
                }
                headers::remove_hop_by_hop(response.headers_mut());
                return Ok(Answer::Target(response, in_flight));
            }
            Err(error) => {
                in_flight.failed();
                exchange.missed(&target, &error);
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
