//! UDP in WASI 0.2.

use std::net::SocketAddr;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::UdpSocket;
use wasmtime_wasi::p2::bindings::sockets::network::{IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::bindings::sockets::udp::{
    HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket, IncomingDatagram, IncomingDatagramStream,
    Network, OutgoingDatagram, OutgoingDatagramStream,
};
use wasmtime_wasi::p2::bindings::sockets::udp_create_socket;
use wasmtime_wasi::sockets::WasiSocketsView;

use super::{Answer, again, answer, interface, is_port_denied, refuse};
use crate::network::Protocol;
use crate::runtime::sockets::SocketsView;
use crate::runtime::sockets::refused::Refused;
use crate::runtime::sockets::translate::Key;

type Streams = (Resource<IncomingDatagramStream>, Resource<OutgoingDatagramStream>);

pub(super) fn shadow<T: SocketsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut sockets = linker.instance(&interface("udp-create-socket"))?;
    sockets.func_wrap_async("create-udp-socket", |store, arguments| Box::new(create(store, arguments)))?;
    let mut udp = linker.instance(&interface("udp"))?;
    udp.func_wrap_async("[method]udp-socket.start-bind", |store, arguments| Box::new(start_bind(store, arguments)))?;
    udp.func_wrap_async("[method]udp-socket.stream", |store, arguments| Box::new(stream(store, arguments)))?;
    udp.func_wrap("[method]udp-socket.local-address", local_address)?;
    udp.func_wrap("[method]udp-socket.remote-address", remote_address)?;
    udp.func_wrap("[method]udp-socket.address-family", address_family)?;
    udp.func_wrap("[method]incoming-datagram-stream.receive", receive)?;
    udp.func_wrap("[method]outgoing-datagram-stream.send", send)?;
    udp.resource("udp-socket", ResourceType::host::<UdpSocket>(), |mut store, rep| {
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
    let created = udp_create_socket::Host::create_udp_socket(&mut data.sockets(), IpAddressFamily::Ipv4).await;
    if let Ok(socket) = &created {
        data.network().opened(key(socket), family.into(), slot);
    }
    answer(created)
}

async fn start_bind<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket, network, wanted): (Resource<UdpSocket>, Resource<Network>, IpSocketAddress),
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

async fn stream<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket, remote): (Resource<UdpSocket>, Option<IpSocketAddress>),
) -> Answer<Streams> {
    let (data, remote) = (store.data_mut(), remote.map(SocketAddr::from));
    let target = match remote.map(|to| data.network().target(key(&socket), to)).transpose() {
        Ok(target) => target,
        Err(refused) => return refuse(refused),
    };
    if let Some(target) = target {
        data.network().sends(key(&socket), target);
    }
    let streams = data.sockets().stream(again(&socket), target.map(IpSocketAddress::from)).await;
    if let Ok((incoming, outgoing)) = &streams {
        data.network().connected(key(&socket), remote);
        data.network().opened_streams(socket.rep(), [incoming.rep(), outgoing.rep()]);
    }
    answer(streams)
}

/// Sends as far as all is allowed; what is refused is an error only where it comes first, as the interface demands.
fn send<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (stream, datagrams): (Resource<OutgoingDatagramStream>, Vec<OutgoingDatagram>),
) -> Answer<u64> {
    let data = store.data_mut();
    let key = match data.network().socket_of(stream.rep()) {
        Ok(key) => key,
        Err(refused) => return refuse(refused),
    };
    let mut translated = Vec::with_capacity(datagrams.len());
    for datagram in datagrams {
        match outward(data, key, datagram) {
            Ok(datagram) => translated.push(datagram),
            Err(refused) if translated.is_empty() => return refuse(refused),
            Err(_) => break,
        }
    }
    answer(HostOutgoingDatagramStream::send(&mut data.sockets(), stream, translated))
}

fn outward<T: SocketsView>(
    data: &mut T,
    key: Key,
    mut datagram: OutgoingDatagram,
) -> Result<OutgoingDatagram, Refused> {
    if let Some(to) = datagram.remote_address {
        let target = data.network().target(key, to.into())?;
        data.network().sends(key, target);
        datagram.remote_address = Some(target.into());
    }
    Ok(datagram)
}

fn receive<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (stream, max_results): (Resource<IncomingDatagramStream>, u64),
) -> Answer<Vec<IncomingDatagram>> {
    let data = store.data_mut();
    let key = match data.network().socket_of(stream.rep()) {
        Ok(key) => key,
        Err(refused) => return refuse(refused),
    };
    let received = HostIncomingDatagramStream::receive(&mut data.sockets(), stream, max_results);
    answer(received.map(|mut datagrams| {
        let network = data.network();
        datagrams.retain(|datagram| network.receives(key, datagram.remote_address.into()));
        for datagram in &mut datagrams {
            datagram.remote_address = network.remote(key, None, datagram.remote_address.into()).into();
        }
        datagrams
    }))
}

fn local_address<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<UdpSocket>,),
) -> Answer<IpSocketAddress> {
    let data = store.data_mut();
    let real = data.sockets().local_address(again(&socket));
    answer(real.map(|real| data.network().local(key(&socket), real.into()).into()))
}

fn remote_address<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<UdpSocket>,),
) -> Answer<IpSocketAddress> {
    let data = store.data_mut();
    let real = data.sockets().remote_address(again(&socket));
    answer(real.map(|real| data.network().remote(key(&socket), None, real.into()).into()))
}

fn address_family<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<UdpSocket>,),
) -> wasmtime::Result<(IpAddressFamily,)> {
    Ok((store.data_mut().network().family(key(&socket)).into(),))
}
