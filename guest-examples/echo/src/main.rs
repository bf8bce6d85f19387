//! Sends back what it receives: over TCP, and over UDP where asked (`UDP=1`, or the argument `udp`).
//!
//! One thread and no busy waiting: everything that can happen is a pollable, and `wasi:io/poll` sleeps until one of them
//! is ready. std's sockets would do for one connection at a time; for many, this is the way that WASI 0.2 means.

mod tcp;
mod udp;

use std::env;
use std::fmt;
use std::process::ExitCode;

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{self, Pollable};
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};

use tcp::Listener;
use udp::Datagrams;

/// The port of the echo protocol (RFC 862).
const DEFAULT_PORT: u16 = 7;

/// Ten complaints a second at most.
const FAILURE_PAUSE_NS: u64 = 100_000_000;

fn main() -> ExitCode {
    let (port, with_udp) = match arguments() {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("echo: {why}");
            return ExitCode::from(2);
        }
    };
    match serve(port, with_udp) {
        Ok(never) => match never {},
        Err(why) => {
            eprintln!("echo: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The port from the first number among the arguments, else from `PORT`; and whether UDP is wanted.
fn arguments() -> Result<(u16, bool), String> {
    let mut port = env::var("PORT").ok();
    let mut with_udp = env::var("UDP").is_ok_and(|value| value == "1");
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "udp" => with_udp = true,
            _ => port = Some(argument),
        }
    }
    match port {
        None => Ok((DEFAULT_PORT, with_udp)),
        Some(text) => match text.parse() {
            Ok(port) => Ok((port, with_udp)),
            Err(_) => Err(format!("`{text}` is no port; usage: echo [PORT] [udp]")),
        },
    }
}

fn serve(port: u16, with_udp: bool) -> Result<std::convert::Infallible, Failure> {
    let mut listener = Listener::bind(port)?;
    println!("listening on {}", Shown(listener.address));
    // With port 0 the system chose one: UDP takes the same.
    let mut datagrams = match with_udp {
        true => Some(Datagrams::bind(port_of(listener.address))?),
        false => None,
    };
    if let Some(datagrams) = &datagrams {
        println!("listening on {} (udp)", Shown(datagrams.address));
    }
    loop {
        let mut waiting: Vec<&Pollable> = Vec::new();
        waiting.extend(datagrams.as_ref().map(Datagrams::pollable));
        waiting.extend(listener.pollables());
        let ready = poll::poll(&waiting);
        // Datagrams come first in the list when there are any; what follows is the listener's.
        let own = usize::from(datagrams.is_some());
        let tcp_ready: Vec<usize> =
            ready.iter().map(|at| *at as usize).filter(|at| *at >= own).map(|at| at - own).collect();
        if let Some(datagrams) = &mut datagrams
            && ready.contains(&0)
        {
            datagrams.advance();
        }
        listener.advance(&tcp_ready);
    }
}

/// What kept it from listening: a step, and the error code of wasi:sockets.
struct Failure {
    step: &'static str,
    code: ErrorCode,
}

impl Failure {
    /// For `map_err`: names the step that failed.
    fn at(step: &'static str) -> impl Fn(ErrorCode) -> Failure {
        move |code| Failure { step, code }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "cannot {}: {}", self.step, self.code.name())
    }
}

/// Says what did not work, and waits a little: what fails once may fail at every turn of the loop.
fn complain(step: &str, code: ErrorCode) {
    eprintln!("echo: cannot {step}: {}", code.name());
    monotonic_clock::subscribe_duration(FAILURE_PAUSE_NS).block();
}

fn any_address(port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (0, 0, 0, 0) })
}

const FAMILY: IpAddressFamily = IpAddressFamily::Ipv4;

fn port_of(address: IpSocketAddress) -> u16 {
    match address {
        IpSocketAddress::Ipv4(address) => address.port,
        IpSocketAddress::Ipv6(address) => address.port,
    }
}

struct Shown(IpSocketAddress);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) }) => {
                write!(f, "{a}.{b}.{c}.{d}:{port}")
            }
            IpSocketAddress::Ipv6(address) => {
                let (a, b, c, d, e, g, h, i) = address.address;
                let ip = std::net::Ipv6Addr::new(a, b, c, d, e, g, h, i);
                write!(f, "[{ip}]:{}", address.port)
            }
        }
    }
}
