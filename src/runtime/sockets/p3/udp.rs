//! UDP in WASI 0.3.

use std::net::SocketAddr;

use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Linker, Resource, ResourceType};
use wasmtime_wasi::p3::bindings::sockets::types::{
    HostUdpSocket, HostUdpSocketWithStore, IpAddressFamily, IpSocketAddress, UdpSocket,
};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};

use super::{Answer, TYPES, again, answer, is_port_denied, refuse};
use crate::network::Protocol;
use crate::runtime::sockets::SocketsView;
use crate::runtime::sockets::translate::Key;

pub(super) fn shadow<T: SocketsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap_async("[static]udp-socket.create", |store, arguments| Box::new(create(store, arguments)))?;
    types.func_wrap_async("[method]udp-socket.bind", |store, arguments| Box::new(bind(store, arguments)))?;
    types.func_wrap_async("[method]udp-socket.connect", |store, arguments| Box::new(connect(store, arguments)))?;
    types.func_wrap("[method]udp-socket.disconnect", disconnect)?;
    types.func_wrap_concurrent("[method]udp-socket.send", |accessor, arguments| Box::pin(send(accessor, arguments)))?;
    types.func_wrap_concurrent("[method]udp-socket.receive", |accessor, arguments| {
        Box::pin(receive(accessor, arguments))
    })?;
    types.func_wrap("[method]udp-socket.get-local-address", local_address)?;
    types.func_wrap("[method]udp-socket.get-remote-address", remote_address)?;
    types.func_wrap("[method]udp-socket.get-address-family", address_family)?;
    types.resource("udp-socket", ResourceType::host::<UdpSocket>(), |mut store, rep| {
        HostUdpSocket::drop(&mut store.data_mut().sockets(), Resource::new_own(rep))?;
        store.data_mut().network().closed((Protocol::Udp, rep));
        Ok(())
    })
}

fn key(socket: &Resource<UdpSocket>) -> Key {
    (Protocol::Udp, socket.rep())
}

async fn create<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (family,): (IpAddressFamily,),
) -> Answer<Resource<UdpSocket>> {
    let data = store.data_mut();
    let slot = match data.network().reserve() {
        Ok(slot) => slot,
        Err(refused) => return refuse(refused),
    };
    let created = HostUdpSocket::create(&mut data.sockets(), IpAddressFamily::Ipv4).await;
    if let Ok(socket) = &created {
        data.network().opened(key(socket), family.into(), slot);
    }
    answer(created)
}

async fn bind<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket, wanted): (Resource<UdpSocket>, IpSocketAddress),
) -> Answer<()> {
    bind_to(store.data_mut(), &socket, wanted.into()).await
}

async fn bind_to<T: SocketsView>(data: &mut T, socket: &Resource<UdpSocket>, wanted: SocketAddr) -> Answer<()> {
    let target = match data.network().bind_target(key(socket), wanted) {
        Ok(target) => target,
        Err(refused) => return refuse(refused),
    };
    let mut result = HostUdpSocket::bind(&mut data.sockets(), again(socket), target.into()).await;
    if is_port_denied(&result, target) {
        let any_port = data.network().any_port();
        result = HostUdpSocket::bind(&mut data.sockets(), again(socket), any_port.into()).await;
    }
    if result.is_err() {
        return answer(result);
    }
    let real = match HostUdpSocket::get_local_address(&mut data.sockets(), again(socket)) {
        Ok(real) => real.into(),
        Err(error) => return answer(Err(error)),
    };
    data.network().bound(key(socket), wanted, real).map_or_else(refuse, |()| Ok((Ok(()),)))
}

/// Binds a socket that is used without: 0.3 allows that, and the system would choose an address that is not the task's.
async fn bind_unbound<T: SocketsView>(data: &mut T, socket: &Resource<UdpSocket>) -> Answer<()> {
    if data.network().is_bound(key(socket)) {
        return Ok((Ok(()),));
    }
    let any = data.network().any_address(key(socket));
    bind_to(data, socket, any).await
}

