//! Writes the descriptors that direct the codecs, and the service's table of operations.

use std::fmt::Write;

use serde_json::Value;

use crate::model::{Model, members, shape_of};
use crate::names::screaming;
use crate::structs::{is_struct, strings};

pub fn write(code: &mut String, model: &Model) {
    let _ = writeln!(code, "/// What each shape looks like on the wire.\npub mod shapes {{");
    let _ = writeln!(code, "    use crate::api::shape::{{Bounds, Member, Shape}};\n");
    for (name, shape) in &model.shapes {
        let _ = writeln!(code, "    pub static {}: Shape = {};", screaming(name), describe(name, shape));
    }
    let _ = writeln!(code, "}}\n");
    write_service(code, model);
}

fn describe(name: &str, shape: &Value) -> String {
    let bounds = bounds(shape);
    match shape["type"].as_str().expect("every shape has a type") {
        "structure" if is_struct(shape) => structure(name, shape),
        "structure" => String::from("Shape::Document"),
        "list" => format!(
            "Shape::List {{ member: &{}, member_name: {:?}, flattened: {}, length: {bounds} }}",
            screaming(shape_of(&shape["member"])),
            shape["member"]["locationName"].as_str().unwrap_or("member"),
            shape["flattened"] == true,
        ),
        "map" => format!(
            "Shape::Map {{ value: &{}, key_name: {:?}, value_name: {:?}, flattened: {} }}",
            screaming(shape_of(&shape["value"])),
            shape["key"]["locationName"].as_str().unwrap_or("key"),
            shape["value"]["locationName"].as_str().unwrap_or("value"),
            shape["flattened"] == true,
        ),
        "string" => match shape["enum"].as_array() {
            Some(values) => format!("Shape::Enum {{ values: &{} }}", strings(values)),
            None => format!("Shape::String {{ length: {bounds}, sensitive: {} }}", shape["sensitive"] == true),
        },
        "integer" => format!("Shape::Integer {{ range: {bounds} }}"),
        "long" => format!("Shape::Long {{ range: {bounds} }}"),
        "double" | "float" => String::from("Shape::Double"),
        "boolean" => String::from("Shape::Boolean"),
        "timestamp" => String::from("Shape::Timestamp"),
        "blob" => String::from("Shape::Blob"),
        other => panic!("shape {name} has the unknown type {other}"),
    }
}

fn structure(name: &str, shape: &Value) -> String {
    let required: Vec<&str> = shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut text = format!("Shape::Structure {{ name: {name:?}, members: &[\n");
    for (member, reference) in members(shape) {
        let _ = writeln!(
            text,
            "        Member {{ name: {member:?}, location_name: {:?}, shape: &{}, required: {} }},",
            reference["locationName"].as_str().unwrap_or(member),
            screaming(shape_of(reference)),
            required.contains(&member),
        );
    }
    text.push_str("    ] }");
    text
}

fn bounds(shape: &Value) -> String {
    let bound = |key: &str| shape[key].as_i64().map_or(String::from("None"), |bound| format!("Some({bound})"));
    format!("Bounds {{ min: {}, max: {} }}", bound("min"), bound("max"))
}

fn write_service(code: &mut String, model: &Model) {
    let known: Vec<&String> =
        model.root["operations"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
    let _ = writeln!(code, "/// The service: how requests name it, and its operations.");
    let _ = writeln!(code, "pub static SERVICE: crate::api::shape::Service = crate::api::shape::Service {{");
    let _ = writeln!(code, "    name: {:?},", model.service);
    let _ = writeln!(code, "    full_name: {:?},", model.metadata("serviceAbbreviation"));
    let _ = writeln!(code, "    signing_name: {:?},", model.metadata("endpointPrefix"));
    let _ = writeln!(code, "    target_prefix: {:?},", model.metadata("targetPrefix"));
    let _ = writeln!(code, "    json_version: {:?},", model.metadata("jsonVersion"));
    let _ = writeln!(code, "    api_version: {:?},", model.metadata("apiVersion"));
    let _ = writeln!(code, "    xml_namespace: {:?},", model.metadata("xmlNamespace"));
    let _ = writeln!(code, "    message_member: {:?},", message_member(model));
    let _ = writeln!(code, "    operations: &[");
    for name in &model.offered {
        let operation = &model.root["operations"][name];
        let _ = writeln!(
            code,
            "        crate::api::shape::OperationShape {{ name: {name:?}, input: &shapes::{}, output: &shapes::{}, \
             result_wrapper: {:?} }},",
            screaming(shape_of(&operation["input"])),
            screaming(shape_of(&operation["output"])),
            operation["output"]["resultWrapper"].as_str(),
        );
    }
    let _ = writeln!(code, "    ],\n    known: &{known:?},\n}};");
}

/// The member that carries the text of an error: most services write it small, a few do not.
fn message_member(model: &Model) -> &str {
    let exceptions =
        model.root["shapes"].as_object().into_iter().flatten().filter(|(_, shape)| shape["exception"] == true);
    let all_large =
        exceptions.clone().count() > 0 && exceptions.clone().all(|(_, shape)| shape["members"]["message"].is_null());
    if all_large { "Message" } else { "message" }
}
