//! TCP in WASI 0.3.

use std::net::SocketAddr;

use wasmtime::StoreContextMut;
use wasmtime::component::{Access, Accessor, FutureReader, Linker, Resource, ResourceType, StreamReader};
use wasmtime_wasi::p3::bindings::sockets::types::{
    ErrorCode, HostTcpSocket, HostTcpSocketWithStore, IpAddressFamily, IpSocketAddress, TcpSocket,
};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};

use super::{Answer, TYPES, again, answer, is_port_denied, refuse};
use crate::network::Protocol;
use crate::runtime::sockets::SocketsView;
use crate::runtime::sockets::translate::Key;

pub(super) fn shadow<T: SocketsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("[static]tcp-socket.create", create)?;
    types.func_wrap_async("[method]tcp-socket.bind", |store, arguments| Box::new(bind(store, arguments)))?;
    types.func_wrap_concurrent("[method]tcp-socket.connect", |accessor, arguments| {
        Box::pin(connect(accessor, arguments))
    })?;
    types.func_wrap_async("[method]tcp-socket.listen", |store, arguments| Box::new(listen(store, arguments)))?;
    types.func_wrap("[method]tcp-socket.send", send)?;
    types.func_wrap("[method]tcp-socket.receive", receive)?;
    types.func_wrap("[method]tcp-socket.get-local-address", local_address)?;
    types.func_wrap("[method]tcp-socket.get-remote-address", remote_address)?;
    types.func_wrap("[method]tcp-socket.get-address-family", address_family)?;
    types.resource("tcp-socket", ResourceType::host::<TcpSocket>(), |mut store, rep| {
        HostTcpSocket::drop(&mut store.data_mut().sockets(), Resource::new_own(rep))?;
        store.data_mut().network().closed((Protocol::Tcp, rep));
        Ok(())
    })
}

fn key(socket: &Resource<TcpSocket>) -> Key {
    (Protocol::Tcp, socket.rep())
}

fn create<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (family,): (IpAddressFamily,),
) -> Answer<Resource<TcpSocket>> {
    let data = store.data_mut();
    let slot = match data.network().reserve() {
        Ok(slot) => slot,
        Err(refused) => return refuse(refused),
    };
    let created = HostTcpSocket::create(&mut data.sockets(), IpAddressFamily::Ipv4);
    if let Ok(socket) = &created {
        data.network().opened(key(socket), family.into(), slot);
    }
    answer(created)
}

async fn bind<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket, wanted): (Resource<TcpSocket>, IpSocketAddress),
) -> Answer<()> {
    bind_to(store.data_mut(), &socket, wanted.into()).await
}

async fn bind_to<T: SocketsView>(data: &mut T, socket: &Resource<TcpSocket>, wanted: SocketAddr) -> Answer<()> {
    let target = match data.network().bind_target(key(socket), wanted) {
        Ok(target) => target,
        Err(refused) => return refuse(refused),
    };
    let mut result = HostTcpSocket::bind(&mut data.sockets(), again(socket), target.into()).await;
    if is_port_denied(&result, target) {
        let any_port = data.network().any_port();
        result = HostTcpSocket::bind(&mut data.sockets(), again(socket), any_port.into()).await;
    }
    if result.is_err() {
        return answer(result);
    }
    let real = match HostTcpSocket::get_local_address(&mut data.sockets(), again(socket)) {
        Ok(real) => real.into(),
        Err(error) => return answer(Err(error)),
    };
    data.network().bound(key(socket), wanted, real).map_or_else(refuse, |()| Ok((Ok(()),)))
}

async fn connect<T: SocketsView>(
    accessor: &Accessor<T>,
    (socket, to): (Resource<TcpSocket>, IpSocketAddress),
) -> Answer<()> {
    let to = SocketAddr::from(to);
    let target = match accessor.with(|mut store| store.data_mut().network().target(key(&socket), to)) {
        Ok(target) => target,
        Err(refused) => return refuse(refused),
    };
    // From a loopback address no packet leaves the machine; within it, the system would bind the socket to 127.0.0.1, and
    // its peer could not know whose it is.
    let prepared = if target.ip().is_loopback() {
        accessor.with(|mut store| bind_as_client(store.data_mut(), &socket))?
    } else {
        accessor.with(|mut store| unbind(store.data_mut(), &socket))?
    };
    if let (Err(code),) = prepared {
        return Ok((Err(code),));
    }
    accessor.with(|mut store| {
        let network = store.data_mut().network();
        network.connecting(key(&socket), target);
        network.connected(key(&socket), Some(to));
    });
    let sockets = accessor.with_getter::<WasiSockets>(T::sockets);
    answer(<WasiSockets as HostTcpSocketWithStore<T>>::connect(&sockets, socket, target.into()).await)
}

/// Puts another real socket behind the guest's handle where that one is bound. Its options are those of a new one.
fn unbind<T: SocketsView>(data: &mut T, socket: &Resource<TcpSocket>) -> Answer<()> {
    if !data.network().is_bound(key(socket)) {
        return Ok((Ok(()),));
    }
    let fresh = match HostTcpSocket::create(&mut data.sockets(), IpAddressFamily::Ipv4) {
        Ok(fresh) => fresh,
        Err(error) => return answer(Err(error)),
    };
    let sockets = data.sockets();
    let fresh = sockets.table.delete(fresh)?;
    *sockets.table.get_mut(socket)? = fresh;
    data.network().replaced(key(socket));
    Ok((Ok(()),))
}

