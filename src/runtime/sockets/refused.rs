//! Why an operation of a socket is refused before the system is asked, and the error code that each WASI has for it.

use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode as P2Code;
use wasmtime_wasi::p3::bindings::sockets::types::ErrorCode as P3Code;

use super::task::{LISTENERS_MAX, SOCKETS_MAX};
use crate::network::Denial;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The address is of another family than the socket, or one that nobody can be reached at.
    InvalidArgument,
    /// Not an address of this task.
    NotBindable,
    /// Another socket of the task has this port.
    InUse,
    InvalidState,
    Denied(Denial),
    TooManySockets,
    TooManyListeners,
    /// The container has no network.
    NoNetwork,
}

impl From<Refused> for P2Code {
    fn from(refused: Refused) -> P2Code {
        match refused {
            Refused::InvalidArgument => P2Code::InvalidArgument,
            Refused::NotBindable => P2Code::AddressNotBindable,
            Refused::InUse => P2Code::AddressInUse,
            Refused::InvalidState => P2Code::InvalidState,
            // Nobody there is what a machine answers for a port without a listener; the rest is a rule.
            Refused::Denied(Denial::NobodyListens) => P2Code::ConnectionRefused,
            Refused::Denied(_) | Refused::NoNetwork => P2Code::AccessDenied,
            Refused::TooManySockets | Refused::TooManyListeners => P2Code::NewSocketLimit,
        }
    }
}

impl From<Refused> for P3Code {
    fn from(refused: Refused) -> P3Code {
        match refused {
            Refused::InvalidArgument => P3Code::InvalidArgument,
            Refused::NotBindable => P3Code::AddressNotBindable,
            Refused::InUse => P3Code::AddressInUse,
            Refused::InvalidState => P3Code::InvalidState,
            Refused::Denied(Denial::NobodyListens) => P3Code::ConnectionRefused,
            Refused::Denied(_) | Refused::NoNetwork => P3Code::AccessDenied,
            // 0.3 has no code for a limit; its last one takes a text.
            Refused::TooManySockets => P3Code::Other(Some(format!("new-socket-limit: {SOCKETS_MAX} sockets per task"))),
            Refused::TooManyListeners => {
                P3Code::Other(Some(format!("new-socket-limit: {LISTENERS_MAX} listening sockets per task")))
            }
        }
    }
}
