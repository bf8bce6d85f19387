//! Validation of tokens (JWT): who shows none that the issuer signed gets no further.
//!
//! The token comes as `Authorization: Bearer`, signed with a key of the issuer's set (JWKS). ELB takes RS256; the other
//! RSA and ECDSA signatures here say no less. Never `none`, and never a symmetric one: then a public key would be the
//! secret. `iss` and `exp` must be there, `nbf` and `iat` are looked at where they are, and further claims as the rule
//! says. The token stays in the request, for the target to read.

mod claims;
mod fetch;
mod keys;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::load_balancer::{Action, Claim};
use crate::proxy::action::jwt::keys::KeySource;
use crate::proxy::cookie::unix_seconds;

pub use fetch::FetchError;

/// One action that validates tokens.
pub struct JwtGuard {
    issuer: String,
    claims: Vec<Claim>,
    source: Arc<KeySource>,
}

/// Why a token does not let its request through.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JwtError {
    #[error("the request has no bearer token")]
    Missing,
    #[error("the bearer token is no signed JWT that is taken here ({0})")]
    Malformed(&'static str),
    #[error("no key of the issuer made the token's signature")]
    Signature,
    #[error("the token has no claim {0}")]
    ClaimMissing(String),
    #[error("the token's claim {0} is of another form")]
    ClaimFormat(String),
    #[error("the token's claim {0} has another value")]
    ClaimValue(String),
    #[error("the issuer's keys cannot be had")]
    Keys(#[source] FetchError),
}

impl JwtError {
    /// The `error_reason` of access logs.
    pub fn reason(&self) -> &'static str {
        match self {
            JwtError::Missing => "JWTHeaderNotPresent",
            JwtError::Malformed(_) => "JWTRequestFormatInvalid",
            JwtError::Signature => "JWTSignatureValidationFailed",
            JwtError::ClaimMissing(_) => "JWTClaimNotPresent",
            JwtError::ClaimFormat(_) => "JWTClaimFormatInvalid",
            JwtError::ClaimValue(_) => "JWTClaimValueInvalid",
            JwtError::Keys(error) => error.reason(),
        }
    }
}

/// What a token says of its signature.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that a reader must know; we know none.
    #[serde(default)]
    crit: Option<Value>,
}

impl JwtGuard {
    /// Those of a rule's actions. The keys of `before`, the same rule's in the snapshot before, are kept.
    pub fn all(actions: &[Action], before: &[JwtGuard]) -> Vec<JwtGuard> {
        let guards = actions.iter().filter_map(|action| match action {
            Action::JwtValidation { jwks_endpoint, issuer, claims } => {
                let known = before.iter().find(|guard| guard.source.endpoint() == jwks_endpoint);
                let source = match known {
                    Some(known) => Arc::clone(&known.source),
                    None => Arc::new(KeySource::new(jwks_endpoint)),
                };
                Some(JwtGuard { issuer: issuer.clone(), claims: claims.clone(), source })
            }
            _ => None,
        });
        guards.collect()
    }

    pub async fn check(&self, headers: &HeaderMap, now: SystemTime) -> Result<(), JwtError> {
        let token = bearer(headers)?;
        let (message, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed("it has no three parts"))?;
        let (header, content) = message.split_once('.').ok_or(JwtError::Malformed("it has no three parts"))?;
        let header: Header = decoded(header)?;
        if header.crit.is_some() {
            return Err(JwtError::Malformed("it wants extensions to be understood"));
        }
        let algorithm = algorithm(&header.alg)?;
        let kid = header.kid.as_deref();
        let keys = self.source.keys(kid).await.map_err(JwtError::Keys)?;
        if !keys.verify(kid, algorithm, message, signature) {
            return Err(JwtError::Signature);
        }
        let content: Map<String, Value> = decoded(content)?;
        claims::check(&content, &self.issuer, &self.claims, unix_seconds(now))
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, JwtError> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (lines.next(), lines.next());
    let line = first.ok_or(JwtError::Missing)?;
    if second.is_some() {
        return Err(JwtError::Malformed("there is more than one Authorization header"));
    }
    let line = line.to_str().map_err(|_| JwtError::Malformed("it is not of ASCII"))?;
    match line.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(JwtError::Missing),
    }
}

fn decoded<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, JwtError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed("it is not in base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| JwtError::Malformed("it is no JSON of the right form"))
}

fn algorithm(name: &str) -> Result<Algorithm, JwtError> {
    match name {
        "RS256" => Ok(Algorithm::RS256),
        "RS384" => Ok(Algorithm::RS384),
        "RS512" => Ok(Algorithm::RS512),
        "ES256" => Ok(Algorithm::ES256),
        "ES384" => Ok(Algorithm::ES384),
        _ => Err(JwtError::Malformed("its signature is of a kind that is not taken")),
    }
}
