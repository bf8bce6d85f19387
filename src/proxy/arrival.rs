//! A connection that came in at a listener: what it is for, and how it begins.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::model::Arn;
use crate::model::load_balancer::LoadBalancerKind;
use crate::proxy::access_log::{ConnectionEntry, Outcome};
use crate::proxy::client::{Client, ConnectionId, TlsSession};
use crate::proxy::observers::Observers;
use crate::proxy::routes::{Entrance, Route};
use crate::proxy::stream::{self, Carried, Socket};
use crate::proxy::tls::{HandshakeError, Tls};
use crate::proxy::{Proxy, datagram};

/// What `client_keep_alive.seconds` is by default.
const KEEP_ALIVE: Duration = Duration::from_secs(3600);

/// A listener as it is at the moment when a connection comes in.
pub struct Arrival {
    route: Arc<Route>,
    tls: Arc<Tls>,
    observers: Arc<Observers>,
    /// How long the handshake took, if there was one.
    handshake: OnceLock<Duration>,
}

impl Proxy {
    /// For a connection at a listener's own port; `None` where the listener has just gone.
    pub fn arrival(&self, listener: &Arn) -> Option<Arrival> {
        let route = Arc::clone(self.shared.routes.load().of_listener(listener)?);
        let (tls, observers) = (Arc::clone(&self.shared.tls), Arc::clone(&self.shared.observers));
        Some(Arrival { route, tls, observers, handshake: OnceLock::new() })
    }

    /// Ends TLS at the open port: the server name says which load balancer is meant.
    pub async fn handshake_by_name(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, TlsSession), HandshakeError> {
        let routes = self.shared.routes.load_full();
        let tls = &self.shared.tls;
        tls.accept(stream, |hello| routes.find(Entrance::SecureHost, hello.server_name())?.tls.clone()).await
    }

    /// Carries what comes in at a listener's socket of UDP, until `closing`.
    pub async fn carry_datagrams(&self, listener: &Arn, socket: UdpSocket, closing: CancellationToken) {
        match tokio::net::UdpSocket::from_std(socket) {
            Ok(socket) => {
                let route = || self.shared.routes.load().of_listener(listener).cloned();
                datagram::serve(socket, closing, route).await;
            }
            Err(error) => tracing::warn!(%error, %listener, "could not take over a socket"),
        }
    }
}

impl Arrival {
    /// Whether requests come in, or bytes of which nothing is known.
    pub fn is_http(&self) -> bool {
        self.route.balancer.record.kind == LoadBalancerKind::Application
    }

    pub fn is_tls(&self) -> bool {
        self.route.tls.is_some()
    }

    /// `idle_timeout.timeout_seconds` of the load balancer.
    pub fn idle_timeout(&self) -> Duration {
        self.route.balancer.settings.idle_timeout
    }

    /// For how long a connection is used for requests: `client_keep_alive.seconds`.
    pub fn keep_alive(&self) -> Duration {
        let attributes = &self.route.balancer.record.attributes;
        let seconds = attributes.get("client_keep_alive.seconds").and_then(|text| text.parse().ok());
        seconds.map_or(KEEP_ALIVE, Duration::from_secs)
    }

    /// Ends TLS of the connection. What fails is counted, and is mostly the client's doing.
    pub async fn handshake(&self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, TlsSession), HandshakeError> {
        let (peer, begun) = (stream.peer_addr(), Instant::now());
        let accepted = self.tls.accept(stream, |_| self.route.tls.clone()).await;
        if accepted.is_ok() {
            self.handshake.get_or_init(|| begun.elapsed());
            return accepted;
        }
        self.route.balancer.counts.client_tls_errors.fetch_add(1, Ordering::Relaxed);
        if let Ok(peer) = peer {
            // The only word that ELB has for what is not about a client's certificate.
            self.tell(peer, None, Outcome::Failed("UnmappedConnectionError"), ConnectionId::next());
        }
        accepted
    }

    /// A connection for requests has begun.
    pub fn connected(&self, client: &Client) {
        client.belongs_to(&self.route.balancer);
        let outcome = if client.tls.is_some() { Outcome::Success } else { Outcome::Plain };
        self.tell(client.peer, client.tls.as_ref(), outcome, client.connection);
    }

    /// Tells the connection log.
    fn tell(&self, client: SocketAddr, tls: Option<&TlsSession>, outcome: Outcome, connection: ConnectionId) {
        let (port, handshake) = (self.route.record.port, self.handshake.get().copied());
        let entry = ConnectionEntry { at: SystemTime::now(), client, port, tls, handshake, outcome, connection };
        self.observers.connection(&self.route.balancer, &entry);
    }

    /// Carries a connection of a network load balancer to its end.
    pub async fn carry<S: Socket + 'static>(&self, carried: Carried<S>) {
        stream::carry(&self.route, carried).await;
    }
}
