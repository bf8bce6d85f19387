//! Datagrams of a network load balancer: UDP, and the UDP of TCP_UDP.
//!
//! There are no connections, so there are flows: what comes from one client's address and port goes to one target, through
//! a socket of its own, whose answers go back to that client. A flow ends when nothing moved for a while, when its target
//! says that nothing listens, or when it goes; the client's next datagram then begins another.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::network::{MACHINE, is_task_address};
use crate::proxy::routes::Route;
use crate::proxy::spec::Endpoint;
use crate::proxy::stream::{Chosen, GroupStreamSettings, choose, group_of, source, target_ended};

/// As long as ELB keeps a flow without a datagram.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Flows of one listener: a descriptor and a few hundred bytes each. Beyond it new clients are not heard until others have
/// been quiet for long enough.
const FLOWS_MAX: usize = 4_096;
/// As large as a datagram can be.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// Read into by every flow of the thread in turn, so that a flow at rest holds no buffer.
    static DATAGRAM: RefCell<Box<[u8]>> = RefCell::new(vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice());
}

/// The flows of one socket.
struct Flows {
    socket: UdpSocket,
    by_client: Mutex<HashMap<SocketAddr, Flow>>,
    started: Instant,
    /// Given to flows, so that one that ends takes out itself and no successor.
    last: AtomicU64,
}

struct Flow {
    id: u64,
    target: Arc<UdpSocket>,
    moved_ms: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a client's datagram went nowhere.
#[derive(Debug, thiserror::Error)]
enum FlowError {
    #[error("the listener is gone")]
    NoListener,
    #[error("there are {FLOWS_MAX} flows already")]
    TooMany,
    #[error("no target")]
    NoTarget,
    #[error("the target is a handler, which takes HTTP only")]
    Handler,
    #[error("the target does not listen")]
    NotListening,
    #[error("no socket")]
    Socket(#[source] io::Error),
}

/// Carries what comes in at a socket until the listener is closed. `route` is what the listener is at the moment.
pub async fn serve(socket: UdpSocket, closing: CancellationToken, route: impl Fn() -> Option<Arc<Route>>) {
    let flows =
        Arc::new(Flows { socket, by_client: Mutex::default(), started: Instant::now(), last: AtomicU64::new(0) });
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let received = tokio::select! {
            () = closing.cancelled() => break,
            received = flows.socket.recv_from(&mut datagram) => received,
        };
        match received {
            Ok((length, client)) => flows.send(client, &datagram[..length], &route).await,
            // An earlier answer met a client that is gone: that is said here on some systems, and concerns only that one.
            Err(error) => tracing::debug!(%error, "could not take a datagram"),
        }
    }
    flows.by_client.lock().clear();
}

impl Flows {
    /// To the client's target. Datagrams may be lost: what cannot be sent at once is not kept.
    async fn send(self: &Arc<Flows>, client: SocketAddr, datagram: &[u8], route: &impl Fn() -> Option<Arc<Route>>) {
        let known =
            self.by_client.lock().get(&client).map(|flow| (Arc::clone(&flow.target), Arc::clone(&flow.moved_ms)));
        let (target, moved_ms) = match known {
            Some(known) => known,
            None => match self.begin(client, route).await {
                Ok(begun) => begun,
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    return tracing::debug!(%client, %error, cause, "dropped a datagram");
                }
            },
        };
        moved_ms.store(self.now_ms(), Ordering::Relaxed);
        if let Err(error) = target.send(datagram).await {
            tracing::debug!(%client, %error, "a datagram did not reach its target");
            self.by_client.lock().remove(&client);
        }
    }

    async fn begin(
        self: &Arc<Flows>,
        client: SocketAddr,
        route: &impl Fn() -> Option<Arc<Route>>,
    ) -> Result<(Arc<UdpSocket>, Arc<AtomicU64>), FlowError> {
        if self.by_client.lock().len() >= FLOWS_MAX {
            return Err(FlowError::TooMany);
        }
        let route = route().ok_or(FlowError::NoListener)?;
        let group = group_of(&route).ok_or(FlowError::NoTarget)?;
        let settings = GroupStreamSettings::of(&group.members.load().record);
        let chosen = choose(&group, &settings, client.ip(), &[]).ok_or(FlowError::NoTarget)?;
        let address = match &chosen.0.endpoint {
            Endpoint::Tcp(address) => *address,
            Endpoint::Local(_) => return Err(FlowError::Handler),
            Endpoint::NotListening => return Err(FlowError::NotListening),
        };
        let socket = connect(source(&settings, client, address), address).await.map_err(FlowError::Socket)?;
        let (target, moved_ms) = (Arc::new(socket), Arc::new(AtomicU64::new(self.now_ms())));
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let (flows, socket, moved) = (Arc::clone(self), Arc::clone(&target), Arc::clone(&moved_ms));
        let task = tokio::spawn(async move {
            let (standing, chosen): (_, Chosen) = (Arc::clone(&chosen.0.state), chosen);
            tokio::select! {
                () = flows.answer(client, &socket, &moved) => {}
                () = target_ended(&standing, &group, standing.told.notified()) => {}
            }
            drop(chosen);
            flows.end(client, id);
        });
        let flow = Flow { id, target: Arc::clone(&target), moved_ms: Arc::clone(&moved_ms), task: task.abort_handle() };
        self.by_client.lock().insert(client, flow);
        Ok((target, moved_ms))
    }

    /// Brings answers back, until nothing moved for long enough or the target refuses.
    async fn answer(&self, client: SocketAddr, target: &UdpSocket, moved_ms: &AtomicU64) {
        loop {
            let deadline = self.started + Duration::from_millis(moved_ms.load(Ordering::Relaxed)) + IDLE_TIMEOUT;
            match tokio::time::timeout_at(deadline, target.readable()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) if moved_ms.load(Ordering::Relaxed) + millis(IDLE_TIMEOUT) <= self.now_ms() => return,
                Err(_) => continue,
            }
            let passed = DATAGRAM.with_borrow_mut(|datagram| {
                let length = target.try_recv(datagram)?;
                // Where the client's side is full, the answer is lost, as it would be on the way.
                let _ = self.socket.try_send_to(&datagram[..length], client);
                io::Result::Ok(())
            });
            match passed {
                Ok(()) => moved_ms.store(self.now_ms(), Ordering::Relaxed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return tracing::debug!(%client, %error, "a flow of datagrams ended"),
            }
        }
    }

    fn end(&self, client: SocketAddr, id: u64) {
        let mut by_client = self.by_client.lock();
        if by_client.get(&client).is_some_and(|flow| flow.id == id) {
            by_client.remove(&client);
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A socket to the target, from the client's address where that is kept, else from where tasks know the machine.
async fn connect(source: Option<IpAddr>, target: SocketAddr) -> io::Result<UdpSocket> {
    let any = if target.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let own = match target.ip() {
        IpAddr::V4(ip) if is_task_address(ip) => IpAddr::V4(MACHINE),
        _ => any,
    };
    let socket = match UdpSocket::bind((source.unwrap_or(own), 0)).await {
        Ok(socket) => socket,
        Err(_) => UdpSocket::bind((any, 0)).await?,
    };
    socket.connect(target).await?;
    Ok(socket)
}
