//! Holds a tree of JSON against a shape: what is unknown goes, what is null is absent, what is wrong is named.
//!
//! This is the one place where types, required members, enumerations and bounds of the models are enforced, whatever the
//! protocol. What it returns always deserializes into the struct that was generated from the same shape.

use std::fmt::Write;

use serde_json::{Map, Number, Value};

use crate::api::protocol::error::DecodeError;
use crate::api::protocol::violation::{self, VIOLATIONS_MAX, Violation, Violations};
use crate::api::protocol::{DEPTH_MAX, LIST_ITEMS_MAX};
use crate::api::shape::{Bounds, Member, Shape, Wire};

/// How a value of the wrong type is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As AWS does: refused.
    Strict,
    /// As people write files: a number or a boolean in a string is taken for what it says, and the reverse, and reported.
    Lenient,
}

/// A value of a file that was not written as its type demands, and how it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leniency {
    pub path: String,
    pub expected: &'static str,
    pub found: &'static str,
}

/// A tree that fits its shape.
#[derive(Debug, Default, PartialEq)]
pub struct Decoded {
    pub tree: Value,
    /// The paths of members that the model does not know.
    pub ignored: Vec<String>,
    pub leniencies: Vec<Leniency>,
}

/// Reads a struct from JSON that people wrote.
pub fn decode_lenient<T: Wire>(tree: Value) -> Result<(T, Vec<Leniency>, Vec<String>), DecodeError> {
    let decoded = decode(T::SHAPE, tree, Mode::Lenient)?;
    Ok((to_struct(decoded.tree)?, decoded.leniencies, decoded.ignored))
}

/// The struct of a tree that was decoded by the same shape.
pub fn to_struct<T: serde::de::DeserializeOwned>(tree: Value) -> Result<T, DecodeError> {
    serde_json::from_value(tree).map_err(|error| DecodeError::Malformed(error.to_string()))
}

/// Holds `tree` against `shape`.
pub fn decode(shape: &'static Shape, tree: Value, mode: Mode) -> Result<Decoded, DecodeError> {
    let mut decoder = Decoder { mode, ..Decoder::new() };
    let tree = decoder.value(shape, tree)?;
    if decoder.violations.is_empty() {
        Ok(Decoded { tree, ignored: decoder.ignored, leniencies: decoder.leniencies })
    } else {
        Err(DecodeError::Violations(Violations(decoder.violations)))
    }
}

/// One step from the root to a value.
#[derive(Clone)]
enum Step {
    Member(&'static str),
    Item(usize),
    Key(String),
}

struct Decoder {
    mode: Mode,
    path: Vec<Step>,
    ignored: Vec<String>,
    leniencies: Vec<Leniency>,
    violations: Vec<Violation>,
}

impl Decoder {
    fn new() -> Decoder {
        Decoder {
            mode: Mode::Strict,
            path: Vec::new(),
            ignored: Vec::new(),
            leniencies: Vec::new(),
            violations: Vec::new(),
        }
    }

    fn value(&mut self, shape: &'static Shape, value: Value) -> Result<Value, DecodeError> {
        if self.path.len() > DEPTH_MAX {
            return Err(DecodeError::TooDeep { path: self.path(), max: DEPTH_MAX });
        }
        match (shape, value) {
            (Shape::Structure { members, .. }, Value::Object(object)) => self.structure(members, object),
            (Shape::List { member, length, .. }, Value::Array(items)) => self.list(member, *length, items),
            (Shape::Map { value, .. }, Value::Object(object)) => self.map(value, object),
            (Shape::Document, value) => Ok(value),
            (shape, value) => self.scalar(shape, value),
        }
    }

