//! A listening socket and the loop that accepts on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::front::dispatch::Dispatch;
use crate::front::workers::{Accepted, Workers};
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
    control: Handle,
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

impl Opener {
    pub fn new(dispatch: Arc<Dispatch>, workers: Arc<Workers>, connections_max: usize, control: Handle) -> Opener {
        Opener { dispatch, workers, connections: Arc::new(Semaphore::new(connections_max)), control }
    }

    pub fn open(&self, listener: TcpListener, site: Site) -> Opened {
        let closing = CancellationToken::new();
        self.control.spawn(self.clone().accept(listener, Arc::new(site), closing.clone()));
        Opened { closing }
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
                    self.workers.deal(Accepted { stream, peer, dispatch, site, closing, permit }).await;
                }
                Some((_, Err(error))) => {
                    tracing::warn!(%error, ?site, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
