//! Writes JSON objects; the guests never read any, so this is all that they need of a JSON library.

use std::fmt::Write;

/// An object that grows member by member.
pub struct Object {
    text: String,
}

impl Object {
    #[expect(clippy::new_without_default, reason = "an object is always begun to be written to")]
    pub fn new() -> Object {
        Object { text: "{".to_owned() }
    }

    pub fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        write_string(&mut self.text, value);
    }

    pub fn object(&mut self, name: &str, value: Object) {
        self.name(name);
        self.text.push_str(&value.finish());
    }

    pub fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }

    fn name(&mut self, name: &str) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        write_string(&mut self.text, name);
        self.text.push(':');
    }
}

fn write_string(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control < ' ' => {
                write!(text, "\\u{:04x}", u32::from(control)).expect("writing to a String cannot fail");
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::Object;

    #[test]
    fn writes_what_json_readers_read() {
        let mut inner = Object::new();
        inner.string("quote\"", "line\nbreak\\ \u{1} é");
        let mut outer = Object::new();
        outer.object("first", inner);
        outer.object("second", Object::new());
        assert_eq!(outer.finish(), r#"{"first":{"quote\"":"line\nbreak\\ \u0001 é"},"second":{}}"#);
    }
}
