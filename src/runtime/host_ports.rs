//! Ports of this machine that lead to ports of a task: what `bridge` and `host` mode give, beside the task's own address.
//!
//! They are bound on this machine's loopback, as the load balancer's listeners are. What comes in is carried to the task's
//! real socket, wherever that is at the time: a program may listen later, or again. To the task it comes from the machine.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::model::StartFailure;
use crate::network::{Address, Protocol};
use crate::runtime::spec::Binding;

/// The ports that Docker and ECS choose from where the definition names none.
const DYNAMIC: RangeInclusive<u16> = 49_153..=65_535;
/// Connections of one port: each holds two descriptors.
const CONNECTIONS_MAX: usize = 1024;
/// Clients of one UDP port that are in conversation; each holds a descriptor.
const FLOWS_MAX: usize = 256;
/// A UDP client that is silent for so long is forgotten, as connection tracking does it.
const FLOW_IDLE_MAX: Duration = Duration::from_secs(60);
/// The largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// After an accept that failed, which is out of descriptors or memory: both pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a port mapping asks of the machine: `count` ports, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPorts {
    pub container_port: u16,
    pub count: u16,
    pub protocol: Protocol,
    /// The first one; `None`: any that are free.
    pub host_port: Option<u16>,
}

/// Open ports. They are closed when this is dropped.
#[derive(Debug, Default)]
pub struct OpenPorts {
    pub bindings: Vec<Binding>,
    _carrying: Vec<AbortOnDropHandle<()>>,
}

enum Bound {
    Tcp(std::net::TcpListener),
    Udp(std::net::UdpSocket),
}

/// Opens what a container's mappings ask for, or says as ECS does why it cannot.
pub fn open(guests: &Handle, address: &Address, wanted: &[HostPorts]) -> Result<OpenPorts, StartFailure> {
    let mut open = OpenPorts::default();
    for ports in wanted {
        let (first, bound) = match ports.host_port {
            Some(first) => (first, bind_all(first, ports).map_err(|(port, error)| taken(port, &error))?),
            None => bind_anywhere(ports)?,
        };
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, first));
        let (container_port, protocol, count) = (ports.container_port, ports.protocol, ports.count);
        open.bindings.push(Binding { container_port, protocol, host, count });
        for (port, bound) in (container_port..).zip(bound) {
            let carrying = carry(guests, address.clone(), port, bound).map_err(|error| taken(first, &error))?;
            open._carrying.push(carrying);
        }
    }
    Ok(open)
}

fn taken(port: u16, error: &io::Error) -> StartFailure {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => String::from("port is already allocated"),
        _ => error.to_string(),
    };
    StartFailure::CannotStart(format!("Bind for 127.0.0.1:{port} failed: {why}"))
}

fn bind_all(first: u16, ports: &HostPorts) -> Result<Vec<Bound>, (u16, io::Error)> {
    let all = (0..ports.count).map(|n| {
        let port = first.checked_add(n).ok_or((first, io::Error::from(io::ErrorKind::AddrNotAvailable)))?;
        bind(port, ports.protocol).map_err(|error| (port, error))
    });
    all.collect()
}

fn bind(port: u16, protocol: Protocol) -> io::Result<Bound> {
    let at = (Ipv4Addr::LOCALHOST, port);
    let bound = match protocol {
        Protocol::Tcp => Bound::Tcp(std::net::TcpListener::bind(at)?),
        Protocol::Udp => Bound::Udp(std::net::UdpSocket::bind(at)?),
    };
    match &bound {
        Bound::Tcp(listener) => listener.set_nonblocking(true)?,
        Bound::Udp(socket) => socket.set_nonblocking(true)?,
    }
    Ok(bound)
}

/// Going forward through the dynamic ports, so that a port that was given back is not another's at once.
fn bind_anywhere(ports: &HostPorts) -> Result<(u16, Vec<Bound>), StartFailure> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let all = DYNAMIC.end() - DYNAMIC.start() + 1;
    let mut tried = 0;
    while tried < all {
        let offset = NEXT.fetch_add(ports.count, Ordering::Relaxed) % all;
        tried += ports.count;
        let first = DYNAMIC.start() + offset;
        if DYNAMIC.end() - first < ports.count - 1 {
            continue;
        }
        match bind_all(first, ports) {
            Ok(bound) => return Ok((first, bound)),
            Err((_, error)) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err((port, error)) => return Err(taken(port, &error)),
        }
    }
    Err(StartFailure::CannotStart(String::from("all dynamic host ports are already allocated")))
}

fn carry(guests: &Handle, address: Address, port: u16, bound: Bound) -> io::Result<AbortOnDropHandle<()>> {
    let _on_guest_threads = guests.enter();
    Ok(AbortOnDropHandle::new(match bound {
        Bound::Tcp(listener) => guests.spawn(carry_tcp(TcpListener::from_std(listener)?, address, port)),
        Bound::Udp(socket) => guests.spawn(carry_udp(UdpSocket::from_std(socket)?, address, port)),
    }))
}

