//! Validation of tokens that another service issued.
//!
//! As at ELB the keys come by HTTPS. Our extension: from this machine they may come by plain HTTP, so that an issuer in
//! development needs no certificate; nobody can stand between.

use std::net::Ipv4Addr;

use http::Uri;

use crate::api::error::ApiError;
use crate::api::wire::elbv2 as wire;
use crate::model::load_balancer::{Action, Claim};

/// ELB's own bounds: of the endpoint, the issuer, a claim's name and a claim's value.
const TEXT_CHARS_MAX: usize = 256;
const CLAIMS_MAX: usize = 10;
const VALUES_MAX: usize = 10;

/// Claims that are validated always.
const OWN_CLAIMS: [&str; 4] = ["exp", "iss", "nbf", "iat"];

pub fn read(action: wire::Action) -> Result<Action, ApiError> {
    let config = action.jwt_validation_config;
    let config = config.ok_or_else(|| ApiError::validation("A jwt-validation action must have a configuration"))?;
    let jwks_endpoint = text("JwksEndpoint", config.jwks_endpoint)?;
    if !is_endpoint(&jwks_endpoint) {
        return Err(ApiError::validation(format_args!(
            "The 'JwksEndpoint' value '{jwks_endpoint}' must be a full URL with the protocol HTTPS, a host and a path (HTTP only to this machine)"
        )));
    }
    let issuer = text("Issuer", config.issuer)?;
    let given = config.additional_claims.unwrap_or_default();
    if given.len() > CLAIMS_MAX {
        return Err(ApiError::validation(format_args!(
            "The 'AdditionalClaims' field contains too many claims; the limit is '{CLAIMS_MAX}'"
        )));
    }
    let mut claims: Vec<Claim> = Vec::new();
    for claim in given {
        let claim = read_claim(claim)?;
        if claims.iter().any(|earlier| earlier.name == claim.name) {
            return Err(ApiError::validation(format_args!("The claim '{}' was specified more than once", claim.name)));
        }
        claims.push(claim);
    }
    Ok(Action::JwtValidation { jwks_endpoint, issuer, claims })
}

fn text(member: &str, given: Option<String>) -> Result<String, ApiError> {
    let given = given.unwrap_or_default();
    match given.chars().count() {
        0 => Err(ApiError::validation(format_args!("A '{member}' must be specified"))),
        count if count > TEXT_CHARS_MAX => {
            Err(ApiError::validation(format_args!("The '{member}' value is too long; the limit is '{TEXT_CHARS_MAX}'")))
        }
        _ => Ok(given),
    }
}

fn is_endpoint(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else { return false };
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") => !has_user,
        Some("http") => !has_user && is_here(host),
        _ => false,
    }
}

