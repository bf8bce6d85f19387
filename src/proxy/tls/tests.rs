//! Real handshakes over loopback, with clients that verify.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::model::load_balancer::LoadBalancerKind;
use crate::model::settings::CertificateFiles;
use crate::proxy::client::TlsSession;
use crate::proxy::testing::{listener, load_balancer};

const ARN: &str = "arn:aws:acm:eu-west-1:123456789012:certificate/11111111-1111-1111-1111-111111111111";
const OTHER: &str = "arn:aws:acm:eu-west-1:123456789012:certificate/22222222-2222-2222-2222-222222222222";

static ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// What a client of a test is.
struct Asking<'a> {
    name: &'a str,
    protocols: &'a [&'a str],
    versions: &'static [&'static SupportedProtocolVersion],
    trusts: &'a [&'a str],
}

impl<'a> Asking<'a> {
    fn new(name: &'a str, trusts: &'a [&'a str]) -> Asking<'a> {
        Asking { name, protocols: &[], versions: rustls::ALL_VERSIONS, trusts }
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for pem in self.trusts {
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let mut config =
            builder.with_protocol_versions(self.versions).unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// What became of a handshake at both ends.
struct Met {
    session: Result<TlsSession, HandshakeError>,
    client: std::io::Result<Option<String>>,
}

async fn meet(tls: &Tls, at: &Arc<ListenerTls>, asking: Asking<'_>) -> Met {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let connector = TlsConnector::from(Arc::new(asking.config()));
    let name = ServerName::try_from(asking.name.to_owned()).unwrap();
    let client = async {
        let stream = TcpStream::connect(address).await?;
        let stream = connector.connect(name, stream).await?;
        let connection: &ClientConnection = stream.get_ref().1;
        Ok(connection.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap()))
    };
    let server = async {
        let (stream, _) = socket.accept().await.unwrap();
        tls.accept(stream, |_| Some(Arc::clone(at))).await.map(|(_, session)| session)
    };
    let (session, client) = tokio::join!(server, client);
    Met { session, client }
}

fn tls(files: &[(&str, CertificateFiles)], directory: Option<&Path>) -> Tls {
    let files = files.iter().map(|(key, files)| ((*key).to_owned(), files.clone())).collect();
    Tls::new(Certificates::new(files, directory.map(Path::to_owned)))
}

/// A listener of `web` with these certificates.
fn secure(tls: &Tls, certificates: &[&str], change: impl FnOnce(&mut Listener, &mut LoadBalancer)) -> Arc<ListenerTls> {
    let (mut listener, mut balancer) = (listener(443, Vec::new()), load_balancer("web"));
    listener.protocol = "HTTPS".into();
    listener.certificates = certificates.iter().map(|arn| (*arn).to_owned()).collect();
    listener.ssl_policy = Some("ELBSecurityPolicy-TLS13-1-2-2021-06".into());
    change(&mut listener, &mut balancer);
    tls.listener(&Arc::new(listener), &Arc::new(balancer)).unwrap()
}

/// A certificate in files, which is its own authority; with its PEM.
fn in_files(directory: &Path, file: &str, names: &[&str], years: (i32, i32)) -> (CertificateFiles, String) {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(years.0, 1, 1), rcgen::date_time_ymd(years.1, 1, 1));
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let files = CertificateFiles {
        certificate: directory.join(format!("{file}.pem")),
        key: directory.join(format!("{file}.key")),
    };
    fs::write(&files.certificate, &pem).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    (files, pem)
}

#[tokio::test]
async fn an_arn_that_is_in_no_file_gets_a_certificate_that_stays() {
    let directory = tempfile::tempdir().unwrap();
    let first = tls(&[], Some(directory.path()));
    let at = secure(&first, &[ARN], |_, _| {});
    let authority = first.certificates.authority().unwrap().to_owned();
    for name in ["localhost", "web.elb.localhost", "web.eu-west-1.elb.localhost", "127.0.0.1"] {
        let met = meet(&first, &at, Asking::new(name, &[&authority])).await;
        met.client.unwrap_or_else(|error| panic!("{name}: {error}"));
        let session = met.session.unwrap();
        assert_eq!(session.certificate.as_deref(), Some(ARN));
        assert_eq!(session.version, "TLSv1.3");
        assert_eq!(session.cipher, "TLS_AES_128_GCM_SHA256");
        assert_eq!(session.server_name.as_deref(), (name != "127.0.0.1").then_some(name));
    }
    assert!(meet(&first, &at, Asking::new("www.example.com", &[&authority])).await.client.is_err());
    assert_eq!(fs::read_to_string(directory.path().join("ca.pem")).unwrap(), authority);
    #[cfg(unix)]
    for key in ["ca.key".into(), format!("certificates/{}", only_file(&directory.path().join("certificates"), "key"))] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(directory.path().join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // After a restart it is the same, to the byte.
    let certificates = directory.path().join("certificates");
    let kept = || fs::read(certificates.join(only_file(&certificates, "pem"))).unwrap();
    let before = kept();
    let second = tls(&[], Some(directory.path()));
    let at = secure(&second, &[ARN], |_, _| {});
    assert!(meet(&second, &at, Asking::new("localhost", &[&authority])).await.client.is_ok());
    assert_eq!((second.certificates.authority().unwrap(), kept()), (authority.as_str(), before));
}

fn only_file(directory: &Path, extension: &str) -> String {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: Vec<String> = files.filter(|name| name.ends_with(extension)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[tokio::test]
async fn the_server_name_chooses_exact_before_wildcard_before_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let (wild, wild_pem) = in_files(directory.path(), "wild", &["*.example.com"], (2020, 2090));
    let (exact, exact_pem) = in_files(directory.path(), "exact", &["shop.example.com"], (2020, 2090));
    let tls = tls(&[(OTHER, wild), ("shop", exact)], None);
    let shop = "arn:aws:iam::123456789012:server-certificate/shop";
    let at = secure(&tls, &[ARN, OTHER, shop], |_, _| {});
    for (name, wanted) in
        [("shop.example.com", shop), ("www.example.com", OTHER), ("a.b.example.com", ARN), ("x.org", ARN)]
    {
        let met = meet(&tls, &at, Asking::new(name, &[&wild_pem, &exact_pem])).await;
        match met.session {
            Ok(session) => assert_eq!(session.certificate.as_deref(), Some(wanted), "{name}"),
            // The client refused the default, which is not for the name.
            Err(_) => assert_eq!(wanted, ARN, "{name}"),
        }
        assert_eq!(met.client.is_ok(), wanted != ARN, "{name}");
    }
}

#[tokio::test]
async fn a_certificate_by_domain_stands_in_for_one_that_would_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let (files, pem) = in_files(directory.path(), "domain", &["www.example.com"], (2020, 2090));
    let tls = tls(&[("www.example.com", files)], None);
    let at = secure(&tls, &[ARN], |_, _| {});
    assert!(meet(&tls, &at, Asking::new("www.example.com", &[&pem])).await.client.is_ok());
    let authority = tls.certificates.authority().unwrap().to_owned();
    assert!(meet(&tls, &at, Asking::new("localhost", &[&authority])).await.client.is_ok());
}

#[tokio::test]
async fn files_that_change_are_read_again_and_broken_ones_are_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (files, old) = in_files(directory.path(), "own", &["www.example.com"], (2020, 2090));
    let tls = tls(&[(ARN, files.clone())], None);
    let at = secure(&tls, &[ARN], |_, _| {});
    assert!(meet(&tls, &at, Asking::new("www.example.com", &[&old])).await.client.is_ok());

    fs::write(&files.certificate, "no certificate at all").unwrap();
    tls.reload();
    assert!(meet(&tls, &at, Asking::new("www.example.com", &[&old])).await.client.is_ok());

    let (_, new) = in_files(directory.path(), "own", &["www.example.com", "example.com"], (2020, 2090));
    tls.reload();
    assert!(meet(&tls, &at, Asking::new("www.example.com", &[&old])).await.client.is_err());
    let met = meet(&tls, &at, Asking::new("example.com", &[&new])).await;
    assert!(met.client.is_ok());
    assert_eq!(met.session.unwrap().certificate.as_deref(), Some(ARN));
}

#[tokio::test]
async fn an_expired_certificate_is_served_and_the_client_decides() {
    let directory = tempfile::tempdir().unwrap();
    let (files, pem) = in_files(directory.path(), "old", &["www.example.com"], (2000, 2001));
    let tls = tls(&[(ARN, files)], None);
    let at = secure(&tls, &[ARN], |_, _| {});
    let met = meet(&tls, &at, Asking::new("www.example.com", &[&pem])).await;
    let refused = met.client.unwrap_err().to_string();
    assert!(refused.contains("xpired"), "{refused}");
    assert!(matches!(met.session, Err(HandshakeError::Failed(_))));
}

#[tokio::test]
async fn policies_and_protocols_are_kept() {
    let tls = tls(&[], None);
    let authority = tls.certificates.authority().unwrap().to_owned();
    let trusts = [authority.as_str()];
    let both = ["h2", "http/1.1"];
    let offered = |protocols| Asking { protocols, ..Asking::new("localhost", &trusts) };

    let at = secure(&tls, &[ARN], |_, _| {});
    assert_eq!(meet(&tls, &at, offered(&both)).await.client.unwrap().as_deref(), Some("h2"));
    assert_eq!(meet(&tls, &at, offered(&["http/1.1"])).await.client.unwrap().as_deref(), Some("http/1.1"));
    // Where nothing is common, it goes on without.
    assert_eq!(meet(&tls, &at, offered(&["spdy/3"])).await.client.unwrap(), None);

    let without = |_: &mut Listener, balancer: &mut LoadBalancer| {
        balancer.attributes.insert("routing.http2.enabled".into(), "false".into());
    };
    let at = secure(&tls, &[ARN], without);
    assert_eq!(meet(&tls, &at, offered(&both)).await.client.unwrap().as_deref(), Some("http/1.1"));

    for (policy, wanted) in [("HTTP2Only", Some("h2")), ("HTTP2Optional", Some("http/1.1")), ("None", None)] {
        let at = secure(&tls, &[ARN], |listener, balancer| {
            balancer.kind = LoadBalancerKind::Network;
            (listener.protocol, listener.alpn_policy) = ("TLS".into(), Some(policy.into()));
        });
        assert_eq!(meet(&tls, &at, offered(&both)).await.client.unwrap().as_deref(), wanted, "{policy}");
    }

    let old = || Asking { versions: ONLY_12, ..Asking::new("localhost", &trusts) };
    let met = meet(&tls, &secure(&tls, &[ARN], |_, _| {}), old()).await;
    let session = met.session.unwrap();
    assert_eq!((session.version, session.cipher), ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"));
    let at =
        secure(&tls, &[ARN], |listener, _| listener.ssl_policy = Some("ELBSecurityPolicy-TLS13-1-3-2021-06".into()));
    assert!(meet(&tls, &at, old()).await.client.is_err());
}

#[tokio::test]
async fn the_same_records_are_not_made_again() {
    let tls = tls(&[], None);
    let (mut record, balancer) = (listener(443, Vec::new()), Arc::new(load_balancer("web")));
    (record.protocol, record.certificates) = ("HTTPS".into(), vec![ARN.into()]);
    let record = Arc::new(record);
    let first = tls.listener(&record, &balancer).unwrap();
    assert!(Arc::ptr_eq(&first, &tls.listener(&record, &balancer).unwrap()));
    assert!(!Arc::ptr_eq(&first, &tls.listener(&Arc::new((*record).clone()), &balancer).unwrap()));
    assert!(tls.listener(&Arc::new(listener(80, Vec::new())), &balancer).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_left_in_time() {
    let tls = tls(&[], None);
    let at = secure(&tls, &[ARN], |_, _| {});
    let (ours, _theirs) = tokio::io::duplex(64);
    let accepted = tls.accept(ours, |_| Some(at)).await;
    assert!(matches!(accepted, Err(HandshakeError::TimedOut)));
    assert_eq!(tls.handshakes.available_permits(), HANDSHAKES_MAX);
}

#[test]
fn files_of_the_wrong_kind_say_what_is_wrong() {
    use crate::proxy::tls::certificate::Certificate;
    let directory = tempfile::tempdir().unwrap();
    let (one, pem) = in_files(directory.path(), "one", &["a.example"], (2020, 2090));
    let (two, _) = in_files(directory.path(), "two", &["b.example"], (2020, 2090));
    let error = |chain: &[u8], key: &[u8]| Certificate::read(ARN, chain, key).err().unwrap().to_string();
    let key = fs::read(&one.key).unwrap();
    assert!(error(b"", &key).contains("no certificate"));
    assert!(error(pem.as_bytes(), b"").contains("no private key"));
    assert!(error(pem.as_bytes(), &fs::read(&two.key).unwrap()).contains("not the certificate's"));
    assert!(error(pem.repeat(11).as_bytes(), &key).contains("more than 10"));
    assert_eq!(BTreeMap::from([(1, Certificate::read(ARN, pem.as_bytes(), &key).unwrap().names)])[&1], ["a.example"]);
}
