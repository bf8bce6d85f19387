//! What a token says, once it is certain who says it.

use serde_json::{Map, Value};

use crate::model::load_balancer::Claim;
use crate::proxy::action::jwt::JwtError;

/// How far the issuer's clock may be ahead of ours. What has expired has expired, whatever the clocks.
const AHEAD_SECONDS_MAX: u64 = 5;

pub fn check(content: &Map<String, Value>, issuer: &str, wanted: &[Claim], now: u64) -> Result<(), JwtError> {
    if text(content, "iss")? != issuer {
        return Err(JwtError::ClaimValue("iss".to_owned()));
    }
    let expires = seconds(content, "exp")?.ok_or_else(|| JwtError::ClaimMissing("exp".to_owned()))?;
    if expires <= now {
        return Err(JwtError::ClaimValue("exp".to_owned()));
    }
    for name in ["nbf", "iat"] {
        if seconds(content, name)?.is_some_and(|begins| begins > now + AHEAD_SECONDS_MAX) {
            return Err(JwtError::ClaimValue(name.to_owned()));
        }
    }
    wanted.iter().try_for_each(|claim| check_claim(content, claim))
}

/// One of the values that the rule names is enough, as in conditions.
fn check_claim(content: &Map<String, Value>, claim: &Claim) -> Result<(), JwtError> {
    let is_wanted = |value: &str| claim.values.iter().any(|wanted| wanted == value);
    let fits = match claim.format.as_str() {
        "single-string" => is_wanted(text(content, &claim.name)?),
        "space-separated-values" => text(content, &claim.name)?.split(' ').any(is_wanted),
        "string-array" => {
            let values = value(content, &claim.name)?.as_array();
            let values = values.ok_or_else(|| JwtError::ClaimFormat(claim.name.clone()))?;
            if !values.iter().all(Value::is_string) {
                return Err(JwtError::ClaimFormat(claim.name.clone()));
            }
            values.iter().filter_map(Value::as_str).any(is_wanted)
        }
        // The API knows no other; a record from elsewhere must not let anybody in.
        _ => false,
    };
    if fits { Ok(()) } else { Err(JwtError::ClaimValue(claim.name.clone())) }
}

fn value<'a>(content: &'a Map<String, Value>, name: &str) -> Result<&'a Value, JwtError> {
    content.get(name).ok_or_else(|| JwtError::ClaimMissing(name.to_owned()))
}

fn text<'a>(content: &'a Map<String, Value>, name: &str) -> Result<&'a str, JwtError> {
    value(content, name)?.as_str().ok_or_else(|| JwtError::ClaimFormat(name.to_owned()))
}

/// A moment, which may have a fraction.
fn seconds(content: &Map<String, Value>, name: &str) -> Result<Option<u64>, JwtError> {
    let Some(value) = content.get(name) else { return Ok(None) };
    let seconds = value.as_u64().or_else(|| value.as_f64().filter(|value| *value >= 0.0).map(whole));
    seconds.map(Some).ok_or_else(|| JwtError::ClaimFormat(name.to_owned()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not below 0, and what is too large is the end of time"
)]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1000;

    fn check_json(content: Value, wanted: &[Claim]) -> Result<(), &'static str> {
        let Value::Object(content) = content else { panic!("claims are an object") };
        check(&content, "https://issuer.test", wanted, NOW).map_err(|error| error.reason())
    }

    fn with(name: &str, value: Value) -> Value {
        let mut content = json!({ "iss": "https://issuer.test", "exp": 1001, "sub": "a" });
        content[name] = value;
        content
    }

    fn claim(format: &str, values: &[&str]) -> Claim {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Claim { name: "scope".into(), format: format.into(), values }
    }

    #[test]
    fn issuer_and_times_are_looked_at_always() {
        assert_eq!(check_json(with("sub", json!("b")), &[]), Ok(()));
        assert_eq!(check_json(with("iss", json!("https://other.test")), &[]), Err("JWTClaimValueInvalid"));
        assert_eq!(check_json(with("iss", json!(["https://issuer.test"])), &[]), Err("JWTClaimFormatInvalid"));
        assert_eq!(check_json(json!({ "exp": 2000 }), &[]), Err("JWTClaimNotPresent"));
        assert_eq!(check_json(json!({ "iss": "https://issuer.test" }), &[]), Err("JWTClaimNotPresent"));
        assert_eq!(check_json(with("exp", json!(1000)), &[]), Err("JWTClaimValueInvalid"));
        assert_eq!(check_json(with("exp", json!("2000")), &[]), Err("JWTClaimFormatInvalid"));
        assert_eq!(check_json(with("exp", json!(-1)), &[]), Err("JWTClaimFormatInvalid"));
        assert_eq!(check_json(with("exp", json!(1001.5)), &[]), Ok(()));
        assert_eq!(check_json(with("nbf", json!(1005)), &[]), Ok(()));
        assert_eq!(check_json(with("nbf", json!(1006)), &[]), Err("JWTClaimValueInvalid"));
        assert_eq!(check_json(with("iat", json!(2000)), &[]), Err("JWTClaimValueInvalid"));
    }

    #[test]
    fn further_claims_have_three_forms() {
        let single = [claim("single-string", &["read"])];
        assert_eq!(check_json(with("scope", json!("read")), &single), Ok(()));
        assert_eq!(check_json(with("scope", json!("read write")), &single), Err("JWTClaimValueInvalid"));
        assert_eq!(check_json(with("scope", json!(["read"])), &single), Err("JWTClaimFormatInvalid"));
        assert_eq!(check_json(with("sub", json!("a")), &single), Err("JWTClaimNotPresent"));

        let spaced = [claim("space-separated-values", &["read", "admin"])];
        assert_eq!(check_json(with("scope", json!("write read")), &spaced), Ok(()));
        assert_eq!(check_json(with("scope", json!("write readers")), &spaced), Err("JWTClaimValueInvalid"));

        let array = [claim("string-array", &["read", "admin"])];
        assert_eq!(check_json(with("scope", json!(["x", "admin"])), &array), Ok(()));
        assert_eq!(check_json(with("scope", json!([])), &array), Err("JWTClaimValueInvalid"));
        assert_eq!(check_json(with("scope", json!(["read", 1])), &array), Err("JWTClaimFormatInvalid"));
        assert_eq!(check_json(with("scope", json!("read")), &array), Err("JWTClaimFormatInvalid"));
        assert_eq!(check_json(with("scope", json!("read")), &[claim("other", &["read"])]), Err("JWTClaimValueInvalid"));
    }
}
