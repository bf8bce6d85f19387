//! Connections of a network load balancer: TCP and TLS, carried to a target byte for byte.
//!
//! Here a load balancer chooses once, when a connection begins. What ELB does by rewriting packets is done with two
//! sockets, so it is kept as if there were one: an end of one direction is passed on and the other goes on, a reset is
//! passed on as a reset, nothing is read that the other side does not take, and a client that nobody answers is reset.
//!
//! New connections go to the targets in turn. ELB hashes addresses and ports, which comes to the same with thousands of
//! clients; with a few, whose ports mean nothing, turns are what people expect to see. With stickiness the hash of the
//! client's address decides, without a table.

mod choice;
mod dial;
mod join;
mod local;
pub mod proxy_header;
mod settings;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use crate::model::{Listener, TargetState};
use crate::proxy::action::RouteAction;
use crate::proxy::group::{Group, Members};
use crate::proxy::routes::Route;
use crate::proxy::spec::Endpoint;
use crate::proxy::stream::dial::Dialled;
use crate::proxy::stream::join::{Broken, Side, join};
use crate::proxy::stream::settings::StreamSettings;
use crate::proxy::target::{InFlight, LocalTarget, Target, TargetStanding};

pub use choice::choose;
pub use dial::source;
pub use settings::StreamSettings as GroupStreamSettings;
pub use socket::Socket;

/// Without a byte in either direction; what `tcp.idle_timeout.seconds` is by default.
const IDLE_TIMEOUT: Duration = Duration::from_secs(350);
/// Targets that one connection is tried at: as with requests.
const ATTEMPTS_MAX: usize = 4;
/// How long the ends of a connection that is told to close may take: a round trip.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A client's connection, as it was accepted.
pub struct Carried<S> {
    pub stream: S,
    pub peer: SocketAddr,
    /// Where it came in.
    pub local: SocketAddr,
    /// Cancelled when the listener goes.
    pub closing: CancellationToken,
}

/// How a carried connection ended, where nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Both sides said all.
    Whole,
    /// The listener is gone.
    Closed,
    /// Its target was deregistered or became unhealthy, and the group says that this ends connections.
    TargetGone,
}

#[derive(Debug, thiserror::Error)]
enum CarryError {
    #[error("the listener forwards to no target group")]
    NoGroup,
    #[error("the target group has no target")]
    NoTarget,
    #[error("no target took the connection")]
    Refused(#[source] io::Error),
    #[error("the connection was cut off")]
    CutOff(#[source] Broken),
}

/// Carries a connection to its end. One that cannot be carried is reset, as ELB does.
pub async fn carry<S: Socket + 'static>(route: &Route, mut carried: Carried<S>) {
    let _open = route.balancer.connected();
    let peer = carried.peer;
    match carry_to_target(route, &mut carried).await {
        Ok(Outcome::Joined(ended)) => {
            tracing::debug!(%peer, ?ended, "a carried connection ended");
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, carried.stream.shutdown()).await;
        }
        Ok(Outcome::Local { handler, in_flight, state }) => local::serve(carried, handler, in_flight, &state).await,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::debug!(listener = %route.listener, %peer, %error, cause, "reset a connection");
            let counts = &route.balancer.counts;
            let resets = match &error {
                CarryError::CutOff(Broken::Side(Side::Client, _)) => &counts.client_resets,
                CarryError::CutOff(Broken::Side(Side::Target, _)) => &counts.target_resets,
                _ => &counts.elb_resets,
            };
            resets.fetch_add(1, Ordering::Relaxed);
            carried.stream.abort();
        }
    }
}

enum Outcome {
    Joined(Ended),
    /// The target is a handler in this process, which has no socket: we are its HTTP server.
    Local {
        handler: Arc<dyn LocalTarget>,
        in_flight: InFlight,
        state: Arc<TargetStanding>,
    },
}

