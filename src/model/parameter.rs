//! A parameter of Parameter Store, with its history.
//!
//! One record holds all versions: there are at most a hundred of at most 8 KiB, and so a parameter is created, labelled
//! and deleted in one write. Every value is sealed, a plain String's too: people keep more in those than they should.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::arn::ArnParts;
use crate::model::{Arn, Scope, Sealed, Tag, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParameterType {
    String,
    StringList,
    SecureString,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    Standard,
    Advanced,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    pub scope: Scope,
    pub name: String,
    /// Random: tells a parameter from the one that had its name before.
    pub id: String,
    pub tags: Vec<Tag>,
    /// Oldest first, never empty.
    pub versions: Vec<ParameterVersion>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterVersion {
    /// From 1.
    pub version: u32,
    pub kind: ParameterType,
    pub value: Sealed,
    pub description: Option<String>,
    pub key_id: Option<String>,
    pub allowed_pattern: Option<String>,
    pub tier: Tier,
    pub data_type: String,
    pub policies: Option<String>,
    pub labels: Vec<String>,
    pub modified_at: Timestamp,
    pub modified_by: String,
}

impl ParameterType {
    pub fn as_str(self) -> &'static str {
        match self {
            ParameterType::String => "String",
            ParameterType::StringList => "StringList",
            ParameterType::SecureString => "SecureString",
        }
    }

    pub fn parse(text: &str) -> Option<ParameterType> {
        [ParameterType::String, ParameterType::StringList, ParameterType::SecureString]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

impl Tier {
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Standard => "Standard",
            Tier::Advanced => "Advanced",
        }
    }
}

impl Parameter {
    pub fn arn(&self) -> Arn {
        Arn::parameter(&self.scope, &self.name)
    }

    /// The newest version; a parameter is never without one.
    pub fn latest(&self) -> Option<&ParameterVersion> {
        self.versions.last()
    }

    /// What the sealed value of a version is bound to: moved to any other record, it does not open.
    pub fn identity(&self, version: u32) -> String {
        let Scope { account, region } = &self.scope;
        format!("parameter\n{account}\n{region}\n{}\n{}\n{version}", self.name, self.id)
    }

    pub fn selected(&self, selector: Selector<'_>) -> Option<&ParameterVersion> {
        match selector {
            Selector::Latest => self.latest(),
            Selector::Version(wanted) => self.versions.iter().find(|version| version.version == wanted),
            Selector::Label(label) => {
                self.versions.iter().find(|version| version.labels.iter().any(|own| own == label))
            }
        }
    }
}

/// Which version of a parameter is meant: what follows the colon of `name:3` or `name:label`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector<'a> {
    Latest,
    Version(u32),
    Label(&'a str),
}

/// How callers name a parameter: by its name or its ARN, either with a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterReference<'a> {
    /// A name, or what follows `parameter` in an ARN.
    name: &'a str,
    is_arn: bool,
    pub selector: Selector<'a>,
    /// The selector with its colon, as it was written; empty without.
    pub selector_text: &'a str,
}

impl<'a> ParameterReference<'a> {
    /// `None` for an ARN of something else, or of another account or region.
    pub fn parse(text: &'a str, scope: &Scope) -> Option<ParameterReference<'a>> {
        let (whole, is_arn) = match ArnParts::parse(text) {
            None => (text, false),
            Some(parts) if parts.service == "ssm" && parts.is_in(scope) => {
                (parts.resource.strip_prefix("parameter").filter(|rest| rest.starts_with('/'))?, true)
            }
            Some(_) => return None,
        };
        let (name, selector_text) = whole.split_at(whole.find(':').unwrap_or(whole.len()));
        let selector = match selector_text.strip_prefix(':') {
            None => Selector::Latest,
            Some(text) => text.parse().map_or(Selector::Label(text), Selector::Version),
        };
        Some(ParameterReference { name, is_arn, selector, selector_text })
    }

    /// Finds the parameter; `get` looks one up by its name. `/name` and `name` have the same ARN.
    pub fn find(self, get: impl Fn(&str) -> Option<Arc<Parameter>>) -> Option<Arc<Parameter>> {
        let at_root = self.is_arn && self.name.matches('/').count() == 1;
        get(self.name).or_else(|| if at_root { get(&self.name[1..]) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_name_or_an_arn_with_or_without_a_selector() {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        let parse = |text| ParameterReference::parse(text, &scope).map(|found| (found.name, found.selector));
        assert_eq!(parse("db"), Some(("db", Selector::Latest)));
        assert_eq!(parse("/a/b:3"), Some(("/a/b", Selector::Version(3))));
        assert_eq!(parse("/a/b:prod"), Some(("/a/b", Selector::Label("prod"))));
        let arn = "arn:aws:ssm:us-east-1:123456789012:parameter/a/b:3";
        assert_eq!(parse(arn), Some(("/a/b", Selector::Version(3))));
        assert_eq!(parse("arn:aws:ssm:eu-west-1:123456789012:parameter/a"), None);
        assert_eq!(parse("arn:aws:s3:us-east-1:123456789012:parameter/a"), None);
    }
}
