//! Names in WASI 0.3.

use wasmtime::component::{Accessor, Linker};
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::ErrorCode;
use wasmtime_wasi::p3::bindings::sockets::types::IpAddress;

use super::NAMES;
use crate::runtime::outgoing::names::LookupError;
use crate::runtime::sockets::SocketsView;

pub(super) fn shadow<T: SocketsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.instance(NAMES)?.func_wrap_concurrent("resolve-addresses", |accessor, (name,): (String,)| {
        Box::pin(async move { Ok((resolve(accessor, &name).await,)) })
    })
}

async fn resolve<T: SocketsView>(accessor: &Accessor<T>, name: &str) -> Result<Vec<IpAddress>, ErrorCode> {
    let outlet = accessor.with(|mut store| store.data_mut().network().outlet());
    let found = outlet.resolve(name).await.map_err(|error| code(&error))?;
    Ok(found.into_iter().map(IpAddress::from).collect())
}

fn code(error: &LookupError) -> ErrorCode {
    match error {
        LookupError::Denied | LookupError::NotFound => ErrorCode::NameUnresolvable,
        LookupError::Timeout | LookupError::Busy => ErrorCode::TemporaryResolverFailure,
        LookupError::Failed(_) => ErrorCode::PermanentResolverFailure,
    }
}
