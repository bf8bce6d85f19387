//! Names in WASI 0.3: only those that need no resolver.

use wasmtime::component::{Accessor, Linker};
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::ErrorCode;
use wasmtime_wasi::p3::bindings::sockets::types::IpAddress;

use super::NAMES;
use crate::runtime::sockets::SocketsView;

pub(super) fn shadow<T: SocketsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.instance(NAMES)?.func_wrap_concurrent("resolve-addresses", |accessor, (name,): (String,)| {
        let found = resolve(accessor, &name);
        Box::pin(std::future::ready(Ok((found,))))
    })
}

fn resolve<T: SocketsView>(accessor: &Accessor<T>, name: &str) -> Result<Vec<IpAddress>, ErrorCode> {
    let found = accessor.with(|mut store| store.data_mut().network().lookup(name));
    found.map(|ip| vec![ip.into()]).ok_or(ErrorCode::NameUnresolvable)
}
