//! The keys of an issuer: fetched once somebody shows a token, and kept.
//!
//! A request waits for a fetch only when there are no keys, or when its token names one that is not among them, as after
//! an issuer has changed its keys. Keys that have become old are fetched again beside the requests, which go on with those
//! that are there: an issuer that cannot be reached for a while locks nobody out. One fetch at a time, and a pause after
//! each, whatever clients send: tokens with made-up names of keys are no way to make us call the issuer.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::Uri;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::proxy::action::jwt::fetch::{self, FetchError};

/// When keys are fetched anew: issuers announce new keys for longer than this before they sign with them.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// How long keys are used of an issuer that cannot be reached any more. A key that was withdrawn is honoured so long at
/// worst.
const USABLE: Duration = Duration::from_secs(60 * 60);

/// Between two fetches that clients cause. After it a new key is known, and an issuer gets six calls a minute at most.
const PAUSE: Duration = Duration::from_secs(10);

/// ELB's bound.
const KEYS_MAX: usize = 10;

/// Below it RSA is not safe any more.
const RSA_BYTES_MIN: usize = 2048 / 8;

/// Where keys come from.
pub struct KeySource {
    text: String,
    /// `None` of a damaged record, of which no keys come.
    endpoint: Option<Uri>,
    keys: ArcSwapOption<KeySet>,
    /// The last attempt; locked while one is under way.
    attempt: Mutex<Option<Attempt>>,
}

struct Attempt {
    ended_at: Instant,
    failure: Option<FetchError>,
}

/// Keys as they were at one moment.
pub struct KeySet {
    keys: Vec<Key>,
    fetched_at: Instant,
}

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl KeySource {
    pub fn new(endpoint: &str) -> KeySource {
        KeySource {
            text: endpoint.to_owned(),
            endpoint: endpoint.parse().ok(),
            keys: ArcSwapOption::empty(),
            attempt: Mutex::new(None),
        }
    }

    pub fn endpoint(&self) -> &str {
        &self.text
    }

    /// The keys, among which the one called `kid` is if the issuer has it.
    pub async fn keys(self: &Arc<KeySource>, kid: Option<&str>) -> Result<Arc<KeySet>, FetchError> {
        if let Some(keys) = self.keys.load_full().filter(|keys| keys.fetched_at.elapsed() < USABLE) {
            if kid.is_none_or(|kid| keys.has(kid)) {
                if keys.fetched_at.elapsed() >= FRESH {
                    self.refresh();
                }
                return Ok(keys);
            }
            // Without the issuer the token's key stays unknown, and the token is refused for that.
            return Ok(self.fetched_apart(Some(Arc::clone(&keys))).await.unwrap_or(keys));
        }
        self.fetched_apart(None).await
    }

    /// Fetches to the end even if its request goes away: or who hangs up could make us call the issuer at any rate.
    async fn fetched_apart(self: &Arc<KeySource>, seen: Option<Arc<KeySet>>) -> Result<Arc<KeySet>, FetchError> {
        let source = Arc::clone(self);
        let fetched = tokio::spawn(async move { source.fetched(seen.as_ref()).await });
        // Only when the node stops does it end without a result.
        fetched.await.unwrap_or(Err(FetchError::TimedOut))
    }

    /// Fetches beside the requests, unless somebody does already.
    fn refresh(self: &Arc<KeySource>) {
        if self.attempt.try_lock().is_ok() {
            let source = Arc::clone(self);
            tokio::spawn(async move {
                let seen = source.keys.load_full();
                // A failure was logged, and there is nobody to tell.
                let _ = source.fetched(seen.as_ref()).await;
            });
        }
    }

    /// Newer keys than `seen`, by a fetch of ours or of whoever was first.
    async fn fetched(&self, seen: Option<&Arc<KeySet>>) -> Result<Arc<KeySet>, FetchError> {
        let mut attempt = self.attempt.lock().await;
        let now = self.keys.load_full().filter(|keys| keys.fetched_at.elapsed() < USABLE);
        if let Some(now) = &now
            && seen.is_none_or(|seen| !Arc::ptr_eq(seen, now))
        {
            return Ok(Arc::clone(now));
        }
        if let Some(last) = attempt.as_ref().filter(|last| last.ended_at.elapsed() < PAUSE) {
            return match (now, &last.failure) {
                (Some(now), _) => Ok(now),
                (None, Some(failure)) => Err(failure.clone()),
                (None, None) => Err(FetchError::NoKeys),
            };
        }
        let fetched = self.fetch().await;
        let failure = fetched.as_ref().err().cloned();
        *attempt = Some(Attempt { ended_at: Instant::now(), failure });
        match fetched {
            Ok(keys) => {
                let keys = Arc::new(keys);
                self.keys.store(Some(Arc::clone(&keys)));
                Ok(keys)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| cause.to_string());
                tracing::warn!(endpoint = self.text, %error, cause, "cannot get the keys that tokens are validated with");
                now.ok_or(error)
            }
        }
    }

    /// As if the last fetch were long ago.
    #[cfg(test)]
    pub async fn forget_pause(&self) {
        *self.attempt.lock().await = None;
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let endpoint = self.endpoint.as_ref().ok_or(FetchError::Endpoint)?;
        KeySet::read(&fetch::get(endpoint).await?)
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// A key as JSON has it, of RFC 7517 and 7518.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl KeySet {
    fn read(document: &[u8]) -> Result<KeySet, FetchError> {
        let document: Document = serde_json::from_slice(document).map_err(|_| FetchError::NoKeys)?;
        if document.keys.len() > KEYS_MAX {
            return Err(FetchError::TooLarge);
        }
        // A key of a kind that we do not know is for somebody else.
        let keys: Vec<Key> =
            document.keys.into_iter().filter_map(|key| Key::read(serde_json::from_value(key).ok()?)).collect();
        if keys.is_empty() {
            return Err(FetchError::NoKeys);
        }
        Ok(KeySet { keys, fetched_at: Instant::now() })
    }

    fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(kid))
    }

    /// Whether one of the keys made the signature: the one that the token names, or any if it names none.
    pub fn verify(&self, kid: Option<&str>, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        let keys = self.keys.iter().filter(|key| kid.is_none() || key.id.as_deref() == kid);
        keys.filter(|key| key.algorithms.contains(&algorithm)).any(|key| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, algorithm).unwrap_or(false)
        })
    }
}

impl Key {
    fn read(jwk: Jwk) -> Option<Key> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let (key, mut algorithms) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                // Base64 has four characters for three bytes.
                if jwk.n.len() * 3 / 4 < RSA_BYTES_MIN {
                    return None;
                }
                let algorithms = vec![Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
                (DecodingKey::from_rsa_components(&jwk.n, &jwk.e), algorithms)
            }
            ("EC", Some("P-256")) => (DecodingKey::from_ec_components(&jwk.x, &jwk.y), vec![Algorithm::ES256]),
            ("EC", Some("P-384")) => (DecodingKey::from_ec_components(&jwk.x, &jwk.y), vec![Algorithm::ES384]),
            _ => return None,
        };
        if let Some(only) = &jwk.alg {
            algorithms.retain(|algorithm| format!("{algorithm:?}") == *only);
        }
        Some(Key { id: jwk.kid, algorithms, key: key.ok()? })
    }
}
