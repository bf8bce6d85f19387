//! The way out of one guest, for what is no socket of its own: look-ups and HTTP requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::task::{Shared, Slot};
use super::translate::real_address;
use crate::network::{Denial, Protocol, Verdict};
use crate::runtime::outgoing::Gateway;
use crate::runtime::outgoing::endpoint::Caller;
use crate::runtime::outgoing::names::{ContainerNames, LookupError};

/// How long a look-up waits for a place among those of all tasks.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Cheap to clone: it goes into the futures that guests wait for.
#[derive(Clone, Debug)]
pub struct Outlet {
    pub(super) shared: Arc<Shared>,
    pub(super) names: Arc<ContainerNames>,
    pub(super) is_open: bool,
}

/// Where a connection of the task really goes, and the address that it comes from where that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub to: SocketAddr,
    pub from: Option<IpAddr>,
}

impl Outlet {
    pub fn gateway(&self) -> Option<&Arc<Gateway>> {
        if self.is_open { self.shared.gateway() } else { None }
    }

    /// Who answers at 169.254.170.2, and as whom the guest asks.
    pub fn endpoint(&self) -> Option<(&Arc<Gateway>, &Caller)> {
        Some((self.gateway()?, self.shared.caller()))
    }

    /// A place in the task's quota of sockets.
    pub fn reserve(&self) -> Option<Slot> {
        if self.is_open { Slot::take(&self.shared).ok() } else { None }
    }

    /// Where an address leads the task, if it may go there.
    pub fn route(&self, ip: IpAddr, port: u16) -> Result<Route, Denial> {
        let address = &self.shared.address;
        let IpAddr::V4(ip) = ip.to_canonical() else {
            // The loopback of IPv6 is the task's own too.
            return if ip.is_loopback() { self.route(address.ip().into(), port) } else { Err(Denial::NoIpv6) };
        };
        let to = real_address(address, ip, port, Protocol::Tcp);
        match address.table().may_connect(address, to, Protocol::Tcp) {
            // On this node a peer is known by its address.
            Verdict::Allowed => Ok(Route { to, from: to.ip().is_loopback().then(|| address.ip().into()) }),
            Verdict::Denied(denial) => Err(denial),
        }
    }

    /// The addresses of a name. Asking others happens on the guest threads, and ends when nobody waits for it.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        if !self.is_open {
            return Err(LookupError::Denied);
        }
        if let Some(own) = self.names.own(name, &self.shared.address) {
            return Ok(vec![own]);
        }
        let gateway = self.gateway().ok_or(LookupError::NotFound)?;
        let (asked, name) = (self.clone(), name.to_owned());
        let asking = AbortOnDropHandle::new(gateway.guests().spawn(async move { asked.ask(&name).await }));
        asking.await.unwrap_or_else(|error| Err(LookupError::Failed(error.to_string())))
    }

    async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let gateway = self.gateway().ok_or(LookupError::NotFound)?;
        let _one_of_the_task = self.shared.lookups().try_acquire().map_err(|_| LookupError::Busy)?;
        let place = tokio::time::timeout(PLACE_WAIT_MAX, gateway.lookups().acquire()).await;
        let _one_of_the_node = place.map_err(|_| LookupError::Busy)?.map_err(|_| LookupError::Busy)?;
        let found = self.names.ask(name, &self.shared.address, gateway.resolver()).await?;
        let v4: Vec<_> = found.iter().filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None }).collect();
        self.shared.address.remember(name, &v4);
        Ok(found)
    }

    /// Says once for each task that something was refused; a guest that tries again and again is no news.
    pub fn refused(&self, to: &str, why: &dyn std::fmt::Display) {
        if self.shared.is_first_refusal() {
            tracing::info!(task = %self.shared.address.task(), %to, %why, "refused a guest's HTTP request");
        }
    }
}
