//! Our host of `wasi:sockets` 0.2: the functions that see addresses, make sockets or drop them.

mod names;
mod tcp;
mod udp;

use std::net::SocketAddr;

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::SocketResult;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};

use super::SocketsView;
use super::refused::Refused;
use super::translate::Family;

/// The version under which wasmtime-wasi 48 defines the interfaces; guests of every 0.2 resolve to it. A test notices when
/// another version of it has another one: then the replaced functions would be ours, and called by nobody.
const VERSION: &str = "0.2.12";

/// Replaces the functions in a linker to which wasmtime-wasi's WASI 0.2 was added before.
pub fn shadow_p2<T: SocketsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let shadowed = tcp::shadow(linker).and_then(|()| udp::shadow(linker)).and_then(|()| names::shadow(linker));
    linker.allow_shadowing(false);
    shadowed
}

fn interface(name: &str) -> String {
    format!("wasi:sockets/{name}@{VERSION}")
}

/// The result of a function as the guest gets it; the outer error ends the guest.
type Answer<R> = wasmtime::Result<(Result<R, ErrorCode>,)>;

fn answer<R>(result: SocketResult<R>) -> Answer<R> {
    Ok((match result {
        Ok(value) => Ok(value),
        Err(error) => Err(error.downcast()?),
    },))
}

fn refuse<R>(refused: Refused) -> Answer<R> {
    Ok((Err(refused.into()),))
}

/// Another handle to the same resource, for one more call with it.
fn again<R: 'static>(resource: &Resource<R>) -> Resource<R> {
    Resource::new_borrow(resource.rep())
}

impl From<IpAddressFamily> for Family {
    fn from(family: IpAddressFamily) -> Family {
        match family {
            IpAddressFamily::Ipv4 => Family::V4,
            IpAddressFamily::Ipv6 => Family::V6,
        }
    }
}

impl From<Family> for IpAddressFamily {
    fn from(family: Family) -> IpAddressFamily {
        match family {
            Family::V4 => IpAddressFamily::Ipv4,
            Family::V6 => IpAddressFamily::Ipv6,
        }
    }
}

/// Whether a failed bind may succeed on a port that the system chooses: the wanted one needs a privilege that this process
/// does not have, or something else on the machine (another node) has it. The task's own ports were looked at before.
fn is_port_denied(result: &SocketResult<()>, target: SocketAddr) -> bool {
    let denied = |code: &ErrorCode| matches!(code, ErrorCode::AccessDenied | ErrorCode::AddressInUse);
    target.port() != 0 && result.as_ref().is_err_and(|error| error.downcast_ref().is_some_and(denied))
}
