//! Tokens against an issuer on loopback.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header as TokenHeader, encode};
use parking_lot::Mutex;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const ISSUER: &str = "https://issuer.test";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1000)
}

/// An RSA key for tests alone.
fn rsa_key() -> EncodingKey {
    let text: String = include_str!("test-key.b64").split_whitespace().collect();
    EncodingKey::from_rsa_der(&STANDARD.decode(text).unwrap())
}

fn ec_key() -> EncodingKey {
    EncodingKey::from_ec_der(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_der())
}

/// The public half, as an issuer shows it.
fn shown(key: &EncodingKey, algorithm: Algorithm, kid: &str) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    jwk["use"] = json!("sig");
    jwk
}

fn token(key: &EncodingKey, algorithm: Algorithm, kid: Option<&str>) -> String {
    let header = TokenHeader { kid: kid.map(str::to_owned), ..TokenHeader::new(algorithm) };
    encode(&header, &json!({ "iss": ISSUER, "exp": 2000, "scope": "read write" }), key).unwrap()
}

/// What the endpoint answers, and how often it was asked.
struct Issuer {
    address: SocketAddr,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(keys: &[Value]) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Issuer {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new((200, json!({ "keys": keys }).to_string()))),
            asked: Arc::default(),
        };
        let (answer, asked) = (Arc::clone(&issuer.answer), Arc::clone(&issuer.asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                asked.fetch_add(1, Ordering::SeqCst);
                let (status, body) = answer.lock().clone();
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nlocation: /other\r\n\r\n", body.len());
                // Who has read enough may be gone.
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(body.as_bytes()).await;
            }
        });
        issuer
    }

    fn guard(&self) -> JwtGuard {
        let action = Action::JwtValidation {
            jwks_endpoint: format!("http://{}/keys", self.address),
            issuer: ISSUER.into(),
            claims: vec![Claim {
                name: "scope".into(),
                format: "space-separated-values".into(),
                values: vec!["read".into()],
            }],
        };
        JwtGuard::all(&[action], &[]).remove(0)
    }

    fn set(&self, status: u16, body: String) {
        *self.answer.lock() = (status, body);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn check(guard: &JwtGuard, token: &str) -> Result<(), &'static str> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    guard.check(&headers, now()).await.map_err(|error| error.reason())
}

#[tokio::test]
async fn tokens_of_the_issuer_pass_and_its_keys_are_fetched_once() {
    let (rsa, ec) = (rsa_key(), ec_key());
    let unknown = json!({ "kty": "OKP", "crv": "X25519", "x": "AA" });
    let keys = [unknown, shown(&rsa, Algorithm::RS256, "one"), shown(&ec, Algorithm::ES256, "two")];
    let issuer = Issuer::start(&keys).await;
    let guard = issuer.guard();
    assert_eq!(check(&guard, &token(&rsa, Algorithm::RS256, Some("one"))).await, Ok(()));
    assert_eq!(check(&guard, &token(&ec, Algorithm::ES256, Some("two"))).await, Ok(()));
    assert_eq!(check(&guard, &token(&ec, Algorithm::ES256, None)).await, Ok(()));
    // The key says that it is for RS256 alone.
    assert_eq!(check(&guard, &token(&rsa, Algorithm::RS384, Some("one"))).await, Err("JWTSignatureValidationFailed"));
    assert_eq!(check(&guard, &token(&ec, Algorithm::ES256, Some("one"))).await, Err("JWTSignatureValidationFailed"));
    assert_eq!(check(&guard, &token(&ec_key(), Algorithm::ES256, None)).await, Err("JWTSignatureValidationFailed"));
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn forged_and_damaged_tokens_are_refused() {
    let ec = ec_key();
    let issuer = Issuer::start(&[shown(&ec, Algorithm::ES256, "k")]).await;
    let guard = issuer.guard();
    let good = token(&ec, Algorithm::ES256, Some("k"));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let content = part(json!({ "iss": ISSUER, "exp": 2000, "scope": "read", "admin": true }));
    assert_eq!(check(&guard, &format!("{header}.{content}.{signature}")).await, Err("JWTSignatureValidationFailed"));
    // Neither no signature nor a symmetric one, whose secret would be public.
    for header in [json!({ "alg": "none" }), json!({ "alg": "None" }), json!({ "alg": "HS256", "kid": "k" })] {
        let token = format!("{}.{content}.", part(header));
        assert_eq!(check(&guard, &token).await, Err("JWTRequestFormatInvalid"));
    }
    let critical = part(json!({ "alg": "ES256", "kid": "k", "crit": ["b64"], "b64": false }));
    assert_eq!(check(&guard, &format!("{critical}.{content}.{signature}")).await, Err("JWTRequestFormatInvalid"));
    for damaged in ["", "a", "a.b", "a.b.c", "..", "a.b.c.d"] {
        assert_eq!(check(&guard, damaged).await, Err("JWTRequestFormatInvalid"), "{damaged}");
    }
    let mut headers = HeaderMap::new();
    assert_eq!(guard.check(&headers, now()).await.unwrap_err().reason(), "JWTHeaderNotPresent");
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic YTpi"));
    assert_eq!(guard.check(&headers, now()).await.unwrap_err().reason(), "JWTHeaderNotPresent");
    let late = now() + Duration::from_secs(1000);
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("bearer {good}")).unwrap());
    assert!(guard.check(&headers, now()).await.is_ok());
    assert_eq!(guard.check(&headers, late).await.unwrap_err().reason(), "JWTClaimValueInvalid");
}

