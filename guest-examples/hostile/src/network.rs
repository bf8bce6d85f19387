//! Addresses that are not the task's, by every spelling.
//!
//! The raw interface, not std's sockets: a guest is not bound to what a standard library would do.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
use wasip2::io::poll::{self, Pollable};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup;
use wasip2::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp::OutgoingDatagram;
use wasip2::sockets::udp_create_socket::create_udp_socket;

use crate::report::Report;

/// What an attempt may take: everything that is tried here is on this machine, or refused at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connects over TCP, and sends over UDP, to where nothing may be reached.
pub fn connect(report: &mut Report, addresses: &[&str]) {
    for written in addresses {
        let Ok(address) = written.parse::<SocketAddr>() else {
            report.breach(&format!("{written} is no address"));
            continue;
        };
        report.attempt(&format!("tcp to {written}"), tcp(address));
        report.attempt(&format!("udp to {written}"), udp(address, true));
        report.attempt(&format!("udp stream to {written}"), udp(address, false));
    }
}

fn tcp(to: SocketAddr) -> Result<(), &'static str> {
    let socket = create_tcp_socket(family(to)).map_err(|code| code.name())?;
    socket.start_connect(&instance_network(), socket_address(to)).map_err(|code| code.name())?;
    let ready = socket.subscribe();
    wait(&ready, || socket.finish_connect()).map(drop)
}

/// Sends a datagram: connected to its target, or each to where it says.
fn udp(to: SocketAddr, is_connected: bool) -> Result<(), &'static str> {
    let socket = create_udp_socket(family(to)).map_err(|code| code.name())?;
    let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().map_err(|_| "unreachable")?;
    socket.start_bind(&instance_network(), socket_address(any)).map_err(|code| code.name())?;
    let ready = socket.subscribe();
    wait(&ready, || socket.finish_bind())?;
    let peer = is_connected.then(|| socket_address(to));
    let (_incoming, outgoing) = socket.stream(peer).map_err(|code| code.name())?;
    outgoing.check_send().map_err(|code| code.name())?;
    let datagram =
        OutgoingDatagram { data: b"hostile".to_vec(), remote_address: (!is_connected).then(|| socket_address(to)) };
    match outgoing.send(&[datagram]).map_err(|code| code.name())? {
        0 => Err("nothing was sent"),
        _ => Ok(()),
    }
}

/// Binds what belongs to somebody else.
pub fn bind(report: &mut Report, addresses: &[&str]) {
    for written in addresses {
        let Ok(address) = written.parse::<SocketAddr>() else {
            report.breach(&format!("{written} is no address"));
            continue;
        };
        report.attempt(&format!("tcp at {written}"), bind_tcp(address));
        report.attempt(&format!("udp at {written}"), bind_udp(address).map(drop));
    }
}

fn bind_tcp(at: SocketAddr) -> Result<(), &'static str> {
    let socket = create_tcp_socket(family(at)).map_err(|code| code.name())?;
    socket.start_bind(&instance_network(), socket_address(at)).map_err(|code| code.name())?;
    let ready = socket.subscribe();
    wait(&ready, || socket.finish_bind())?;
    socket.start_listen().map_err(|code| code.name())?;
    wait(&ready, || socket.finish_listen())
}

fn bind_udp(at: SocketAddr) -> Result<wasip2::sockets::udp::UdpSocket, &'static str> {
    let socket = create_udp_socket(family(at)).map_err(|code| code.name())?;
    socket.start_bind(&instance_network(), socket_address(at)).map_err(|code| code.name())?;
    let ready = socket.subscribe();
    wait(&ready, || socket.finish_bind())?;
    drop(ready);
    Ok(socket)
}

/// Takes another's address as the source of a connection or a datagram.
pub fn forge(report: &mut Report, addresses: &[&str]) {
    for written in addresses {
        let Ok(address) = written.parse::<SocketAddr>() else {
            report.breach(&format!("{written} is no address"));
            continue;
        };
        let source = SocketAddr::new(address.ip(), 0);
        let from = || {
            let socket = create_tcp_socket(family(source)).map_err(|code| code.name())?;
            socket.start_bind(&instance_network(), socket_address(source)).map_err(|code| code.name())?;
            let ready = socket.subscribe();
            wait(&ready, || socket.finish_bind())
        };
        report.attempt(&format!("tcp from {source}"), from());
        report.attempt(&format!("udp from {source}"), bind_udp(source).map(drop));
    }
}

/// Looks names up: nothing that a name leads to may be more than what its address would be.
pub fn names(report: &mut Report, names: &[&str]) {
    for name in names {
        let network = instance_network();
        let found = ip_name_lookup::resolve_addresses(&network, name).and_then(|stream| {
            let ready = stream.subscribe();
            loop {
                match stream.resolve_next_address() {
                    Err(ErrorCode::WouldBlock) if block(&ready) => {}
                    Err(ErrorCode::WouldBlock) => return Err(ErrorCode::Timeout),
                    other => return other,
                }
            }
        });
        match found {
            Ok(Some(address)) => {
                let ip = ip_address(address);
                // The task itself is its own to find. The rest shows only when somebody connects.
                let reached = tcp(SocketAddr::new(ip, 80));
                match ip.is_loopback() {
                    true => report.held(name, "the task itself"),
                    false => report.attempt(&format!("{name} at {ip}"), reached),
                }
            }
            Ok(None) => report.held(name, "no address"),
            Err(code) => report.held(name, code.name()),
        }
    }
}

/// Asks over wasi:http. An answer with 4xx is a refusal, too: of who answers for the task's host.
pub fn request(report: &mut Report, urls: &[&str]) {
    for url in urls {
        report.attempt(&format!("GET {url}"), get(url));
    }
}

fn get(url: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").ok_or("no URL")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).map_err(|()| "its scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "its authority")?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(|()| "its path")?;
    let answer = outgoing_handler::handle(request, None).map_err(|code| format!("{code:?}"))?;
    let ready = answer.subscribe();
    if !block(&ready) {
        return Err(String::from("no answer"));
    }
    match answer.get() {
        Some(Ok(Ok(response))) if response.status() < 400 => Ok(()),
        Some(Ok(Ok(response))) => Err(format!("status {}", response.status())),
        Some(Ok(Err(code))) => Err(format!("{code:?}")),
        _ => Err(String::from("no answer")),
    }
}

/// The second half of an operation.
fn wait<T>(ready: &Pollable, mut attempt: impl FnMut() -> Result<T, ErrorCode>) -> Result<T, &'static str> {
    loop {
        match attempt() {
            Err(ErrorCode::WouldBlock) if block(ready) => {}
            Err(ErrorCode::WouldBlock) => return Err("no answer"),
            result => return result.map_err(|code| code.name()),
        }
    }
}

/// Whether it became ready in time.
fn block(ready: &Pollable) -> bool {
    let nanoseconds = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
    let timeout = monotonic_clock::subscribe_duration(nanoseconds);
    poll::poll(&[ready, &timeout]).contains(&0)
}

fn family(address: SocketAddr) -> IpAddressFamily {
    if address.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 }
}

fn socket_address(address: SocketAddr) -> IpSocketAddress {
    match address {
        SocketAddr::V4(address) => {
            let [a, b, c, d] = address.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) })
        }
        SocketAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h] = address.ip().segments();
            IpSocketAddress::Ipv6(Ipv6SocketAddress {
                port: address.port(),
                flow_info: address.flowinfo(),
                address: (a, b, c, d, e, f, g, h),
                scope_id: address.scope_id(),
            })
        }
    }
}

fn ip_address(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}
