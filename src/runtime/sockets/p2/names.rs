//! Names in WASI 0.2: the whole interface is ours, because what it hands out is ours.

use std::net::IpAddr;

use futures_util::FutureExt;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, subscribe};
use wasmtime_wasi::sockets::WasiSocketsView;

use super::{Answer, interface};
use crate::runtime::outgoing::names::LookupError;
use crate::runtime::sockets::SocketsView;

type Found = Result<std::vec::IntoIter<IpAddr>, ErrorCode>;

/// `resolve-address-stream`: a look-up, and then what it found.
enum Addresses {
    Looking(AbortOnDropHandle<Result<Vec<IpAddr>, LookupError>>),
    Found(Found),
}

impl Addresses {
    /// Takes what the look-up found, if it is there.
    fn poll(&mut self) -> Option<&mut Found> {
        if let Addresses::Looking(looking) = self {
            let found = looking.now_or_never()?;
            *self = Addresses::Found(found_of(found));
        }
        match self {
            Addresses::Found(found) => Some(found),
            Addresses::Looking(_) => None,
        }
    }
}

fn found_of(found: Result<Result<Vec<IpAddr>, LookupError>, tokio::task::JoinError>) -> Found {
    match found {
        Ok(Ok(found)) => Ok(found.into_iter()),
        Ok(Err(error)) => Err(code(&error)),
        Err(_) => Err(ErrorCode::PermanentResolverFailure),
    }
}

#[async_trait::async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        if let Addresses::Looking(looking) = self {
            let found = looking.await;
            *self = Addresses::Found(found_of(found));
        }
    }
}

pub(super) fn shadow<T: SocketsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut names = linker.instance(&interface("ip-name-lookup"))?;
    names.resource("resolve-address-stream", ResourceType::host::<Addresses>(), |mut store, rep| {
        store.data_mut().sockets().table.delete(Resource::<Addresses>::new_own(rep))?;
        Ok(())
    })?;
    names.func_wrap("resolve-addresses", resolve_addresses)?;
    names.func_wrap("[method]resolve-address-stream.resolve-next-address", next_address)?;
    names.func_wrap("[method]resolve-address-stream.subscribe", subscribe_to)
}

fn resolve_addresses<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (network, name): (Resource<Network>, String),
) -> Answer<Resource<Addresses>> {
    let data = store.data_mut();
    // The network is what allows a look-up: it has to be there.
    data.sockets().table.get(&network)?;
    let outlet = data.network().outlet();
    let addresses = match (data.network().lookup(&name), outlet.gateway().cloned()) {
        (Some(ip), _) => Addresses::Found(Ok(vec![ip].into_iter())),
        (None, None) => return Ok((Err(ErrorCode::NameUnresolvable),)),
        (None, Some(gateway)) => {
            let looking = gateway.guests().spawn(async move { outlet.resolve(&name).await });
            Addresses::Looking(AbortOnDropHandle::new(looking))
        }
    };
    Ok((Ok(data.sockets().table.push(addresses)?),))
}

fn next_address<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (addresses,): (Resource<Addresses>,),
) -> Answer<Option<IpAddress>> {
    let sockets = store.data_mut().sockets();
    Ok((match sockets.table.get_mut(&addresses)?.poll() {
        None => Err(ErrorCode::WouldBlock),
        Some(Ok(found)) => Ok(found.next().map(IpAddress::from)),
        Some(Err(code)) => Err(*code),
    },))
}

fn subscribe_to<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (addresses,): (Resource<Addresses>,),
) -> wasmtime::Result<(Resource<DynPollable>,)> {
    Ok((subscribe(store.data_mut().sockets().table, addresses)?,))
}

fn code(error: &LookupError) -> ErrorCode {
    match error {
        LookupError::Denied | LookupError::NotFound => ErrorCode::NameUnresolvable,
        LookupError::Timeout | LookupError::Busy => ErrorCode::TemporaryResolverFailure,
        LookupError::Failed(_) => ErrorCode::PermanentResolverFailure,
    }
}
