//! Gets the document with an issuer's keys: by HTTPS, judged by the machine's roots, or by plain HTTP from this machine.
//!
//! Where it may lead is decided by address, after the name was looked up and for the very connection that is made: never
//! to link-local addresses, where clouds keep a machine's credentials. Redirects are not followed, and everything has a
//! limit, as the other end may be anybody's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

/// Of the whole fetch. Requests may wait for it, and give up themselves a good while later.
const TIMEOUT: Duration = Duration::from_secs(5);

/// ELB's bound.
const DOCUMENT_BYTES_MAX: usize = 150 * 1024;

/// Beside 169.254.169.254: Azure's, Alibaba Cloud's and Oracle's addresses for the machine's own credentials.
const MACHINE_CREDENTIALS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

/// Why there are no keys.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the endpoint is no address of keys")]
    Endpoint,
    #[error("the endpoint leads to an address that is out of reach")]
    Forbidden,
    #[error("the endpoint cannot be reached")]
    Connect(#[source] Arc<io::Error>),
    #[error("the endpoint does not speak HTTP")]
    Http(#[source] Arc<hyper::Error>),
    #[error("the endpoint answered {0}")]
    Status(StatusCode),
    #[error("the endpoint took too long")]
    TimedOut,
    #[error("the endpoint's document is too large, or has too many keys")]
    TooLarge,
    #[error("the endpoint's document has no key that can be used")]
    NoKeys,
}

impl FetchError {
    /// The `error_reason` of access logs.
    pub fn reason(&self) -> &'static str {
        match self {
            FetchError::TimedOut => "JWKSRequestTimeout",
            FetchError::TooLarge => "JWKSResponseSizeExceeded",
            FetchError::NoKeys => "JWKSResponseInvalid",
            FetchError::Endpoint
            | FetchError::Forbidden
            | FetchError::Connect(_)
            | FetchError::Http(_)
            | FetchError::Status(_) => "JWKSRequestFailed",
        }
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> FetchError {
        FetchError::Connect(Arc::new(error))
    }
}

impl From<hyper::Error> for FetchError {
    fn from(error: hyper::Error) -> FetchError {
        FetchError::Http(Arc::new(error))
    }
}

pub async fn get(endpoint: &Uri) -> Result<Bytes, FetchError> {
    tokio::time::timeout(TIMEOUT, within_time(endpoint)).await.unwrap_or(Err(FetchError::TimedOut))
}

async fn within_time(endpoint: &Uri) -> Result<Bytes, FetchError> {
    let host = endpoint.host().ok_or(FetchError::Endpoint)?;
    let is_secure = match endpoint.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(FetchError::Endpoint),
    };
    let port = endpoint.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = connect(name, port, is_secure).await?;
    if is_secure {
        let server = ServerName::try_from(name.to_owned()).map_err(|_| FetchError::Endpoint)?;
        document(endpoint, connector().await?.connect(server, stream).await?).await
    } else {
        document(endpoint, stream).await
    }
}

async fn connect(name: &str, port: u16, is_secure: bool) -> Result<TcpStream, FetchError> {
    let mut failure = FetchError::Forbidden;
    for address in tokio::net::lookup_host((name, port)).await? {
        if !is_allowed(address.ip(), is_secure) {
            continue;
        }
        match TcpStream::connect(SocketAddr::new(address.ip().to_canonical(), port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// In the clear only to this machine, where nobody stands between.
fn is_allowed(address: IpAddr, is_secure: bool) -> bool {
    let address = address.to_canonical();
    if !is_secure {
        return address.is_loopback();
    }
    match address {
        IpAddr::V4(ip) => {
            let is_nobodys = ip.octets()[0] == 0 || ip.is_broadcast() || ip.is_multicast();
            !is_nobodys && !ip.is_link_local() && !MACHINE_CREDENTIALS.contains(&ip)
        }
        // fd00:ec2::254 is the metadata service of EC2.
        IpAddr::V6(ip) => {
            let is_metadata = ip.segments()[..2] == [0xfd00, 0x0ec2];
            !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local() && !is_metadata
        }
    }
}

async fn document<S>(endpoint: &Uri, stream: S) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its sender, at the latest.
    tokio::spawn(connection);
    let path = endpoint.path_and_query().map_or("/", |path| path.as_str());
    let authority = endpoint.authority().ok_or(FetchError::Endpoint)?.as_str();
    let request = Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, "coracle")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Endpoint)?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    match Limited::new(response.into_body(), DOCUMENT_BYTES_MAX).collect().await {
        Ok(document) => Ok(document.to_bytes()),
        Err(error) => match error.downcast::<hyper::Error>() {
            Ok(error) => Err((*error).into()),
            Err(_) => Err(FetchError::TooLarge),
        },
    }
}

/// With the machine's roots, read once and only when somebody needs them.
async fn connector() -> Result<TlsConnector, FetchError> {
    static CONNECTOR: OnceCell<TlsConnector> = OnceCell::const_new();
    // Reading some hundred files is no work for a thread that serves others.
    let load = || async { tokio::task::spawn_blocking(load).await.map_err(io::Error::other)? };
    Ok(CONNECTOR.get_or_try_init(load).await?.clone())
}

fn load() -> io::Result<TlsConnector> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read a root certificate of this machine");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_machines_credentials_are_out_of_reach_in_any_form() {
        for (address, secure, plain) in [
            ("127.0.0.1", true, true),
            ("::1", true, true),
            ("10.0.0.1", true, false),
            ("192.0.2.1", true, false),
            ("2001:db8::1", true, false),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("169.254.170.2", false, false),
            ("168.63.129.16", false, false),
            ("fe80::1", false, false),
            ("fd00:ec2::254", false, false),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("224.0.0.1", false, false),
        ] {
            let ip = address.parse().unwrap();
            assert_eq!((is_allowed(ip, true), is_allowed(ip, false)), (secure, plain), "{address}");
        }
    }

    #[tokio::test]
    async fn other_schemes_and_forbidden_addresses_are_not_fetched() {
        let reason =
            |endpoint: &'static str| async move { get(&endpoint.parse().unwrap()).await.unwrap_err().to_string() };
        assert!(reason("ftp://localhost/keys").await.contains("no address of keys"));
        assert!(reason("https://169.254.169.254/keys").await.contains("out of reach"));
        assert!(reason("http://192.0.2.1/keys").await.contains("out of reach"));
    }
}
