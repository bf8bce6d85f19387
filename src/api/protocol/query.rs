//! The Query protocol's requests: a form of dotted names, made into a tree by the shape.
//!
//! A form has no types and no order, so the names come first into a trie, which the shape then reads: `Tags.member.2.Key`
//! is a list or a map only because the shape says so. Types become JSON's here; whether values are allowed is judged by
//! [`tree`](crate::api::protocol::tree), as for every protocol.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::api::protocol::error::DecodeError;
use crate::api::protocol::{DEPTH_MAX, LIST_ITEMS_MAX};
use crate::api::shape::{Member, Shape};

/// The name of a map's entries that are not flattened.
const ENTRY: &str = "entry";

/// The parameters of a request.
#[derive(Debug, Default, PartialEq)]
pub struct Form<'a> {
    pub action: Option<Cow<'a, str>>,
    pub version: Option<Cow<'a, str>>,
    root: Node,
}

#[derive(Debug, Default, PartialEq)]
struct Node {
    value: Option<String>,
    children: BTreeMap<String, Node>,
}

/// The tree of a form, with the names that no member has.
#[derive(Debug, PartialEq)]
pub struct Typed {
    pub tree: Value,
    pub ignored: Vec<String>,
}

/// Reads the parameters of a form: of a body, or of a URL's query.
pub fn parse<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Form<'a>, DecodeError> {
    let mut form = Form::default();
    for (name, value) in parts.into_iter().flat_map(form_urlencoded::parse) {
        match name.as_ref() {
            "Action" => form.action = Some(value),
            "Version" => form.version = Some(value),
            // Parts of a signature, no member of any input.
            name if name.starts_with("X-Amz-") => {}
            name => form.root.insert(name, value.into_owned())?,
        }
    }
    Ok(form)
}

impl Node {
    fn insert(&mut self, name: &str, value: String) -> Result<(), DecodeError> {
        // The trie is read, and dropped, by recursion: its depth is bounded where it grows.
        if name.split('.').count() > 2 * DEPTH_MAX {
            return Err(DecodeError::TooDeep { path: name.chars().take(256).collect(), max: DEPTH_MAX });
        }
        let mut node = self;
        for part in name.split('.') {
            node = node.children.entry(part.to_owned()).or_default();
        }
        node.value = Some(value);
        Ok(())
    }
}

impl Form<'_> {
    /// The tree of these parameters by the shape of the operation's input.
    pub fn typed(self, shape: &'static Shape) -> Result<Typed, DecodeError> {
        let mut ignored = Vec::new();
        let tree = typed(shape, self.root, "", &mut ignored)?;
        Ok(Typed { tree, ignored })
    }
}

fn typed(shape: &'static Shape, node: Node, path: &str, ignored: &mut Vec<String>) -> Result<Value, DecodeError> {
    match shape {
        Shape::Structure { members, .. } => structure(members, node, path, ignored),
        Shape::List { member, member_name, flattened, .. } => {
            let (node, path) = wrapped(node, path, member_name, *flattened, ignored);
            let mut items = Vec::new();
            for (at, item) in numbered(node, &path)? {
                items.push(typed(member, item, &format!("{path}.{at}"), ignored)?);
            }
            Ok(Value::Array(items))
        }
        Shape::Map { value, key_name, value_name, flattened } => {
            let (node, path) = wrapped(node, path, ENTRY, *flattened, ignored);
            let mut entries = Map::new();
            for (at, mut entry) in numbered(node, &path)? {
                let path = format!("{path}.{at}");
                let key = entry.children.remove(*key_name).and_then(|key| key.value);
                let key = key.ok_or_else(|| mismatch(&path, "a key and a value", "no key"))?;
                let item = entry.children.remove(*value_name).unwrap_or_default();
                entries.insert(key, typed(value, item, &format!("{path}.{value_name}"), ignored)?);
            }
            Ok(Value::Object(entries))
        }
        scalar => {
            ignored.extend(node.children.into_keys().map(|name| join(path, &name)));
            match node.value {
                Some(text) => parsed(scalar, text, path),
                None => Ok(Value::Null),
            }
        }
    }
}

fn structure(
    members: &'static [Member],
    node: Node,
    path: &str,
    ignored: &mut Vec<String>,
) -> Result<Value, DecodeError> {
    let mut object = Map::new();
    for (name, child) in node.children {
        let path = join(path, &name);
        match members.iter().find(|member| member.location_name == name) {
            Some(member) => {
                object.insert(member.name.to_owned(), typed(member.shape, child, &path, ignored)?);
            }
            None => ignored.push(path),
        }
    }
    Ok(Value::Object(object))
}

/// The node that holds the numbered elements: one level down, unless the list is flattened. A name without elements
/// (`Tags=`) is an empty list.
fn wrapped(mut node: Node, path: &str, name: &str, flattened: bool, ignored: &mut Vec<String>) -> (Node, String) {
    if flattened {
        return (node, path.to_owned());
    }
    let inner = node.children.remove(name).unwrap_or_default();
    ignored.extend(node.children.into_keys().map(|other| join(path, &other)));
    (inner, join(path, name))
}

/// The elements in the order of their numbers, which need not be without gaps.
fn numbered(node: Node, path: &str) -> Result<BTreeMap<u32, Node>, DecodeError> {
    if node.children.len() > LIST_ITEMS_MAX {
        return Err(DecodeError::TooLong { path: path.to_owned(), max: LIST_ITEMS_MAX });
    }
    let mut elements = BTreeMap::new();
    for (name, child) in node.children {
        let number = name.parse::<u32>().ok().filter(|number| *number > 0);
        elements.insert(number.ok_or_else(|| mismatch(path, "elements numbered from 1", &name))?, child);
    }
    Ok(elements)
}

fn parsed(shape: &Shape, text: String, path: &str) -> Result<Value, DecodeError> {
    let (value, expected) = match shape {
        Shape::Integer { .. } => (text.parse::<i32>().ok().map(Value::from), "an integer"),
        Shape::Long { .. } => (text.parse::<i64>().ok().map(Value::from), "a long integer"),
        Shape::Double => (text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from), "a number"),
        Shape::Boolean => (text.to_ascii_lowercase().parse::<bool>().ok().map(Value::from), "true or false"),
        Shape::Timestamp => (timestamp(&text).map(Value::from), "a date (ISO 8601)"),
        Shape::Document => (serde_json::from_str(&text).ok(), "JSON"),
        _ => return Ok(Value::String(text)),
    };
    value.ok_or_else(|| mismatch(path, expected, &text))
}

/// Seconds since the epoch, of a date as the Query protocol writes it.
fn timestamp(text: &str) -> Option<f64> {
    let date = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    Some(date.unix_timestamp_nanos() as f64 / 1e9)
}

fn mismatch(path: &str, expected: &'static str, found: &str) -> DecodeError {
    let found = format!("'{}'", found.chars().take(64).collect::<String>());
    DecodeError::Type { path: path.to_owned(), expected, found }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests;
