//! What a value of each kind of condition may be.
//!
//! The characters are those of ELB's documentation of condition types; a rule sees nothing but visible ASCII.

use std::net::IpAddr;

use crate::api::error::ApiError;
use crate::api::wire::elbv2 as wire;
use crate::model::rule;

/// ELB's own bounds.
const CHARS_MAX: usize = 128;
const NAME_CHARS_MAX: usize = 40;

pub fn host(value: &str) -> Result<(), ApiError> {
    length("host-header", value, CHARS_MAX)?;
    characters(value, |byte| byte.is_ascii_alphanumeric() || b"-_.*?".contains(&byte))?;
    let Some((_, last)) = value.rsplit_once('.') else {
        return Err(ApiError::validation(format_args!(
            "Condition value '{value}' must include at least one '.' character"
        )));
    };
    match !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_alphabetic() || b"*?".contains(&byte)) {
        true => Ok(()),
        false => Err(ApiError::validation(format_args!(
            "Condition value '{value}' can include only alphabetical characters after the final '.' character"
        ))),
    }
}

pub fn path(value: &str) -> Result<(), ApiError> {
    length("path-pattern", value, CHARS_MAX)?;
    characters(value, |byte| byte.is_ascii_alphanumeric() || b"_-.$/~\"'@:+&*?".contains(&byte))
}

/// A token of RFC 7230; the host has a condition of its own.
pub fn header_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::validation("A 'HttpHeaderName' must be specified"));
    }
    length("HttpHeaderName", name, NAME_CHARS_MAX)?;
    characters(name, |byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))?;
    match name.eq_ignore_ascii_case("host") {
        true => Err(ApiError::validation(
            "The 'HttpHeaderName' value 'Host' is not valid; use a condition of type 'host-header'",
        )),
        false => Ok(()),
    }
}

pub fn header(value: &str) -> Result<(), ApiError> {
    length("http-header", value, CHARS_MAX)?;
    characters(value, |byte| matches!(byte, b' '..=b'~'))
}

/// A key, where there is one, and its value. A backslash takes from a wildcard its meaning.
pub fn query(pair: wire::QueryStringKeyValuePair) -> Result<(Option<String>, String), ApiError> {
    let value = pair.value.unwrap_or_default();
    let key = pair.key.filter(|key| !key.is_empty());
    if value.is_empty() {
        return Err(ApiError::validation("A 'Value' must be specified in 'QueryStringKeyValuePair'"));
    }
    for (member, text) in [("Key", key.as_deref().unwrap_or_default()), ("Value", &value)] {
        if text.len() > CHARS_MAX {
            return Err(too_long(member, CHARS_MAX));
        }
        characters(text, |byte| byte.is_ascii_alphanumeric() || b"_-.$/~\"'@:+&()!,;=%*?\\".contains(&byte))?;
    }
    Ok((key, value))
}

pub fn method(value: &str) -> Result<(), ApiError> {
    length("http-request-method", value, NAME_CHARS_MAX)?;
    match value.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte)) {
        true => Ok(()),
        false => Err(ApiError::validation(
            "The 'http-request-method' value is invalid; the allowed characters are A-Z, hyphen and underscore",
        )),
    }
}

/// A block of IPv4 or IPv6 addresses.
pub fn cidr(value: &str) -> Result<(), ApiError> {
    // ELB does not take it either.
    let is_broadcast = value == "255.255.255.255/32";
    match is_block(value) && !is_broadcast {
        true => Ok(()),
        false => Err(ApiError::validation(format_args!("Condition value '{value}' is not a valid CIDR block"))),
    }
}

fn is_block(value: &str) -> bool {
    let Some((address, bits)) = value.split_once('/') else { return false };
    let bits_max = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    let plain = bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
    plain && bits.parse::<u8>().is_ok_and(|bits| bits <= bits_max)
}

/// A regular expression, compiled as the data path compiles it.
pub fn regex(field: &str, pattern: &str, ignore_case: bool) -> Result<(), ApiError> {
    length(field, pattern, CHARS_MAX)?;
    compiles(pattern, ignore_case)
}

pub fn compiles(pattern: &str, ignore_case: bool) -> Result<(), ApiError> {
    characters(pattern, |byte| matches!(byte, b' '..=b'~'))?;
    rule::regex(pattern, ignore_case).map(drop).map_err(|error| {
        let reason = match error {
            regex::Error::CompiledTooBig(_) => String::from("it is too complex"),
            // The last line says what; those before it point at where.
            other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        };
        ApiError::validation(format_args!("The regular expression '{pattern}' is not valid: {reason}"))
    })
}

/// `*` and `?` that no backslash escapes.
pub fn wildcards(value: &str) -> usize {
    let mut escaped = false;
    let mut count = 0;
    for byte in value.bytes() {
        match byte {
            b'\\' if !escaped => escaped = true,
            b'*' | b'?' if !escaped => count += 1,
            _ => escaped = false,
        }
    }
    count
}

fn length(what: &str, value: &str, chars_max: usize) -> Result<(), ApiError> {
    match value.chars().count() {
        0 => Err(ApiError::validation("A condition value must be specified")),
        count if count > chars_max => Err(too_long(what, chars_max)),
        _ => Ok(()),
    }
}

fn too_long(what: &str, chars_max: usize) -> ApiError {
    ApiError::validation(format_args!("The '{what}' value is too long; the limit is '{chars_max}'"))
}

fn characters(value: &str, allowed: impl Fn(u8) -> bool) -> Result<(), ApiError> {
    match value.bytes().all(allowed) {
        true => Ok(()),
        false => {
            Err(ApiError::validation(format_args!("Condition value '{value}' contains a character that is not valid")))
        }
    }
}