async fn connect<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket, to): (Resource<UdpSocket>, IpSocketAddress),
) -> Answer<()> {
    let (data, to) = (store.data_mut(), SocketAddr::from(to));
    if let (Err(code),) = bind_unbound(data, &socket).await? {
        return Ok((Err(code),));
    }
    let target = match data.network().target(key(&socket), to) {
        Ok(target) => target,
        Err(refused) => return refuse(refused),
    };
    data.network().sends(key(&socket), target);
    let connected = HostUdpSocket::connect(&mut data.sockets(), again(&socket), target.into()).await;
    if connected.is_ok() {
        data.network().connected(key(&socket), Some(to));
    }
    answer(connected)
}

fn disconnect<T: SocketsView>(mut store: StoreContextMut<'_, T>, (socket,): (Resource<UdpSocket>,)) -> Answer<()> {
    let data = store.data_mut();
    let disconnected = HostUdpSocket::disconnect(&mut data.sockets(), again(&socket));
    if disconnected.is_ok() {
        data.network().connected(key(&socket), None);
    }
    answer(disconnected)
}

async fn send<T: SocketsView>(
    accessor: &Accessor<T>,
    (socket, bytes, to): (Resource<UdpSocket>, Vec<u8>, Option<IpSocketAddress>),
) -> Answer<()> {
    // The store is borrowed for no longer than a poll: binding never waits in truth, its check answers at once.
    let bound =
        accessor.with(|mut store| futures_util::FutureExt::now_or_never(bind_unbound(store.data_mut(), &socket)));
    if let Some(bound) = bound
        && let (Err(code),) = bound?
    {
        return Ok((Err(code),));
    }
    let target = accessor.with(|mut store| {
        let network = store.data_mut().network();
        let target = to.map(|to| network.target(key(&socket), to.into())).transpose()?;
        if let Some(target) = target {
            network.sends(key(&socket), target);
        }
        Ok(target.map(IpSocketAddress::from))
    });
    let target = match target {
        Ok(target) => target,
        Err(refused) => return refuse(refused),
    };
    let sockets = accessor.with_getter::<WasiSockets>(T::sockets);
    answer(<WasiSockets as HostUdpSocketWithStore<T>>::send(&sockets, socket, bytes, target).await)
}

async fn receive<T: SocketsView>(
    accessor: &Accessor<T>,
    (socket,): (Resource<UdpSocket>,),
) -> Answer<(Vec<u8>, IpSocketAddress)> {
    let sockets = accessor.with_getter::<WasiSockets>(T::sockets);
    // Each turn takes one datagram, or waits for one.
    loop {
        let received = <WasiSockets as HostUdpSocketWithStore<T>>::receive(&sockets, again(&socket)).await;
        let Ok((bytes, from)) = received else { return answer(received) };
        let from = SocketAddr::from(from);
        let shown = accessor.with(|mut store| {
            let network = store.data_mut().network();
            network.receives(key(&socket), from).then(|| network.remote(key(&socket), None, from))
        });
        if let Some(shown) = shown {
            return Ok((Ok((bytes, shown.into())),));
        }
    }
}

fn local_address<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<UdpSocket>,),
) -> Answer<IpSocketAddress> {
    let data = store.data_mut();
    let real = HostUdpSocket::get_local_address(&mut data.sockets(), again(&socket));
    answer(real.map(|real| data.network().local(key(&socket), real.into()).into()))
}

fn remote_address<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<UdpSocket>,),
) -> Answer<IpSocketAddress> {
    let data = store.data_mut();
    let real = HostUdpSocket::get_remote_address(&mut data.sockets(), again(&socket));
    answer(real.map(|real| data.network().remote(key(&socket), None, real.into()).into()))
}

fn address_family<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<UdpSocket>,),
) -> wasmtime::Result<(IpAddressFamily,)> {
    Ok((store.data_mut().network().family(key(&socket)).into(),))
}
