//! Rules of a listener: conditions on a request, and what is done with one that meets them all.

use serde::{Deserialize, Serialize};

use crate::model::load_balancer::{Action, LoadBalancerKind};
use crate::model::{Arn, Scope, Tag, Timestamp};

/// The highest priority number of a rule, which is the last to be looked at.
pub const PRIORITY_MAX: u32 = 50_000;

/// A rule that is not its listener's default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub scope: Scope,
    pub load_balancer: String,
    #[serde(default)]
    pub load_balancer_kind: LoadBalancerKind,
    pub load_balancer_id: String,
    /// The listener's id.
    pub listener: String,
    /// 16 hexadecimal digits.
    pub id: String,
    /// 1 to 50,000; no two rules of a listener have the same, and the lowest whose conditions hold is taken.
    pub priority: u32,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    pub actions: Vec<Action>,
    #[serde(default)]
    pub transforms: Vec<Transform>,
    pub tags: Vec<Tag>,
    pub created_at: Timestamp,
}

impl Rule {
    pub fn arn(&self) -> Arn {
        Arn::listener_rule(&self.listener_arn(), &self.id)
    }

    pub fn listener_arn(&self) -> Arn {
        Arn::listener(
            &self.scope,
            self.load_balancer_kind.in_arns(),
            &self.load_balancer,
            &self.load_balancer_id,
            &self.listener,
        )
    }
}

/// One condition; it holds if one of its values fits. Values with `*` (any characters) and `?` (one character) are
/// patterns; `regex_values` are regular expressions and stand instead of values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Patterns without regard to case.
    HostHeader { values: Vec<String>, regex_values: Vec<String> },
    /// Patterns with regard to case, of the path without its query.
    PathPattern { values: Vec<String>, regex_values: Vec<String> },
    /// Patterns without regard to case, of the header of this name.
    HttpHeader { name: String, values: Vec<String>, regex_values: Vec<String> },
    /// Patterns without regard to case: of a value, or of a key and its value.
    QueryString { values: Vec<(Option<String>, String)> },
    /// Exact.
    HttpRequestMethod { values: Vec<String> },
    /// CIDR blocks, of the address that the connection came from.
    SourceIp { values: Vec<String> },
}

/// Changes a request before it is forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transform {
    /// What `regex` finds in the Host header becomes `replace`.
    HostHeaderRewrite { regex: String, replace: String },
    /// What `regex` finds in path and query becomes `replace`.
    UrlRewrite { regex: String, replace: String },
}
