//! What all services share of tags: their bounds, and how they are added. Secrets Manager and Parameter Store also share the
//! check of what is given; ECS and ELBv2 name what is wrong there in words of their own.

use crate::model::Tag;

/// Tags on one resource.
pub const TAGS_MAX: usize = 50;
pub const KEY_CHARS_MAX: usize = 128;
pub const VALUE_CHARS_MAX: usize = 256;

/// What is wrong with tags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("A tag key must be 1 to {KEY_CHARS_MAX} characters long, a tag value at most {VALUE_CHARS_MAX}.")]
    Length,
    #[error("aws: prefixed tag key names are not allowed for external use.")]
    Reserved,
    #[error("Duplicate tag keys found: {0}.")]
    Duplicate(String),
    #[error("A resource can have at most {TAGS_MAX} tags.")]
    TooMany,
}

/// The tags of a request.
pub fn checked(given: impl Iterator<Item = (String, Option<String>)>) -> Result<Vec<Tag>, Problem> {
    let mut tags: Vec<Tag> = Vec::new();
    for (key, value) in given {
        let is_long = |text: &str, max: usize| text.chars().count() > max;
        if key.is_empty() || is_long(&key, KEY_CHARS_MAX) || is_long(value.as_deref().unwrap_or(""), VALUE_CHARS_MAX) {
            return Err(Problem::Length);
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Problem::Reserved);
        }
        if tags.iter().any(|earlier| earlier.key == key) {
            return Err(Problem::Duplicate(key));
        }
        if tags.len() == TAGS_MAX {
            return Err(Problem::TooMany);
        }
        tags.push(Tag { key, value: Some(value.unwrap_or_default()) });
    }
    Ok(tags)
}

/// Adds tags to those that are there, and replaces those of the same key.
pub fn add(tags: &mut Vec<Tag>, new: Vec<Tag>) -> Result<(), Problem> {
    tags.retain(|tag| new.iter().all(|new| new.key != tag.key));
    tags.extend(new);
    if tags.len() > TAGS_MAX { Err(Problem::TooMany) } else { Ok(()) }
}
