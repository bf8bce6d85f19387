//! Conditions of rules: read from the wire, checked, and shown again.
//!
//! Hosts and paths have two forms, the old `Values` and a structure of their own. Both are taken, and both are shown, as at
//! ELB: older clients read the one, newer ones the other.

use crate::api::error::ApiError;
use crate::api::wire::elbv2 as wire;
use crate::model::rule::Condition;

mod value;

pub use value::compiles;

/// Values of all conditions of a rule, and wildcards in them: ELB's own quotas.
pub const VALUES_MAX: usize = 5;
pub const WILDCARDS_MAX: usize = 5;

const FIELDS: [&str; 6] =
    ["http-request-method", "host-header", "path-pattern", "http-header", "query-string", "source-ip"];

/// The conditions of a rule.
pub fn read(given: Vec<wire::RuleCondition>) -> Result<Vec<Condition>, ApiError> {
    if given.is_empty() {
        return Err(ApiError::validation("A condition must be specified"));
    }
    let conditions: Vec<Condition> = given.into_iter().map(one).collect::<Result<_, _>>()?;
    if conditions.iter().map(values_of).sum::<usize>() > VALUES_MAX {
        return Err(ApiError::validation(format_args!(
            "A rule can only have '{VALUES_MAX}' condition values and regex values"
        )));
    }
    if conditions.iter().map(wildcards_of).sum::<usize>() > WILDCARDS_MAX {
        return Err(ApiError::validation(format_args!("A rule can only have '{WILDCARDS_MAX}' condition wildcards")));
    }
    let once = FIELDS.iter().filter(|field| !matches!(**field, "http-header" | "query-string"));
    for field in once {
        if conditions.iter().filter(|condition| field_of(condition) == *field).count() > 1 {
            return Err(ApiError::validation(format_args!("A rule can only have one '{field}' condition")));
        }
    }
    Ok(conditions)
}

fn one(given: wire::RuleCondition) -> Result<Condition, ApiError> {
    let field = given.field.clone().filter(|field| !field.is_empty());
    let field = field.ok_or_else(|| ApiError::validation("A condition field must be specified"))?;
    if !FIELDS.contains(&field.as_str()) {
        return Err(ApiError::validation(format_args!(
            "Condition field '{field}' must be one of '[{}]'",
            FIELDS.join(", ")
        )));
    }
    only(&given, &field)?;
    let wire::RuleCondition { values, regex_values, .. } = given;
    let missing = || ApiError::validation(format_args!("A '{}' must be specified with '{field}'", config_of(&field)));
    match field.as_str() {
        "host-header" => {
            let config = given.host_header_config.unwrap_or_default();
            let (values, regex_values) = texts(&field, (values, regex_values), (config.values, config.regex_values))?;
            values.iter().try_for_each(|value| value::host(value))?;
            regex_values.iter().try_for_each(|pattern| value::regex(&field, pattern, true))?;
            Ok(Condition::HostHeader { values, regex_values })
        }
        "path-pattern" => {
            let config = given.path_pattern_config.unwrap_or_default();
            let (values, regex_values) = texts(&field, (values, regex_values), (config.values, config.regex_values))?;
            values.iter().try_for_each(|value| value::path(value))?;
            regex_values.iter().try_for_each(|pattern| value::regex(&field, pattern, false))?;
            Ok(Condition::PathPattern { values, regex_values })
        }
        "http-header" => {
            let config = given.http_header_config.ok_or_else(missing)?;
            let name = config.http_header_name.unwrap_or_default();
            value::header_name(&name)?;
            let (values, regex_values) = texts(&field, (None, regex_values), (config.values, config.regex_values))?;
            values.iter().try_for_each(|value| value::header(value))?;
            regex_values.iter().try_for_each(|pattern| value::regex(&field, pattern, true))?;
            Ok(Condition::HttpHeader { name, values, regex_values })
        }
        "query-string" => {
            let pairs = given.query_string_config.ok_or_else(missing)?.values.unwrap_or_default();
            let values: Vec<_> = pairs.into_iter().map(value::query).collect::<Result<_, _>>()?;
            some(&values)?;
            Ok(Condition::QueryString { values })
        }
        "http-request-method" => {
            let values = given.http_request_method_config.ok_or_else(missing)?.values.unwrap_or_default();
            some(&values)?;
            values.iter().try_for_each(|value| value::method(value))?;
            Ok(Condition::HttpRequestMethod { values })
        }
        _ => {
            let values = given.source_ip_config.ok_or_else(missing)?.values.unwrap_or_default();
            some(&values)?;
            values.iter().try_for_each(|value| value::cidr(value))?;
            Ok(Condition::SourceIp { values })
        }
    }
}

fn some<T>(values: &[T]) -> Result<(), ApiError> {
    match values {
        [] => Err(ApiError::validation("A condition value must be specified")),
        _ => Ok(()),
    }
}

