//! The handshake with a client: which certificate it is shown, and what is spoken afterwards.

use std::cmp::Reverse;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::{Acceptor, ClientHello};
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::model::load_balancer::LoadBalancerKind;
use crate::model::{Listener, LoadBalancer};
use crate::proxy::client::TlsSession;
use crate::proxy::tls::Tls;
use crate::proxy::tls::certificate::Certificate;
use crate::proxy::tls::certificates::Certificates;
use crate::proxy::tls::policy::Policy;

/// As long as ELB gives a client for its part of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no session with a client.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("the handshake took too long")]
    TimedOut,
    #[error("the listener has no certificate that could be used")]
    NoCertificate,
    #[error("the handshake failed")]
    Failed(#[source] io::Error),
}

/// A listener of HTTPS or TLS.
pub struct ListenerTls {
    record: Arc<Listener>,
    balancer: Arc<LoadBalancer>,
    /// Replaced when the operator's files change.
    offers: ArcSwap<Vec<Offer>>,
}

/// A certificate that clients may be shown; the first is the default.
struct Offer {
    certificate: Arc<Certificate>,
    config: Arc<ServerConfig>,
    /// For clients that ask for none of our protocols: ELB goes on without, where rustls would end the handshake.
    without_alpn: Arc<ServerConfig>,
}

impl Tls {
    /// Ends TLS of a client's connection, for the listener that `find` gives; within a bounded time, which counts the wait
    /// for a place among the handshakes.
    pub async fn accept<S>(
        &self,
        stream: S,
        find: impl FnOnce(&ClientHello<'_>) -> Option<Arc<ListenerTls>>,
    ) -> Result<(TlsStream<S>, TlsSession), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = async {
            let _place = self.handshakes.acquire().await.map_err(|_| HandshakeError::TimedOut)?;
            let acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
            let start = acceptor.await.map_err(HandshakeError::Failed)?;
            let chosen = {
                let hello = start.client_hello();
                find(&hello).and_then(|listener| listener.choose(&hello))
            };
            let (config, certificate) = chosen.ok_or(HandshakeError::NoCertificate)?;
            let stream = start.into_stream(config).await.map_err(HandshakeError::Failed)?;
            let session = TlsSession::of(stream.get_ref().1, &certificate.arn);
            Ok((stream, session))
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.unwrap_or(Err(HandshakeError::TimedOut))
    }
}

impl ListenerTls {
    pub fn new(record: &Arc<Listener>, balancer: &Arc<LoadBalancer>, certificates: &Certificates) -> ListenerTls {
        let offers = ArcSwap::from_pointee(offers(record, balancer, certificates));
        ListenerTls { record: Arc::clone(record), balancer: Arc::clone(balancer), offers }
    }

    /// Whether these records would give the same.
    pub fn is_of(&self, record: &Arc<Listener>, balancer: &Arc<LoadBalancer>) -> bool {
        Arc::ptr_eq(&self.record, record) && Arc::ptr_eq(&self.balancer, balancer)
    }

    /// Takes up what the operator's files hold now, for handshakes from now on.
    pub fn renew(&self, certificates: &Certificates) {
        self.offers.store(Arc::new(offers(&self.record, &self.balancer, certificates)));
    }

    fn choose(&self, hello: &ClientHello<'_>) -> Option<(Arc<ServerConfig>, Arc<Certificate>)> {
        let offers = self.offers.load();
        let offer = choose(&offers, hello)?;
        let speaks_ours = |asked: &[u8]| offer.config.alpn_protocols.iter().any(|own| own == asked);
        let has_common = hello.alpn().is_none_or(|mut asked| asked.any(speaks_ours));
        let config = if has_common { &offer.config } else { &offer.without_alpn };
        Some((Arc::clone(config), Arc::clone(&offer.certificate)))
    }
}

/// ELB's smart selection: among the certificates for the name that the client asks for, exact ones before wildcards, those
/// that the client can verify, ECDSA before RSA, not expired, the longer key, the longer validity. Where none is for the
/// name, or the client says none, the default.
fn choose<'a>(offers: &'a [Offer], hello: &ClientHello<'_>) -> Option<&'a Offer> {
    let default = offers.first();
    let Some(name) = hello.server_name() else { return default };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let fitting = offers.iter().filter_map(|offer| Some((offer.certificate.fits(name)?, offer)));
    let best = fitting.enumerate().max_by_key(|(place, (fit, offer))| {
        let own = &offer.certificate;
        let can_verify = own.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let validity = (own.key_bits, own.not_after - own.not_before);
        (can_verify, *fit, own.is_ecdsa, own.is_valid_at(now), validity, Reverse(*place))
    });
    best.map(|(_, (_, offer))| offer).or(default)
}

fn offers(record: &Listener, balancer: &LoadBalancer, certificates: &Certificates) -> Vec<Offer> {
    let policy = Policy::named(record.ssl_policy.as_deref());
    if policy.allows_older {
        tracing::debug!(
            listener = %record.arn(), policy = record.ssl_policy,
            "the policy allows TLS 1.0 or 1.1, which is not spoken here: clients need TLS 1.2"
        );
    }
    let protocols = protocols(record, balancer);
    let found = certificates.of(record, balancer);
    found.into_iter().map(|certificate| offer(certificate, &policy, &protocols)).collect()
}

fn offer(certificate: Arc<Certificate>, policy: &Policy, protocols: &[&str]) -> Offer {
    let builder = ServerConfig::builder_with_provider(Arc::clone(&policy.provider))
        .with_protocol_versions(policy.versions)
        .expect("every policy has suites for its versions");
    let resolver = SingleCertAndKey::from(Arc::clone(&certificate.key));
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    // ELB goes by the order of its policies.
    config.ignore_client_order = true;
    match Ticketer::new() {
        // Sessions are resumed from tickets that the client keeps, so they cost no memory here.
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => tracing::warn!(%error, "TLS sessions will not be resumed"),
    }
    let without_alpn = Arc::new(config.clone());
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Offer { certificate, config: Arc::new(config), without_alpn }
}

/// What is offered by ALPN, the best first.
fn protocols(record: &Listener, balancer: &LoadBalancer) -> Vec<&'static str> {
    if balancer.kind == LoadBalancerKind::Application {
        let has_http2 = balancer.attributes.get("routing.http2.enabled").is_none_or(|text| text != "false");
        return if has_http2 { vec!["h2", "http/1.1"] } else { vec!["http/1.1"] };
    }
    match record.alpn_policy.as_deref() {
        Some("HTTP1Only") => vec!["http/1.1", "http/1.0"],
        Some("HTTP2Only") => vec!["h2"],
        Some("HTTP2Optional") => vec!["http/1.1", "http/1.0", "h2"],
        Some("HTTP2Preferred") => vec!["h2", "http/1.1", "http/1.0"],
        _ => Vec::new(),
    }
}