async fn carry_to_target<S: Socket>(route: &Route, carried: &mut Carried<S>) -> Result<Outcome, CarryError> {
    let group = group_of(route).ok_or(CarryError::NoGroup)?;
    let mut tried = Vec::new();
    let mut failure = CarryError::NoTarget;
    while tried.len() < ATTEMPTS_MAX {
        let members = group.members.load_full();
        let settings = StreamSettings::of(&members.record);
        let Some((target, in_flight)) = choose(&group, &settings, carried.peer.ip(), &tried) else { break };
        let address = match &target.endpoint {
            Endpoint::Local(handler) => {
                let (handler, state) = (Arc::clone(handler), Arc::clone(&target.state));
                return Ok(Outcome::Local { handler, in_flight, state });
            }
            Endpoint::Tcp(address) => Some(*address),
            Endpoint::NotListening => None,
        };
        // From here on, what becomes of the target is told to this connection.
        let state = Arc::clone(&target.state);
        let told = state.told.notified();
        match dial::dial(address, &settings, carried).await {
            Ok(dialled) => {
                let ends = target_ended(&state, &group, told);
                let idle = idle_timeout(&route.record);
                let moved = &route.balancer.counts.processed_bytes;
                let joined = async {
                    match dialled {
                        Dialled::Plain(mut stream) => pass(carried, &mut stream, idle, moved, ends).await,
                        Dialled::Tls(mut stream) => pass(carried, &mut *stream, idle, moved, ends).await,
                    }
                };
                let ended = joined.await.map_err(CarryError::CutOff)?;
                drop(in_flight);
                return Ok(Outcome::Joined(ended));
            }
            Err(error) => {
                in_flight.failed();
                tracing::debug!(target = ?target.state.key, %error, "the target took no connection");
                tried.push(target.state.ordinal);
                failure = CarryError::Refused(error);
            }
        }
    }
    Err(failure)
}

/// The group that a listener's default action forwards to; a network load balancer has no rules.
pub fn group_of(route: &Route) -> Option<Arc<Group>> {
    match &route.rules.default().action {
        RouteAction::Forward(split) => split.in_turn().cloned(),
        _ => None,
    }
}

pub fn idle_timeout(listener: &Listener) -> Duration {
    let seconds = listener.attributes.get("tcp.idle_timeout.seconds").and_then(|text| text.parse().ok());
    seconds.map_or(IDLE_TIMEOUT, Duration::from_secs)
}

async fn pass<S: Socket, T: Socket>(
    carried: &mut Carried<S>,
    target: &mut T,
    idle: Duration,
    moved_bytes: &AtomicU64,
    target_ended: impl Future<Output = ()>,
) -> Result<Ended, Broken> {
    let closing = carried.closing.clone();
    let ended = tokio::select! {
        joined = join(&mut carried.stream, target, idle, moved_bytes) => {
            joined.inspect_err(|_| target.abort())?;
            Ended::Whole
        }
        () = closing.cancelled() => Ended::Closed,
        () = target_ended => Ended::TargetGone,
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, target.shutdown()).await;
    Ok(ended)
}

/// Returns when connections to the target must end, as the group says; mostly never.
pub async fn target_ended(state: &TargetStanding, group: &Group, told: impl Future<Output = ()>) {
    // It may have gone between the choice and now. One that is unhealthy was chosen for want of another.
    if !is_registered(state, &group.members.load()) && ends(group).0 {
        return;
    }
    told.await;
    loop {
        let next = state.told.notified();
        let (deregistered, unhealthy) = ends(group);
        let must_end = match is_registered(state, &group.members.load()) {
            false => deregistered,
            true => unhealthy && state.health() == TargetState::Unhealthy,
        };
        if must_end {
            return;
        }
        next.await;
    }
}

fn is_registered(state: &TargetStanding, members: &Members) -> bool {
    members.all.iter().any(|target| target.state.ordinal == state.ordinal)
}

/// Whether connections to deregistered and to unhealthy targets end.
fn ends(group: &Group) -> (bool, bool) {
    let settings = StreamSettings::of(&group.members.load().record);
    (settings.ends_deregistered, settings.ends_unhealthy)
}

/// A target, with a connection or a flow counted in.
pub type Chosen = (Arc<Target>, InFlight);

#[cfg(test)]
mod tests;
