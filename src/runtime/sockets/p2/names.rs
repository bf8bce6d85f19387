//! Names in WASI 0.2: only those that need no resolver.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::Network;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{Host, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;
use wasmtime_wasi::sockets::WasiSocketsView;

use super::{Answer, answer, interface};
use crate::runtime::sockets::SocketsView;

pub(super) fn shadow<T: SocketsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.instance(&interface("ip-name-lookup"))?.func_wrap("resolve-addresses", resolve_addresses)
}

fn resolve_addresses<T: SocketsView>(
    mut store: StoreContextMut<'_, T>,
    (network, name): (Resource<Network>, String),
) -> Answer<Resource<ResolveAddressStream>> {
    let data = store.data_mut();
    match data.network().lookup(&name) {
        Some(ip) => answer(Host::resolve_addresses(&mut data.sockets(), network, ip.to_string())),
        None => Ok((Err(ErrorCode::NameUnresolvable),)),
    }
}
