//! The threads of the data path: each has a runtime of its own, and every connection stays where it was dealt to.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::front::connection;
use crate::front::dispatch::Dispatch;
use crate::front::socket::{Place, Site};
use crate::model::Arn;

/// Connections that were accepted and that a thread has not taken over yet, which takes it microseconds unless all of it
/// is busy; then it is better that the next wait in the kernel's queue.
const ACCEPTED_WAITING_MAX: usize = 128;

/// A connection on its way to its thread.
pub struct Accepted {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub dispatch: Arc<Dispatch>,
    pub site: Arc<Site>,
    /// Cancelled when the socket that it came in at closes.
    pub closing: CancellationToken,
    pub place: Place,
}

/// A socket of datagrams, which stays with the thread that it is dealt to.
pub struct Datagrams {
    pub socket: UdpSocket,
    pub listener: Arn,
    pub dispatch: Arc<Dispatch>,
    pub closing: CancellationToken,
}

/// What threads are dealt.
pub enum Dealt {
    Connection(Accepted),
    Datagrams(Datagrams),
}

pub struct Workers {
    threads: Mutex<Vec<JoinHandle<()>>>,
    queues: Vec<mpsc::Sender<Dealt>>,
    turn: AtomicUsize,
    /// When to end, and how long connections may take for it.
    end: watch::Sender<Option<Duration>>,
}

impl Workers {
    pub fn start(count: usize) -> io::Result<Workers> {
        let mut threads = Vec::new();
        let mut queues = Vec::new();
        let end = watch::Sender::new(None);
        for number in 0..count.max(1) {
            // Guests are polled in place, so sockets are looked at often: others wait four slices at most. After every poll
            // instead of every fourth costs a tenth of all requests, measured.
            let runtime = Builder::new_current_thread().enable_all().event_interval(4).build()?;
            let (queue, dealt) = mpsc::channel(ACCEPTED_WAITING_MAX);
            let ended = end.subscribe();
            let thread = std::thread::Builder::new().name(format!("front-{number}"));
            threads.push(thread.spawn(move || run(&runtime, dealt, ended))?);
            queues.push(queue);
        }
        Ok(Workers { threads: Mutex::new(threads), queues, turn: AtomicUsize::new(0), end })
    }

    /// Hands a connection, or a socket, to the next thread in turn.
    pub async fn deal(&self, dealt: Dealt) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.queues.len();
        // An error means that the thread has ended, as it does at the end of everything: then the connection closes.
        let _ = self.queues[turn].send(dealt).await;
    }

    /// Lets connections end for at most `drain`, then the threads.
    pub async fn end(&self, drain: Duration) {
        self.end.send_replace(Some(drain));
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().filter_map(|thread| thread.join().err()).count());
        match joined.await {
            Ok(0) => {}
            Ok(panicked) => tracing::error!(panicked, "threads of the data path ended in a panic"),
            Err(error) => tracing::error!(%error, "the threads of the data path could not be waited for"),
        }
    }
}

fn run(runtime: &Runtime, mut dealt: mpsc::Receiver<Dealt>, mut end: watch::Receiver<Option<Duration>>) {
    let connections = TaskTracker::new();
    runtime.block_on(async {
        let drain = loop {
            tokio::select! {
                dealt = dealt.recv() => match dealt {
                    Some(Dealt::Connection(accepted)) => {
                        connections.spawn(connection::serve(accepted));
                    }
                    Some(Dealt::Datagrams(datagrams)) => {
                        connections.spawn(async move {
                            let Datagrams { socket, listener, dispatch, closing } = datagrams;
                            dispatch.proxy().carry_datagrams(&listener, socket, closing).await;
                        });
                    }
                    None => break Duration::ZERO,
                },
                ended = end.wait_for(Option::is_some) => break ended.ok().and_then(|drain| *drain).unwrap_or_default(),
            }
        };
        dealt.close();
        connections.close();
        if tokio::time::timeout(drain, connections.wait()).await.is_err() {
            tracing::info!(connections = connections.len(), "closing connections that did not end in time");
        }
    });
}