async fn carry_tcp(listener: TcpListener, address: Address, port: u16) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Connections end with the port, as the task does.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                // Nobody listens: the client sees its connection closed.
                let Some(to) = address.table().resolve(address.ip(), port, Protocol::Tcp) else { continue };
                connections.spawn(async move {
                    // Either side's end is the other's to see, and nobody else's.
                    let _ = carry_stream(client, to).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, port, "cannot accept a connection at a host port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn carry_stream(mut client: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut task = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    task.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut task).await.map(drop)
}

/// Each client gets a socket of its own towards the task, so that answers find their way.
async fn carry_udp(socket: UdpSocket, address: Address, port: u16) {
    let socket = Arc::new(socket);
    let mut flows: HashMap<SocketAddr, (Arc<UdpSocket>, AbortOnDropHandle<()>)> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // An error here is a client that is gone.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        flows.retain(|_, (_, answering)| !answering.is_finished());
        let Some(to) = address.table().resolve(address.ip(), port, Protocol::Udp) else { continue };
        if !flows.contains_key(&client) {
            if flows.len() >= FLOWS_MAX {
                continue;
            }
            let Ok(towards) = connected(to).await else { continue };
            let towards = Arc::new(towards);
            let answering = tokio::spawn(answer(Arc::clone(&socket), Arc::clone(&towards), client));
            flows.insert(client, (towards, AbortOnDropHandle::new(answering)));
        }
        if let Some((towards, _)) = flows.get(&client) {
            // UDP may lose datagrams.
            let _ = towards.send(&buffer[..length]).await;
        }
    }
}

async fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(to).await?;
    Ok(socket)
}

async fn answer(to_clients: Arc<UdpSocket>, from_task: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while let Ok(Ok(length)) = tokio::time::timeout(FLOW_IDLE_MAX, from_task.recv(&mut buffer)).await {
        let _ = to_clients.send_to(&buffer[..length], client).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskId;
    use crate::network::{Endpoint, Table};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn wanted(container_port: u16, count: u16, protocol: Protocol, host_port: Option<u16>) -> HostPorts {
        HostPorts { container_port, count, protocol, host_port }
    }

    #[tokio::test]
    async fn a_connection_is_carried_to_where_the_task_listens() {
        let table = Table::starting_at(std::process::id().wrapping_mul(64));
        let address = table.attach(TaskId(1)).unwrap();
        let open = open(&Handle::current(), &address, &[wanted(80, 1, Protocol::Tcp, None)]).unwrap();
        let binding = &open.bindings[0];
        assert!(DYNAMIC.contains(&binding.host.port()) && binding.container_port == 80);
        // Before anybody listens the connection ends.
        let mut early = TcpStream::connect(binding.host).await.unwrap();
        assert_eq!(early.read(&mut [0; 8]).await.unwrap_or(0), 0);

        let service = TcpListener::bind((address.ip(), 0)).await.unwrap();
        let endpoint = Endpoint { real: service.local_addr().unwrap(), is_mapped: true };
        let _published = table.publish(&address, 80, Protocol::Tcp, endpoint).unwrap();
        let mut client = TcpStream::connect(binding.host).await.unwrap();
        client.write_all(b"ahoy").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut served, _) = service.accept().await.unwrap();
        let mut heard = String::new();
        served.read_to_string(&mut heard).await.unwrap();
        served.write_all(b"back").await.unwrap();
        drop(served);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!((heard.as_str(), answer.as_str()), ("ahoy", "back"));
    }

    #[tokio::test]
    async fn datagrams_find_their_way_back() {
        let table = Table::starting_at(std::process::id().wrapping_mul(64) + 32);
        let address = table.attach(TaskId(1)).unwrap();
        let service = UdpSocket::bind((address.ip(), 0)).await.unwrap();
        let endpoint = Endpoint { real: service.local_addr().unwrap(), is_mapped: true };
        let _published = table.publish(&address, 53, Protocol::Udp, endpoint).unwrap();
        let open = open(&Handle::current(), &address, &[wanted(53, 1, Protocol::Udp, None)]).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        client.send_to(b"ahoy", open.bindings[0].host).await.unwrap();
        let mut buffer = [0; 8];
        let (length, from) = service.recv_from(&mut buffer).await.unwrap();
        service.send_to(&buffer[..length], from).await.unwrap();
        let (length, from) = client.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&b"ahoy"[..], open.bindings[0].host));
    }

    #[tokio::test]
    async fn a_port_that_is_taken_fails_the_start_and_a_range_lies_together() {
        let table = Table::default();
        let address = table.attach(TaskId(1)).unwrap();
        let other = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let failure = open(&Handle::current(), &address, &[wanted(80, 1, Protocol::Tcp, Some(port))]).unwrap_err();
        let text = format!("CannotStartContainerError: Bind for 127.0.0.1:{port} failed: port is already allocated");
        assert_eq!(failure.text(), text);
        let range = open(&Handle::current(), &address, &[wanted(8000, 4, Protocol::Tcp, None)]).unwrap();
        let first = range.bindings[0].host.port();
        for port in first..first + 4 {
            assert!(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err(), "{port} is not open");
        }
        assert_eq!(range.bindings[0].count, 4);
    }
}
