//! What `hello` and its 0.3 twin answer: one text for both, so that a test of either says the same of the other.

use std::env;

use crate::json::Object;
use crate::task::Task;

pub fn compose(method: &str, target: &str, fields: Vec<(String, Vec<u8>)>) -> Object {
    let task = Task::from_environment();
    let mut object = Object::new();
    object.string("message", &format!("Hello from {}", task.id()));
    object.object("task", task.to_json());
    object.string("method", method);
    object.string("path", target);
    object.object("headers", headers(fields));
    object.object("environment", environment());
    object
}

/// The request's headers in order of arrival, those of one name joined as HTTP allows.
pub fn headers(fields: Vec<(String, Vec<u8>)>) -> Object {
    let mut joined: Vec<(String, String)> = Vec::new();
    for (name, value) in fields {
        let value = String::from_utf8_lossy(&value);
        match joined.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                values.push_str(", ");
                values.push_str(&value);
            }
            None => joined.push((name, value.into_owned())),
        }
    }
    let mut object = Object::new();
    for (name, value) in &joined {
        object.string(name, value);
    }
    object
}

pub fn environment() -> Object {
    let mut object = Object::new();
    for (name, value) in env::vars() {
        object.string(&name, &value);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::headers;

    #[test]
    fn joins_the_values_of_one_name() {
        let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let fields = vec![field("accept", "a"), field("host", "h"), field("accept", "b")];
        assert_eq!(headers(fields).finish(), r#"{"accept":"a, b","host":"h"}"#);
    }
}
