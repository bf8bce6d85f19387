//! Which target a new connection, or a new flow of datagrams, goes to.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::TargetState;
use crate::proxy::group::{Group, scatter};
use crate::proxy::stream::Chosen;
use crate::proxy::stream::settings::StreamSettings;
use crate::proxy::target::Target;

/// The next target, with the connection counted in; with stickiness, the one that is the client's.
pub fn choose(group: &Arc<Group>, settings: &StreamSettings, client: IpAddr, tried: &[u64]) -> Option<Chosen> {
    if settings.is_sticky { sticky(group, client, tried) } else { group.enter(None, tried) }
}

/// Of the targets that get connections, the one whose number drawn for this client is highest. When a target comes or
/// goes, only those clients change that it gains or loses.
fn sticky(group: &Group, client: IpAddr, tried: &[u64]) -> Option<Chosen> {
    let members = group.members.load();
    let is_open = |target: &&Arc<Target>| !target.state.is_draining() && !tried.contains(&target.state.ordinal);
    let is_healthy = |target: &&Arc<Target>| target.state.health() == TargetState::Healthy;
    let open = || members.all.iter().filter(is_open);
    let fails_open = open().find(is_healthy).is_none();
    let bits = bits_of(client);
    let draw = |target: &&Arc<Target>| scatter(bits ^ scatter(target.state.ordinal));
    let mut serving: Vec<_> = open().filter(|target| fails_open || is_healthy(target)).collect();
    serving.sort_by_key(|target| std::cmp::Reverse(draw(target)));
    // One that began to drain just now is passed over.
    serving.into_iter().find_map(|target| Some((Arc::clone(target), target.state.enter()?)))
}

fn bits_of(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => {
            let [high, low] = [ip.to_bits() >> 64, ip.to_bits() & u128::from(u64::MAX)];
            scatter(u64::try_from(high).unwrap_or_default()) ^ u64::try_from(low).unwrap_or_default()
        }
    }
}
