//! Names of parameters: the rules on new ones, and how callers refer to those that are there.

use std::sync::Arc;

use crate::api::context::Context;
use crate::api::error::{ApiError, ErrorKind};
use crate::model::Parameter;
use crate::model::parameter::{ParameterReference, Selector};
use crate::store::{Key, View};

/// Levels of a hierarchy, and characters of a name with all of them (service quotas).
const LEVELS_MAX: usize = 15;
const CHARS_MAX: usize = 1011;

/// A name that a new parameter may have.
pub fn check(name: &str) -> Result<(), ApiError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let parts: Vec<&str> = name.strip_prefix('/').unwrap_or(name).split('/').collect();
    let first = parts[0].to_ascii_lowercase();
    let is_path = name.contains('/');
    if name.len() > CHARS_MAX {
        return Err(ApiError::validation(format!(
            "Parameter name: at most {CHARS_MAX} characters are allowed, with all levels of its hierarchy."
        )));
    }
    if is_path && !name.starts_with('/') {
        return Err(ApiError::validation("Parameter name must be a fully qualified name."));
    }
    if name.starts_with('/') && first == "aws" {
        return Err(ApiError::new(
            ErrorKind::AccessDenied,
            format_args!("No access to reserved parameter name: {name}."),
        ));
    }
    let is_reserved = if is_path { first == "ssm" } else { first.starts_with("aws") || first.starts_with("ssm") };
    let is_formed = parts.iter().all(|part| !part.is_empty() && part.chars().all(is_allowed));
    if is_reserved || !is_formed {
        let reserved = if is_path { "\"ssm\"" } else { "\"aws\" or \"ssm\"" };
        return Err(ApiError::validation(format!(
            "Parameter name: can't be prefixed with {reserved} (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_"
        )));
    }
    if parts.len() > LEVELS_MAX {
        return Err(ApiError::new(
            ErrorKind::HierarchyLevelLimitExceeded,
            "A hierarchy can have a maximum of 15 levels. For more information, see Requirements and constraints for parameter names in the AWS Systems Manager User Guide.",
        ));
    }
    Ok(())
}

/// A parameter that is there, and the version of it that is asked for.
pub struct Found<'a> {
    pub parameter: Arc<Parameter>,
    pub selector: Selector<'a>,
    /// With its colon, as it was written.
    pub selector_text: &'a str,
}

/// Without a text, as the service answers it: clients show the name that they asked for.
pub fn not_found() -> ApiError {
    ApiError::new(ErrorKind::ParameterNotFound, "")
}

pub fn find<'a>(cx: &Context, view: &View, text: &'a str) -> Option<Found<'a>> {
    let reference = ParameterReference::parse(text, &cx.scope)?;
    let parameter = reference.find(|name| view.get::<Parameter>(&Key::parameter(&cx.scope, name)))?;
    Some(Found { parameter, selector: reference.selector, selector_text: reference.selector_text })
}

/// A parameter as a whole: a selector names none.
pub fn find_whole(cx: &Context, view: &View, text: &str) -> Option<Arc<Parameter>> {
    find(cx, view, text).filter(|found| found.selector == Selector::Latest).map(|found| found.parameter)
}

pub fn version_not_found(name: &str, selector: Selector<'_>) -> ApiError {
    let (what, which) = match selector {
        Selector::Version(version) => ("version", version.to_string()),
        Selector::Label(label) => ("label", String::from(label)),
        Selector::Latest => ("version", String::from("1")),
    };
    ApiError::new(
        ErrorKind::ParameterVersionNotFound,
        format_args!("Systems Manager could not find {what} {which} of {name}. Verify the {what} and try again."),
    )
}
