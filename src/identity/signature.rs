//! Signature Version 4: who signed a request, for which region and service, and whether it is true.
//!
//! AWS's own signer signs what was received, with the date and the headers that the caller says it signed; the two
//! signatures are compared in constant time. So canonicalization, where home-made verifiers go wrong, is the clients'.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use subtle::ConstantTimeEq;

use crate::identity::access_key::{AccessKeys, Secret};
use crate::model::Timestamp;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How far the caller's clock may be from ours, as at AWS.
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// The longest that a presigned URL may be valid, as at AWS: a week.
const EXPIRES_SECONDS_MAX: u64 = 7 * 24 * 3600;

/// For what a request was signed: `KEY/20260101/eu-west-1/ecs/aws4_request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialScope {
    pub access_key_id: String,
    pub date: String,
    pub region: String,
    pub service: String,
}

/// Why a request is not accepted as signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("Missing Authentication Token")]
    Missing,
    #[error("{0}")]
    Incomplete(String),
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    #[error("{0}")]
    Expired(String),
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    #[error("Credential should be scoped to correct service: '{0}'.")]
    OtherService(String),
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

/// A signature as a request carries it.
#[derive(Debug)]
struct Presented {
    scope: CredentialScope,
    signed_headers: Vec<String>,
    signature: String,
    /// As written: `20260101T120000Z`.
    date_time: String,
    /// Of a presigned URL.
    expires: Option<Duration>,
    session_token: Option<String>,
}

/// The scope that a request claims, however little of a signature comes with it. It decides nothing but the region until
/// the signature is verified.
pub fn claimed_scope(parts: &Parts) -> Option<CredentialScope> {
    let credential = match parts.headers.get(AUTHORIZATION) {
        Some(header) => {
            let (_, after) = header.to_str().ok()?.split_once("Credential=")?;
            after.split(',').next()?.trim().to_owned()
        }
        None => find_parameter(parts.uri.query().unwrap_or_default(), "X-Amz-Credential")?,
    };
    parse_scope(&credential).ok()
}

/// Verifies that the request was signed for `service` by one of the `keys`.
pub fn verify(
    parts: &Parts,
    body: &[u8],
    keys: &AccessKeys,
    service: &str,
    now: Timestamp,
) -> Result<CredentialScope, SignatureError> {
    let presented = present(parts)?;
    let secret = secret_of(&presented, parts, keys, now)?;
    let signed_at = parse_date_time(&presented.date_time).ok_or_else(|| {
        incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{}'.", presented.date_time))
    })?;
    if presented.scope.service != service {
        return Err(SignatureError::OtherService(service.to_owned()));
    }
    check_time(&presented, signed_at, now)?;
    let ours = recompute(parts, body, &presented, &secret, signed_at)?;
    if bool::from(ours.as_bytes().ct_eq(presented.signature.as_bytes())) {
        Ok(presented.scope)
    } else {
        Err(SignatureError::Mismatch)
    }
}

/// The secret that belongs to the key: one that the operator configured, or that of a task, which comes with a token.
fn secret_of(
    presented: &Presented,
    parts: &Parts,
    keys: &AccessKeys,
    now: Timestamp,
) -> Result<Secret, SignatureError> {
    let id = &presented.scope.access_key_id;
    if let Some(secret) = keys.secret(id) {
        return Ok(secret.clone());
    }
    let session = keys.session(id).ok_or(SignatureError::UnknownKey)?;
    let header = || parts.headers.get("x-amz-security-token").map(|token| token.as_bytes());
    let token = presented.session_token.as_deref().map(str::as_bytes).or_else(header).unwrap_or_default();
    if !bool::from(token.ct_eq(session.token.as_bytes())) {
        return Err(SignatureError::UnknownKey);
    }
    if session.expires_at <= now {
        return Err(SignatureError::ExpiredToken);
    }
    Ok(session.secret)
}

