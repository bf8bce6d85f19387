//! A service model (botocore's format), cut down to what the offered operations reach.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub struct Model {
    pub service: String,
    pub root: Value,
    pub offered: Vec<String>,
    /// The shapes that the offered operations reach, by name.
    pub shapes: BTreeMap<String, Value>,
}

impl Model {
    pub fn parse(service: &str, text: &str, offered: &[&str]) -> Model {
        let mut root: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("models/{service}.json: {error}"));
        for name in offered {
            add_absent_output(&mut root, name);
        }
        let mut reached = BTreeSet::new();
        for name in offered {
            let operation = &root["operations"][*name];
            assert!(operation.is_object(), "operations.txt: {service} has no operation {name}");
            for side in ["input", "output"] {
                let shape = operation[side]["shape"].as_str();
                reach(&root, shape.unwrap_or_else(|| panic!("{service} {name} has no {side}")), &mut reached);
            }
        }
        let shapes = reached.into_iter().map(|name| (name.clone(), root["shapes"][&name].clone())).collect();
        Model {
            service: service.to_owned(),
            offered: offered.iter().map(|name| name.to_string()).collect(),
            root,
            shapes,
        }
    }

    pub fn metadata(&self, key: &str) -> &str {
        self.root["metadata"][key].as_str().unwrap_or("")
    }

    /// Whether a value of `from` holds a value of `to` inline, with no list or map between: such a member is boxed.
    pub fn holds_inline(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(name) = open.pop() {
            if !seen.insert(name) {
                continue;
            }
            for (_, member) in members(&self.shapes[name]) {
                let target = shape_of(member);
                if target == to {
                    return true;
                }
                if self.shapes[target]["type"] == "structure" {
                    open.push(target);
                }
            }
        }
        false
    }
}

/// An operation that answers nothing answers an empty structure, so that all of them are written alike.
fn add_absent_output(root: &mut Value, operation: &str) {
    if root["operations"][operation]["output"].is_null() && root["operations"][operation].is_object() {
        let shape = format!("{operation}Response");
        root["shapes"][&shape] = serde_json::json!({"type": "structure", "members": {}});
        root["operations"][operation]["output"] = serde_json::json!({"shape": shape});
    }
}

fn reach(root: &Value, name: &str, reached: &mut BTreeSet<String>) {
    let shape = &root["shapes"][name];
    assert!(shape.is_object(), "the model names a shape {name} that it does not have");
    if shape["exception"] == true || !reached.insert(name.to_owned()) {
        return;
    }
    for (_, member) in members(shape) {
        reach(root, shape_of(member), reached);
    }
    for part in ["member", "key", "value"] {
        if let Some(target) = shape[part]["shape"].as_str() {
            reach(root, target, reached);
        }
    }
}

/// The members of a structure in the model's order; none for other shapes.
pub fn members(shape: &Value) -> impl Iterator<Item = (&str, &Value)> {
    shape["members"].as_object().into_iter().flatten().map(|(name, member)| (name.as_str(), member))
}

/// The shape that a member, an element, a key or a value refers to.
pub fn shape_of(reference: &Value) -> &str {
    reference["shape"].as_str().expect("every reference in a model names its shape")
}
