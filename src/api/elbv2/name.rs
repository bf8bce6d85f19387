//! The names of load balancers and target groups: what may be one.

use crate::api::error::ApiError;

/// ELB's own limit: the name is a label of the DNS name, with room for an id after it.
const NAME_CHARS_MAX: usize = 32;

/// Checks the name of a load balancer; `internal-` is kept for the DNS names of internal ones.
pub fn load_balancer(name: Option<String>) -> Result<String, ApiError> {
    let name = checked(name, "load balancer", "Load balancer")?;
    if name.starts_with("internal-") {
        return Err(ApiError::validation(format_args!("Load balancer name '{name}' cannot begin with 'internal-'")));
    }
    Ok(name)
}

/// Checks the name of a target group.
pub fn target_group(name: Option<String>) -> Result<String, ApiError> {
    checked(name, "target group", "Target group")
}

fn checked(name: Option<String>, what: &str, subject: &str) -> Result<String, ApiError> {
    let name = name.unwrap_or_default();
    if name.is_empty() {
        return Err(ApiError::validation(format_args!("A {what} name must be specified")));
    }
    let length = name.chars().count();
    if length > NAME_CHARS_MAX {
        return Err(ApiError::validation(format_args!(
            "{subject} name '{name}' cannot be longer than '{NAME_CHARS_MAX}' characters"
        )));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(ApiError::validation(format_args!(
            "{subject} name '{name}' can only contain characters that are alphanumeric characters and hyphens(-)"
        )));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err(ApiError::validation(format_args!("{subject} name '{name}' cannot begin or end with a hyphen(-)")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        let refused = |name: &str| load_balancer(Some(name.to_owned())).unwrap_err().message;
        assert_eq!(load_balancer(Some("web-1".into())).unwrap(), "web-1");
        assert_eq!(refused(""), "A load balancer name must be specified");
        assert!(refused(&"a".repeat(33)).ends_with("cannot be longer than '32' characters"));
        assert!(refused("a_b").contains("alphanumeric characters and hyphens(-)"));
        assert_eq!(refused("-a"), "Load balancer name '-a' cannot begin or end with a hyphen(-)");
        assert_eq!(refused("a-"), "Load balancer name 'a-' cannot begin or end with a hyphen(-)");
        assert_eq!(refused("internal-a"), "Load balancer name 'internal-a' cannot begin with 'internal-'");
        assert!(target_group(Some("internal-a".into())).is_ok());
    }
}
