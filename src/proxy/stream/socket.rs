//! Both ends of a carried connection: a socket, with TLS over it or without.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the connection end with a reset when it is dropped, so that its peer knows that something is missing.
    fn abort(&self);
}

impl Socket for TcpStream {
    fn abort(&self) {
        // Without it the peer sees an ordinary end.
        let _ = self.set_zero_linger();
    }
}

impl Socket for tokio_rustls::server::TlsStream<TcpStream> {
    fn abort(&self) {
        self.get_ref().0.abort();
    }
}

impl Socket for tokio_rustls::client::TlsStream<TcpStream> {
    fn abort(&self) {
        self.get_ref().0.abort();
    }
}