#[tokio::test]
async fn without_keys_nobody_passes_and_the_issuer_is_not_called_for_each_request() {
    let ec = ec_key();
    let good = token(&ec, Algorithm::ES256, Some("k"));
    let many: Vec<_> = (0..11).map(|number| shown(&ec, Algorithm::ES256, &number.to_string())).collect();
    for (status, body, reason) in [
        (500, String::new(), "JWKSRequestFailed"),
        (302, String::new(), "JWKSRequestFailed"),
        (200, "{}".to_owned(), "JWKSResponseInvalid"),
        (200, json!({ "keys": [] }).to_string(), "JWKSResponseInvalid"),
        (200, json!({ "keys": many }).to_string(), "JWKSResponseSizeExceeded"),
        (200, " ".repeat(151 * 1024), "JWKSResponseSizeExceeded"),
    ] {
        let issuer = Issuer::start(&[]).await;
        issuer.set(status, body);
        let guard = issuer.guard();
        for _ in 0..3 {
            assert_eq!(check(&guard, &good).await, Err(reason));
        }
        assert_eq!(issuer.asked(), 1);
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it_but_not_at_any_rate() {
    let (old, new) = (ec_key(), ec_key());
    let issuer = Issuer::start(&[shown(&old, Algorithm::ES256, "old")]).await;
    let guard = issuer.guard();
    assert_eq!(check(&guard, &token(&old, Algorithm::ES256, Some("old"))).await, Ok(()));
    issuer.set(200, json!({ "keys": [shown(&new, Algorithm::ES256, "new")] }).to_string());
    let unknown = token(&new, Algorithm::ES256, Some("new"));
    assert_eq!(check(&guard, &unknown).await, Err("JWTSignatureValidationFailed"));
    assert_eq!(issuer.asked(), 1);

    guard.source.forget_pause().await;
    assert_eq!(check(&guard, &unknown).await, Ok(()));
    assert_eq!(issuer.asked(), 2);
    // A change of the rule keeps the keys.
    let action = Action::JwtValidation {
        jwks_endpoint: guard.source.endpoint().to_owned(),
        issuer: "https://other.test".into(),
        claims: Vec::new(),
    };
    let changed = JwtGuard::all(&[action], &[guard]).remove(0);
    assert_eq!(check(&changed, &unknown).await, Err("JWTClaimValueInvalid"));
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn requests_at_the_same_time_share_one_fetch() {
    let ec = ec_key();
    let issuer = Issuer::start(&[shown(&ec, Algorithm::ES256, "k")]).await;
    let guard = issuer.guard();
    let good = token(&ec, Algorithm::ES256, Some("k"));
    let all = futures_util::future::join_all((0..50).map(|_| check(&guard, &good))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(issuer.asked(), 1);
}
