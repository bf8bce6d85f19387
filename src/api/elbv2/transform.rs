//! Transforms of rules: what of a request is rewritten before it is forwarded.

use crate::api::elbv2::condition;
use crate::api::error::ApiError;
use crate::api::wire::elbv2 as wire;
use crate::model::rule::Transform;

/// ELB's own bound of an expression, and of what stands in its place.
const CHARS_MAX: usize = 1024;

/// The transforms of a rule: one of each type at most.
pub fn read(given: Vec<wire::RuleTransform>) -> Result<Vec<Transform>, ApiError> {
    let mut transforms: Vec<Transform> = Vec::new();
    for given in given {
        let transform = one(given)?;
        if transforms.iter().any(|earlier| type_of(earlier) == type_of(&transform)) {
            return Err(ApiError::validation(format_args!(
                "A rule can only have one '{}' transform",
                type_of(&transform)
            )));
        }
        transforms.push(transform);
    }
    Ok(transforms)
}

fn one(given: wire::RuleTransform) -> Result<Transform, ApiError> {
    let kind = given.r#type.unwrap_or_default();
    let host = given.host_header_rewrite_config.map(|config| config.rewrites.unwrap_or_default());
    let url = given.url_rewrite_config.map(|config| config.rewrites.unwrap_or_default());
    let foreign = |member| ApiError::validation(format_args!("The '{member}' field is not compatible with '{kind}'"));
    let missing = |member| ApiError::validation(format_args!("A '{member}' must be specified with '{kind}'"));
    match (kind.as_str(), host, url) {
        ("host-header-rewrite", Some(rewrites), None) => {
            let (regex, replace) = rewrite(&kind, rewrites)?;
            Ok(Transform::HostHeaderRewrite { regex, replace })
        }
        ("url-rewrite", None, Some(rewrites)) => {
            let (regex, replace) = rewrite(&kind, rewrites)?;
            Ok(Transform::UrlRewrite { regex, replace })
        }
        ("host-header-rewrite", _, Some(_)) => Err(foreign("UrlRewriteConfig")),
        ("url-rewrite", Some(_), _) => Err(foreign("HostHeaderRewriteConfig")),
        ("host-header-rewrite", ..) => Err(missing("HostHeaderRewriteConfig")),
        ("url-rewrite", ..) => Err(missing("UrlRewriteConfig")),
        _ => Err(ApiError::validation(format_args!("Transform type '{kind}' is not valid"))),
    }
}

/// The only rewrite of a transform.
fn rewrite(kind: &str, rewrites: Vec<wire::RewriteConfig>) -> Result<(String, String), ApiError> {
    let [rewrite] = <[wire::RewriteConfig; 1]>::try_from(rewrites).map_err(|rewrites| {
        ApiError::validation(format_args!("A '{kind}' transform must have one rewrite, and not {}", rewrites.len()))
    })?;
    let (regex, replace) = (rewrite.regex.unwrap_or_default(), rewrite.replace.unwrap_or_default());
    if regex.is_empty() {
        return Err(ApiError::validation("A 'Regex' must be specified"));
    }
    for (member, text) in [("Regex", &regex), ("Replace", &replace)] {
        if text.chars().count() > CHARS_MAX {
            return Err(ApiError::validation(format_args!(
                "The '{member}' value is too long; the limit is '{CHARS_MAX}'"
            )));
        }
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(ApiError::validation(format_args!(
                "The '{member}' value '{text}' contains a character that is not valid"
            )));
        }
    }
    condition::compiles(&regex, kind == "host-header-rewrite")?;
    Ok((regex, replace))
}

fn type_of(transform: &Transform) -> &'static str {
    match transform {
        Transform::HostHeaderRewrite { .. } => "host-header-rewrite",
        Transform::UrlRewrite { .. } => "url-rewrite",
    }
}

/// A transform as the wire shows it.
pub fn shown(transform: &Transform) -> wire::RuleTransform {
    let rewrites = |regex: &str, replace: &str| {
        Some(vec![wire::RewriteConfig { regex: Some(regex.to_owned()), replace: Some(replace.to_owned()) }])
    };
    let mut shown = wire::RuleTransform { r#type: Some(type_of(transform).to_owned()), ..Default::default() };
    match transform {
        Transform::HostHeaderRewrite { regex, replace } => {
            shown.host_header_rewrite_config =
                Some(wire::HostHeaderRewriteConfig { rewrites: rewrites(regex, replace) });
        }
        Transform::UrlRewrite { regex, replace } => {
            shown.url_rewrite_config = Some(wire::UrlRewriteConfig { rewrites: rewrites(regex, replace) });
        }
    }
    shown
}