    fn structure(&mut self, members: &'static [Member], object: Map<String, Value>) -> Result<Value, DecodeError> {
        let mut known = Map::new();
        for (name, value) in object {
            let Some(member) = members.iter().find(|member| member.name == name) else {
                let path = self.path_with(Step::Key(name));
                self.ignored.push(path);
                continue;
            };
            if !is_absent(member.shape, &value) {
                let value = self.step(Step::Member(member.name), |decoder| decoder.value(member.shape, value))?;
                known.insert(name, value);
            }
        }
        for member in members.iter().filter(|member| member.required && !known.contains_key(member.name)) {
            let path = self.coral_path_with(Step::Member(member.name));
            self.violated(Violation::missing(path));
        }
        Ok(Value::Object(known))
    }

    fn list(&mut self, member: &'static Shape, length: Bounds, items: Vec<Value>) -> Result<Value, DecodeError> {
        if items.len() > LIST_ITEMS_MAX {
            return Err(DecodeError::TooLong { path: self.path(), max: LIST_ITEMS_MAX });
        }
        let items = Value::Array(items);
        self.check(length, items.as_array().map_or(0, Vec::len), "length", &items);
        let Value::Array(items) = items else { return Ok(items) };
        let mut kept = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            // An absent member is a member less; an absent element would move the others.
            if item.is_null() {
                let path = self.coral_path_with(Step::Item(at));
                self.violated(Violation::missing(path));
                continue;
            }
            kept.push(self.step(Step::Item(at), |decoder| decoder.value(member, item))?);
        }
        Ok(Value::Array(kept))
    }

    fn map(&mut self, shape: &'static Shape, object: Map<String, Value>) -> Result<Value, DecodeError> {
        let mut kept = Map::new();
        for (key, value) in object {
            if value.is_null() {
                let path = self.coral_path_with(Step::Key(key));
                self.violated(Violation::missing(path));
                continue;
            }
            let value = self.step(Step::Key(key.clone()), |decoder| decoder.value(shape, value))?;
            kept.insert(key, value);
        }
        Ok(Value::Object(kept))
    }

    fn scalar(&mut self, shape: &'static Shape, value: Value) -> Result<Value, DecodeError> {
        let value = match (fits(shape, &value), self.mode) {
            (true, _) => value,
            (false, Mode::Lenient) => match reread(shape, &value) {
                Some(read) => {
                    let (expected, found) = (expected(shape), found(&value));
                    self.leniencies.push(Leniency { path: self.path(), expected, found });
                    read
                }
                None => return Err(self.mismatch(shape, &value)),
            },
            (false, Mode::Strict) => return Err(self.mismatch(shape, &value)),
        };
        match shape {
            Shape::String { length, sensitive } => {
                let chars = value.as_str().map_or(0, |text| text.chars().count());
                let quoted = if *sensitive { &Value::Null } else { &value };
                self.check(*length, chars, "length", quoted);
            }
            Shape::Enum { values } if !value.as_str().is_some_and(|text| values.contains(&text)) => {
                self.violated(Violation::not_in(values, &value, self.coral_path()));
            }
            Shape::Integer { range } | Shape::Long { range } => {
                // `3.0` is an integer to JSON, and no `i32` to serde.
                let number = integer(&value).unwrap_or_default();
                self.check(*range, number, "value", &value);
                return Ok(Value::from(number));
            }
            _ => {}
        }
        Ok(value)
    }

    fn check(&mut self, bounds: Bounds, measure: impl TryInto<i64>, what: &str, value: &Value) {
        let measure = measure.try_into().unwrap_or(i64::MAX);
        if let Some(violation) = violation::outside(bounds, measure, what, value, || self.coral_path()) {
            self.violated(violation);
        }
    }

