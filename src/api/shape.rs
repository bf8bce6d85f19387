//! Descriptors of the wire's shapes, as `build.rs` writes them from the service models.
//!
//! The structs of [`crate::api::wire`] say what Rust sees; these say what the wire carries: its names, what is required,
//! which values and bounds are allowed. Every codec is directed by them, so there is one place that validates, and
//! none of it is written per operation.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a value looks like on the wire.
#[derive(Debug)]
pub enum Shape {
    Structure {
        name: &'static str,
        members: &'static [Member],
    },
    List {
        member: &'static Shape,
        member_name: &'static str,
        flattened: bool,
        length: Bounds,
    },
    Map {
        value: &'static Shape,
        key_name: &'static str,
        value_name: &'static str,
        flattened: bool,
    },
    String {
        length: Bounds,
        /// A secret: never quoted in an error.
        sensitive: bool,
    },
    Enum {
        values: &'static [&'static str],
    },
    Integer {
        range: Bounds,
    },
    Long {
        range: Bounds,
    },
    Double,
    Boolean,
    /// Seconds since the epoch in JSON, an ISO 8601 date in XML.
    Timestamp,
    /// Bytes, as base64.
    Blob,
    /// Any JSON.
    Document,
}

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    /// The name in the model, and of the serde field.
    pub name: &'static str,
    /// The name on the wire, where a protocol heeds it.
    pub location_name: &'static str,
    pub shape: &'static Shape,
    pub required: bool,
}

/// The model's inclusive bounds of a length or a number.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub min: Option<i64>,
    pub max: Option<i64>,
}

/// An operation that we offer.
#[derive(Debug)]
pub struct OperationShape {
    pub name: &'static str,
    pub input: &'static Shape,
    pub output: &'static Shape,
    pub result_wrapper: Option<&'static str>,
}

/// A service: how requests name it, and its operations.
#[derive(Debug)]
pub struct Service {
    /// Our name of it, as in `models/operations.txt`.
    pub name: &'static str,
    pub full_name: &'static str,
    /// The service in the credential scope of a signature.
    pub signing_name: &'static str,
    /// What precedes the dot in `X-Amz-Target`; empty for Query services.
    pub target_prefix: &'static str,
    pub json_version: &'static str,
    pub api_version: &'static str,
    /// Empty for JSON services.
    pub xml_namespace: &'static str,
    /// The member of a JSON error that carries its text.
    pub message_member: &'static str,
    /// The operations that are offered here.
    pub operations: &'static [OperationShape],
    /// Every operation that AWS has: what is known but not offered gets an answer of its own.
    pub known: &'static [&'static str],
}

impl Service {
    pub fn operation(&self, name: &str) -> Option<&'static OperationShape> {
        self.operations.iter().find(|operation| operation.name == name)
    }

    pub fn is_query(&self) -> bool {
        self.target_prefix.is_empty()
    }
}

/// A generated struct, with what it looks like on the wire.
pub trait Wire: Serialize + DeserializeOwned {
    const SHAPE: &'static Shape;
}
