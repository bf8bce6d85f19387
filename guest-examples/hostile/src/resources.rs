//! Handles without end, lines without end, input without beginning.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use wasip2::clocks::monotonic_clock;
use wasip2::filesystem::preopens;
use wasip2::http::types::{Fields, OutgoingBody, OutgoingRequest, OutgoingResponse};
use wasip2::sockets::network::IpAddressFamily;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp_create_socket::create_udp_socket;
use wasip2::sockets::{instance_network, ip_name_lookup};

use crate::report::Report;

/// Makes `count` of something and keeps them all. The host refuses the one that is too many, or ends the program.
pub fn fork(report: &mut Report, what: &str, count: usize) {
    println!("begun");
    match what {
        "tcp" => keep(report, what, count, || create_tcp_socket(IpAddressFamily::Ipv4).map_err(|code| code.name())),
        "udp" => keep(report, what, count, || create_udp_socket(IpAddressFamily::Ipv4).map_err(|code| code.name())),
        "timers" => keep(report, what, count, || Ok(monotonic_clock::subscribe_duration(u64::MAX))),
        "networks" => keep(report, what, count, || Ok(instance_network::instance_network())),
        "fields" => keep(report, what, count, || Ok(Fields::new())),
        "requests" => keep(report, what, count, || Ok(OutgoingRequest::new(Fields::new()))),
        "responses" => keep(report, what, count, || Ok(OutgoingResponse::new(Fields::new()))),
        "bodies" => keep(report, what, count, body),
        "streams" => keep(report, what, count, || Ok(wasip2::cli::stdout::get_stdout())),
        "directories" => keep(report, what, count, || Ok(preopens::get_directories())),
        "lookups" => {
            let network = instance_network::instance_network();
            let look = |n: usize| ip_name_lookup::resolve_addresses(&network, &format!("n{n}.hostile.example"));
            let mut n = 0;
            keep(report, what, count, || {
                n += 1;
                look(n).map_err(|code| code.name())
            });
        }
        _ => report.breach("an unknown thing to make"),
    }
}

/// A response, its body and the stream of that.
fn body() -> Result<(OutgoingResponse, OutgoingBody), &'static str> {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().map_err(|()| "no body")?;
    Ok((response, body))
}

fn keep<T>(report: &mut Report, what: &str, count: usize, mut make: impl FnMut() -> Result<T, &'static str>) {
    let mut kept = Vec::new();
    while kept.len() < count {
        match make() {
            Ok(made) => kept.push(made),
            Err(error) => return report.held(what, format!("{error} after {}", kept.len())),
        }
    }
    report.breach(&format!("{count} {what}"));
}

/// One line of so many bytes, without an end.
pub fn line(bytes: usize) {
    let chunk = [b'x'; 32 << 10];
    let mut out = std::io::stdout().lock();
    let mut left = bytes;
    while left > 0 {
        let now = left.min(chunk.len());
        if out.write_all(&chunk[..now]).is_err() {
            return;
        }
        left -= now;
    }
}

/// Lines as fast as they can be written, on both streams.
pub fn flood(seconds: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let lines = "a line of a flood\n".repeat(1000);
    let mut written = 0u64;
    while Instant::now() < end {
        let _ = std::io::stdout().write_all(lines.as_bytes());
        let _ = std::io::stderr().write_all(lines.as_bytes());
        written += 2000;
    }
    let _ = writeln!(std::io::stdout(), "flooded {written} lines");
}

/// Standard input is not the host's.
pub fn stdin(report: &mut Report) {
    let mut buffer = [0; 64];
    match std::io::stdin().read(&mut buffer) {
        Ok(0) => report.held("stdin", "it has ended"),
        Ok(count) => report.breach(&format!("{count} bytes of somebody's input")),
        Err(error) => report.held("stdin", error),
    }
}
