//! TCP in WASI 0.2.

use std::net::SocketAddr;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::bindings::sockets::tcp::HostTcpSocket;
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, Network, SocketResult, TcpSocket};
use wasmtime_wasi::sockets::WasiSocketsView;

use super::{Answer, again, answer, interface, is_port_denied, refuse};
use crate::network::Protocol;
use crate::runtime::sockets::SocketsView;
use crate::runtime::sockets::translate::Key;

/// A connection as `accept` gives it.
type Connection = (Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>);

pub(super) fn shadow<T: SocketsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.instance(&interface("tcp-create-socket"))?.func_wrap("create-tcp-socket", create)?;
    let mut tcp = linker.instance(&interface("tcp"))?;
    tcp.func_wrap_async("[method]tcp-socket.start-bind", |store, arguments| Box::new(start_bind(store, arguments)))?;
    tcp.func_wrap_async("[method]tcp-socket.start-connect", |store, arguments| {
        Box::new(start_connect(store, arguments))
    })?;
    tcp.func_wrap_async("[method]tcp-socket.start-listen", |store, arguments| {
        Box::new(start_listen(store, arguments))
    })?;
    tcp.func_wrap("[method]tcp-socket.accept", accept)?;
    tcp.func_wrap("[method]tcp-socket.local-address", local_address)?;
    tcp.func_wrap("[method]tcp-socket.remote-address", remote_address)?;
    tcp.func_wrap("[method]tcp-socket.address-family", address_family)?;
    tcp.resource("tcp-socket", ResourceType::host::<TcpSocket>(), |mut store, rep| {
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
    let created = tcp_create_socket::Host::create_tcp_socket(&mut data.sockets(), IpAddressFamily::Ipv4);
    if let Ok(socket) = &created {
        data.network().opened(key(socket), family.into(), slot);
    }
    answer(created)
}

async fn start_bind<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket, network, wanted): (Resource<TcpSocket>, Resource<Network>, IpSocketAddress),
) -> Answer<()> {
    let (data, wanted) = (store.data_mut(), SocketAddr::from(wanted));
    let target = match data.network().bind_target(key(&socket), wanted) {
        Ok(target) => target,
        Err(refused) => return refuse(refused),
    };
    let mut result = data.sockets().start_bind(again(&socket), again(&network), target.into()).await;
    if is_port_denied(&result, target) {
        let any_port = data.network().any_port();
        result = data.sockets().start_bind(again(&socket), again(&network), any_port.into()).await;
    }
    if result.is_err() {
        return answer(result);
    }
    let real = match data.sockets().local_address(again(&socket)) {
        Ok(real) => real.into(),
        Err(error) => return answer(Err(error)),
    };
    data.network().bound(key(&socket), wanted, real).map_or_else(refuse, |()| Ok((Ok(()),)))
}

async fn start_connect<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket, network, to): (Resource<TcpSocket>, Resource<Network>, IpSocketAddress),
) -> Answer<()> {
    let (data, to) = (store.data_mut(), SocketAddr::from(to));
    let target = match data.network().target(key(&socket), to) {
        Ok(target) => target,
        Err(refused) => return refuse(refused),
    };
    if !target.ip().is_loopback() {
        // From a loopback address no packet leaves the machine: what was bound to one gives way to a socket without.
        if data.network().is_bound(key(&socket))
            && let Err(error) = unbind(data, &socket)
        {
            return answer(Err(error));
        }
    } else if !data.network().is_bound(key(&socket)) {
        // The system would bind it to 127.0.0.1, and its peer could not know whose it is.
        let any_port = data.network().any_port();
        let mut sockets = data.sockets();
        let mut bound = sockets.start_bind(again(&socket), again(&network), any_port.into()).await;
        bound = bound.and_then(|()| sockets.finish_bind(again(&socket)));
        let real = match bound.and_then(|()| sockets.local_address(again(&socket))) {
            Ok(real) => real.into(),
            Err(error) => return answer(Err(error)),
        };
        if let Err(refused) = data.network().bound_implicitly(key(&socket), real) {
            return refuse(refused);
        }
    }
    data.network().connecting(key(&socket), target);
    let started = data.sockets().start_connect(again(&socket), network, target.into());
    if started.is_ok() {
        data.network().connected(key(&socket), Some(to));
    }
    answer(started)
}

/// Puts another real socket behind the guest's handle, one that is not bound. Its options are those of a new one.
fn unbind<T: SocketsView>(data: &mut T, socket: &Resource<TcpSocket>) -> SocketResult<()> {
    let fresh = tcp_create_socket::Host::create_tcp_socket(&mut data.sockets(), IpAddressFamily::Ipv4)?;
    let sockets = data.sockets();
    let fresh = sockets.table.delete(fresh)?;
    *sockets.table.get_mut(socket)? = fresh;
    data.network().replaced(key(socket));
    Ok(())
}

async fn start_listen<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<TcpSocket>,),
) -> Answer<()> {
    let data = store.data_mut();
    let slot = match data.network().may_listen(key(&socket)) {
        Ok(slot) => slot,
        Err(refused) => return refuse(refused),
    };
    let started = data.sockets().start_listen(again(&socket)).await;
    if started.is_ok() {
        data.network().listening(key(&socket), slot);
    }
    answer(started)
}

fn accept<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (listener,): (Resource<TcpSocket>,),
) -> Answer<Connection> {
    let data = store.data_mut();
    let family = data.network().family(key(&listener));
    // Each turn takes one connection out of the backlog, or ends.
    loop {
        let slot = match data.network().reserve() {
            Ok(slot) => slot,
            Err(refused) => return refuse(refused),
        };
        let accepted = data.sockets().accept(again(&listener));
        let Ok((socket, input, output)) = accepted else { return answer(accepted) };
        if is_welcome(data, &socket) {
            data.network().opened(key(&socket), family, slot);
            return Ok((Ok((socket, input, output)),));
        }
        // Its port has no mapping, and the peer is not of this task. It sees a connection that is closed at once.
        let mut sockets = data.sockets();
        sockets.table.delete(input)?;
        sockets.table.delete(output)?;
        HostTcpSocket::drop(&mut sockets, socket)?;
    }
}

fn is_welcome<T: SocketsView>(data: &mut T, socket: &Resource<TcpSocket>) -> bool {
    let mut sockets = data.sockets();
    let (local, peer) = (sockets.local_address(again(socket)), sockets.remote_address(again(socket)));
    match (local, peer) {
        (Ok(local), Ok(peer)) => data.network().welcomes(peer.into(), local.into()),
        // It is gone already: the guest learns that from its streams.
        _ => true,
    }
}

fn local_address<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<TcpSocket>,),
) -> Answer<IpSocketAddress> {
    let data = store.data_mut();
    let real = data.sockets().local_address(again(&socket));
    answer(real.map(|real| data.network().local(key(&socket), real.into()).into()))
}

fn remote_address<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<TcpSocket>,),
) -> Answer<IpSocketAddress> {
    let data = store.data_mut();
    let real = data.sockets().remote_address(again(&socket));
    answer(real.map(|real| data.network().remote(key(&socket), None, real.into()).into()))
}

fn address_family<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<TcpSocket>,),
) -> wasmtime::Result<(IpAddressFamily,)> {
    Ok((store.data_mut().network().family(key(&socket)).into(),))
}
