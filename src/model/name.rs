//! Names and ids. Every one is a newtype, so that a cluster's name can never be passed where a service's belongs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A text that is no valid name or id; says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a valid {what}: {rule}")]
pub struct InvalidName {
    pub what: &'static str,
    pub text: String,
    pub rule: &'static str,
}

/// Declares a text newtype: cheap to clone, ordered as text, checked by `FromStr` and when deserialized.
macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<$name, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok($name(Arc::from(text)))
                } else {
                    Err(InvalidName { what: $what, text: text.chars().take(300).collect(), rule: $rule })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_name!(
    /// An AWS account.
    AccountId, "account id", "twelve digits", |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()));
text_name!(
/// An AWS region, as in the scope of a signature.
Region, "region", "lower-case letters, digits and hyphens, at most 63", |text| {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
});
text_name!(
    /// The name of a cluster.
    ClusterName, "cluster name", "1 to 255 letters, digits, hyphens and underscores", is_ecs_name);
text_name!(
    /// The family of a task definition.
    Family, "family", "1 to 255 letters, digits, hyphens and underscores", is_ecs_name);
text_name!(
    /// The name of a service, load balancer, target group or container.
    ResourceName, "name", "1 to 255 letters, digits, hyphens and underscores", is_ecs_name);

fn is_ecs_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Declares an id of 128 random bits, written as 32 lower-case hexadecimal digits.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<$name, InvalidName> {
                let lowercase_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                let invalid =
                    || InvalidName { what: $what, text: text.chars().take(300).collect(), rule: "32 hexadecimal digits" };
                if text.len() != 32 || !text.bytes().all(lowercase_hex) {
                    return Err(invalid());
                }
                u128::from_str_radix(text, 16).map($name).map_err(|_| invalid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// One task.
    TaskId, "task id");
hex_id!(
    /// One node: a data directory, and so one container instance per cluster. Kept across restarts.
    NodeId, "node id");
hex_id!(
    /// One run of the server on a node. New at every start: what an earlier boot placed is not running any more.
    BootId, "boot id");

/// Where a resource lives: nothing is shared between accounts or regions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    pub account: AccountId,
    pub region: Region,
}

impl Scope {
    /// The one VPC of an account in a region: made up, and always the same.
    pub fn vpc_id(&self) -> String {
        format!("vpc-{}", self.hex17("vpc"))
    }

    /// 17 hexadecimal digits that are always the same: what an id has after its prefix.
    pub fn hex17(&self, what: &str) -> String {
        let digits = self.digest(what).into_iter().flat_map(|byte| [byte >> 4, byte & 15]).take(17);
        digits.map(|digit| format!("{digit:x}")).collect()
    }

    /// What ids that nobody gives are made of.
    pub fn digest(&self, what: &str) -> [u8; 32] {
        Sha256::digest(format!("{}/{}/{what}", self.account, self.region).as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_say_what_would_be_right() {
        assert!("web-1_A".parse::<ClusterName>().is_ok());
        assert!("".parse::<ClusterName>().is_err());
        assert!("a".repeat(256).parse::<Family>().is_err());
        let error = "a b".parse::<Family>().unwrap_err();
        assert!(error.to_string().contains("letters, digits, hyphens and underscores"), "{error}");
        assert!("12345678901x".parse::<AccountId>().is_err());
    }

    #[test]
    fn ids_round_trip_as_32_hexadecimal_digits() {
        let id = TaskId(0xabc);
        assert_eq!(id.to_string().parse::<TaskId>().unwrap(), id);
        assert!("ABC".parse::<TaskId>().is_err());
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
    }
}