/// Patterns or expressions, from the condition itself or from the structure of its field; from both only where they agree,
/// as in what was shown.
fn texts(
    field: &str,
    outer: (Option<Vec<String>>, Option<Vec<String>>),
    inner: (Option<Vec<String>>, Option<Vec<String>>),
) -> Result<(Vec<String>, Vec<String>), ApiError> {
    let either = |outer: Option<Vec<String>>, inner: Option<Vec<String>>, member: &str| {
        let (outer, inner) = (outer.unwrap_or_default(), inner.unwrap_or_default());
        match (outer.is_empty(), inner.is_empty()) {
            (false, false) if outer != inner => Err(ApiError::validation(format_args!(
                "You cannot provide both {member} and '{}' for a condition of type '{field}'",
                config_of(field)
            ))),
            (_, true) => Ok(outer),
            (_, false) => Ok(inner),
        }
    };
    let values = either(outer.0, inner.0, "Values")?;
    let regex_values = either(outer.1, inner.1, "RegexValues")?;
    match (values.is_empty(), regex_values.is_empty()) {
        (true, true) => Err(ApiError::validation("A condition value must be specified")),
        (false, false) => Err(ApiError::validation(format_args!(
            "You cannot provide both Values and RegexValues for a condition of type '{field}'"
        ))),
        _ => Ok((values, regex_values)),
    }
}

/// Refuses what belongs to another field than the condition's.
fn only(given: &wire::RuleCondition, field: &str) -> Result<(), ApiError> {
    let configs = [
        ("host-header", given.host_header_config.is_some()),
        ("path-pattern", given.path_pattern_config.is_some()),
        ("http-header", given.http_header_config.is_some()),
        ("query-string", given.query_string_config.is_some()),
        ("http-request-method", given.http_request_method_config.is_some()),
        ("source-ip", given.source_ip_config.is_some()),
    ];
    let foreign =
        configs.iter().find(|(other, is_given)| *is_given && *other != field).map(|(other, _)| config_of(other));
    let is_given = |values: &Option<Vec<String>>| values.as_ref().is_some_and(|values| !values.is_empty());
    let values = (!matches!(field, "host-header" | "path-pattern") && is_given(&given.values)).then_some("Values");
    let has_regex = matches!(field, "host-header" | "path-pattern" | "http-header");
    let regex_values = (!has_regex && is_given(&given.regex_values)).then_some("RegexValues");
    match foreign.or(values).or(regex_values) {
        Some(member) => {
            Err(ApiError::validation(format_args!("The '{member}' field is not compatible with '{field}'")))
        }
        None => Ok(()),
    }
}

fn config_of(field: &str) -> &'static str {
    match field {
        "host-header" => "HostHeaderConfig",
        "path-pattern" => "PathPatternConfig",
        "http-header" => "HttpHeaderConfig",
        "query-string" => "QueryStringConfig",
        "http-request-method" => "HttpRequestMethodConfig",
        _ => "SourceIpConfig",
    }
}

fn field_of(condition: &Condition) -> &'static str {
    match condition {
        Condition::HostHeader { .. } => "host-header",
        Condition::PathPattern { .. } => "path-pattern",
        Condition::HttpHeader { .. } => "http-header",
        Condition::QueryString { .. } => "query-string",
        Condition::HttpRequestMethod { .. } => "http-request-method",
        Condition::SourceIp { .. } => "source-ip",
    }
}

fn values_of(condition: &Condition) -> usize {
    match condition {
        Condition::HostHeader { values, regex_values }
        | Condition::PathPattern { values, regex_values }
        | Condition::HttpHeader { values, regex_values, .. } => values.len() + regex_values.len(),
        Condition::QueryString { values } => values.len(),
        Condition::HttpRequestMethod { values } | Condition::SourceIp { values } => values.len(),
    }
}

fn wildcards_of(condition: &Condition) -> usize {
    let in_all = |values: &[String]| values.iter().map(|value| value::wildcards(value)).sum();
    match condition {
        Condition::HostHeader { values, .. }
        | Condition::PathPattern { values, .. }
        | Condition::HttpHeader { values, .. } => in_all(values),
        Condition::QueryString { values } => {
            values.iter().map(|(key, text)| key.as_deref().map_or(0, value::wildcards) + value::wildcards(text)).sum()
        }
        Condition::HttpRequestMethod { .. } | Condition::SourceIp { .. } => 0,
    }
}

/// A condition as the wire shows it.
pub fn shown(condition: &Condition) -> wire::RuleCondition {
    let listed = |values: &[String]| Some(values.to_vec()).filter(|values| !values.is_empty());
    let mut shown = wire::RuleCondition { field: Some(field_of(condition).to_owned()), ..Default::default() };
    match condition {
        Condition::HostHeader { values, regex_values } => {
            (shown.values, shown.regex_values) = (listed(values), listed(regex_values));
            shown.host_header_config =
                Some(wire::HostHeaderConditionConfig { values: listed(values), regex_values: listed(regex_values) });
        }
        Condition::PathPattern { values, regex_values } => {
            (shown.values, shown.regex_values) = (listed(values), listed(regex_values));
            shown.path_pattern_config =
                Some(wire::PathPatternConditionConfig { values: listed(values), regex_values: listed(regex_values) });
        }
        Condition::HttpHeader { name, values, regex_values } => {
            shown.http_header_config = Some(wire::HttpHeaderConditionConfig {
                http_header_name: Some(name.clone()),
                values: listed(values),
                regex_values: listed(regex_values),
            });
        }
        Condition::QueryString { values } => {
            let pairs = values
                .iter()
                .map(|(key, value)| wire::QueryStringKeyValuePair { key: key.clone(), value: Some(value.clone()) });
            shown.query_string_config = Some(wire::QueryStringConditionConfig { values: Some(pairs.collect()) });
        }
        Condition::HttpRequestMethod { values } => {
            shown.http_request_method_config =
                Some(wire::HttpRequestMethodConditionConfig { values: Some(values.clone()) });
        }
        Condition::SourceIp { values } => {
            shown.source_ip_config = Some(wire::SourceIpConditionConfig { values: Some(values.clone()) });
        }
    }
    shown
}
