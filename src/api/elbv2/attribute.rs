//! Attributes: settings that are texts with a key, of load balancers, target groups and listeners.
//!
//! One table for each kind of resource says which keys there are, what they are where nothing was set, what form their
//! values have, and whether anything here heeds them. Only what was set is stored, so a default can change with a version.

use std::collections::BTreeMap;

use crate::api::context::Context;
use crate::api::error::{ApiError, ErrorKind};

mod network;
mod tables;

pub use network::{
    BARE_LISTENER, NETWORK_LOAD_BALANCER, NETWORK_TARGET_GROUP, NETWORK_TARGET_GROUP_OF_ADDRESSES,
    NETWORK_TARGET_GROUP_OF_DATAGRAMS, TCP_LISTENER,
};
pub use tables::{LISTENER, LOAD_BALANCER, TARGET_GROUP};

/// All attributes that a kind of resource has.
#[derive(Debug)]
pub struct Table {
    /// As messages call the resource.
    subject: &'static str,
    rows: &'static [Row],
}

#[derive(Debug)]
struct Row {
    key: &'static str,
    default: &'static str,
    form: Form,
    effect: Effect,
}

/// What a value may be.
#[derive(Debug)]
enum Form {
    Boolean,
    OneOf(&'static [&'static str]),
    /// A whole number within inclusive bounds.
    Number(u32, u32),
    /// A number, or one word in its place.
    NumberOr(u32, u32, &'static str),
    /// Any text up to this many characters.
    Text(usize),
}

/// Whether a value other than the default changes anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Honoured,
    /// Stored and shown, and nothing more in this version.
    None,
}

impl Table {
    /// All attributes with their values, in the order of their keys.
    pub fn shown(&self, set: &BTreeMap<String, String>) -> Vec<(String, String)> {
        let mut shown: Vec<(String, String)> = self
            .rows
            .iter()
            .map(|row| (row.key.to_owned(), set.get(row.key).map_or(row.default, String::as_str).to_owned()))
            .collect();
        shown.sort();
        shown
    }

    /// Whether there is such a key.
    pub fn has(&self, key: &str) -> bool {
        self.rows.iter().any(|row| row.key == key)
    }

    /// The value that holds for a key of the table.
    pub fn value<'a>(&self, set: &'a BTreeMap<String, String>, key: &str) -> &'a str {
        let default = || self.rows.iter().find(|row| row.key == key).map_or("", |row| row.default);
        set.get(key).map_or_else(default, String::as_str)
    }

    /// Takes what a request sets, checked, and says what of it has no effect here.
    pub fn set(
        &self,
        set: &mut BTreeMap<String, String>,
        given: impl IntoIterator<Item = (Option<String>, Option<String>)>,
    ) -> Result<Vec<String>, ApiError> {
        let mut seen: Vec<&str> = Vec::new();
        let mut without_effect = Vec::new();
        for (key, value) in given {
            let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
            let row = self.rows.iter().find(|row| row.key == key).ok_or_else(|| {
                ApiError::validation(format_args!("{} attribute key '{key}' is not recognized", self.subject))
            })?;
            if seen.contains(&row.key) {
                return Err(ApiError::new(
                    ErrorKind::InvalidConfigurationRequest,
                    format_args!("{} attribute '{key}' cannot be specified more than once", self.subject),
                ));
            }
            seen.push(row.key);
            if let Err(wanted) = row.form.check(&value) {
                return Err(ApiError::validation(format_args!(
                    "{} attribute value '{value}' is not valid for '{key}': it must be {wanted}",
                    self.subject
                )));
            }
            if row.effect == Effect::None && value != row.default {
                without_effect.push(format!("{key}={value}"));
            }
            set.insert(key, value);
        }
        if seen.is_empty() {
            return Err(ApiError::validation("At least one attribute must be specified"));
        }
        Ok(without_effect)
    }

    /// The keys that are stored and shown, and that nothing heeds in this version.
    pub fn without_effect(&self) -> Vec<&'static str> {
        self.rows.iter().filter(|row| row.effect == Effect::None).map(|row| row.key).collect()
    }
}

