//! The connection to a target that carries a client's.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::proxy::connect::{self, CONNECT_TIMEOUT};
use crate::proxy::stream::settings::StreamSettings;
use crate::proxy::stream::{Carried, proxy_header};
use crate::proxy::tls::client::{Alpn, connect_tls};

pub enum Dialled {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects, says who the client is where the group wants that, and begins TLS where the target speaks it.
pub async fn dial<S>(
    address: Option<SocketAddr>,
    settings: &StreamSettings,
    carried: &Carried<S>,
) -> io::Result<Dialled> {
    let address = address.ok_or(io::ErrorKind::ConnectionRefused)?;
    let mut stream = match source(settings, carried.peer, address) {
        Some(source) => from(source, address).await?,
        None => connect::open(address).await.map_err(io::Error::other)?,
    };
    if settings.proxy_protocol {
        stream.write_all(&proxy_header::of_client(carried.peer, carried.local)?).await?;
    }
    if settings.is_tls {
        return Ok(Dialled::Tls(Box::new(connect_tls(stream, None, Alpn::None).await?)));
    }
    Ok(Dialled::Plain(stream))
}

/// The client's address, where the group keeps it and it can be one end of a connection here: loopback to loopback. A
/// client from elsewhere cannot be stood in for without rights that we do not ask for.
pub fn source(settings: &StreamSettings, peer: SocketAddr, target: SocketAddr) -> Option<IpAddr> {
    let ip = peer.ip().to_canonical();
    let can = ip.is_loopback() && target.ip().is_loopback() && ip.is_ipv4() == target.is_ipv4();
    (settings.preserves_client && can).then_some(ip)
}

async fn from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(source, 0))?;
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, socket.connect(address)).await??;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
