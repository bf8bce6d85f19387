//! The life of a request, top to bottom.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Body as HttpBody;

use crate::proxy::Proxy;
use crate::proxy::action::RouteAction;
use crate::proxy::answer::ForwardError;
use crate::proxy::body::{self, Lender, Silent};
use crate::proxy::client::Client;
use crate::proxy::connect::{self, SendError};
use crate::proxy::desync::{self, Verdict};
use crate::proxy::exchange::Exchange;
use crate::proxy::group::Group;
use crate::proxy::headers;
use crate::proxy::hold;
use crate::proxy::routes::{Entrance, Route};
use crate::proxy::rules::Facts;
use crate::proxy::spec::Endpoint;
use crate::proxy::sticky::Session;
use crate::proxy::target::{Body, BoxError, InFlight, Mark, Target, TargetError};
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
            Err(error) => {
                let mut response = refused(&error, client);
                headers::sign(response.headers_mut());
                return response;
            }
        };
        let mut exchange = Exchange::begin(&self.shared.observers, &route, &request, client);
        let mut response = match judge(&route, &mut exchange, &request) {
            Ok(ending) => {
                let visit = Visit { route: &route, entrance, client, ending };
                let answered = answer(&visit, &mut exchange, request).await;
                let mut response = respond(&route, exchange, answered);
                if ending == Ending::Close {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
            Err(error) => {
                let mut response = respond(&route, exchange, Err(error));
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                response
            }
        };
        headers::to_client(response.headers_mut(), &route.settings);
        response
    }
}

/// What becomes of the connections after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Keep,
    /// Nothing may be left over in them.
    Close,
}

/// What holds of a request on its whole way.
struct Visit<'a> {
    route: &'a Route,
    entrance: Entrance<'a>,
    client: &'a Client,
    ending: Ending,
}

/// Whether a request may pass at all; see [`desync`](crate::proxy::desync).
fn judge<B>(route: &Route, exchange: &mut Exchange, request: &Request<B>) -> Result<Ending, ForwardError> {
    let settings = &route.balancer.settings.http;
    if request.version() >= Version::HTTP_2 && !settings.http2 {
        return Err(ForwardError::HttpVersion);
    }
    let classification = desync::classify(request);
    exchange.classified(classification);
    match settings.desync.judge(classification.class) {
        Verdict::Pass => Ok(Ending::Keep),
        Verdict::PassAlone => Ok(Ending::Close),
        Verdict::Refuse => Err(ForwardError::Desync(classification.reason)),
    }
}

/// Hands the exchange to whatever lasts as long as the response does.
fn respond(route: &Route, mut exchange: Exchange, answered: Result<Answer, ForwardError>) -> Response<Body> {
    let idle = route.balancer.settings.idle_timeout;
    let mut response = match answered {
        Ok(Answer::Target(response, in_flight)) => {
            exchange.responds(&response);
            return response.map(|inner| body::carried(inner, exchange, in_flight, idle));
        }
        Ok(Answer::Switched(response, in_flight, upgrade)) => {
            exchange.responds(&response);
            return upgrade::join(upgrade, response, (exchange, in_flight), idle);
        }
        Ok(Answer::Own(response)) => response,
        Err(error) => {
            exchange.failed(&error);
            error.answer()
        }
    };
    exchange.responds(&response);
    if route.settings.names_server {
        headers::sign(response.headers_mut());
    }
    response
}

/// What a request came to.
enum Answer {
    /// A response of the load balancer itself.
    Own(Response<Body>),
    /// A target's, which counts as in flight until its body has ended.
    Target(Response<Body>, InFlight),
    /// The target's `101`, after which both connections are to be joined.
    Switched(Response<Body>, InFlight, Upgrade),
}

fn refused(error: &ForwardError, client: &Client) -> Response<Body> {
    let cause = std::error::Error::source(error).map(|cause| cause.to_string());
    tracing::debug!(peer = %client.peer, %error, cause, "answered in a target's stead");
    error.answer()
}

