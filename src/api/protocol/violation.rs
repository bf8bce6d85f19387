//! What the model forbids, in the words of AWS's own framework.
//!
//! Every service of AWS that is directed by a model answers the same sentence, and clients match on it, so it is made in
//! one place. Its paths count from one and name elements `member`, unlike the paths of type errors.

use std::fmt;

use serde_json::Value;

use crate::api::shape::Bounds;

/// How much of a value is quoted back: enough to find it, whatever was sent.
const QUOTED_CHARS_MAX: usize = 256;

/// How many violations an answer lists. A definition with more wrong is wrong in the same way throughout.
pub const VIOLATIONS_MAX: usize = 16;

/// One value and the constraint that it breaks.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    pub value: Quoted,
    pub path: String,
    pub constraint: String,
}

/// The value that broke a constraint, as far as it may be shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Quoted {
    Missing,
    Secret,
    Shown(String),
}

/// All that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Violations(pub Vec<Violation>);

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} validation error{plural} detected: ", self.0.len())?;
        for (at, violation) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            violation.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Quoted::Shown(value) => write!(f, "Value '{value}'")?,
            Quoted::Secret => f.write_str("Value")?,
            Quoted::Missing => f.write_str("Value null")?,
        }
        write!(f, " at '{}' failed to satisfy constraint: {}", self.path, self.constraint)
    }
}

impl Violation {
    pub fn missing(path: String) -> Violation {
        Violation { value: Quoted::Missing, path, constraint: String::from("Member must not be null") }
    }

    pub fn not_in(values: &[&str], value: &Value, path: String) -> Violation {
        let constraint = format!("Member must satisfy enum value set: [{}]", values.join(", "));
        Violation { value: quote(value), path, constraint }
    }
}

/// What `measure`, the `what` (`length` or `value`) of `value`, breaks of `bounds`. A null stands for a secret.
pub fn outside(
    bounds: Bounds,
    measure: i64,
    what: &str,
    value: &Value,
    path: impl Fn() -> String,
) -> Option<Violation> {
    let constraint = match bounds {
        Bounds { min: Some(min), .. } if measure < min => {
            format!("Member must have {what} greater than or equal to {min}")
        }
        Bounds { max: Some(max), .. } if measure > max => {
            format!("Member must have {what} less than or equal to {max}")
        }
        _ => return None,
    };
    Some(Violation { value: quote(value), path: path(), constraint })
}

fn quote(value: &Value) -> Quoted {
    Quoted::Shown(match value {
        Value::Null => return Quoted::Secret,
        Value::String(text) => text.chars().take(QUOTED_CHARS_MAX).collect(),
        other => other.to_string().chars().take(QUOTED_CHARS_MAX).collect(),
    })
}
