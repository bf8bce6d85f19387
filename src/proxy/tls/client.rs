//! TLS to targets, which is encrypted and not verified.
//!
//! ELB does not look at the certificates of targets: they may be self-signed, expired or for another name, because it is
//! the network between load balancer and target that it trusts. Neither do we look, so whoever works there works here.
//! The proof that a target has the key of its certificate is not checked either: it says nothing about a certificate that
//! anyone can make, and checking it would refuse what ELB takes, such as certificates of version 1.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// As long as connecting to a target may take: a handshake is two more round trips and some computing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What will be spoken within, as the target is told by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// Nothing is offered: bytes of a TLS target group, or a check that only connects.
    None,
    Http1,
    Http2,
}

/// Begins TLS on a connection to a target, within a bounded time.
///
/// `server_name` is told to the target by SNI where it is a name; an address, or nothing, is not sent, as the protocol has
/// it. A target that answers another protocol than it was offered ends the handshake; one that ignores ALPN goes on.
pub async fn connect_tls(stream: TcpStream, server_name: Option<&str>, alpn: Alpn) -> io::Result<TlsStream<TcpStream>> {
    let name = match server_name.and_then(|name| ServerName::try_from(name.to_owned()).ok()) {
        Some(name) => name,
        None => ServerName::from(stream.peer_addr()?.ip()),
    };
    let connector = TlsConnector::from(Arc::clone(config(alpn)));
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, connector.connect(name, stream)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")),
    }
}

fn config(alpn: Alpn) -> &'static Arc<ClientConfig> {
    static NONE: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| unverified(&[]));
    static HTTP1: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| unverified(&[b"http/1.1"]));
    static HTTP2: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| unverified(&[b"h2"]));
    match alpn {
        Alpn::None => &NONE,
        Alpn::Http1 => &HTTP1,
        Alpn::Http2 => &HTTP2,
    }
}

/// What takes any certificate and offers these protocols.
pub fn unverified(protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3");
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(schemes))).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    // Sessions are remembered by server name, which many targets share: one's ticket is nothing to another.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

#[derive(Debug)]
struct Unverified(Vec<SignatureScheme>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A target whose certificate ended long ago, and is for another name.
    fn acceptor() -> TlsAcceptor {
        let mut params = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    async fn connected(name: Option<&str>, alpn: Alpn) -> (Option<String>, Option<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor().accept(stream).await.unwrap();
            let asked = stream.get_ref().1.server_name().map(str::to_owned);
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
            asked
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = connect_tls(stream, name, alpn).await.unwrap();
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "hello");
        (target.await.unwrap(), agreed)
    }

    #[tokio::test]
    async fn a_target_is_taken_with_any_certificate_and_told_name_and_protocol() {
        assert_eq!(connected(Some("web.example"), Alpn::Http2).await, (Some("web.example".into()), Some("h2".into())));
        assert_eq!(connected(Some("127.0.0.1"), Alpn::Http1).await, (None, Some("http/1.1".into())));
        assert_eq!(connected(None, Alpn::None).await, (None, None));
    }

    #[tokio::test]
    async fn a_target_that_speaks_no_tls_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let error = connect_tls(stream, None, Alpn::Http1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