impl Form {
    /// What the value would have to be, where it is not.
    fn check(&self, value: &str) -> Result<(), String> {
        let number = |min: u32, max: u32| {
            let plain = value.bytes().all(|byte| byte.is_ascii_digit());
            plain && value.parse().is_ok_and(|number: u32| (min..=max).contains(&number))
        };
        match self {
            Form::Boolean if matches!(value, "true" | "false") => Ok(()),
            Form::Boolean => Err(String::from("'true' or 'false'")),
            Form::OneOf(words) if words.contains(&value) => Ok(()),
            Form::OneOf(words) => Err(format!("one of {}", words.join(", "))),
            Form::Number(min, max) if number(*min, *max) => Ok(()),
            Form::Number(min, max) => Err(format!("a whole number between {min} and {max}")),
            Form::NumberOr(min, max, word) if value == *word || number(*min, *max) => Ok(()),
            Form::NumberOr(min, max, word) => Err(format!("'{word}' or a whole number between {min} and {max}")),
            Form::Text(max) if value.chars().count() <= *max => Ok(()),
            Form::Text(max) => Err(format!("at most {max} characters long")),
        }
    }
}

/// Logs go to what stands for S3; where nothing does, they go nowhere.
pub fn note_logs(cx: &Context, set: &BTreeMap<String, String>) {
    for key in ["access_logs.s3.enabled", "connection_logs.s3.enabled"] {
        let is_enabled = set.get(key).is_some_and(|value| value == "true");
        if is_enabled && !cx.config.has_object_directory {
            cx.without_effect.note(format!("{key}=true (files.objectDirectory of the configuration is not set)"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(table: &Table, pairs: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let given = pairs.iter().map(|(key, value)| (Some(key.to_string()), Some(value.to_string())));
        table.set(&mut BTreeMap::new(), given).map_err(|error| error.message)
    }

    #[test]
    fn every_default_has_the_form_of_its_row() {
        let tables = [
            &LOAD_BALANCER,
            &NETWORK_LOAD_BALANCER,
            &TARGET_GROUP,
            &NETWORK_TARGET_GROUP,
            &NETWORK_TARGET_GROUP_OF_ADDRESSES,
            &NETWORK_TARGET_GROUP_OF_DATAGRAMS,
            &LISTENER,
            &TCP_LISTENER,
        ];
        for table in tables {
            for row in table.rows {
                assert_eq!(row.form.check(row.default), Ok(()), "{}", row.key);
                assert!(table.rows.iter().filter(|other| other.key == row.key).count() == 1, "{} twice", row.key);
            }
        }
    }

    #[test]
    fn values_are_checked_and_unknown_keys_named() {
        let delay = "deregistration_delay.timeout_seconds";
        assert_eq!(set(&TARGET_GROUP, &[(delay, "3600")]), Ok(vec![]));
        assert_eq!(
            set(&TARGET_GROUP, &[(delay, "3601")]).unwrap_err(),
            "Target group attribute value '3601' is not valid for 'deregistration_delay.timeout_seconds': \
             it must be a whole number between 0 and 3600"
        );
        assert!(set(&TARGET_GROUP, &[(delay, "+5")]).is_err());
        assert!(set(&TARGET_GROUP, &[(delay, "1"), (delay, "2")]).unwrap_err().contains("more than once"));
        assert_eq!(
            set(&LOAD_BALANCER, &[("colour", "red")]).unwrap_err(),
            "Load balancer attribute key 'colour' is not recognized"
        );
        assert!(set(&LOAD_BALANCER, &[("deletion_protection.enabled", "yes")]).is_err());
    }

    #[test]
    fn what_has_no_effect_is_said_where_it_was_asked_for() {
        // No name of a load balancer here leads to zones that one could be taken out of.
        let failover = "target_group_health.dns_failover.minimum_healthy_targets.count";
        assert_eq!(set(&TARGET_GROUP, &[(failover, "1")]), Ok(vec![]), "the default");
        assert_eq!(set(&TARGET_GROUP, &[(failover, "2")]), Ok(vec![format!("{failover}=2")]));
        assert!(LOAD_BALANCER.without_effect().contains(&"waf.fail_open.enabled"));
        assert!(!LOAD_BALANCER.without_effect().contains(&"idle_timeout.timeout_seconds"));
    }

    #[test]
    fn logs_without_a_directory_are_said_to_go_nowhere() {
        let mut cx = Context::scripted(crate::model::Timestamp(0));
        let noted = |cx: &Context, enabled: &str| {
            note_logs(cx, &BTreeMap::from([(String::from("access_logs.s3.enabled"), enabled.to_owned())]));
            cx.without_effect.noted().len()
        };
        assert_eq!((noted(&cx, "false"), noted(&cx, "true")), (0, 1));
        let mut config = (*cx.config).clone();
        config.has_object_directory = true;
        cx.config = config.into();
        assert_eq!(noted(&cx, "true"), 1);
    }
}
