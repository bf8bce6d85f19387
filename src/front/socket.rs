//! A listening socket and the loop that accepts on it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::front::dispatch::Dispatch;
use crate::front::workers::{Accepted, Datagrams, Dealt, Workers};
use crate::model::Arn;

/// Connections that the kernel keeps until we accept them; more is cut to the system's own limit.
const BACKLOG: u32 = 1_024;
/// A pause after the system refused to accept, which is mostly for want of descriptors: others must close first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Which socket a connection came in at.
#[derive(Clone, Debug)]
pub enum Site {
    /// The one port, for the API and for every load balancer by name.
    Open,
    /// A listener's own.
    Listener(Arn),
}

/// What all sockets share.
#[derive(Clone)]
pub struct Opener {
    dispatch: Arc<Dispatch>,
    workers: Arc<Workers>,
    connections: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
    control: Handle,
}

/// A connection's place among those that may be open.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    open: Arc<AtomicUsize>,
}

impl Place {
    fn taken(permit: OwnedSemaphorePermit, open: &Arc<AtomicUsize>) -> Place {
        open.fetch_add(1, Ordering::Relaxed);
        Place { _permit: permit, open: Arc::clone(open) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open socket. Dropped or closed, it accepts no more, and its connections end after what they are answering.
pub struct Opened {
    closing: CancellationToken,
}

impl Opened {
    pub fn close(&self) {
        self.closing.cancel();
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.close();
    }
}

pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of an earlier run may still linger in TIME_WAIT; a socket that listens is still refused.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket of datagrams, which no thread has registered yet.
pub fn listen_to_datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Opener {
    pub fn new(dispatch: Arc<Dispatch>, workers: Arc<Workers>, connections_max: usize, control: Handle) -> Opener {
        let connections = Arc::new(Semaphore::new(connections_max));
        Opener { dispatch, workers, connections, open: Arc::default(), control }
    }

    /// How many connections are open.
    pub fn connections(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.open)
    }

    pub fn open(&self, listener: TcpListener, site: Site) -> Opened {
        let opened = Opened { closing: CancellationToken::new() };
        self.accept_for(&opened, listener, site);
        opened
    }

    /// The sockets of a listener, which close together.
    pub fn open_all(&self, stream: Option<TcpListener>, datagrams: Option<UdpSocket>, arn: &Arn) -> Opened {
        let opened = Opened { closing: CancellationToken::new() };
        if let Some(listener) = stream {
            self.accept_for(&opened, listener, Site::Listener(arn.clone()));
        }
        if let Some(socket) = datagrams {
            let (dispatch, workers) = (Arc::clone(&self.dispatch), Arc::clone(&self.workers));
            let dealt = Datagrams { socket, listener: arn.clone(), dispatch, closing: opened.closing.clone() };
            self.control.spawn(async move { workers.deal(Dealt::Datagrams(dealt)).await });
        }
        opened
    }

    fn accept_for(&self, opened: &Opened, listener: TcpListener, site: Site) {
        self.control.spawn(self.clone().accept(listener, Arc::new(site), opened.closing.clone()));
    }

    /// At the limit of connections nothing more is accepted: who waits does so in the kernel's queue.
    async fn accept(self, listener: TcpListener, site: Arc<Site>, closing: CancellationToken) {
        loop {
            let accepted = async {
                let permit = Arc::clone(&self.connections).acquire_owned().await.ok()?;
                Some((permit, listener.accept().await))
            };
            let accepted = tokio::select! {
                () = closing.cancelled() => return,
                accepted = accepted => accepted,
            };
            match accepted {
                None => return,
                Some((permit, Ok((stream, peer)))) => {
                    // Taken off this runtime: the thread that serves it registers it with its own.
                    let Ok(stream) = stream.into_std() else { continue };
                    let (dispatch, site, closing) = (Arc::clone(&self.dispatch), Arc::clone(&site), closing.clone());
                    let place = Place::taken(permit, &self.open);
                    let accepted = Accepted { stream, peer, dispatch, site, closing, place };
                    self.workers.deal(Dealt::Connection(accepted)).await;
                }
                Some((_, Err(error))) => {
                    tracing::warn!(%error, ?site, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