fn present(parts: &Parts) -> Result<Presented, SignatureError> {
    let presented = match parts.headers.get(AUTHORIZATION) {
        Some(header) => {
            let text = header.to_str().map_err(|_| incomplete("The Authorization header is not text.".to_owned()))?;
            let date = parts.headers.get("x-amz-date").and_then(|date| date.to_str().ok());
            of_header(text, date.unwrap_or_default())?
        }
        None => of_query(parts.uri.query().unwrap_or_default())?,
    };
    // The day is part of the key: a scope of another day was signed with another key.
    if !presented.date_time.starts_with(&presented.scope.date) {
        return Err(incomplete(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}'.",
            presented.scope.date, presented.date_time
        )));
    }
    if !presented.signed_headers.iter().any(|name| name == "host") {
        return Err(incomplete(String::from("'Host' must be a 'SignedHeader' in the AWS Authorization.")));
    }
    Ok(presented)
}

fn of_header(text: &str, date_time: &str) -> Result<Presented, SignatureError> {
    let (algorithm, parameters) = text.trim().split_once(' ').unwrap_or((text, ""));
    if algorithm != ALGORITHM {
        return Err(incomplete(format!("Unsupported AWS 'algorithm': '{}'.", cut(algorithm))));
    }
    let parameter = |name: &str| {
        let mut pairs = parameters.split(',').filter_map(|pair| pair.trim().split_once('='));
        let found = pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        found.ok_or_else(|| incomplete(format!("Authorization header requires '{name}' parameter.")))
    };
    if date_time.is_empty() {
        return Err(incomplete(String::from("Authorization header requires existence of a 'X-Amz-Date' header.")));
    }
    Ok(Presented {
        scope: parse_scope(&parameter("Credential")?)?,
        signed_headers: parameter("SignedHeaders")?.split(';').map(str::to_ascii_lowercase).collect(),
        signature: parameter("Signature")?,
        date_time: date_time.to_owned(),
        expires: None,
        // A token comes in a header, which is signed like any other.
        session_token: None,
    })
}

fn of_query(query: &str) -> Result<Presented, SignatureError> {
    let find = |name: &str| find_parameter(query, name);
    match find("X-Amz-Algorithm") {
        None => return Err(SignatureError::Missing),
        Some(algorithm) if algorithm != ALGORITHM => {
            return Err(incomplete(format!("Unsupported AWS 'algorithm': '{}'.", cut(&algorithm))));
        }
        Some(_) => {}
    }
    let parameter = |name: &str| {
        find(name).ok_or_else(|| incomplete(format!("AWS query-string parameters must include '{name}'.")))
    };
    let expires = parameter("X-Amz-Expires")?.parse::<u64>().ok().filter(|seconds| *seconds <= EXPIRES_SECONDS_MAX);
    let expires = expires
        .ok_or_else(|| incomplete(format!("X-Amz-Expires must be a number of seconds up to {EXPIRES_SECONDS_MAX}.")))?;
    Ok(Presented {
        scope: parse_scope(&parameter("X-Amz-Credential")?)?,
        signed_headers: parameter("X-Amz-SignedHeaders")?.split(';').map(str::to_ascii_lowercase).collect(),
        signature: parameter("X-Amz-Signature")?,
        date_time: parameter("X-Amz-Date")?,
        expires: Some(Duration::from_secs(expires)),
        session_token: find("X-Amz-Security-Token"),
    })
}

fn find_parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn parse_scope(credential: &str) -> Result<CredentialScope, SignatureError> {
    let parts: Vec<&str> = credential.split('/').collect();
    match parts.as_slice() {
        [key, date, region, service, "aws4_request"] if !key.is_empty() => Ok(CredentialScope {
            access_key_id: key.to_string(),
            date: date.to_string(),
            region: region.to_string(),
            service: service.to_string(),
        }),
        _ => Err(incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{}'",
            cut(credential)
        ))),
    }
}