/// Whether a host name is always this machine.
fn is_here(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host == "[::1]"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

fn read_claim(given: wire::JwtValidationActionAdditionalClaim) -> Result<Claim, ApiError> {
    let name = text("Name", given.name)?;
    if OWN_CLAIMS.contains(&name.as_str()) {
        return Err(ApiError::validation(format_args!(
            "The claim '{name}' cannot be specified, because it is validated by default"
        )));
    }
    let format = given.format.unwrap_or_default();
    let mut values = Vec::new();
    for value in given.values.unwrap_or_default() {
        values.push(text("Values", Some(value))?);
    }
    let limit = match format.as_str() {
        "single-string" => 1,
        "string-array" | "space-separated-values" => VALUES_MAX,
        other => return Err(ApiError::validation(format_args!("Claim format '{other}' is not valid"))),
    };
    if values.is_empty() {
        return Err(ApiError::validation(format_args!("The claim '{name}' must have a value")));
    }
    if values.len() > limit {
        return Err(ApiError::validation(format_args!(
            "The claim '{name}' contains too many values; the limit for the format '{format}' is '{limit}'"
        )));
    }
    if format == "space-separated-values" && values.iter().any(|value| value.contains(' ')) {
        return Err(ApiError::validation(format_args!("The values of the claim '{name}' cannot include spaces")));
    }
    Ok(Claim { name, format, values })
}

pub fn shown(jwks_endpoint: &str, issuer: &str, claims: &[Claim]) -> wire::Action {
    let claims = claims.iter().map(|claim| wire::JwtValidationActionAdditionalClaim {
        format: Some(claim.format.clone()),
        name: Some(claim.name.clone()),
        values: Some(claim.values.clone()),
    });
    let claims: Vec<_> = claims.collect();
    wire::Action {
        jwt_validation_config: Some(wire::JwtValidationActionConfig {
            jwks_endpoint: Some(jwks_endpoint.to_owned()),
            issuer: Some(issuer.to_owned()),
            additional_claims: Some(claims).filter(|claims| !claims.is_empty()),
        }),
        ..wire::Action::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn given(config: Value) -> Result<wire::Action, String> {
        let config = serde_json::from_value(config).unwrap();
        let action = wire::Action { jwt_validation_config: Some(config), ..wire::Action::default() };
        match read(action).map_err(|error| error.message)? {
            Action::JwtValidation { jwks_endpoint, issuer, claims } => Ok(shown(&jwks_endpoint, &issuer, &claims)),
            other => panic!("{other:?}"),
        }
    }

    fn claims(claims: Value) -> Value {
        json!({ "JwksEndpoint": "https://idp.example.com/keys", "Issuer": "https://idp.example.com", "AdditionalClaims": claims })
    }

    fn claim(name: &str, format: &str, values: &[&str]) -> Value {
        json!({ "Format": format, "Name": name, "Values": values })
    }

    #[test]
    fn is_shown_as_it_was_given() {
        let config = claims(json!([
            claim("client", "single-string", &["a b"]),
            claim("groups", "string-array", &["x y", "z"]),
            claim("scope", "space-separated-values", &["read", "write"]),
        ]));
        let shown = given(config.clone()).unwrap().jwt_validation_config.unwrap();
        assert_eq!(serde_json::to_value(shown).unwrap(), config);
    }

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        let endpoint = |url: &str| given(json!({ "JwksEndpoint": url, "Issuer": "me" })).is_ok();
        for url in [
            "https://idp.example.com/keys",
            "http://localhost:8080/keys",
            "http://127.0.0.9/keys",
            "http://[::1]:80/keys",
            "http://idp.us-east-1.elb.localhost:4566/keys",
        ] {
            assert!(endpoint(url), "{url}");
        }
        for url in [
            "http://idp.example.com/keys",
            "http://localhost.example.com/keys",
            "http://127.0.0.1@example.com/keys",
            "ftp://localhost/keys",
            "idp.example.com",
            "/keys",
            "",
        ] {
            assert!(!endpoint(url), "{url}");
        }
    }

    #[test]
    fn claims_that_cannot_be_are_refused() {
        let eleven: Vec<String> = (0..11).map(|number| number.to_string()).collect();
        let eleven: Vec<&str> = eleven.iter().map(String::as_str).collect();
        let many: Vec<Value> = eleven.iter().map(|name| claim(name, "single-string", &["a"])).collect();
        for (given_claims, message) in [
            (json!(many), "contains too many claims; the limit is '10'"),
            (json!([claim("iss", "single-string", &["a"])]), "validated by default"),
            (json!([claim("a", "single-string", &["a", "b"])]), "the limit for the format 'single-string' is '1'"),
            (json!([claim("a", "string-array", &eleven)]), "the limit for the format 'string-array' is '10'"),
            (json!([claim("a", "string-array", &[])]), "The claim 'a' must have a value"),
            (json!([claim("a", "space-separated-values", &["a b"])]), "cannot include spaces"),
            (json!([claim("a", "list", &["a"])]), "Claim format 'list' is not valid"),
            (json!([claim("a", "string-array", &["a"]), claim("a", "string-array", &["b"])]), "more than once"),
            (json!([claim("", "single-string", &["a"])]), "A 'Name' must be specified"),
            (json!([claim("a", "single-string", &[&"v".repeat(257)])]), "too long; the limit is '256'"),
        ] {
            let refused = given(claims(given_claims)).unwrap_err();
            assert!(refused.contains(message), "{refused}");
        }
    }
}
