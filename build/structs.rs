//! Writes the Rust struct of every structure, and the values of every enumeration.

use std::fmt::Write;

use serde_json::Value;

use crate::model::{Model, members, shape_of};
use crate::names::{field, screaming};

/// Names that the generated code itself uses: a structure of that name would change their meaning.
const TAKEN: [&str; 3] = ["Option", "String", "Vec"];

pub fn write(code: &mut String, model: &Model) {
    let _ = writeln!(code, "use serde::{{Deserialize, Serialize}};\n");
    for (name, shape) in &model.shapes {
        if is_struct(shape) {
            assert!(!TAKEN.contains(&name.as_str()), "structure {name} needs another name");
            write_struct(code, model, name, shape);
        }
    }
    let _ = writeln!(code, "/// The values of each enumeration, in the model's order.\npub mod values {{");
    for (name, shape) in &model.shapes {
        if let Some(values) = shape["enum"].as_array() {
            let _ = writeln!(code, "    pub const {}: &[&str] = &{};", screaming(name), strings(values));
        }
    }
    let _ = writeln!(code, "}}\n");
}

/// Whether the shape becomes a struct: a document is any JSON, not a struct.
pub fn is_struct(shape: &Value) -> bool {
    shape["type"] == "structure" && shape["document"] != true
}

/// A slice's elements as Rust source.
pub fn strings(values: &[Value]) -> String {
    let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    format!("{values:?}")
}

fn write_struct(code: &mut String, model: &Model, name: &str, shape: &Value) {
    let is_secret = members(shape).any(|(_, reference)| model.shapes[shape_of(reference)]["sensitive"] == true);
    let debug = if is_secret { "" } else { "Debug, " };
    let _ = writeln!(code, "#[derive(Clone, {debug}Default, PartialEq, Serialize, Deserialize)]\npub struct {name} {{");
    for (member, reference) in members(shape) {
        let target = shape_of(reference);
        let mut ty = rust_type(model, target);
        if is_struct(&model.shapes[target]) && model.holds_inline(target, name) {
            ty = format!("Box<{ty}>");
        }
        let _ = writeln!(code, "    #[serde(rename = {member:?}, skip_serializing_if = \"Option::is_none\")]");
        let _ = writeln!(code, "    pub {}: Option<{ty}>,", field(member));
    }
    if is_secret {
        let _ = writeln!(
            code,
            "}}\n\n/// Without its members, some of which are secrets.\nimpl std::fmt::Debug for {name} {{\n    \
             fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{\n        \
             f.debug_struct({name:?}).finish_non_exhaustive()\n    }}"
        );
    }
    let _ = writeln!(code, "}}\n\nimpl crate::api::shape::Wire for {name} {{");
    let _ = writeln!(code, "    const SHAPE: &'static crate::api::shape::Shape = &shapes::{};\n}}\n", screaming(name));
}

fn rust_type(model: &Model, name: &str) -> String {
    let shape = &model.shapes[name];
    match shape["type"].as_str().expect("every shape has a type") {
        "structure" if is_struct(shape) => name.to_owned(),
        "structure" => String::from("serde_json::Value"),
        "list" => format!("Vec<{}>", rust_type(model, shape_of(&shape["member"]))),
        "map" => format!("std::collections::BTreeMap<String, {}>", rust_type(model, shape_of(&shape["value"]))),
        "string" | "blob" => String::from("String"),
        "integer" => String::from("i32"),
        "long" => String::from("i64"),
        // Seconds since the epoch, as JSON carries them; the XML codec writes them as a date.
        "double" | "float" | "timestamp" => String::from("f64"),
        "boolean" => String::from("bool"),
        other => panic!("shape {name} has the unknown type {other}"),
    }
}