async fn answer<B>(visit: &Visit<'_>, exchange: &mut Exchange, mut request: Request<B>) -> Result<Answer, ForwardError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Visit { route, entrance, client, ending } = *visit;
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
    let headers = request.headers();
    for guard in &rule.guards {
        guard.check(headers, SystemTime::now()).await.map_err(ForwardError::Jwt)?;
    }
    let split = match &rule.action {
        RouteAction::Forward(split) => split,
        RouteAction::FixedResponse(fixed) => {
            exchange.fixed();
            return Ok(Answer::Own(fixed.answer(request.method())));
        }
        RouteAction::Redirect(redirect) => {
            exchange.redirected();
            let response = redirect.answer(&request, client.scheme(), host, route.record.port)?;
            return Ok(Answer::Own(response));
        }
        RouteAction::Nothing => return Err(ForwardError::NoAction),
    };
    let now = SystemTime::now();
    let chosen = split.choose(request.headers(), &route.balancer.seal, now).ok_or(ForwardError::NoGroup)?;
    exchange.chose(chosen.group);
    let (mut parts, body) = request.into_parts();
    if !rule.transforms.is_empty() {
        let done = rule.transforms.apply(&mut parts);
        exchange.transformed(&parts, done);
        done.map_err(ForwardError::Transform)?;
    }
    headers::check_version(&parts, chosen.group.members.load().settings.protocol_version)?;
    hold::until_served(chosen.group).await?;
    let session = Session::of(chosen.group, &parts.headers, &route.balancer.seal, now);
    parts.extensions.clear();
    headers::to_target(&mut parts, route, entrance, client, upgrade.as_ref().map(Upgrade::protocol));
    if ending == Ending::Close && upgrade.is_none() {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    exchange.forwards(&mut parts.headers);
    let mark = session.as_ref().and_then(|session| session.mark);
    let (target, mut answered) = to_group(visit, exchange, chosen.group, mark, (parts, body), upgrade).await?;
    if let Answer::Target(response, _) | Answer::Switched(response, ..) = &mut answered {
        if let Some(session) = &session {
            session.remember(&target.state, response.headers_mut(), &route.balancer.seal, now);
        }
        chosen.remember(response.headers_mut(), now);
    }
    Ok(answered)
}

/// Sends the request to the group's next target, and on to another as long as no target has seen a byte of it.
async fn to_group<B>(
    visit: &Visit<'_>,
    exchange: &mut Exchange,
    group: &Group,
    mark: Option<Mark>,
    (parts, body): (Parts, B),
    mut upgrade: Option<Upgrade>,
) -> Result<(Arc<Target>, Answer), ForwardError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let idle = visit.route.balancer.settings.idle_timeout;
    let lender = Lender::new(body);
    exchange.reads(lender.received());
    let mut next = Some(Request::from_parts(parts, lender.lend()));
    let mut tried: Vec<u64> = Vec::new();
    let mut failure = ForwardError::NoTarget;
    while let Some(request) = next.take() {
        let Some((target, in_flight)) = group.enter(mark, &tried) else { break };
        exchange.sent(&target);
        tried.push(target.state.ordinal);
        let may_go_on = tried.len() < ATTEMPTS_MAX && group.members.load().all.len() > tried.len();
        let sending = send(&target, request, upgrade.is_some(), may_go_on, &lender);
        let failed = match lender.within_idle(idle, sending).await {
            Ok(Ok(mut response)) => {
                exchange.answered(response.status(), in_flight.answered(response.status()));
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    let client = upgrade.take().ok_or(ForwardError::Target(unasked_switch()))?;
                    return Ok((target, Answer::Switched(response, in_flight, client)));
                }
                headers::remove_hop_by_hop(response.headers_mut());
                return Ok((target, Answer::Target(response, in_flight)));
            }
            Ok(Err(failed)) => failed,
            Err(Silent::Target) => Failed::at_last(ForwardError::TimedOut),
            Err(Silent::Client) => Failed::at_last(ForwardError::ClientSilent),
        };
        failure = if lender.is_broken() { ForwardError::BodyCutOff } else { failed.error };
        // Of what its client did, a target is not to blame.
        if !matches!(failure, ForwardError::BodyCutOff | ForwardError::ClientSilent) {
            in_flight.failed();
        }
        exchange.missed(&target, &failure);
        tracing::debug!(target = ?target.state.key, error = %failure, "the target did not answer");
        next = failed.unsent.filter(|_| may_go_on && lender.is_untouched());
    }
    Err(failure)
}

/// Why a target did not answer, and the request where that target surely has seen nothing of it.
struct Failed {
    error: ForwardError,
    unsent: Option<Request<Body>>,
}

impl Failed {
    fn at_last(error: ForwardError) -> Failed {
        Failed { error, unsent: None }
    }
}

async fn send(
    target: &Target,
    request: Request<Body>,
    upgrades: bool,
    may_go_on: bool,
    lender: &Lender,
) -> Result<Response<Body>, Failed> {
    match (&target.endpoint, &target.pool) {
        (Endpoint::Local(_), _) if upgrades => Err(Failed::at_last(ForwardError::CannotUpgrade)),
        (Endpoint::Local(handler), _) => {
            // A handler takes the request with it; where another could be next, that one needs a head of its own.
            let spare = may_go_on.then(|| head(&request));
            let answered = handler.call(request).await;
            answered.map_err(|error| {
                let is_unseen = matches!(error, TargetError::NotStarted | TargetError::Overloaded);
                let unsent = spare.filter(|_| is_unseen).map(|head| head.map(|()| lender.lend()));
                Failed { error: ForwardError::Target(error), unsent }
            })
        }
        (Endpoint::Tcp(_), Some(pool)) => pool.send(request).await.map_err(|failed| {
            let connect::Failed { error, unsent } = *failed;
            // After ten seconds of trying, the client has waited for long enough.
            let unsent = unsent.filter(|_| !matches!(error, SendError::ConnectTimedOut(_)));
            Failed { error: ForwardError::Send(error), unsent }
        }),
        (Endpoint::Tcp(_) | Endpoint::NotListening, _) => {
            Err(Failed { error: ForwardError::NotListening, unsent: Some(request) })
        }
    }
}

fn head(request: &Request<Body>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    head
}

fn unasked_switch() -> TargetError {
    TargetError::InvalidResponse("it switched protocols, unasked".to_owned())
}
