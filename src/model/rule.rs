//! Rules of a listener: conditions on a request, and what is done with one that meets them all.

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::model::load_balancer::{Action, LoadBalancerKind};
use crate::model::{Arn, Scope, Tag, Timestamp};

/// The highest priority number of a rule, which is the last to be looked at.
pub const PRIORITY_MAX: u32 = 50_000;

/// Memory of one compiled expression of a condition or a transform. A thousand characters of an ordinary one need less than
/// half of it, and nested counts such as `(a{99}){99}` do not fit.
pub const REGEX_BYTES_MAX: usize = 128 * 1024;

/// Memory in which matching one of them keeps states that it has met; where it is full, matching begins it anew.
const REGEX_STATES_BYTES_MAX: usize = 1024 * 1024;

/// Compiles an expression of a condition or a transform: of bytes, because that is what requests are made of, and of ASCII
/// classes, as at ELB. It is matched in linear time; lookaround and back-references, which ELB does not have either, are
/// errors.
pub fn regex(pattern: &str, ignore_case: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(ignore_case)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_STATES_BYTES_MAX)
        .build()
}

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
    /// The `Order` of each action as it was given, to be shown again; empty where none was.
    #[serde(default)]
    pub action_orders: Vec<u32>,
    #[serde(default)]
    pub transforms: Vec<Transform>,
    pub tags: Vec<Tag>,
    pub created_at: Timestamp,
}

impl Rule {
    pub fn arn(&self) -> Arn {
        Arn::listener_rule(&self.listener_arn(), &self.id)
    }

    pub fn load_balancer_arn(&self) -> Arn {
        let kind = self.load_balancer_kind.in_arns();
        Arn::load_balancer(&self.scope, kind, &self.load_balancer, &self.load_balancer_id)
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
