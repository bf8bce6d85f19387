//! The sockets of guests: our own hosts of `wasi:sockets` 0.2 and 0.3, which give every task a loopback of its own.
//!
//! Inside a task `localhost`, `0.0.0.0` and `::` mean the task; outside it listens on its own address of the node's table
//! ([`crate::network`]). Our hosts translate addresses both ways, count sockets, and leave the rest to wasmtime-wasi: they
//! replace single functions of its linker. What is not replaced works on sockets that ours have bound.
//!
//! - The policy is asked about the address that is *really* used, in wasmtime-wasi's own check: whoever forgets to translate
//!   meets a refusal, not the host.
//! - A socket is always bound to the task's own address before it is used, so the source of a connection says whose it is;
//!   one that connects beyond this machine is bound to none.
//! - All real sockets are IPv4. An IPv6 socket of a guest is one too: `::1` and `::` are the task, its peers are shown as
//!   IPv4-mapped addresses, and every other IPv6 address is outside.
//! - WASI 0.1 has no function that makes a socket, so its modules have none.
//! - A container without a network makes no socket and looks up no name: both are refused before any other question.

mod outlet;
mod p2;
mod p3;
mod refused;
mod task;
mod translate;

use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{WasiCtxBuilder, WasiView};

pub use outlet::Outlet;
pub use p2::shadow_p2;
pub use p3::shadow_p3;
pub use task::{Binding, LISTENERS_MAX, SOCKETS_MAX, Slot};
pub use translate::{TaskNetwork, real_address};

/// The data of a store whose guest may use sockets.
pub trait SocketsView: WasiView + 'static {
    fn network(&mut self) -> &mut TaskNetwork;
}

/// Opens TCP, UDP and names to a guest, within what its task may reach.
pub fn configure(network: &TaskNetwork, builder: &mut WasiCtxBuilder) {
    let (judge, is_open) = (network.judge(), network.is_open());
    builder
        .allow_tcp(is_open)
        .allow_udp(is_open)
        // Names are answered by ours.
        .allow_ip_name_lookup(false)
        .socket_addr_check(move |address, reason| {
            let allowed = match reason {
                SocketAddrUse::TcpBind | SocketAddrUse::TcpListen | SocketAddrUse::UdpBind => judge.may_bind(address),
                SocketAddrUse::TcpConnect => judge.may_connect(address),
                SocketAddrUse::TcpAccept => judge.may_accept(address),
                SocketAddrUse::UdpSend => judge.may_send(address),
                SocketAddrUse::UdpReceive => judge.may_receive(address),
            };
            Box::pin(std::future::ready(allowed))
        });
}

#[cfg(test)]
mod tests;