    fn violated(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    fn mismatch(&self, shape: &Shape, value: &Value) -> DecodeError {
        let path = if self.path.is_empty() { String::from("the request") } else { self.path() };
        let found = match value {
            // The type is right and the number does not fit it: only the number says so.
            Value::Number(number) if matches!(shape, Shape::Integer { .. } | Shape::Long { .. }) => number.to_string(),
            other => found(other).to_owned(),
        };
        DecodeError::Type { path, expected: expected(shape), found }
    }

    fn step<T>(&mut self, step: Step, run: impl FnOnce(&mut Decoder) -> T) -> T {
        self.path.push(step);
        let result = run(self);
        self.path.pop();
        result
    }

    /// As the caller would write it: `containerDefinitions[0].memory`.
    fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            let dot = if path.is_empty() { "" } else { "." };
            let _ = match step {
                Step::Member(name) => write!(path, "{dot}{name}"),
                Step::Item(at) => write!(path, "[{at}]"),
                Step::Key(key) => write!(path, "{dot}{key}"),
            };
        }
        path
    }

    fn path_with(&mut self, step: Step) -> String {
        self.step(step, |decoder| decoder.path())
    }

    /// As AWS's framework writes it: `containerDefinitions.1.member.memory`.
    fn coral_path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            let dot = if path.is_empty() { "" } else { "." };
            let _ = match step {
                Step::Member(name) => write!(path, "{dot}{}", lower_first(name)),
                Step::Item(at) => write!(path, "{dot}{}.member", at + 1),
                Step::Key(key) => write!(path, "{dot}{key}.member"),
            };
        }
        path
    }

    fn coral_path_with(&mut self, step: Step) -> String {
        self.step(step, |decoder| decoder.coral_path())
    }
}

/// A null says nothing, and neither does an empty word of an enumeration: the skeletons that `aws` generates hold one for
/// every member, and people send them back with most left as they were.
fn is_absent(shape: &Shape, value: &Value) -> bool {
    value.is_null() || matches!(shape, Shape::Enum { .. }) && value == ""
}

/// The framework knows members by their Java names, which begin in lower case.
fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + characters.as_str())
}

fn fits(shape: &Shape, value: &Value) -> bool {
    match shape {
        Shape::String { .. } | Shape::Enum { .. } | Shape::Blob => value.is_string(),
        Shape::Integer { .. } => integer(value).is_some_and(|number| i32::try_from(number).is_ok()),
        Shape::Long { .. } => integer(value).is_some(),
        Shape::Double | Shape::Timestamp => value.is_number(),
        Shape::Boolean => value.is_boolean(),
        Shape::Document => true,
        Shape::Structure { .. } | Shape::List { .. } | Shape::Map { .. } => false,
    }
}

/// The whole number that `value` is; `2.0` is one, `2.5` is not.
fn integer(value: &Value) -> Option<i64> {
    // Beyond 2^53 a float names no single integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64);
    value.as_i64().or_else(|| value.as_f64().filter(|_| value.is_f64()).and_then(whole))
}

/// What `value` says, where a file wrote it as another type.
fn reread(shape: &Shape, value: &Value) -> Option<Value> {
    let read = match (shape, value) {
        (Shape::Integer { .. } | Shape::Long { .. }, Value::String(text)) => {
            Value::from(text.trim().parse::<i64>().ok()?)
        }
        (Shape::Double | Shape::Timestamp, Value::String(text)) => {
            Value::Number(Number::from_f64(text.trim().parse().ok()?)?)
        }
        (Shape::Boolean, Value::String(text)) => Value::Bool(text.trim().to_ascii_lowercase().parse().ok()?),
        (Shape::String { .. } | Shape::Enum { .. }, Value::Number(_) | Value::Bool(_)) => {
            Value::String(value.to_string())
        }
        _ => return None,
    };
    fits(shape, &read).then_some(read)
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Structure { .. } | Shape::Map { .. } => "an object",
        Shape::List { .. } => "a list",
        Shape::String { .. } | Shape::Enum { .. } | Shape::Blob => "a string",
        Shape::Integer { .. } => "an integer",
        Shape::Long { .. } => "a long integer",
        Shape::Double => "a number",
        Shape::Timestamp => "a timestamp (seconds since 1970)",
        Shape::Boolean => "a boolean",
        Shape::Document => "a document",
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
