//! The Query protocol's answers: XML that the shape directs.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use quick_xml::Writer;
use quick_xml::escape::partial_escape;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use serde_json::Value;

use crate::api::error::ApiError;
use crate::api::shape::{Member, OperationShape, Service, Shape};
use crate::model::Timestamp;

/// The answer of an operation.
pub fn answer(service: &Service, operation: &OperationShape, tree: &Value, request_id: &str) -> Response<Bytes> {
    let mut xml = Xml::new();
    let envelope = format!("{}Response", operation.name);
    xml.open(&envelope, Some(service.xml_namespace));
    match operation.result_wrapper {
        Some(wrapper) => xml.value(wrapper, operation.output, tree),
        None => xml.content(operation.output, tree),
    }
    xml.open("ResponseMetadata", None);
    xml.text("RequestId", request_id);
    xml.close("ResponseMetadata");
    xml.close(&envelope);
    xml.response()
}

/// The answer to what failed.
pub fn failure(namespace: &str, error: &ApiError, request_id: &str) -> Response<Bytes> {
    let mut xml = Xml::new();
    xml.open("ErrorResponse", Some(namespace));
    xml.open("Error", None);
    xml.text("Type", if error.kind.is_senders() { "Sender" } else { "Receiver" });
    xml.text("Code", error.kind.code());
    xml.text("Message", &error.message);
    xml.close("Error");
    xml.text("RequestId", request_id);
    xml.close("ErrorResponse");
    let mut response = xml.response();
    *response.status_mut() = error.kind.status();
    response
}

struct Xml(Writer<Vec<u8>>);

impl Xml {
    fn new() -> Xml {
        Xml(Writer::new(Vec::new()))
    }

    fn response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.0.into_inner()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
        response
    }

    fn value(&mut self, name: &str, shape: &Shape, value: &Value) {
        self.open(name, None);
        self.content(shape, value);
        self.close(name);
    }

    fn content(&mut self, shape: &Shape, value: &Value) {
        match (shape, value) {
            (Shape::Structure { members, .. }, value) => self.members(members, value),
            (Shape::List { .. } | Shape::Map { .. }, value) => self.elements("", shape, value),
            (Shape::Timestamp, Value::Number(seconds)) => self.write_text(&date(seconds.as_f64().unwrap_or_default())),
            (_, Value::String(text)) => self.write_text(text),
            (_, Value::Null) => {}
            (_, value) => self.write_text(&value.to_string()),
        }
    }

    fn members(&mut self, members: &[Member], value: &Value) {
        for member in members {
            let Some(value) = value.get(member.name).filter(|value| !value.is_null()) else { continue };
            match member.shape {
                // A flattened list has no element of its own: its items repeat the member's name.
                Shape::List { flattened: true, .. } | Shape::Map { flattened: true, .. } => {
                    self.elements(member.location_name, member.shape, value);
                }
                shape => self.value(member.location_name, shape, value),
            }
        }
    }

    /// The items of a list or the entries of a map; `name` is theirs where they are flattened.
    fn elements(&mut self, name: &str, shape: &Shape, value: &Value) {
        match (shape, value) {
            (Shape::List { member, member_name, flattened, .. }, Value::Array(items)) => {
                let name = if *flattened { name } else { member_name };
                for item in items {
                    self.value(name, member, item);
                }
            }
            (Shape::Map { value, key_name, value_name, flattened }, Value::Object(entries)) => {
                let name = if *flattened { name } else { "entry" };
                for (key, item) in entries {
                    self.open(name, None);
                    self.text(key_name, key);
                    self.value(value_name, value, item);
                    self.close(name);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, name: &str, namespace: Option<&str>) {
        let mut start = BytesStart::new(name);
        if let Some(namespace) = namespace {
            start.push_attribute(("xmlns", namespace));
        }
        self.write(Event::Start(start));
    }

    fn close(&mut self, name: &str) {
        self.write(Event::End(BytesEnd::new(name)));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.open(name, None);
        self.write_text(text);
        self.close(name);
    }

    fn write_text(&mut self, text: &str) {
        // XML 1.0 has no way to write most control characters, not even escaped.
        let writable = if text.contains(is_unwritable) {
            Cow::Owned(text.replace(is_unwritable, "\u{fffd}"))
        } else {
            Cow::Borrowed(text)
        };
        // Quotes need no escape in text, and messages are full of them.
        self.write(Event::Text(BytesText::from_escaped(partial_escape(writable.as_ref()))));
    }

    fn write(&mut self, event: Event<'_>) {
        self.0.write_event(event).expect("writing to memory does not fail");
    }
}

fn is_unwritable(character: char) -> bool {
    matches!(character, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

fn date(epoch_seconds: f64) -> String {
    Timestamp((epoch_seconds * 1000.0).round() as i64).rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::elbv2::{self, SERVICE};
    use serde_json::json;

    fn body(response: &Response<Bytes>) -> &str {
        std::str::from_utf8(response.body()).unwrap()
    }

    #[test]
    fn writes_structures_lists_and_dates() {
        let operation = SERVICE.operation("DescribeLoadBalancers").unwrap();
        let output = elbv2::DescribeLoadBalancersOutput {
            load_balancers: Some(vec![elbv2::LoadBalancer {
                load_balancer_name: Some(String::from("a<b>&\u{1}")),
                created_time: Some(1_700_000_000.123),
                security_groups: Some(vec![]),
                ..Default::default()
            }]),
            next_marker: None,
        };
        let response = answer(&SERVICE, operation, &serde_json::to_value(output).unwrap(), "id-1");
        assert_eq!(
            body(&response),
            "<DescribeLoadBalancersResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\">\
             <DescribeLoadBalancersResult><LoadBalancers><member>\
             <CreatedTime>2023-11-14T22:13:20.123Z</CreatedTime>\
             <LoadBalancerName>a&lt;b&gt;&amp;\u{fffd}</LoadBalancerName><SecurityGroups></SecurityGroups>\
             </member></LoadBalancers></DescribeLoadBalancersResult>\
             <ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></DescribeLoadBalancersResponse>"
        );
    }

    #[test]
    fn writes_maps_and_flattened_lists() {
        static TEXT: Shape =
            Shape::String { length: crate::api::shape::Bounds { min: None, max: None }, sensitive: false };
        static MAP: Shape = Shape::Map { value: &TEXT, key_name: "key", value_name: "value", flattened: false };
        let mut xml = Xml::new();
        xml.value("M", &MAP, &json!({"a": "1"}));
        assert_eq!(body(&xml.response()), "<M><entry><key>a</key><value>1</value></entry></M>");

        static LIST: Shape = Shape::List {
            member: &TEXT,
            member_name: "member",
            flattened: true,
            length: crate::api::shape::Bounds { min: None, max: None },
        };
        static MEMBERS: [Member; 1] = [Member { name: "L", location_name: "L", shape: &LIST, required: false }];
        let mut xml = Xml::new();
        xml.members(&MEMBERS, &json!({"L": ["1", "2"]}));
        assert_eq!(body(&xml.response()), "<L>1</L><L>2</L>");
    }

    #[test]
    fn writes_failures() {
        let error = ApiError::new(crate::api::error::ErrorKind::LoadBalancerNotFound, "None <here>");
        let response = failure(SERVICE.xml_namespace, &error, "id-1");
        assert_eq!(response.status(), 400);
        assert_eq!(
            body(&response),
            "<ErrorResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\"><Error>\
             <Type>Sender</Type><Code>LoadBalancerNotFound</Code><Message>None &lt;here&gt;</Message></Error>\
             <RequestId>id-1</RequestId></ErrorResponse>"
        );
    }
}
