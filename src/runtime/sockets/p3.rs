//! Our host of `wasi:sockets` 0.3: the functions that see addresses, make sockets or drop them.
//!
//! Accepted sockets reach the guest in a stream that wasmtime-wasi feeds, so they are first judged and counted by its check
//! of addresses alone, which does not know the listener; the listener is looked at before the first byte passes.

mod names;
mod tcp;
mod udp;

use std::net::SocketAddr;

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p3::bindings::sockets::types::{ErrorCode, IpAddressFamily};
use wasmtime_wasi::p3::sockets::SocketResult;

use super::SocketsView;
use super::refused::Refused;
use super::translate::Family;

const TYPES: &str = "wasi:sockets/types@0.3.0";
const NAMES: &str = "wasi:sockets/ip-name-lookup@0.3.0";

/// Replaces the functions in a linker to which wasmtime-wasi's WASI 0.3 was added before. Guests of 0.3 also use 0.2, so this
/// does not replace [`super::shadow_p2`].
pub fn shadow_p3<T: SocketsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let shadowed = tcp::shadow(linker).and_then(|()| udp::shadow(linker)).and_then(|()| names::shadow(linker));
    linker.allow_shadowing(false);
    shadowed
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

/// As in 0.2: whether a port that the system chooses may do instead.
fn is_port_denied(result: &SocketResult<()>, target: SocketAddr) -> bool {
    let denied = |code: &ErrorCode| matches!(code, ErrorCode::AccessDenied | ErrorCode::AddressInUse);
    target.port() != 0 && result.as_ref().is_err_and(|error| error.downcast_ref().is_some_and(denied))
}
