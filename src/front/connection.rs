//! One connection: what comes in with it, its limits, and its end.

mod drive;
mod http;
mod parked;
mod pulse;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::front::connection::http::{Connection, Spoken};
use crate::front::dispatch::Dispatch;
use crate::front::socket::Site;
use crate::front::workers::Accepted;
use crate::proxy::{Arrival, Carried, Client, HandshakeError, TlsSession};

pub use pulse::Pulse;

/// How long the first bytes may take at the open port, where nobody can say otherwise: ELB's idle time-out.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// For how long a connection to the open port is used.
const KEEP_ALIVE: Duration = Duration::from_secs(3600);
/// The first byte of TLS: a record of the handshake. No request begins with it.
const TLS_FIRST: u8 = 0x16;

/// Serves a connection to its end. Each kind's part is a future of its own on the heap, so that ten thousand idle ones
/// take what they are and not what they might have been.
pub async fn serve(accepted: Accepted) {
    let Accepted { stream, peer, dispatch, site, closing, place } = accepted;
    let _place = place;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, %peer, "could not take over a connection"),
    };
    // Without it responses are only slower.
    let _ = stream.set_nodelay(true);
    let arrived = Arrived { stream, peer, dispatch, site, closing };
    match &*arrived.site {
        Site::Open => arrived.at_open_port().await,
        Site::Listener(arn) => match arrived.dispatch.proxy().arrival(arn) {
            Some(arrival) if arrival.is_http() => arrived.at_http(&arrival).await,
            Some(arrival) => Box::pin(arrived.carried(arrival)).await,
            // The listener was deleted at this moment.
            None => {}
        },
    }
}

struct Arrived {
    stream: TcpStream,
    peer: SocketAddr,
    dispatch: Arc<Dispatch>,
    site: Arc<Site>,
    closing: CancellationToken,
}

impl Arrived {
    /// In the clear or not: its first byte says which.
    async fn at_open_port(self) {
        let Some(spoken) = self.first_bytes(IDLE_TIMEOUT).await else { return };
        if spoken == Spoken::Tls {
            let closing = self.closing.clone();
            let Arrived { stream, peer, dispatch, site, .. } = self;
            let handshake = Box::pin(dispatch.proxy().handshake_by_name(stream));
            let Some((stream, session)) = or_closed(&closing, peer, handshake).await else { return };
            let (idle, keep_alive) = (IDLE_TIMEOUT, KEEP_ALIVE);
            let spoken = Spoken::of_alpn(stream.get_ref().1.alpn_protocol());
            let client = Client::new(peer, Some(session));
            let connection = Connection { client, dispatch, site, closing, idle, keep_alive };
            return Box::pin(connection.serve(stream, spoken)).await;
        }
        let client = Client::plain(self.peer);
        self.plain(client, spoken, IDLE_TIMEOUT, KEEP_ALIVE).await;
    }

    /// At the port of a listener of HTTP or HTTPS.
    async fn at_http(self, arrival: &Arrival) {
        let (idle, keep_alive) = (arrival.idle_timeout(), arrival.keep_alive());
        if !arrival.is_tls() {
            let client = Client::plain(self.peer);
            arrival.connected(&client);
            let Some(spoken) = self.first_bytes(idle).await else { return };
            return self.plain(client, spoken, idle, keep_alive).await;
        }
        let Arrived { stream, peer, dispatch, site, closing } = self;
        let Some((stream, session)) = or_closed(&closing, peer, Box::pin(arrival.handshake(stream))).await else {
            return;
        };
        let spoken = Spoken::of_alpn(stream.get_ref().1.alpn_protocol());
        let client = Client::new(peer, Some(session));
        arrival.connected(&client);
        let connection = Connection { client, dispatch, site, closing, idle, keep_alive };
        Box::pin(connection.serve(stream, spoken)).await;
    }

    async fn plain(self, client: Client, spoken: Spoken, idle: Duration, keep_alive: Duration) {
        let Arrived { stream, dispatch, site, closing, .. } = self;
        let connection = Connection { client, dispatch, site, closing, idle, keep_alive };
        Box::pin(connection.serve(stream, spoken)).await;
    }

    /// At the port of a listener of TCP or TLS.
    async fn carried(self, arrival: Arrival) {
        let Arrived { stream, peer, closing, .. } = self;
        let local = match stream.local_addr() {
            Ok(local) => local,
            Err(error) => return tracing::debug!(%error, %peer, "a connection was gone at once"),
        };
        if !arrival.is_tls() {
            return arrival.carry(Carried { stream, peer, local, closing }).await;
        }
        if let Some((stream, _)) = or_closed(&closing, peer, arrival.handshake(stream)).await {
            arrival.carry(Carried { stream, peer, local, closing }).await;
        }
    }

    /// Looks at them without taking them. `None` where the connection ends, or stays silent for `idle`.
    async fn first_bytes(&self, idle: Duration) -> Option<Spoken> {
        tokio::select! {
            spoken = tokio::time::timeout(idle, spoken(&self.stream)) => spoken.ok()?.ok(),
            // Nothing was asked yet.
            () = self.closing.cancelled() => None,
        }
    }
}

/// The session, unless the listener closes before there is one.
async fn or_closed(
    closing: &CancellationToken,
    peer: SocketAddr,
    handshake: impl Future<Output = Result<(TlsStream<TcpStream>, TlsSession), HandshakeError>>,
) -> Option<(TlsStream<TcpStream>, TlsSession)> {
    let accepted = tokio::select! {
        accepted = handshake => accepted,
        () = closing.cancelled() => return None,
    };
    match accepted {
        Ok(session) => Some(session),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::debug!(%peer, %error, cause, "no TLS session with a client");
            None
        }
    }
}

/// HTTP/2 begins with `PRI `, which no method of HTTP/1.1 does.
async fn spoken(stream: &TcpStream) -> std::io::Result<Spoken> {
    let mut first = [0; 4];
    let read = stream.peek(&mut first).await?;
    Ok(match &first[..read] {
        b"" => return Err(std::io::ErrorKind::UnexpectedEof.into()),
        [TLS_FIRST, ..] => Spoken::Tls,
        b"PRI " => Spoken::Http2,
        short if b"PRI ".starts_with(short) => Spoken::Unclear,
        _ => Spoken::Http1,
    })
}