fn check_time(presented: &Presented, signed_at: Timestamp, now: Timestamp) -> Result<(), SignatureError> {
    let date_time = &presented.date_time;
    if signed_at.since(now) > SKEW_MAX {
        return Err(SignatureError::Expired(format!(
            "Signature not yet current: {date_time} is still later than {now}."
        )));
    }
    if now.since(signed_at) > presented.expires.unwrap_or(SKEW_MAX) {
        return Err(SignatureError::Expired(format!("Signature expired: {date_time} is now earlier than {now}.")));
    }
    Ok(())
}

/// The signature that the holder of `secret` would make of what was received.
fn recompute(
    parts: &Parts,
    body: &[u8],
    presented: &Presented,
    secret: &Secret,
    signed_at: Timestamp,
) -> Result<String, SignatureError> {
    let CredentialScope { access_key_id, region, service, .. } = &presented.scope;
    let token = presented.session_token.clone();
    let identity = Credentials::new(access_key_id, secret.reveal(), token, None, "coracle").into();
    let mut settings = SigningSettings::default();
    // What the caller signed counts, whatever the signer itself would have left out.
    settings.excluded_headers = None;
    settings.expires_in = presented.expires;
    if presented.expires.is_some() {
        settings.signature_location = SignatureLocation::QueryParams;
    }
    let time = SystemTime::UNIX_EPOCH + signed_at.since(Timestamp(0));
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(settings)
        .build()
        .expect("every parameter is given")
        .into();
    let headers = signed_headers(parts, &presented.signed_headers)?;
    let headers = headers.iter().map(|(name, value)| (*name, *value));
    let body = SignableBody::Bytes(body);
    let request = SignableRequest::new(parts.method.as_str(), unsigned_target(parts), headers, body)
        .and_then(|request| sign(request, &params))
        .map_err(|_| SignatureError::Mismatch)?;
    Ok(request.into_parts().1)
}

/// The headers that were signed, with their values. The signer adds the date itself.
fn signed_headers<'a>(parts: &'a Parts, names: &'a [String]) -> Result<Vec<(&'a str, &'a str)>, SignatureError> {
    let mut headers = Vec::new();
    for name in names.iter().map(String::as_str).filter(|name| *name != "x-amz-date") {
        let mut found = false;
        for value in parts.headers.get_all(name) {
            let value = value.to_str().map_err(|_| incomplete(format!("The header '{name}' is not text.")))?;
            headers.push((name, value));
            found = true;
        }
        // HTTP/2 carries the host as part of the request's target.
        let authority = parts.uri.authority().filter(|_| name == HOST.as_str() && !found);
        match authority {
            Some(authority) => headers.push((name, authority.as_str())),
            // Had it been sent, it would be here: what is signed and missing was taken away.
            None if !found => return Err(SignatureError::Mismatch),
            None => {}
        }
    }
    Ok(headers)
}

/// The path and the query as they were before signing: a presigned URL carries its signature in the query.
fn unsigned_target(parts: &Parts) -> String {
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let unsigned = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-"));
    let unsigned = unsigned.collect::<Vec<_>>().join("&");
    if unsigned.is_empty() { path.to_owned() } else { format!("{path}?{unsigned}") }
}

/// The moment of `20260101T120000Z`.
fn parse_date_time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<u16>().ok()
    };
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let small = |from| digits(from, from + 2).and_then(|number| u8::try_from(number).ok());
    let month = time::Month::try_from(small(4)?).ok()?;
    let date = time::Date::from_calendar_date(i32::from(digits(0, 4)?), month, small(6)?).ok()?;
    let time = time::Time::from_hms(small(9)?, small(11)?, small(13)?).ok()?;
    Some(Timestamp(date.with_time(time).assume_utc().unix_timestamp() * 1000))
}

fn incomplete(message: String) -> SignatureError {
    SignatureError::Incomplete(message)
}

/// As much of what was sent as an answer repeats.
fn cut(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests;
