//! Filters on parameters. All of them must pass; of one filter's values any may match.

use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::ssm as wire;
use crate::model::Parameter;

/// What DescribeParameters can be filtered by, beside tags.
const DESCRIBE_KEYS: &[&str] = &["Path", "Name", "Tier", "Type", "KeyId", "DataType"];
/// What GetParametersByPath can be filtered by.
const PATH_KEYS: &[&str] = &["Type", "KeyId", "Label"];

/// One filter, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    key: Key,
    option: Match,
    values: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Key {
    Path,
    Name,
    Tier,
    Type,
    Kms,
    DataType,
    Label,
    Tag(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Match {
    Equals,
    BeginsWith,
    Contains,
    Recursive,
    OneLevel,
}

impl Filter {
    /// Parameters below a path, at any depth or directly.
    pub fn below(path: &str, recursive: bool) -> Filter {
        let option = if recursive { Match::Recursive } else { Match::OneLevel };
        Filter { key: Key::Path, option, values: vec![String::from(path)] }
    }

    /// The label that is asked for, where this filters by one.
    pub fn label(&self) -> Option<&str> {
        if self.key == Key::Label { self.values.first().map(String::as_str) } else { None }
    }

    pub fn passes(&self, parameter: &Parameter) -> bool {
        let Some(latest) = parameter.latest() else { return false };
        match &self.key {
            Key::Path => self.values.iter().any(|path| is_below(&parameter.name, path, self.option)),
            Key::Name => self.matches(&parameter.name) || self.matches(parameter.name.trim_start_matches('/')),
            Key::Tier => self.matches(latest.tier.as_str()),
            Key::Type => self.matches(latest.kind.as_str()),
            Key::Kms => latest.key_id.as_deref().is_some_and(|key| self.matches(key)),
            Key::DataType => self.matches(&latest.data_type),
            Key::Label => parameter.versions.iter().any(|version| version.labels.iter().any(|own| self.matches(own))),
            Key::Tag(key) => {
                let tag = parameter.tags.iter().find(|tag| tag.key == *key);
                tag.is_some_and(|tag| self.values.is_empty() || self.matches(tag.value.as_deref().unwrap_or_default()))
            }
        }
    }

    fn matches(&self, text: &str) -> bool {
        self.values.iter().any(|value| match self.option {
            Match::BeginsWith => text.starts_with(value.as_str()),
            Match::Contains => text.contains(value.as_str()),
            _ => text == value,
        })
    }
}

/// `/` is above everything, also above names without a hierarchy.
fn is_below(name: &str, path: &str, depth: Match) -> bool {
    let path = path.trim_end_matches('/');
    let rest = match name.strip_prefix(path) {
        Some(rest) if path.is_empty() => rest.strip_prefix('/').unwrap_or(rest),
        Some(rest) => match rest.strip_prefix('/') {
            Some(rest) => rest,
            None => return false,
        },
        None => return false,
    };
    depth == Match::Recursive || !rest.contains('/')
}

/// The filters of DescribeParameters.
pub fn of_describe(given: &[wire::ParameterStringFilter]) -> Result<Vec<Filter>, ApiError> {
    given
        .iter()
        .map(|filter| {
            let key = filter.key.as_deref().unwrap_or_default();
            if key.strip_prefix("tag:").is_none_or(str::is_empty) && !DESCRIBE_KEYS.contains(&key) {
                let mut keys = DESCRIBE_KEYS.to_vec();
                keys.push("tag:tag-name");
                return Err(invalid_key(key, &keys));
            }
            checked(filter)
        })
        .collect()
}

/// The filters of GetParametersByPath.
pub fn of_path(given: &[wire::ParameterStringFilter]) -> Result<Vec<Filter>, ApiError> {
    given
        .iter()
        .map(|filter| {
            let key = filter.key.as_deref().unwrap_or_default();
            if PATH_KEYS.contains(&key) { checked(filter) } else { Err(invalid_key(key, PATH_KEYS)) }
        })
        .collect()
}

/// The older form of filters: names by how they begin, the others as a whole.
pub fn of_old_form(given: &[wire::ParametersFilter]) -> Vec<Filter> {
    given
        .iter()
        .map(|filter| {
            let values = filter.values.clone().unwrap_or_default();
            match filter.key.as_deref() {
                Some("Type") => Filter { key: Key::Type, option: Match::Equals, values },
                Some("KeyId") => Filter { key: Key::Kms, option: Match::Equals, values },
                _ => Filter { key: Key::Name, option: Match::BeginsWith, values },
            }
        })
        .collect()
}

fn invalid_key(key: &str, valid: &[&str]) -> ApiError {
    let valid = valid.join(", ");
    ApiError::new(
        ErrorKind::InvalidFilterKey,
        format_args!("The following filter key is not valid: {key}. Valid filter keys include: [{valid}]."),
    )
}

fn checked(filter: &wire::ParameterStringFilter) -> Result<Filter, ApiError> {
    let name = filter.key.as_deref().unwrap_or_default();
    let key = match name {
        "Path" => Key::Path,
        "Name" => Key::Name,
        "Tier" => Key::Tier,
        "Type" => Key::Type,
        "KeyId" => Key::Kms,
        "DataType" => Key::DataType,
        "Label" => Key::Label,
        tag => Key::Tag(String::from(tag.strip_prefix("tag:").unwrap_or(tag))),
    };
    let options: &[(&str, Match)] = match key {
        Key::Path => &[("OneLevel", Match::OneLevel), ("Recursive", Match::Recursive)],
        Key::Name => &[("Equals", Match::Equals), ("BeginsWith", Match::BeginsWith), ("Contains", Match::Contains)],
        Key::Tier | Key::Label => &[("Equals", Match::Equals)],
        _ => &[("Equals", Match::Equals), ("BeginsWith", Match::BeginsWith)],
    };
    let option = match filter.option.as_deref() {
        None => options[0].1,
        Some(asked) => match options.iter().find(|(known, _)| *known == asked) {
            Some((_, option)) => *option,
            None => {
                let valid: Vec<&str> = options.iter().map(|(known, _)| *known).collect();
                let valid = valid.join(", ");
                return Err(ApiError::new(
                    ErrorKind::InvalidFilterOption,
                    format_args!(
                        "The following filter option is not valid: {asked}. Valid options include: [{valid}]."
                    ),
                ));
            }
        },
    };
    let values = filter.values.clone().unwrap_or_default();
    if values.is_empty() && !matches!(key, Key::Tag(_)) {
        return Err(ApiError::new(
            ErrorKind::InvalidFilterValue,
            format_args!("The following filter values are missing : null for filter key {name}"),
        ));
    }
    if let (Key::Path, Some(path)) = (&key, values.iter().find(|path| !path.starts_with('/'))) {
        return Err(ApiError::validation(format!(
            "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash \"/\". ({path})"
        )));
    }
    Ok(Filter { key, option, values })
}