/// Binding never waits in truth: the check of addresses answers at once. It must not here, where the store is borrowed.
fn bind_as_client<T: SocketsView>(data: &mut T, socket: &Resource<TcpSocket>) -> Answer<()> {
    if data.network().is_bound(key(socket)) {
        return Ok((Ok(()),));
    }
    let any_port = data.network().any_port();
    let bound = {
        let mut sockets = data.sockets();
        let bound =
            futures_util::FutureExt::now_or_never(HostTcpSocket::bind(&mut sockets, again(socket), any_port.into()));
        bound.unwrap_or_else(|| Err(wasmtime_wasi::p3::bindings::sockets::types::ErrorCode::InvalidState.into()))
    };
    let real = bound.and_then(|()| HostTcpSocket::get_local_address(&mut data.sockets(), again(socket)));
    match real {
        Ok(real) => {
            let noted = data.network().bound_implicitly(key(socket), real.into());
            noted.map_or_else(refuse, |()| Ok((Ok(()),)))
        }
        Err(error) => answer(Err(error)),
    }
}

async fn listen<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<TcpSocket>,),
) -> Answer<StreamReader<Resource<TcpSocket>>> {
    let data = store.data_mut();
    // 0.3 lets an unbound socket listen, on a port that the system chooses.
    if !data.network().is_bound(key(&socket)) {
        let any = data.network().any_address(key(&socket));
        if let (Err(code),) = bind_to(data, &socket, any).await? {
            return Ok((Err(code),));
        }
    }
    let slot = match data.network().may_listen(key(&socket)) {
        Ok(slot) => slot,
        Err(refused) => return refuse(refused),
    };
    data.network().count_accepted();
    let access = Access::<T, WasiSockets>::new(wasmtime::AsContextMut::as_context_mut(&mut store), T::sockets);
    let listening = <WasiSockets as HostTcpSocketWithStore<T>>::listen(access, again(&socket)).await;
    if listening.is_ok() {
        store.data_mut().network().listening(key(&socket), slot);
    }
    answer(listening)
}

type Done = FutureReader<Result<(), ErrorCode>>;

fn send<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket, bytes): (Resource<TcpSocket>, StreamReader<u8>),
) -> wasmtime::Result<(Done,)> {
    hang_up_unwelcome(store.data_mut(), &socket)?;
    let access = Access::<T, WasiSockets>::new(wasmtime::AsContextMut::as_context_mut(&mut store), T::sockets);
    Ok((<WasiSockets as HostTcpSocketWithStore<T>>::send(access, socket, bytes)?,))
}

fn receive<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<TcpSocket>,),
) -> wasmtime::Result<((StreamReader<u8>, Done),)> {
    hang_up_unwelcome(store.data_mut(), &socket)?;
    let access = Access::<T, WasiSockets>::new(wasmtime::AsContextMut::as_context_mut(&mut store), T::sockets);
    Ok((<WasiSockets as HostTcpSocketWithStore<T>>::receive(access, socket)?,))
}

/// The stream of accepted sockets does not say which listener they came to, so that is looked at before the first byte: one
/// whose port is not open to its peer gives way to a socket without a connection, and the peer sees its own closed.
fn hang_up_unwelcome<T: SocketsView>(data: &mut T, socket: &Resource<TcpSocket>) -> wasmtime::Result<()> {
    if data.network().is_known(key(socket)) {
        return Ok(());
    }
    let local = HostTcpSocket::get_local_address(&mut data.sockets(), again(socket)).map(SocketAddr::from);
    let peer = HostTcpSocket::get_remote_address(&mut data.sockets(), again(socket)).map(SocketAddr::from);
    let (Ok(local), Ok(peer)) = (local, peer) else { return Ok(()) };
    if !data.network().welcomes(peer, local)
        && let Ok(fresh) = HostTcpSocket::create(&mut data.sockets(), IpAddressFamily::Ipv4)
    {
        let sockets = data.sockets();
        let fresh = sockets.table.delete(fresh)?;
        *sockets.table.get_mut(socket)? = fresh;
    }
    Ok(())
}

fn local_address<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<TcpSocket>,),
) -> Answer<IpSocketAddress> {
    let data = store.data_mut();
    let real = HostTcpSocket::get_local_address(&mut data.sockets(), again(&socket));
    answer(real.map(|real| data.network().local(key(&socket), real.into()).into()))
}

fn remote_address<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<TcpSocket>,),
) -> Answer<IpSocketAddress> {
    let data = store.data_mut();
    let local = HostTcpSocket::get_local_address(&mut data.sockets(), again(&socket)).ok().map(SocketAddr::from);
    let real = HostTcpSocket::get_remote_address(&mut data.sockets(), again(&socket));
    answer(real.map(|real| data.network().remote(key(&socket), local, real.into()).into()))
}

fn address_family<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<TcpSocket>,),
) -> wasmtime::Result<(IpAddressFamily,)> {
    let data = store.data_mut();
    let local = HostTcpSocket::get_local_address(&mut data.sockets(), again(&socket)).ok();
    let family = match local {
        Some(local) => data.network().family_at(key(&socket), local.into()),
        None => data.network().family(key(&socket)),
    };
    Ok((family.into(),))
}
